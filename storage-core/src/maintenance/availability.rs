//! Since when peers have been able to announce, as far as one node can see.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Shorter than this is no outage: every client announces again before it is stale.
const OUTAGE: Duration = Duration::from_secs(60);

/// How often a node looks whether it stood still.
pub(super) const WAKEUP_INTERVAL: Duration = Duration::from_secs(20);

/// Whether announces are stored, and since when.
#[derive(Debug)]
pub(super) struct Availability {
    state: Mutex<AvailabilityState>,
    /// Whether announces fail, so that those that do not take no lock.
    is_failing: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct AvailabilityState {
    /// When availability began, or began again.
    since: Instant,
    /// The first announce that failed and has had no successful one after it.
    failing: Option<Instant>,
}

impl Default for Availability {
    fn default() -> Self {
        Self::new()
    }
}

impl Availability {
    /// It begins.
    pub(super) fn new() -> Self {
        let state = Mutex::new(AvailabilityState { since: Instant::now(), failing: None });
        Self { state, is_failing: AtomicBool::new(false) }
    }

    /// An announce was stored, or was not.
    pub(super) fn record_announce(&self, is_stored: bool) {
        if is_stored && !self.is_failing.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock();
        self.is_failing.store(!is_stored, Ordering::Relaxed);
        if !is_stored {
            state.failing.get_or_insert_with(Instant::now);
        } else if state.failing.take().is_some_and(|since| since.elapsed() > OUTAGE) {
            state.since = Instant::now();
        }
    }

    /// A look came so much later than it was due.
    pub(super) fn record_wakeup(&self, late: Duration) {
        if late > OUTAGE {
            self.state.lock().since = Instant::now();
        }
    }

    /// What is left of the time after an outage, or during one; `None` if nothing is.
    pub(super) fn grace_left(&self, grace: Duration) -> Option<Duration> {
        let state = *self.state.lock();
        let is_out = state.failing.is_some_and(|since| since.elapsed() > OUTAGE);
        let left = if is_out { grace } else { grace.saturating_sub(state.since.elapsed()) };
        Some(left).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const GRACE: Duration = Duration::from_secs(1_800);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_begins_at_the_start() {
        let availability = Availability::new();
        advance(seconds(1_000)).await;
        assert_eq!(availability.grace_left(GRACE), Some(seconds(800)));
        advance(seconds(800)).await;
        assert_eq!(availability.grace_left(GRACE), None);
        assert_eq!(Availability::new().grace_left(Duration::ZERO), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_outage_begins_it_anew_and_a_short_one_does_not() {
        let availability = Availability::new();
        advance(GRACE).await;
        for (lasts, left) in [(30, None), (7_200, Some(GRACE))] {
            availability.record_announce(false);
            advance(seconds(lasts)).await;
            assert_eq!(availability.grace_left(GRACE), left, "while it lasts");
            availability.record_announce(false);
            availability.record_announce(true);
            assert_eq!(availability.grace_left(GRACE), left, "after it");
        }
        advance(GRACE).await;
        assert_eq!(availability.grace_left(GRACE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_between_successes_are_no_outage() {
        let availability = Availability::new();
        advance(GRACE).await;
        for _ in 0..100 {
            availability.record_announce(false);
            advance(seconds(10)).await;
            availability.record_announce(true);
        }
        assert_eq!(availability.grace_left(GRACE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_begins_it_anew() {
        let availability = Availability::new();
        advance(GRACE).await;
        availability.record_wakeup(seconds(59));
        assert_eq!(availability.grace_left(GRACE), None);
        availability.record_wakeup(seconds(3_000));
        assert_eq!(availability.grace_left(GRACE), Some(GRACE));
    }
}
