//! Whether the storage answers, asked on behalf of anybody: once a second at most.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::tracker::Tracker;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(1);

/// The last answer of a storage.
pub(crate) struct Health {
    begun: Instant,
    /// When it may be asked again, in milliseconds since the beginning.
    next: AtomicU64,
    healthy: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self { begun: Instant::now(), next: AtomicU64::new(0), healthy: AtomicBool::new(true) }
    }
}

impl Health {
    /// Whether the storage answers. Whoever comes while it is being asked gets the answer before.
    pub(crate) async fn of(&self, tracker: &Tracker) -> bool {
        if self.is_due() {
            self.healthy.store(tracker.is_healthy().await, Ordering::Relaxed);
        }
        self.healthy.load(Ordering::Relaxed)
    }

    fn is_due(&self) -> bool {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = self.begun.elapsed();
        let due = |next| (milliseconds(now) >= next).then(|| milliseconds(now + FRESH));
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}
