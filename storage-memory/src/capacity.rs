//! A limit on the number of entries.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts entries up to a limit.
pub(crate) struct Capacity {
    used: AtomicUsize,
    limit: usize,
}

impl Capacity {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Counts a new entry; false if the limit is reached.
    pub(crate) fn acquire(&self) -> bool {
        let one_more = |used| (used < self.limit).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts this many entries no longer.
    pub(crate) fn release(&self, entries: usize) {
        if entries > 0 {
            self.used.fetch_sub(entries, Ordering::Relaxed);
        }
    }
}
