//! A connection to a server, on which commands of many callers leave in one write and their answers are read
//! together.

use std::borrow::Cow;
use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisResult, Value};
use storage_core::batcher::{BatchCall, BatchOp, Batcher, Bounds, Unanswered};
use storage_core::{ServerClock, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::clock::ask_server;
use super::request::SendError;

/// How commands go together. The server is at work on one small batch while the next is made; a full one
/// leaves without waiting for anything. Calls under way are bounded by the limits around the storage.
const BOUNDS: Bounds =
    Bounds { size: 64, in_flight: 2, queue: 1_000_000, when_idle: false, full_leaves: true };

/// A connection to a server.
#[derive(Clone)]
pub(super) struct NodeConnection {
    connection: MultiplexedConnection,
    batcher: Arc<Batcher<Pipelines>>,
    clock: Arc<Mutex<ServerClock>>,
}

impl NodeConnection {
    /// Asks the server for its time first.
    pub(super) async fn new(mut connection: MultiplexedConnection) -> RedisResult<Self> {
        let clock = ask_server(&mut connection).await?;
        let batcher = Batcher::new(Pipelines(connection.clone()), BOUNDS);
        Ok(Self { connection, batcher: Arc::new(batcher), clock: Arc::new(Mutex::new(clock)) })
    }

    /// The connection itself, for what does not go together with others.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
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

    /// Sends a command and waits for its answer until the deadline.
    pub(super) async fn send<'a>(
        &'a self,
        command: Cow<'a, Cmd>,
        deadline: Instant,
    ) -> Result<Value, SendError> {
        let alone = |command: Outgoing<'a>| {
            let mut connection = self.connection();
            async move {
                match timeout_at(deadline, connection.req_packed_command(&command.0)).await {
                    Ok(answer) => answer.map_err(SendError::Redis),
                    Err(_) => Err(SendError::OutOfTime),
                }
            }
            .boxed()
        };
        self.batcher.call(Outgoing(command), deadline, alone).await
    }
}

/// A command on its way out; it is copied only if it has to wait.
struct Outgoing<'a>(Cow<'a, Cmd>);

impl From<Outgoing<'_>> for Cmd {
    fn from(outgoing: Outgoing<'_>) -> Self {
        outgoing.0.into_owned()
    }
}

/// Sends commands as a pipeline.
struct Pipelines(MultiplexedConnection);

impl BatchOp for Pipelines {
    type Request = Cmd;
    type Answer = Result<Value, SendError>;

    async fn run(&self, calls: Vec<BatchCall<Cmd>>) -> Vec<Self::Answer> {
        let number = calls.len();
        let mut pipeline = Pipeline::with_capacity(number);
        for call in calls {
            pipeline.add_command(call.request);
        }
        match self.0.clone().req_packed_commands(&pipeline, 0, number).await {
            Ok(values) => values.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(SendError::Redis(error)); number],
        }
    }

    fn unanswered(&self, reason: Unanswered) -> Self::Answer {
        Err(match reason {
            Unanswered::NotSent | Unanswered::Closed => SendError::NotSent,
            Unanswered::Sent => SendError::OutOfTime,
        })
    }
}
