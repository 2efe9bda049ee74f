//! Asking the server for its time.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{FromRedisValue, RedisError, RedisResult, Value};
use storage_core::{ServerClock, Timestamp};
use tokio::time::Instant;

/// What `TIME` answers: seconds and microseconds.
type Time = (i64, i64);

/// Asks the server.
pub(super) async fn ask_server(connection: &mut MultiplexedConnection) -> RedisResult<ServerClock> {
    let asked = Instant::now();
    let answer = connection.req_packed_command(&redis::cmd("TIME")).await?;
    Ok(clock(asked, read(answer)?))
}

fn read<T: FromRedisValue>(answer: Value) -> RedisResult<T> {
    redis::from_redis_value(answer.extract_error()?)
        .map_err(|error| RedisError::from((redis::ErrorKind::Parse, "TIME is no time", error.to_string())))
}

fn clock(asked: Instant, (seconds, microseconds): Time) -> ServerClock {
    let time = Timestamp::from_seconds(seconds).after(Duration::from_micros(microseconds.unsigned_abs()));
    ServerClock::answered(asked, time)
}
