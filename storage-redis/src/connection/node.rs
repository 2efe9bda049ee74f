//! A connection to a server, on which commands of many callers leave in one write and their answers are read
//! together.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value};
use storage_core::batcher::{BatchCall, BatchOp, Batcher, Bounds, Unanswered};
use storage_core::{ServerClock, Timestamp};
use tokio::time::Instant;

use super::request::{SendError, by, keys};
use crate::layout::DOWNLOADS;
use crate::scripts;

/// How commands go together. The server is at work on one small batch while the next is made; a full one
/// leaves without waiting for anything. Calls under way are bounded by the limits around the storage.
const BOUNDS: Bounds =
    Bounds { size: 64, in_flight: 2, queue: 1_000_000, queue_when_idle: false, flush_when_full: true };

/// How commands go together that wait for replicas: the server does nothing else for the connection meanwhile.
const WAITING_BOUNDS: Bounds = Bounds { size: 1024, ..BOUNDS };

/// How many replicas must have what was written before it is acknowledged, and how long that may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplicaWait {
    pub(super) replicas: u32,
    pub(super) timeout: Duration,
    /// Whether the server has all keys, and not those of some slots.
    pub(super) has_all_keys: bool,
}

/// A connection to a server.
#[derive(Clone)]
pub(super) struct NodeConnection {
    pipelines: Pipelines,
    batcher: Arc<Batcher<Pipelines>>,
    clock: Arc<Mutex<ServerClock>>,
}

impl NodeConnection {
    /// Asks the server for its time first. With `wait`, nothing is answered before so many replicas have what was
    /// written.
    pub(super) async fn new(
        mut connection: MultiplexedConnection,
        wait: Option<ReplicaWait>,
    ) -> RedisResult<Self> {
        let clock = ask_server(&mut connection).await?;
        let bounds = if wait.is_some() { WAITING_BOUNDS } else { BOUNDS };
        let pipelines = Pipelines { connection, wait };
        let batcher = Arc::new(Batcher::new(pipelines.clone(), bounds));
        Ok(Self { pipelines, batcher, clock: Arc::new(Mutex::new(clock)) })
    }

    /// The connection itself, for what does not go together with others.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.pipelines.connection.clone()
    }

    /// The server's time at an instant, or a little before it.
    pub(super) fn time_at(&self, instant: Instant) -> Timestamp {
        self.clock.lock().time_at(instant)
    }

    /// The server's clock, at the last look.
    pub(super) fn clock(&self) -> ServerClock {
        *self.clock.lock()
    }

    /// Whether the server answers; looks at its clock again.
    pub(super) async fn check(&self) -> bool {
        let clock = ask_server(&mut self.connection()).await;
        if let Ok(clock) = &clock {
            *self.clock.lock() = *clock;
        }
        clock.is_ok()
    }

    /// Loads the scripts.
    pub(super) async fn load_scripts(&self) -> RedisResult<()> {
        scripts::load_all().exec_async(&mut self.connection()).await
    }

    /// Sends a command and waits for its answer until the deadline.
    pub(super) async fn send<'a>(
        &'a self,
        command: Cow<'a, Cmd>,
        deadline: Instant,
    ) -> Result<Value, SendError> {
        let alone = |command: Outgoing<'a>| by(deadline, self.pipelines.send_one(command)).boxed();
        self.batcher.call(Outgoing(command), deadline, alone).await
    }

    /// Sends commands together, which is no transaction, and gives their answers.
    pub(super) async fn send_all(&self, pipeline: &Pipeline) -> Result<Vec<Value>, SendError> {
        self.pipelines.send(Cow::Borrowed(pipeline)).await?.into_iter().collect()
    }
}

/// A command on its way out; it is copied only if it has to wait.
struct Outgoing<'a>(Cow<'a, Cmd>);

impl From<Outgoing<'_>> for Cmd {
    fn from(outgoing: Outgoing<'_>) -> Self {
        outgoing.0.into_owned()
    }
}

