//! Writes that the secondary is to have, and those it missed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::NAME;
use storage_core::{Event, PendingWrites, SharedObserver, Timestamp};

/// Writes that the secondary did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// How many; each record of an import is one.
    pub writes: u64,
    /// When the first was missed.
    pub first: Timestamp,
    /// When the last was missed. A migration that begins later makes all of them good.
    pub last: Timestamp,
}

/// The counts of one mirror since it was made.
pub(super) struct ReplicationStats {
    observer: SharedObserver,
    pub(super) started: Timestamp,
    applied: AtomicU64,
    queued: AtomicU64,
    queued_bytes: AtomicU64,
    missed: Mutex<Option<Missed>>,
    pending: Mutex<Pending>,
    is_closing: AtomicBool,
}

/// When writes were acknowledged that are not settled.
#[derive(Default)]
struct Pending {
    /// Those that are queued, by their order.
    queued: BTreeMap<u64, Instant>,
    next: u64,
    /// Those that were queued when the mirror was closed, and that the secondary did not get.
    left: u64,
    oldest_left: Option<Instant>,
}

impl ReplicationStats {
    pub(super) fn new(observer: SharedObserver) -> Self {
        Self {
            observer,
            started: Timestamp::now(),
            applied: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            queued_bytes: AtomicU64::new(0),
            missed: Mutex::default(),
            pending: Mutex::default(),
            is_closing: AtomicBool::new(false),
        }
    }

    /// Writes that the secondary has.
    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// Writes that wait for it or are under way to it.
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Ordering::SeqCst)
    }

    /// Writes that it did not get.
    pub(super) fn missed(&self) -> Option<Missed> {
        *self.misses()
    }

    pub(super) fn observe(&self, event: Event) {
        self.observer.observe(NAME, event);
    }

    /// Writes that the secondary is to have, once the primary has them.
    pub(super) fn pending_write(self: &Arc<Self>, writes: u64, bytes: u64) -> PendingWrite {
        PendingWrite { stats: Arc::clone(self), writes, bytes, queued: None, is_settled: false }
    }

    /// From now on queued writes that the secondary does not get count as left.
    pub(super) fn closing(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    /// Writes that are queued, and those that were left when the mirror was closed.
    pub(super) fn pending(&self) -> PendingWrites {
        let pending = self.pending_times();
        let oldest = pending.oldest_left.into_iter().chain(pending.queued.values().copied().next()).min();
        PendingWrites::new(self.queued() + pending.left, oldest.map(|acknowledged| acknowledged.elapsed()))
    }

    fn miss(&self, writes: u64) {
        let now = Timestamp::now();
        let before = {
            let mut misses = self.misses();
            let before = *misses;
            let first = before.map_or(now, |missed| missed.first);
            let writes = before.map_or(0, |missed| missed.writes) + writes;
            *misses = Some(Missed { writes, first, last: now });
            before
        };
        self.observe(Event::MirrorMissed { writes });
        if before.is_none() {
            tracing::warn!(
                backend = NAME,
                "the secondary missed a write: run `migrate` again before switching to it"
            );
        }
    }

    /// Takes a write out of the queue; `left` of its writes the secondary will never get.
    fn dequeue(&self, place: u64, left: u64) {
        let mut pending = self.pending_times();
        let acknowledged = pending.queued.remove(&place);
        if left > 0 {
            pending.left += left;
            pending.oldest_left = pending.oldest_left.into_iter().chain(acknowledged).min();
        }
    }

    fn pending_times(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn misses(&self) -> MutexGuard<'_, Option<Missed>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes that the secondary is to have. Dropped before they are settled, in whatever way, they are
/// missed.
pub(super) struct PendingWrite {
    stats: Arc<ReplicationStats>,
    writes: u64,
    bytes: u64,
    /// Its place among all that were queued.
    queued: Option<u64>,
    is_settled: bool,
}

impl PendingWrite {
    /// Counts it among what waits, unless more bytes would wait than may.
    pub(super) fn enqueue(&mut self, most_bytes: u64) -> bool {
        let before = self.stats.queued_bytes.fetch_add(self.bytes, Ordering::SeqCst);
        if before.saturating_add(self.bytes) > most_bytes {
            self.stats.queued_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
            return false;
        }
        self.stats.queued.fetch_add(self.writes, Ordering::SeqCst);
        let mut pending = self.stats.pending_times();
        let place = pending.next;
        pending.next += 1;
        pending.queued.insert(place, Instant::now());
        self.queued = Some(place);
        true
    }

    /// The secondary has them.
    pub(super) fn applied(mut self) {
        self.is_settled = true;
        self.stats.applied.fetch_add(self.writes, Ordering::SeqCst);
    }

    /// The secondary need not have them.
    pub(super) fn cancel(mut self) {
        self.is_settled = true;
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        if !self.is_settled && self.writes > 0 {
            self.stats.miss(self.writes);
        }
        // Last, so that whoever sees nothing queued sees every miss.
        if let Some(place) = self.queued {
            let is_left = !self.is_settled && self.stats.is_closing.load(Ordering::SeqCst);
            self.stats.dequeue(place, if is_left { self.writes } else { 0 });
            self.stats.queued_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
            self.stats.queued.fetch_sub(self.writes, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use storage_core::NoObserver;

    fn stats() -> Arc<ReplicationStats> {
        Arc::new(ReplicationStats::new(Arc::new(NoObserver)))
    }

    #[test]
    fn what_is_dropped_unsettled_is_missed() {
        let stats = stats();
        stats.pending_write(1, 10).applied();
        stats.pending_write(2, 10).cancel();
        assert_eq!((stats.applied(), stats.missed()), (1, None));
        drop(stats.pending_write(0, 0));
        assert_eq!(stats.missed(), None);
        drop(stats.pending_write(3, 10));
        drop(stats.pending_write(4, 10));
        let missed = stats.missed().unwrap();
        assert_eq!(missed.writes, 7);
        assert!(stats.started <= missed.first && missed.first <= missed.last);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_queued_is_pending_and_what_was_queued_at_the_close_is_left() {
        let stats = stats();
        let queue = |writes| {
            let mut pending = stats.pending_write(writes, 10);
            assert!(pending.enqueue(100));
            pending
        };
        let (failed, first) = (queue(1), queue(2));
        tokio::time::advance(Duration::from_secs(3)).await;
        let second = queue(4);
        let pending =
            |count, seconds: Option<u64>| PendingWrites::new(count, seconds.map(Duration::from_secs));
        drop(failed);
        assert_eq!(stats.pending(), pending(6, Some(3)));
        first.applied();
        assert_eq!(stats.pending(), pending(4, Some(0)));

        let third = queue(8);
        stats.closing();
        third.applied();
        drop(second);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((stats.pending(), stats.queued()), (pending(4, Some(1)), 0));
    }

    #[test]
    fn no_more_bytes_wait_than_may() {
        let stats = stats();
        let (mut first, mut second) = (stats.pending_write(1, 60), stats.pending_write(1, 60));
        assert!(first.enqueue(100));
        assert!(!second.enqueue(100));
        assert_eq!(stats.queued(), 1);
        first.applied();
        assert!(second.enqueue(100));
        drop(second);
        assert_eq!((stats.queued(), stats.missed().unwrap().writes), (0, 1));
    }
}
