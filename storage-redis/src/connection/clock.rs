//! The clock of a server, as seen from one connection.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{RedisError, RedisResult};
use storage_core::Timestamp;
use tokio::time::Instant;

/// What the server said of its clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerClock {
    /// When the answer came, by our monotonic clock.
    at: Instant,
    /// What the answer says. The server's clock had gone on by then.
    time: Timestamp,
}

impl ServerClock {
    /// Asks the server.
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let answer = connection.req_packed_command(&redis::cmd("TIME")).await?;
        let at = Instant::now();
        let (seconds, microseconds): (i64, i64) =
            redis::from_redis_value(answer.extract_error()?).map_err(|error| {
                RedisError::from((redis::ErrorKind::Parse, "TIME is no time", error.to_string()))
            })?;
        let time = Timestamp::from_seconds(seconds).after(Duration::from_micros(microseconds.unsigned_abs()));
        Ok(Self { at, time })
    }

    /// The server's time at an instant, or a little before it: never later than the server's clock shows
    /// then.
    pub(super) fn time_at(&self, instant: Instant) -> Timestamp {
        self.time.after(instant.saturating_duration_since(self.at))
    }
}
