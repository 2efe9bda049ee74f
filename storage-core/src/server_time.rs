//! The time that a storage goes by: its server's, carried on between looks at the server's clock.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Event, ServerClock, SharedObserver, Timestamp};

/// Clocks that are further apart than this are wrong.
const APART: Duration = Duration::from_secs(30);

/// What is known of the clock of a storage's server.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ClockReading {
    /// By how many seconds the server's clock is ahead of this machine's; negative: behind.
    pub ahead_seconds: f64,
    /// How long ago it was noticed that one of the clocks is wrong or was set, by more than 30 s.
    pub noticed: Option<Duration>,
}

impl ClockReading {
    /// What an operator should know, if the clocks are further apart than this.
    pub fn warning(&self, tolerance: Duration) -> Option<String> {
        let apart = Duration::from_secs_f64(self.ahead_seconds.abs());
        let direction = if self.ahead_seconds < 0.0 { "behind" } else { "ahead of" };
        (apart > tolerance).then(|| {
            let apart = Duration::from_secs_f64((apart.as_secs_f64() * 10.0).round() / 10.0);
            format!("the server's clock is {apart:?} {direction} this machine's; the server's time is used")
        })
    }
}

/// The time of a storage's server: one for all connections, whichever server they lead to. It goes on by the
/// monotonic clock of this machine from the last look. It goes backwards only with a server's clock that was ahead
/// by more than 30 s: peers of nodes that never saw that clock would otherwise be stale here.
pub struct ServerTime {
    backend: &'static str,
    observer: SharedObserver,
    state: Mutex<ClockState>,
}

#[derive(Default)]
struct ClockState {
    /// The median of the clocks of the last look: between looks all advance by this machine's monotonic clock.
    clock: Option<ServerClock>,
    /// The latest time given, unless it turned out to be wrong.
    latest: Option<Timestamp>,
    /// By how many nanoseconds the server was ahead of this machine at the last look.
    ahead: i64,
    /// The same when it was last noticed.
    noticed_ahead: i64,
    noticed: Option<Instant>,
}

impl ClockState {
    fn time(&self) -> Option<Timestamp> {
        self.clock.map(|clock| clock.time_at(Instant::now()))
    }
}

impl ServerTime {
    /// Nothing is known of the server's clock yet; the observer is told of it.
    pub fn new(backend: &'static str, observer: SharedObserver) -> Self {
        Self { backend, observer, state: Mutex::default() }
    }

    /// The server's clock was looked at, or those of all servers that count. None: nothing changes.
    pub fn looked(&self, clocks: &[ServerClock]) {
        let Some(clock) = median(clocks) else { return };
        let (was_noticed, ahead) = {
            let mut state = self.state.lock();
            let before = state.time();
            state.clock = Some(clock);
            let time = clock.time_at(Instant::now());
            let was_set = before.is_some_and(|before| apart(before, time) > APART);
            state.ahead = time.nanoseconds().saturating_sub(Timestamp::now().nanoseconds());
            let differs = state.ahead.abs_diff(state.noticed_ahead) > APART.as_nanos() as u64;
            state.latest = state.latest.filter(|latest| latest.since(time) <= APART);
            if was_set || differs {
                state.noticed_ahead = state.ahead;
                state.noticed = Some(Instant::now());
            }
            (was_set || differs, state.ahead)
        };
        let ahead_seconds = ahead as f64 / 1e9;
        self.observer.observe(self.backend, Event::ClockLooked { ahead_seconds });
        if was_noticed {
            let reading = ClockReading { ahead_seconds, noticed: None };
            let what = reading.warning(APART);
            let what = what.as_deref().unwrap_or("the server's clock agrees with this machine's again");
            tracing::warn!(
                backend = self.backend,
                "{what}; garbage collection is postponed for one `peer_lifetime`"
            );
        }
    }

    /// The time; before the first look this machine's.
    pub fn now(&self) -> Timestamp {
        let mut state = self.state.lock();
        let Some(time) = state.time() else { return Timestamp::now() };
        let latest = state.latest.map_or(time, |latest| latest.max(time));
        state.latest = Some(latest);
        latest
    }

    /// What is known of the clock; `None` before the first look.
    pub fn reading(&self) -> Option<ClockReading> {
        let state = self.state.lock();
        state.clock.map(|_| ClockReading {
            ahead_seconds: state.ahead as f64 / 1e9,
            noticed: state.noticed.map(|noticed| noticed.elapsed()),
        })
    }
}

fn median(clocks: &[ServerClock]) -> Option<ServerClock> {
    let now = Instant::now();
    let mut clocks = clocks.to_vec();
    clocks.sort_by_key(|clock| clock.time_at(now));
    clocks.get(clocks.len() / 2).copied()
}

fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;
    use crate::NoObserver;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn time() -> ServerTime {
        ServerTime::new("test", Arc::new(NoObserver))
    }

    fn shows(time: Timestamp) -> ServerClock {
        ServerClock::answered(Instant::now(), time)
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_from_the_servers_clock() {
        let (time, noon) = (time(), Timestamp::now().after(HOUR));
        assert!(apart(time.now(), Timestamp::now()) < seconds(10));
        assert_eq!(time.reading(), None);
        time.looked(&[shows(noon)]);
        advance(seconds(90)).await;
        assert_eq!(time.now(), noon.after(seconds(90)));
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_backwards_only_where_it_was_wrong() {
        let (time, noon) = (time(), Timestamp::now());
        time.looked(&[shows(noon)]);
        assert_eq!(time.now(), noon);
        time.looked(&[shows(noon.before(seconds(20)))]);
        assert_eq!(time.now(), noon);
        advance(seconds(21)).await;
        assert_eq!(time.now(), noon.after(seconds(1)));
        time.looked(&[shows(noon.after(HOUR))]);
        assert_eq!(time.now(), noon.after(HOUR));
        time.looked(&[shows(noon)]);
        assert_eq!(time.now(), noon);
        assert_eq!(time.reading().unwrap().noticed, Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_clocks_the_median_counts() {
        let (time, noon) = (time(), Timestamp::now());
        time.looked(&[shows(noon.after(HOUR)), shows(noon), shows(noon.before(HOUR))]);
        assert_eq!(time.now(), noon);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_wrong_is_noticed_once_and_when_it_is_right_again() {
        let (time, noon) = (time(), Timestamp::now());
        let noticed = || time.reading().unwrap().noticed;
        time.looked(&[shows(noon)]);
        assert_eq!(noticed(), None);
        for ahead in [HOUR, Duration::ZERO] {
            time.looked(&[shows(noon.after(ahead))]);
            assert_eq!(noticed(), Some(Duration::ZERO));
            advance(seconds(20)).await;
            time.looked(&[shows(noon.after(ahead + seconds(20)))]);
            assert_eq!(noticed(), Some(seconds(20)));
            advance(HOUR).await;
            time.looked(&[shows(noon.after(ahead))]);
        }
    }

    #[test]
    fn a_warning_says_how_far_and_in_which_direction() {
        let warning = |ahead_seconds| ClockReading { ahead_seconds, noticed: None }.warning(APART);
        assert_eq!(warning(29.0), None);
        assert!(warning(3_600.04).unwrap().contains("3600s ahead of"));
        assert!(warning(-3_600.04).unwrap().contains("3600s behind"));
    }
}
