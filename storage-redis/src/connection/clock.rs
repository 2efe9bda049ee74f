//! Asking the server for its time.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
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

/// Asks all nodes of a cluster that hold data of their own.
pub(super) async fn ask_primaries(mut cluster: ClusterConnection) -> RedisResult<Vec<ServerClock>> {
    let asked = Instant::now();
    let route = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let answers: Vec<(String, Time)> = read(cluster.route_command(redis::cmd("TIME"), route).await?)?;
    Ok(answers.into_iter().map(|(_, time)| clock(asked, time)).collect())
}

fn read<T: FromRedisValue>(answer: Value) -> RedisResult<T> {
    redis::from_redis_value(answer.extract_error()?)
        .map_err(|error| RedisError::from((redis::ErrorKind::Parse, "TIME is no time", error.to_string())))
}

fn clock(asked: Instant, (seconds, microseconds): Time) -> ServerClock {
    let time = Timestamp::from_seconds(seconds).after(Duration::from_micros(microseconds.unsigned_abs()));
    ServerClock::answered(asked, time)
}
