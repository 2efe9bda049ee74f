//! What can be sent.

use std::borrow::Cow;

use futures::future::join_all;
use redis::aio::ConnectionLike;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::time::{Instant, timeout_at};

use super::connector::Wire;
use super::node::NodeConnection;
use crate::scripts;

/// A node that holds data of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// The only one.
    Only,
    /// One of a cluster, by its address.
    At(String),
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum SendError {
    /// It did not leave in time.
    NotSent,
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

    /// Sends it and waits for the answers until the deadline; those of several commands may be refusals.
    pub(super) async fn send(&self, wire: Wire, deadline: Instant) -> Result<Vec<Value>, SendError> {
        match wire {
            Wire::Node(node) => self.send_to_node(node, deadline).await,
            Wire::Cluster(cluster) => by(deadline, self.send_to_cluster(cluster)).await,
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
                return by(deadline, send_pipeline(pipeline, node.connection())).await;
            }
        };
        Ok(single(Ok(node.send(command, deadline).await?))?)
    }

    async fn send_to_cluster(&self, mut cluster: ClusterConnection) -> RedisResult<Vec<Value>> {
        match self {
            Self::Command(command) => single(cluster.req_packed_command(command).await),
            // Each node has a clock of its own, and redis-rs chooses the node.
            Self::Write(command) => single(cluster.req_packed_command(&expiring(command, NEVER)).await),
            Self::Pipeline(pipeline) => send_pipeline(pipeline, cluster).await,
            Self::On(address, command) => {
                let route = RoutingInfo::SingleNode(by_address(address)?);
                single(cluster.route_command(command.clone(), route).await)
            }
            Self::OnPrimaries(command) => {
                let route = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                single(cluster.route_command(command.clone(), route).await)
            }
        }
    }
}

/// An expiry that never comes: microseconds that Lua's numbers can hold.
const NEVER: i64 = 1 << 53;

fn expiring(command: &Cmd, expiry: i64) -> Cmd {
    let mut command = command.clone();
    command.arg(expiry);
    command
}

/// Loads the scripts; on a cluster, on all nodes that can be reached.
///
/// # Errors
/// One of those of the nodes that could not.
pub(super) async fn load_scripts(wire: Wire) -> RedisResult<()> {
    match wire {
        Wire::Node(node) => scripts::load_all().exec_async(&mut node.connection()).await,
        Wire::Cluster(connection) => {
            let loads = scripts::load_commands().map(|command| {
                let mut connection = connection.clone();
                async move { command.exec_async(&mut connection).await }
            });
            join_all(loads).await.into_iter().collect()
        }
    }
}

async fn send_pipeline(pipeline: &Pipeline, mut connection: impl ConnectionLike) -> RedisResult<Vec<Value>> {
    if !pipeline.is_transaction() {
        return connection.req_packed_commands(pipeline, 0, pipeline.len()).await;
    }
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

fn by_address(address: &str) -> RedisResult<SingleNodeRoutingInfo> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.ok_or((ErrorKind::Client, "a node's address has an unexpected form"))?;
    Ok(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port })
}
