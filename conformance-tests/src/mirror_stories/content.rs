//! What both sides hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libtest_mimic::Trial;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use storage_core::{
    AddressFamily, Announce, AnnounceEvent, Backend, BulkPeerStorage, Context, DataRecord, DownloadsRecord,
    InfoHash, PeerChange, PeerRecord, PeerStorage, PeerWrite, Result, Role, Storage, SwarmCounts, Timestamp,
    When, Written,
};
use storage_mirror::MirrorConfig;
use tokio::task::JoinSet;

use super::sides::{MirrorSides, Mood, peer, swarm};
use crate::runtime::block_on;
use crate::stories::play::{export, play};
use crate::stories::step::StoryStep;
use crate::stories::tell_many;

const WRITERS: u32 = 16;
const TURNS: u32 = 300;

/// Few swarms, peers and keys, and sides that dawdle: writes of the same thing meet all the time.
pub(super) async fn is_the_same_on_both_sides_after_writers_that_meet() {
    let sides = MirrorSides::new(MirrorConfig::default());
    sides.primary.layer().becomes(Mood::Dawdles);
    sides.secondary.layer().becomes(Mood::Dawdles);
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let mirror: Arc<dyn Storage> = sides.mirror.clone();
        writers.spawn(async move {
            for _ in 0..TURNS {
                match write_something(&*mirror).await {
                    Err(error) if error.is_not_found() => {}
                    result => result.unwrap(),
                }
            }
        });
    }
    writers.join_all().await;
    let status = sides.quiet().await;
    assert_eq!(status.missed, None);
    let (primary, secondary) =
        (export(&*sides.primary).await.unwrap(), export(&*sides.secondary).await.unwrap());
    assert!(!primary.is_empty());
    assert_eq!(primary, secondary);
}

/// The primary may get the peer later, with another time, and the secondary before it makes this write.
pub(super) async fn is_not_touched_where_the_primary_had_nobody_to_touch() {
    let sides = MirrorSides::new(MirrorConfig::default());
    let (info_hash, peer, at) = (swarm(0), peer(0), Timestamp::from_microseconds);
    sides.secondary.put_peer(&info_hash, &peer, Role::Seeder, When::At(at(1))).await.unwrap();
    let touch = PeerWrite { info_hash, peer, change: PeerChange::Touch, announced: at(5) };
    assert_eq!(sides.mirror.write_peers(&[touch]).await.remove(0).unwrap(), Written::Unchanged);
    sides.quiet().await;
    let found = sides.secondary.find_peer(&info_hash, &peer).await.unwrap();
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

/// Clients of one or two addresses, named in whatever order.
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

/// The last of many puts at once decides on both sides alike, whatever times they have.
pub(super) async fn of_a_peer_is_written_in_the_order_of_the_primary() {
    let sides = MirrorSides::new(MirrorConfig { lanes: 3, ..MirrorConfig::default() });
    sides.primary.layer().becomes(Mood::Dawdles);
    sides.secondary.layer().becomes(Mood::Dawdles);
    for _ in 0..50 {
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let mirror = sides.mirror.clone();
            let announced = Timestamp::from_microseconds(rand::random_range(1..1_000_000));
            writers.spawn(async move {
                let role = Role::from_is_seeder(rand::random());
                mirror.put_peer(&swarm(1), &peer(1), role, When::At(announced)).await.unwrap();
            });
        }
        writers.join_all().await;
        sides.quiet().await;
        assert_eq!(export(&*sides.primary).await.unwrap(), export(&*sides.secondary).await.unwrap());
    }
}

