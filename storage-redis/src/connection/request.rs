//! What can be sent.

use std::borrow::Cow;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::time::{Instant, timeout_at};

use super::cluster::Cluster;
use super::connector::{ConnectError, Transport};
use super::node::NodeConnection;
use crate::layout::read_decimal;

/// A node that holds data of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// The only one.
    Only,
    /// One of a cluster, by its address.
    At(String),
}

/// Why there is no answer.
#[derive(Clone)]
pub(crate) enum SendError {
    /// It did not leave in time.
    NotSent,
    /// There is no connection to the node that it was sent on to.
    NoConnection(ConnectError),
    /// The answer did not come in time.
    OutOfTime,
    /// The server has written it, and fewer replicas than must.
    TooFewReplicas { reached: i64, wanted: u32 },
    /// What the connection or the server said.
    Redis(RedisError),
}

impl From<RedisError> for SendError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

/// Waits for the answer no longer than to the deadline.
pub(super) async fn by<T, E: Into<SendError>>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, SendError> {
    match timeout_at(deadline, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(SendError::OutOfTime),
    }
}

/// Something to send; it can be sent again.
pub(super) enum Request {
    Command(Cmd),
    /// A call of a script that takes an expiry, which is added when it is sent.
    Write(Cmd),
    /// To one server only.
    Pipeline(Pipeline),
    /// To the cluster's node of that address.
    On(String, Cmd),
    /// To all nodes of a cluster that hold data of their own.
    OnPrimaries(Cmd),
}

impl Request {
    pub(super) fn pipeline(commands: Vec<Cmd>) -> Self {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        Self::Pipeline(pipeline)
    }

    pub(super) fn transaction(commands: Vec<Cmd>) -> Self {
        let mut request = Self::pipeline(commands);
        if let Self::Pipeline(pipeline) = &mut request {
            pipeline.atomic();
        }
        request
    }

    /// The commands, one for each answer.
    pub(super) fn commands(&self) -> impl Iterator<Item = &Cmd> {
        let (one, several) = match self {
            Self::Command(command) | Self::Write(command) => (Some(command), None),
            Self::On(_, command) | Self::OnPrimaries(command) => (Some(command), None),
            Self::Pipeline(pipeline) => (None, Some(pipeline.cmd_iter())),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// Sends it and waits for the answers until the deadline; those of several commands may be refusals.
    pub(super) async fn send(
        &self,
        transport: Transport,
        deadline: Instant,
    ) -> Result<Vec<Value>, SendError> {
        match transport {
            Transport::Node(node) => self.send_to_node(node, deadline).await,
            Transport::Cluster(cluster) => self.send_to_cluster(cluster, deadline).await,
        }
    }

    async fn send_to_node(&self, node: NodeConnection, deadline: Instant) -> Result<Vec<Value>, SendError> {
        let command = match self {
            Self::Command(command) | Self::On(_, command) | Self::OnPrimaries(command) => {
                Cow::Borrowed(command)
            }
            Self::Write(command) => Cow::Owned(expiring(command, node.time_at(deadline).microseconds())),
            Self::Pipeline(pipeline) if !pipeline.is_transaction() => {
                return by(deadline, node.send_all(pipeline)).await;
            }
            Self::Pipeline(pipeline) => {
                return by(deadline, send_transaction(pipeline, node.connection())).await;
            }
        };
        Ok(single(Ok(node.send(command, deadline).await?))?)
    }

    async fn send_to_cluster(&self, cluster: Cluster, deadline: Instant) -> Result<Vec<Value>, SendError> {
        let answer = match self {
            Self::Command(command) => cluster.send(command, deadline).await,
            // Each node has a clock of its own, and the slot may move to another one.
            Self::Write(command) => cluster.send(&expiring(command, NEVER), deadline).await,
            Self::On(address, command) => cluster.send_to(address, command, deadline).await,
            Self::OnPrimaries(command) => cluster.send_to_all(command, deadline).await,
            Self::Pipeline(_) => {
                Err(RedisError::from((ErrorKind::Client, "a pipeline is for one server")).into())
            }
        };
        Ok(vec![answer?])
    }
}

/// An expiry that never comes: microseconds that Lua's numbers can hold.
const NEVER: i64 = 1 << 53;

fn expiring(command: &Cmd, expiry: i64) -> Cmd {
    let mut command = command.clone();
    command.arg(expiry);
    command
}

/// The keys of a command: those of a script, or the one that follows the command's name. The commands without any
/// that go by their keys have no arguments.
pub(crate) fn keys(command: &Cmd) -> impl Iterator<Item = &[u8]> {
    let mut arguments = command.args_iter().filter_map(|argument| match argument {
        redis::Arg::Simple(argument) => Some(argument),
        _ => None,
    });
    let number = match arguments.next() {
        Some(b"EVALSHA") => arguments.nth(1).and_then(read_decimal).unwrap_or(0),
        _ => 1,
    };
    arguments.take(number)
}

/// Loads the scripts; on a cluster, on all nodes that can be reached.
///
/// # Errors
/// One of those of the nodes that could not.
pub(super) async fn load_scripts(transport: Transport) -> RedisResult<()> {
    match transport {
        Transport::Node(node) => node.load_scripts().await,
        Transport::Cluster(cluster) => cluster.load_scripts().await,
    }
}

async fn send_transaction(
    pipeline: &Pipeline,
    mut connection: MultiplexedConnection,
) -> RedisResult<Vec<Value>> {
    // The answers to MULTI and to each command are no more than that they are queued.
    let mut answers = connection.req_packed_commands(pipeline, pipeline.len() + 1, 1).await?;
    match answers.pop() {
        Some(Value::Array(values)) => Ok(values),
        Some(Value::ServerError(error)) => Err(error.into()),
        _ => Err((ErrorKind::UnexpectedReturnType, "a transaction has no answers").into()),
    }
}

fn single(answer: RedisResult<Value>) -> RedisResult<Vec<Value>> {
    answer.and_then(Value::extract_error).map(|value| vec![value])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts;

    #[test]
    fn the_keys_of_a_script_come_after_its_hash_and_their_number() {
        let keys_of = |command: &Cmd| keys(command).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(keys_of(redis::cmd("HGET").arg("CHI_D").arg("field")), [b"CHI_D"]);
        assert_eq!(keys_of(scripts::JOIN.call(&["CHI_I", "CHI_D"]).arg("field")), [b"CHI_I", b"CHI_D"]);
        assert_eq!(keys_of(&redis::cmd("PING")), [b""; 0]);
    }
}
