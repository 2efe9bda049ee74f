//! The content of both storages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libtest_mimic::Trial;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use storage_core::{
    AddressFamily, Announce, AnnounceEvent, Backend, BulkPeerStorage, Context, DataRecord, DownloadsRecord,
    InfoHash, PeerChange, PeerRecord, PeerStorage, PeerStorageExt, PeerWrite, Result, Role, Storage,
    SwarmCounts, Timestamp, When, Written,
};
use storage_mirror::MirrorConfig;
use tokio::task::JoinSet;

use super::test_env::{InjectedFault, TestMirror, peer, swarm};
use crate::random_sequences::run::{export, run_step};
use crate::random_sequences::run_sequences;
use crate::random_sequences::step::SequenceStep;
use crate::runtime::block_on;

const WRITERS: u32 = 16;
const WRITES_PER_WRITER: u32 = 300;

/// Few swarms, peers and keys, and storages with random delays: concurrent writes of the same item are frequent.
pub(super) async fn is_the_same_after_concurrent_writes() {
    let env = TestMirror::new(MirrorConfig::default());
    env.primary.layer().set_fault(InjectedFault::Delay);
    env.secondary.layer().set_fault(InjectedFault::Delay);
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let mirror: Arc<dyn Storage> = env.mirror.clone();
        writers.spawn(async move {
            for _ in 0..WRITES_PER_WRITER {
                match write_something(&*mirror).await {
                    Err(error) if error.is_not_found() => {}
                    result => result.unwrap(),
                }
            }
        });
    }
    writers.join_all().await;
    let status = env.quiet().await;
    assert_eq!(status.missed, None);
    let (primary, secondary) = (export(&*env.primary).await.unwrap(), export(&*env.secondary).await.unwrap());
    assert!(!primary.is_empty());
    assert_eq!(primary, secondary);
}

/// The primary may get the peer later, with another time, and the secondary before it makes this write.
pub(super) async fn is_not_touched_where_the_primary_touched_no_peer() {
    let env = TestMirror::new(MirrorConfig::default());
    let (info_hash, peer, at) = (swarm(0), peer(0), Timestamp::from_microseconds);
    env.secondary.put_peer(&info_hash, &peer, Role::Seeder, When::At(at(1))).await.unwrap();
    let touch = PeerWrite { info_hash, peer, change: PeerChange::Touch, announced: at(5) };
    assert_eq!(env.mirror.write_peers(&[touch]).await.remove(0).unwrap(), Written::Unchanged);
    env.quiet().await;
    let found = env.secondary.find_peer(&info_hash, &peer).await.unwrap();
    assert_eq!(found.map(|record| record.announced), Some(at(1)));
}

async fn write_something(storage: &dyn Storage) -> Result<()> {
    let (info_hash, peer) = (swarm(rand::random_range(0..3)), peer(rand::random_range(0..4)));
    let announced = Timestamp::from_microseconds(rand::random_range(1..1_000_000));
    let role = Role::from_is_seeder(rand::random());
    let context = Context::new("tokens").unwrap();
    let key = Bytes::copy_from_slice(&[rand::random_range(0..3)]);
    let value = Bytes::copy_from_slice(&rand::random::<[u8; 8]>());
    match rand::random_range(0..50) {
        40.. => announce_something(storage, info_hash).await,
        0..16 => storage.put_peer(&info_hash, &peer, role, When::At(announced)).await,
        16..22 => storage.delete_peer(&info_hash, &peer, role).await,
        22..26 => storage.graduate_peer(&info_hash, &peer, When::At(announced)).await.map(drop),
        26 => storage.forget_swarm(&info_hash).await.map(drop),
        27 => {
            let record = PeerRecord { info_hash, peer, role, announced };
            let other = PeerRecord { info_hash: swarm(1), ..record };
            storage.import_peers(&[record, other]).await.map(drop)
        }
        28 => {
            let record = DownloadsRecord { info_hash, downloads: rand::random_range(1..50) };
            storage.import_downloads(&[record]).await.map(drop)
        }
        29 => storage.import_data(&[DataRecord { context, key, value }]).await.map(drop),
        30..36 => {
            let second = Bytes::copy_from_slice(&[rand::random_range(0..3)]);
            storage.put_data(&context, &[(key, value.clone()), (second, value)]).await
        }
        36..38 => storage.put_data(&context, &[(key, value)]).await,
        _ => storage.delete_data(&context, &[key]).await,
    }
}

/// Clients with one or two addresses, in either order.
async fn announce_something(storage: &dyn Storage, info_hash: InfoHash) -> Result<()> {
    use AnnounceEvent::{Completed, None, Started, Stopped};
    let peers = [peer(rand::random_range(0..4)), peer(rand::random_range(0..4))];
    let announce = Announce::new(info_hash, peers[..rand::random_range(0..=2)].iter().copied())
        .with_role(Role::from_is_seeder(rand::random()))
        .with_event([None, Started, Completed, Stopped][rand::random_range(0..4)])
        .with_num_want(rand::random_range(0..3))
        .with_families(&[AddressFamily::V4])
        .at(Timestamp::from_microseconds(rand::random_range(1..1_000_000)));
    storage.announce(&announce).await.map(drop)
}

