//! Schedules end with the storage that they run on.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use storage_core::config::{StorageConfig, Value};
use storage_core::layer::{Layer, Layered, with_time_left};
use storage_core::{
    Backends, Error, ErrorKind, Event, InfoHash, MaintenanceScheduler, Observer, Operation, Peer, PeerId,
    PeerStorage, PeerStorageExt, Result, Role, Schedule, SharedObserver, Storage, Timestamp, When,
};
use storage_memory::{MemoryConfig, MemoryDriver, MemoryStorage};
use tokio::time::{Instant, advance, sleep};

/// Makes garbage collections and statistics last, and counts those that began and those under way.
#[derive(Default)]
struct Slow {
    takes: Duration,
    begun: AtomicUsize,
    under_way: AtomicUsize,
}

struct RunningCall<'a>(&'a AtomicUsize);

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Layer for Slow {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if matches!(operation, Operation::CollectGarbage | Operation::Statistics) {
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.under_way.fetch_add(1, Ordering::SeqCst);
            let _under_way = RunningCall(&self.under_way);
            sleep(self.takes).await;
            return call.await;
        }
        call.await
    }
}

/// A storage of which calls under way take so long, and its schedule, of which a collection is under way.
async fn collecting(takes: Duration) -> (Arc<Layered<MemoryStorage, Slow>>, Arc<dyn Storage>) {
    let slow = Slow { takes, ..Slow::default() };
    let slow = Arc::new(Layered::new(Arc::new(MemoryStorage::new(MemoryConfig::default())), slow));
    let schedule = Schedule {
        gc_grace: Some(Duration::ZERO),
        gc_max_share: 1.0,
        reporting_interval: Duration::ZERO,
        ..Schedule::default()
    };
    let maintained = MaintenanceScheduler::start(Arc::clone(&slow) as Arc<dyn Storage>, schedule);
    while slow.layer().under_way.load(Ordering::SeqCst) == 0 {
        sleep(Duration::from_secs(1)).await;
    }
    (slow, maintained)
}

