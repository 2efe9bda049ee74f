//! Asking the server for its time.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{RedisError, RedisResult};
use storage_core::{ServerClock, Timestamp};
use tokio::time::Instant;

/// Asks the server.
pub(super) async fn ask_server(connection: &mut MultiplexedConnection) -> RedisResult<ServerClock> {
    let asked = Instant::now();
    let answer = connection.req_packed_command(&redis::cmd("TIME")).await?;
    let (seconds, microseconds): (i64, i64) = redis::from_redis_value(answer.extract_error()?)
        .map_err(|error| RedisError::from((redis::ErrorKind::Parse, "TIME is no time", error.to_string())))?;
    let time = Timestamp::from_seconds(seconds).after(Duration::from_micros(microseconds.unsigned_abs()));
    Ok(ServerClock::answered(asked, time))
}