/// The last of many concurrent puts wins in both storages, whatever times they have.
pub(super) async fn of_a_peer_is_written_in_the_order_of_the_primary() {
    let env = TestMirror::new(MirrorConfig { lanes: 3, ..MirrorConfig::default() });
    env.primary.layer().set_fault(InjectedFault::Delay);
    env.secondary.layer().set_fault(InjectedFault::Delay);
    for _ in 0..50 {
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let mirror = env.mirror.clone();
            let announced = Timestamp::from_microseconds(rand::random_range(1..1_000_000));
            writers.spawn(async move {
                let role = Role::from_is_seeder(rand::random());
                mirror.put_peer(&swarm(1), &peer(1), role, When::At(announced)).await.unwrap();
            });
        }
        writers.join_all().await;
        env.quiet().await;
        assert_eq!(export(&*env.primary).await.unwrap(), export(&*env.secondary).await.unwrap());
    }
}

/// All writes of a whole announce: a client with two addresses starts, completes and stops.
pub(super) async fn of_whole_announces_is_the_same() {
    let env = TestMirror::new(MirrorConfig::default());
    let peers = [peer(1), peer(2)];
    let announce = async |event| {
        let announce = Announce::new(swarm(1), peers.iter().copied())
            .with_event(event)
            .with_num_want(50)
            .with_families(&[AddressFamily::V4]);
        let answer = env.mirror.announce(&announce).await.unwrap();
        assert_eq!(env.quiet().await.missed, None);
        let (primary, secondary) = (export(&*env.primary).await, export(&*env.secondary).await);
        assert_eq!(primary.unwrap(), secondary.unwrap());
        let SwarmCounts { seeders, leechers, downloads } = answer.counts.unwrap();
        (seeders, leechers, downloads)
    };
    assert_eq!(announce(AnnounceEvent::Started).await, (0, 2, 0));
    assert_eq!(announce(AnnounceEvent::Completed).await, (2, 0, 1));
    // As leechers, although they are seeders now.
    assert_eq!(announce(AnnounceEvent::Stopped).await, (0, 0, 1));
    assert_eq!(env.secondary.scrape_swarm(&swarm(1)).await.unwrap().downloads, 1);
    assert_eq!(env.primary.layer().writes(), 3, "one call for each announce");
}

/// Enough writes to fill the queue if each waited on its own.
pub(super) async fn of_large_write_lists_is_the_same() {
    let env = TestMirror::new(MirrorConfig::default());
    let announced = env.primary.now();
    for number in 0..10 {
        env.primary.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    let writes = |change, count| -> Vec<_> {
        let announced = announced.after(Duration::from_secs(1));
        let write = |number| PeerWrite { info_hash: swarm(1), peer: peer(number), change, announced };
        (0..count).map(write).collect()
    };
    // The secondary never got the ten that are touched.
    for list in [
        writes(PeerChange::Touch, 10),
        writes(PeerChange::Put(Role::Leecher), 10_000),
        writes(PeerChange::Graduate, 5_000),
        writes(PeerChange::Delete, 1_000),
    ] {
        let results = env.mirror.write_peers(&list).await;
        assert!(results.iter().all(Result::is_ok));
        env.quiet().await;
    }
    assert_eq!(env.missed(), 0);
    assert_eq!(export(&*env.primary).await.unwrap(), export(&*env.secondary).await.unwrap());
}

pub(super) async fn that_is_already_absent_from_the_secondary_is_no_missed_write() {
    let env = TestMirror::new(MirrorConfig::default());
    env.primary.put_seeder(&swarm(1), &peer(1)).await.unwrap();
    env.mirror.delete_seeder(&swarm(1), &peer(1)).await.unwrap();
    let status = env.quiet().await;
    assert_eq!((status.applied, status.missed), (1, None));
}

pub(super) async fn of_the_queue_is_written_before_close_returns() {
    let env = TestMirror::new(MirrorConfig { lanes: 1, ..MirrorConfig::default() });
    env.secondary.layer().set_fault(InjectedFault::Hang);
    for number in 0..200 {
        env.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    assert_eq!(env.mirror.status().queued, 200);
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        env.secondary.layer().set_fault(InjectedFault::None);
    };
    let (closed, ()) = tokio::join!(env.mirror.close(), later);
    closed.unwrap();
    let status = env.mirror.status();
    assert_eq!((status.applied, status.queued, status.missed), (200, 0, None));
    assert_eq!(env.secondary.scrape_swarm(&swarm(1)).await.unwrap().leechers, 200);
    env.mirror.close().await.unwrap();
}

/// Random sequences. Collections of garbage are left out: they reach the secondary
/// outside the queue, and the times are so old that queued writes may be stale already.
pub(super) fn random_sequences() -> Trial {
    Trial::ignorable_test("mirror/content is the same after random sequences", || {
        run_sequences(1..=40_usize, |sequence| block_on(check(sequence)))
    })
}

async fn check(sequence: Vec<SequenceStep>) -> Result<(), TestCaseError> {
    let env = TestMirror::new(MirrorConfig { lanes: 2, ..MirrorConfig::default() });
    for step in sequence.iter().filter(|step| !matches!(step, SequenceStep::CollectGarbage(_))) {
        run_step(step, &*env.mirror).await;
    }
    prop_assert_eq!(env.quiet().await.missed, None);
    let primary = export(&*env.primary).await.unwrap();
    prop_assert_eq!(primary, export(&*env.secondary).await.unwrap(), "the primary's content (left) differs");
    Ok(())
}