#[tokio::test(start_paused = true)]
async fn a_collection_under_way_is_finished_if_it_ends_soon() {
    let (slow, maintained) = collecting(Duration::from_secs(3)).await;
    maintained.close().await.unwrap();
    assert_eq!(slow.layer().begun.load(Ordering::SeqCst), 1);
    assert_eq!(slow.layer().under_way.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_takes_longer_is_cancelled() {
    for (left, at_most) in [(None, 4_000), (Some(20_000), 4_000), (Some(3_000), 2_000), (Some(500), 0)] {
        let (slow, maintained) = collecting(Duration::from_secs(600)).await;
        let begun = Instant::now();
        with_time_left(left.map(Duration::from_millis), maintained.close()).await.unwrap();
        assert_eq!(slow.layer().under_way.load(Ordering::SeqCst), 0);
        let took = begun.elapsed().as_millis();
        assert!((at_most..at_most + 100).contains(&took), "{left:?}: {took} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn statistics_under_way_hold_up_nothing() {
    let slow = Slow { takes: Duration::from_secs(600), ..Slow::default() };
    let slow = Arc::new(Layered::new(Arc::new(MemoryStorage::new(MemoryConfig::default())), slow));
    let maintained = MaintenanceScheduler::start(Arc::clone(&slow) as Arc<dyn Storage>, Schedule::default());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(slow.layer().under_way.load(Ordering::SeqCst), 1);
    let begun = Instant::now();
    maintained.close().await.unwrap();
    assert_eq!(slow.layer().under_way.load(Ordering::SeqCst), 0);
    assert!(begun.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_dropped_without_being_closed_stops_its_schedule() {
    let (slow, maintained) = collecting(Duration::from_secs(600)).await;
    drop(maintained);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(slow.layer().under_way.load(Ordering::SeqCst), 0);
    advance(Duration::from_secs(3_600)).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(slow.layer().begun.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn no_garbage_is_collected_for_a_while_after_a_start_and_after_standing_still() {
    let slow = Arc::new(Layered::new(Arc::new(MemoryStorage::new(MemoryConfig::default())), Slow::default()));
    let schedule = Schedule { reporting_interval: Duration::ZERO, ..Schedule::default() };
    let _maintained = MaintenanceScheduler::start(Arc::clone(&slow) as Arc<dyn Storage>, schedule);
    let runs = || slow.layer().begun.swap(0, Ordering::SeqCst);
    for _ in 0..2 {
        sleep(schedule.peer_lifetime - Duration::from_secs(1)).await;
        assert_eq!(runs(), 0);
        sleep(schedule.gc_interval * 2).await;
        assert!(runs() > 0);
        // As after a SIGSTOP: all timers are late.
        advance(Duration::from_secs(7_200)).await;
    }
}

/// Keeps when garbage was said to be collected next.
#[derive(Default)]
struct Scheduled(Mutex<Vec<Duration>>);

impl Observer for Scheduled {
    fn observe(&self, _backend: &'static str, event: Event) {
        if let Event::CollectionScheduled { after } = event {
            self.0.lock().unwrap().push(after);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_learns_when_garbage_is_collected_next() {
    let scheduled = Arc::new(Scheduled::default());
    let backends = Backends::new().with(MemoryDriver).with_observer(Arc::clone(&scheduled) as SharedObserver);
    let config = StorageConfig { name: "memory".into(), config: Value::Null };
    let opened = backends.open(config).await.unwrap();
    let schedule = opened.schedule;
    opened.start_maintenance();
    opened.start_maintenance();
    let last = || scheduled.0.lock().unwrap().last().copied();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(last(), Some(schedule.peer_lifetime), "the grace after the start");
    assert_eq!(scheduled.0.lock().unwrap().len(), 1, "started twice, it runs once");
    sleep(schedule.peer_lifetime + schedule.gc_interval * 2).await;
    let after = last().unwrap();
    assert!((schedule.gc_interval * 9 / 10..=schedule.gc_interval * 11 / 10).contains(&after), "{after:?}");
}

/// Real time passes: the storage's times are the machine's.
#[tokio::test]
async fn a_count_that_takes_long_ages_nobody() {
    let slow = Slow { takes: Duration::from_millis(300), ..Slow::default() };
    let slow = Layered::new(Arc::new(MemoryStorage::new(MemoryConfig::default())), slow);
    let (swarm, peer) = (InfoHash::V1([1; 20]), Peer::new(PeerId([2; 20]), [192, 0, 2, 1].into(), 6881));
    slow.put_leecher(&swarm, &peer).await.unwrap();
    let schedule = Schedule { peer_lifetime: Duration::from_millis(200), ..Schedule::default() };
    let collection = schedule.collect(&slow).await.unwrap();
    assert_eq!((collection.collected.removed, collection.peers), (0, Some(1)));
}

/// Refuses every write.
struct Full;

impl Layer for Full {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation == Operation::PutPeer {
            return Err(Error::new(backend, operation, ErrorKind::Rejected));
        }
        call.await
    }
}

#[tokio::test(start_paused = true)]
async fn no_garbage_is_collected_while_no_announce_can_be_stored() {
    let slow = Arc::new(Layered::new(Arc::new(MemoryStorage::new(MemoryConfig::default())), Slow::default()));
    let full = Arc::new(Layered::new(Arc::clone(&slow), Full));
    let schedule = Schedule {
        gc_grace: Some(Duration::from_secs(1)),
        reporting_interval: Duration::ZERO,
        ..Schedule::default()
    };
    let maintained = MaintenanceScheduler::start(full as Arc<dyn Storage>, schedule);
    let peer = Peer::new(PeerId([1; 20]), [192, 0, 2, 1].into(), 6881);
    maintained.put_leecher(&InfoHash::V1([1; 20]), &peer).await.unwrap_err();
    sleep(schedule.gc_interval * 10).await;
    assert_eq!(slow.layer().begun.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn more_than_the_share_of_stale_peers_are_left() {
    for (stale, fresh, left) in [(30, 30, 30), (31, 30, 61), (20, 0, 0), (21, 0, 21)] {
        let storage = Arc::new(MemoryStorage::new(MemoryConfig::default()));
        let swarm = InfoHash::V1([1; 20]);
        for number in 0..stale + fresh {
            let peer = Peer::new(PeerId([1; 20]), [192, 0, 2, 1].into(), number + 1);
            let ago = Duration::from_secs(if number < stale { 7_200 } else { 0 });
            storage
                .put_peer(&swarm, &peer, Role::Leecher, When::At(Timestamp::now().before(ago)))
                .await
                .unwrap();
        }
        let schedule = Schedule { gc_grace: Some(Duration::ZERO), ..Schedule::default() };
        let _maintained = MaintenanceScheduler::start(Arc::clone(&storage) as Arc<dyn Storage>, schedule);
        sleep(schedule.gc_interval * 2).await;
        assert_eq!(
            storage.scrape_swarm(&swarm).await.unwrap().leechers,
            left,
            "{stale} stale, {fresh} fresh"
        );
    }
}
