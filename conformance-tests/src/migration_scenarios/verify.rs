//! What a comparison reports.

use std::time::Duration;

use bytes::Bytes;
use storage_core::{Context, DownloadsRecord, PeerRecord, PeerStorageExt, Role, Timestamp, When};
use storage_migration::{Comparison, Finding, Migration, RecordKind, Verification, VerifyOptions};

use super::pairs::{at, fill, options, peer, swarm};
use super::test_env::TestStorage;

async fn compare(from: &TestStorage, to: &TestStorage, options: VerifyOptions) -> Comparison {
    Verification::new(from.storage.clone(), to.storage.clone(), options).run().await.unwrap()
}

pub(super) async fn differences(from: &TestStorage, to: &TestStorage) {
    let (from_storage, to_storage) = (&from.storage, &to.storage);
    for (storage, number, role, time) in [
        (from_storage, 1, Role::Seeder, 5),
        (from_storage, 2, Role::Seeder, 5),
        (to_storage, 2, Role::Leecher, 5),
        (from_storage, 3, Role::Seeder, 5),
        (to_storage, 3, Role::Seeder, 4),
        (to_storage, 4, Role::Seeder, 5),
        (from_storage, 5, Role::Seeder, 5),
        (to_storage, 5, Role::Leecher, 6),
        (from_storage, 6, Role::Seeder, 5),
        (to_storage, 6, Role::Seeder, 5),
    ] {
        storage.put_peer(&swarm(1), &peer(number), role, When::At(at(time))).await.unwrap();
    }
    let downloads = |number, downloads| DownloadsRecord { info_hash: swarm(number), downloads };
    from_storage.import_downloads(&[downloads(1, 1), downloads(2, 2), downloads(3, 3)]).await.unwrap();
    to_storage.import_downloads(&[downloads(2, 1), downloads(3, 4)]).await.unwrap();
    let context = Context::new("MW").unwrap();
    let entry =
        |key: &'static str, value: &'static str| (Bytes::from_static(key.as_bytes()), Bytes::from(value));
    from_storage.put_data(&context, &[entry("a", "1"), entry("b", "1"), entry("c", "1")]).await.unwrap();
    to_storage.put_data(&context, &[entry("b", "2"), entry("c", "1"), entry("d", "1")]).await.unwrap();

    let found = compare(from, to, VerifyOptions::default()).await;
    assert!(!found.is_equal());
    for (kind, finding) in [
        (RecordKind::Peers, Finding::OnlyAtSource),
        (RecordKind::Peers, Finding::Different),
        (RecordKind::Peers, Finding::TargetIsBehind),
        (RecordKind::Peers, Finding::OnlyAtTarget),
        (RecordKind::Peers, Finding::TargetIsAhead),
        (RecordKind::Downloads, Finding::OnlyAtSource),
        (RecordKind::Downloads, Finding::TargetIsBehind),
        (RecordKind::Downloads, Finding::TargetIsAhead),
        (RecordKind::Data, Finding::OnlyAtSource),
        (RecordKind::Data, Finding::Different),
        (RecordKind::Data, Finding::OnlyAtTarget),
    ] {
        assert_eq!(found.of(kind).count(finding), 1, "{kind:?} {finding:?}: {found:#?}");
        assert_eq!(found.of(kind).examples(finding).len(), 1);
    }
}

pub(super) async fn live(from: &TestStorage, to: &TestStorage) {
    fill(&*from.storage, 100).await;
    let migration = Migration::new(from.storage.clone(), to.storage.clone(), options());
    let copied_at = Some(migration.run().await.unwrap().began);
    from.storage.put_seeder(&swarm(1), &peer(1_000)).await.unwrap();
    to.storage.put_leecher(&swarm(1), &peer(1_001)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;

    let found = compare(from, to, VerifyOptions { copied_at, ..VerifyOptions::default() }).await;
    assert!(found.is_equal(), "{found:#?}");
    assert_eq!(found.peers.count(Finding::AnnouncedAtSource), 1);
    assert_eq!(found.peers.count(Finding::TargetIsAhead), 1);
    let found = compare(from, to, VerifyOptions::default()).await;
    assert_eq!(found.peers.count(Finding::OnlyAtSource), 1, "without the time of the copy");

    // A time in the future means a wrong time zone.
    let in_two_hours = Timestamp::now().after(Duration::from_secs(7_200));
    to.storage.put_peer(&swarm(1), &peer(1_000), Role::Seeder, When::At(in_two_hours)).await.unwrap();
    let found = compare(from, to, VerifyOptions { copied_at, ..VerifyOptions::default() }).await;
    assert_eq!(found.peers.count(Finding::Different), 1);
}

pub(super) async fn past_lifetime(from: &TestStorage, to: &TestStorage) {
    let lifetime = Duration::from_secs(1_860);
    let ago = |seconds| When::At(from.storage.now().before(Duration::from_secs(seconds)));
    for (storage, number, announced) in [
        (&from.storage, 1, ago(4_000)),
        (&from.storage, 2, ago(2_000)),
        (&from.storage, 3, ago(60)),
        (&to.storage, 3, ago(60)),
        (&to.storage, 4, ago(4_000)),
    ] {
        storage.put_peer(&swarm(1), &peer(number), Role::Seeder, announced).await.unwrap();
    }
    let found = compare(from, to, VerifyOptions::default()).await;
    assert_eq!((found.past_lifetime, found.peers.compared), (0, 3), "it was not asked for");
    let counted = || VerifyOptions { peer_lifetime: Some(lifetime), ..VerifyOptions::default() };
    let found = compare(from, to, counted()).await;
    assert_eq!((found.past_lifetime, found.peers.compared), (2, 3), "{found:#?}");
    let found = compare(from, to, VerifyOptions { stale_after: Some(lifetime), ..counted() }).await;
    assert_eq!((found.past_lifetime, found.peers.compared), (0, 1), "{found:#?}");
}

pub(super) async fn sample(from: &TestStorage, to: &TestStorage) {
    fill(&*from.storage, 200).await;
    let sample = || VerifyOptions { sample: Some(5), ..VerifyOptions::default() };
    let found = compare(from, to, sample()).await;
    assert!(found.peers.count(Finding::OnlyAtSource) >= 5);
    assert_eq!(found.downloads.count(Finding::OnlyAtSource), 5);
    assert_eq!(found.data.count(Finding::OnlyAtSource), 5);
    let migration = Migration::new(from.storage.clone(), to.storage.clone(), options());
    migration.run().await.unwrap();
    assert!(compare(from, to, sample()).await.is_equal());
}

pub(super) async fn large_swarm(from: &TestStorage, to: &TestStorage) {
    let record = |number| PeerRecord {
        info_hash: swarm(u8::try_from(number % 3).unwrap() + 1),
        peer: peer(number),
        role: Role::Leecher,
        announced: at(i64::from(number)),
    };
    let records: Vec<_> = (0..3_000).map(record).collect();
    from.storage.import_peers(&records).await.unwrap();
    let missing = [7, 1_700, 2_999];
    let others = (0..3_000).filter(|number| !missing.contains(number)).map(record);
    to.storage.import_peers(&others.collect::<Vec<_>>()).await.unwrap();

    let found = compare(from, to, VerifyOptions { batch: 100, ..VerifyOptions::default() }).await;
    assert_eq!(found.peers.compared, 3_000);
    assert_eq!(found.peers.count(Finding::OnlyAtSource), 3);
    assert_eq!(found.peers.count(Finding::OnlyAtTarget), 0);
}