/// Sends commands as pipelines, each of which may wait for replicas.
#[derive(Clone)]
struct Pipelines {
    connection: MultiplexedConnection,
    wait: Option<ReplicaWait>,
}

impl Pipelines {
    async fn send_one(&self, command: Outgoing<'_>) -> Result<Value, SendError> {
        if self.wait.is_none() {
            return Ok(self.connection.clone().req_packed_command(&command.0).await?);
        }
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command.into());
        let mut answers = self.send(Cow::Owned(pipeline)).await?;
        answers.pop().unwrap_or(Ok(Value::Nil))
    }

    /// The answer to each. What was written, and is not on enough replicas in time, has failed.
    async fn send(&self, pipeline: Cow<'_, Pipeline>) -> Result<Vec<Result<Value, SendError>>, SendError> {
        let (mut connection, number) = (self.connection.clone(), pipeline.len());
        let Some(ReplicaWait { replicas, timeout, has_all_keys }) = self.wait else {
            let values = connection.req_packed_commands(&pipeline, 0, number).await?;
            return Ok(values.into_iter().map(Ok).collect());
        };
        let mut pipeline = pipeline.into_owned();
        if has_all_keys {
            pipeline.add_command(scripts::mark(DOWNLOADS));
        } else if let Some(mark) = pipeline.cmd_iter().flat_map(keys).last().map(scripts::mark) {
            // It may be in a slot that this node is about to get.
            pipeline.cmd("ASKING").add_command(mark);
        }
        pipeline.cmd("WAIT").arg(replicas).arg(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1));
        let mut values = connection.req_packed_commands(&pipeline, 0, pipeline.len()).await?;
        let waited = values.pop().unwrap_or(Value::Nil).extract_error()?;
        let Value::Int(reached) = waited else {
            return Err(SendError::Redis(
                (ErrorKind::UnexpectedReturnType, "WAIT returned no number").into(),
            ));
        };
        // A mark is refused where the server refuses writes, and of no use to those that it has not refused.
        values.truncate(number);
        let is_kept = u64::try_from(reached).is_ok_and(|reached| reached >= u64::from(replicas));
        let answers = values.into_iter().map(|value| match value {
            // Nothing was written.
            Value::ServerError(_) => Ok(value),
            _ if is_kept => Ok(value),
            _ => Err(SendError::TooFewReplicas { reached, wanted: replicas }),
        });
        Ok(answers.collect())
    }
}

impl BatchOp for Pipelines {
    type Request = Cmd;
    type Answer = Result<Value, SendError>;

    async fn run(&self, calls: Vec<BatchCall<Cmd>>) -> Vec<Self::Answer> {
        let number = calls.len();
        let mut pipeline = Pipeline::with_capacity(number);
        for call in calls {
            pipeline.add_command(call.request);
        }
        self.send(Cow::Owned(pipeline)).await.unwrap_or_else(|error| vec![Err(error); number])
    }

    fn unanswered(&self, reason: Unanswered) -> Self::Answer {
        Err(match reason {
            Unanswered::NotSent | Unanswered::Closed => SendError::NotSent,
            Unanswered::Sent => SendError::OutOfTime,
        })
    }
}

/// What `TIME` answers: seconds and microseconds.
type Time = (i64, i64);

/// Asks the server.
pub(super) async fn ask_server(connection: &mut MultiplexedConnection) -> RedisResult<ServerClock> {
    let asked = Instant::now();
    let answer = connection.req_packed_command(&redis::cmd("TIME")).await?;
    Ok(clock(asked, read(answer)?))
}

fn read<T: FromRedisValue>(answer: Value) -> RedisResult<T> {
    redis::from_redis_value(answer.extract_error()?).map_err(|error| {
        RedisError::from((redis::ErrorKind::Parse, "TIME returned no time", error.to_string()))
    })
}

fn clock(asked: Instant, (seconds, microseconds): Time) -> ServerClock {
    let time = Timestamp::from_seconds(seconds).after(Duration::from_micros(microseconds.unsigned_abs()));
    ServerClock::answered(asked, time)
}