/// Whatever a whole announce writes: a client of two addresses begins, completes and leaves.
pub(super) async fn of_whole_announces_is_the_same_on_both_sides() {
    let sides = MirrorSides::new(MirrorConfig::default());
    let peers = [peer(1), peer(2)];
    let announce = async |event| {
        let announce = Announce::new(swarm(1), peers.iter().copied())
            .with_event(event)
            .with_num_want(50)
            .with_families(&[AddressFamily::V4]);
        let answer = sides.mirror.announce(&announce).await.unwrap();
        assert_eq!(sides.quiet().await.missed, None);
        let (primary, secondary) = (export(&*sides.primary).await, export(&*sides.secondary).await);
        assert_eq!(primary.unwrap(), secondary.unwrap());
        let SwarmCounts { seeders, leechers, downloads } = answer.counts.unwrap();
        (seeders, leechers, downloads)
    };
    assert_eq!(announce(AnnounceEvent::Started).await, (0, 2, 0));
    assert_eq!(announce(AnnounceEvent::Completed).await, (2, 0, 1));
    // As leechers, which they are no more.
    assert_eq!(announce(AnnounceEvent::Stopped).await, (0, 0, 1));
    assert_eq!(sides.secondary.scrape_swarm(&swarm(1)).await.unwrap().downloads, 1);
    assert_eq!(sides.primary.layer().writes(), 3, "one call for each announce");
}

/// As many as fill the queue when each waits by itself.
pub(super) async fn of_large_lists_of_writes_is_the_same_on_both_sides() {
    let sides = MirrorSides::new(MirrorConfig::default());
    let announced = sides.primary.now();
    for number in 0..10 {
        sides.primary.put_leecher(&swarm(1), &peer(number)).await.unwrap();
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
        let results = sides.mirror.write_peers(&list).await;
        assert!(results.iter().all(Result::is_ok));
        sides.quiet().await;
    }
    assert_eq!(sides.missed(), 0);
    assert_eq!(export(&*sides.primary).await.unwrap(), export(&*sides.secondary).await.unwrap());
}

pub(super) async fn that_the_secondary_has_already_lost_is_no_miss() {
    let sides = MirrorSides::new(MirrorConfig::default());
    sides.primary.put_seeder(&swarm(1), &peer(1)).await.unwrap();
    sides.mirror.delete_seeder(&swarm(1), &peer(1)).await.unwrap();
    let status = sides.quiet().await;
    assert_eq!((status.applied, status.missed), (1, None));
}

pub(super) async fn of_the_queue_is_written_before_closing_ends() {
    let sides = MirrorSides::new(MirrorConfig { lanes: 1, ..MirrorConfig::default() });
    sides.secondary.layer().becomes(Mood::Hangs);
    for number in 0..200 {
        sides.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    assert_eq!(sides.mirror.status().queued, 200);
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        sides.secondary.layer().becomes(Mood::Works);
    };
    let (closed, ()) = tokio::join!(sides.mirror.close(), later);
    closed.unwrap();
    let status = sides.mirror.status();
    assert_eq!((status.applied, status.queued, status.missed), (200, 0, None));
    assert_eq!(sides.secondary.scrape_swarm(&swarm(1)).await.unwrap().leechers, 200);
    sides.mirror.close().await.unwrap();
}

/// Step by step, whatever the steps. Collections of garbage are left out: they reach the secondary
/// beside the queue, and here times are so old that what is queued may be stale already.
pub(super) fn random_stories() -> Trial {
    Trial::ignorable_test("mirror/content is the same after random stories", || {
        tell_many(1..=40_usize, |story| block_on(tell(story)))
    })
}

async fn tell(story: Vec<StoryStep>) -> Result<(), TestCaseError> {
    let sides = MirrorSides::new(MirrorConfig { lanes: 2, ..MirrorConfig::default() });
    for step in story.iter().filter(|step| !matches!(step, StoryStep::CollectGarbage(_))) {
        play(step, &*sides.mirror).await;
    }
    prop_assert_eq!(sides.quiet().await.missed, None);
    let primary = export(&*sides.primary).await.unwrap();
    prop_assert_eq!(
        primary,
        export(&*sides.secondary).await.unwrap(),
        "the primary's content (left) differs"
    );
    Ok(())
}
