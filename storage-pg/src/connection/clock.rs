//! The server's clock, as seen from one connection.

use std::time::Duration;

use sqlx::{PgConnection, Row};
use storage_core::Timestamp;
use tokio::time::Instant;

/// How long a look at the server's clock is trusted: clocks are set, and drift.
const TRUSTED: Duration = Duration::from_secs(30);

const ASK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8::text, version()";

/// How far two looks may be apart, beside what the answers took.
const TOLERANCE: Duration = Duration::from_millis(50);

/// What the server said of its clock and of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerClock {
    /// When the answer came, by our monotonic clock.
    at: Instant,
    /// What the answer says. The server's clock had gone on by then.
    time: Timestamp,
    /// How long the answer took.
    took: Duration,
}

impl ServerClock {
    /// Asks the server, which says its version too.
    pub(crate) async fn ask(connection: &mut PgConnection) -> sqlx::Result<(Self, String)> {
        let begun = Instant::now();
        // In one message: behind a pooler the next one may reach another session.
        let row = sqlx::raw_sql(ASK).fetch_one(connection).await?;
        let at = Instant::now();
        let microseconds: String = row.try_get(0)?;
        let microseconds = microseconds
            .parse()
            .map_err(|_| sqlx::Error::Decode("the server's clock shows no time".into()))?;
        let time = Timestamp::from_microseconds(microseconds);
        Ok((Self { at, time, took: at - begun }, row.try_get(1)?))
    }

    /// Whether it is to be asked again.
    pub(super) fn is_old(&self) -> bool {
        self.at.elapsed() > TRUSTED
    }

    /// The server's time at an instant, or a little before it: never later than the server's clock shows
    /// then.
    pub(crate) fn time_at(&self, instant: Instant) -> Timestamp {
        self.time.after(instant.saturating_duration_since(self.at))
    }

    /// Whether the server may have come to [`time_at`](Self::time_at) this deadline by now.
    pub(crate) fn may_have_passed(&self, deadline: Instant) -> bool {
        Instant::now() + self.took >= deadline
    }

    /// Whether the clock was set between this look and a later one.
    pub(crate) fn was_set_before(&self, later: &Self) -> bool {
        let expected = self.time_at(later.at);
        expected.since(later.time).max(later.time.since(expected)) > self.took + later.took + TOLERANCE
    }
}
