//! The clock of a server, as seen from one connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::Timestamp;

/// How long a look at a server's clock is trusted: clocks are set, and drift.
const TRUSTED: Duration = Duration::from_secs(30);

/// How far two looks may be apart, beside what the answers took.
const TOLERANCE: Duration = Duration::from_millis(50);

/// What a server said of its clock, carried on by our monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct ServerClock {
    /// When the answer came.
    at: Instant,
    /// What the answer says. The server's clock had gone on by then.
    time: Timestamp,
    /// How long the answer took.
    took: Duration,
}

impl ServerClock {
    /// A server that was asked at this instant has just answered with its time.
    pub fn answered(asked: Instant, time: Timestamp) -> Self {
        let at = Instant::now();
        Self { at, time, took: at - asked }
    }

    /// Whether it is to be asked again.
    pub fn is_old(&self) -> bool {
        self.at.elapsed() > TRUSTED
    }

    /// The server's time at an instant, or a little before it: never later than the server's clock shows
    /// then.
    pub fn time_at(&self, instant: Instant) -> Timestamp {
        self.time.after(instant.saturating_duration_since(self.at))
    }

    /// Whether the server may have come to [`time_at`](Self::time_at) this deadline by now.
    pub fn may_have_passed(&self, deadline: Instant) -> bool {
        Instant::now() + self.took >= deadline
    }

    /// Whether the clock was set between this look and a later one.
    pub fn was_set_before(&self, later: &Self) -> bool {
        let expected = self.time_at(later.at);
        expected.since(later.time).max(later.time.since(expected)) > self.took + later.took + TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_seconds(1_795_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_goes_on_and_is_never_ahead_of_the_server() {
        let asked = Instant::now();
        tokio::time::advance(seconds(1)).await;
        let clock = ServerClock::answered(asked, NOON);
        let now = Instant::now();
        assert_eq!(clock.time_at(now), NOON);
        assert_eq!(clock.time_at(now + seconds(5)), NOON.after(seconds(5)));
        assert!(!clock.may_have_passed(now + seconds(2)) && clock.may_have_passed(now + seconds(1)));
        assert!(!clock.is_old());
        tokio::time::advance(seconds(31)).await;
        assert!(clock.is_old());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_noticed_in_either_direction() {
        let clock = ServerClock::answered(Instant::now(), NOON);
        tokio::time::advance(seconds(10)).await;
        for (shows, was_set) in [(10, false), (12, true), (8, true)] {
            let later = ServerClock::answered(Instant::now(), NOON.after(seconds(shows)));
            assert_eq!(clock.was_set_before(&later), was_set, "{shows}");
        }
    }
}
