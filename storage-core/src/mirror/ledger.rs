//! What is owed to the secondary, and what it did not get.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::NAME;
use crate::{Event, SharedObserver, Timestamp};

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
pub(super) struct Ledger {
    observer: SharedObserver,
    pub(super) started: Timestamp,
    applied: AtomicU64,
    queued: AtomicU64,
    queued_bytes: AtomicU64,
    missed: Mutex<Option<Missed>>,
}

impl Ledger {
    pub(super) fn new(observer: SharedObserver) -> Self {
        Self {
            observer,
            started: Timestamp::now(),
            applied: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            queued_bytes: AtomicU64::new(0),
            missed: Mutex::default(),
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
    pub(super) fn owe(self: &Arc<Self>, writes: u64, bytes: u64) -> Owed {
        Owed { ledger: Arc::clone(self), writes, bytes, is_queued: false, is_settled: false }
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
            tracing::warn!(backend = NAME, "the secondary missed a write: a new migration is due");
        }
    }

    fn misses(&self) -> MutexGuard<'_, Option<Missed>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes that are owed to the secondary. Dropped before they are settled, in whatever way, they are
/// missed.
pub(super) struct Owed {
    ledger: Arc<Ledger>,
    writes: u64,
    bytes: u64,
    is_queued: bool,
    is_settled: bool,
}

impl Owed {
    /// Counts it among what waits, unless more bytes would wait than may.
    pub(super) fn wait_in_line(&mut self, most_bytes: u64) -> bool {
        let before = self.ledger.queued_bytes.fetch_add(self.bytes, Ordering::SeqCst);
        if before.saturating_add(self.bytes) > most_bytes {
            self.ledger.queued_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
            return false;
        }
        self.ledger.queued.fetch_add(self.writes, Ordering::SeqCst);
        self.is_queued = true;
        true
    }

    /// The secondary has them.
    pub(super) fn applied(mut self) {
        self.is_settled = true;
        self.ledger.applied.fetch_add(self.writes, Ordering::SeqCst);
    }

    /// The secondary need not have them.
    pub(super) fn forgiven(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if !self.is_settled && self.writes > 0 {
            self.ledger.miss(self.writes);
        }
        // Last, so that whoever sees nothing queued sees every miss.
        if self.is_queued {
            self.ledger.queued_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
            self.ledger.queued.fetch_sub(self.writes, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoObserver;

    fn ledger() -> Arc<Ledger> {
        Arc::new(Ledger::new(Arc::new(NoObserver)))
    }

    #[test]
    fn what_is_dropped_unsettled_is_missed() {
        let ledger = ledger();
        ledger.owe(1, 10).applied();
        ledger.owe(2, 10).forgiven();
        assert_eq!((ledger.applied(), ledger.missed()), (1, None));
        drop(ledger.owe(0, 0));
        assert_eq!(ledger.missed(), None);
        drop(ledger.owe(3, 10));
        drop(ledger.owe(4, 10));
        let missed = ledger.missed().unwrap();
        assert_eq!(missed.writes, 7);
        assert!(ledger.started <= missed.first && missed.first <= missed.last);
    }

    #[test]
    fn no_more_bytes_wait_than_may() {
        let ledger = ledger();
        let (mut first, mut second) = (ledger.owe(1, 60), ledger.owe(1, 60));
        assert!(first.wait_in_line(100));
        assert!(!second.wait_in_line(100));
        assert_eq!(ledger.queued(), 1);
        first.applied();
        assert!(second.wait_in_line(100));
        drop(second);
        assert_eq!((ledger.queued(), ledger.missed().unwrap().writes), (0, 1));
    }
}
