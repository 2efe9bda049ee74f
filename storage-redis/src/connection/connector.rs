//! Making connections: to a server, to the primary that the sentinels name, to a cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, PushInfo, PushKind, RedisError, RedisResult, Value,
};
use storage_core::config::Problem;
use storage_core::{ServerTime, SharedObserver, TaskSpawner};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::clients::{Clients, NodeClients, connect_timeout, response_timeout};
use super::cluster::Cluster;
use super::node::{NodeConnection, ReplicaWait};
use super::sentinels::Term;
use crate::NAME;
use crate::config::RedisConfig;
use crate::error::describe;

/// A connection and what is needed to know that it is good no more.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) transport: Transport,
    lost: Arc<AtomicBool>,
    /// With Sentinel, while the sentinels name this server.
    term: Option<Term>,
}

impl Live {
    /// Whether it is known to be closed, or leads to a server that is the primary no more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed) || self.is_superseded()
    }

    /// Whether the sentinels have named another primary since.
    pub(super) fn is_superseded(&self) -> bool {
        self.term.as_ref().is_some_and(Term::is_over)
    }
}

/// What commands are sent over.
#[derive(Clone)]
pub(super) enum Transport {
    Node(NodeConnection),
    Cluster(Cluster),
}

/// Why there is no connection, and to where.
#[derive(Clone)]
pub(crate) struct ConnectError {
    pub(crate) address: String,
    pub(crate) error: RedisError,
}

/// Makes connections of one configuration.
pub(crate) struct Connector {
    clients: Clients,
    node_config: AsyncConnectionConfig,
    /// As configured.
    addresses: Vec<String>,
    response_timeout: Duration,
    wait: Option<ReplicaWait>,
    time: ServerTime,
}

impl Connector {
    /// With Sentinel, tasks follow the sentinels.
    pub(super) fn new(
        config: &RedisConfig,
        observer: SharedObserver,
        tasks: &TaskSpawner,
    ) -> Result<Self, Problem> {
        let node_config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(connect_timeout(config)))
            .set_response_timeout(Some(response_timeout(config)))
            // As many as redis-rs may gather into one write; its own 50 are fewer than callers wait.
            .set_pipeline_buffer_size(512);
        let (clients, addresses) = (Clients::new(config)?, config.addresses.clone());
        let response_timeout = response_timeout(config);
        let time = ServerTime::new(NAME, observer);
        if let Clients::Sentinel(sentinels) = &clients {
            sentinels.follow(tasks);
        }
        let wait = (config.wait_replicas > 0).then_some(ReplicaWait {
            replicas: config.wait_replicas,
            timeout: config.wait_timeout,
            has_all_keys: !matches!(clients, Clients::Cluster(_)),
        });
        Ok(Self { clients, node_config, addresses, response_timeout, wait, time })
    }

    /// Makes a connection, on which commands wait for replicas or not.
    pub(super) fn connect(
        self: &Arc<Self>,
        wait: Option<ReplicaWait>,
    ) -> BoxFuture<'static, Result<Live, ConnectError>> {
        let connector = Arc::clone(self);
        async move {
            match &connector.clients {
                Clients::Single(client) => connector.connect_node(client, None, wait).await,
                Clients::Sentinel(sentinels) => {
                    let (client, term) = sentinels.primary().await.map_err(|error| ConnectError {
                        address: format!("sentinels {}", connector.addresses()),
                        error,
                    })?;
                    connector.connect_node(&client, Some(term), wait).await
                }
                Clients::Cluster(nodes) => connector.connect_cluster(nodes, wait).await,
            }
        }
        .boxed()
    }

    /// Whether the server of a connection answers; looks at its clock again. That a node of a cluster does not is no
    /// reason to give up the others.
    pub(super) async fn check(&self, live: &Live) -> bool {
        match &live.transport {
            Transport::Node(node) => {
                let answers = node.check().await;
                if answers {
                    self.time.looked(&[node.clock()]);
                }
                answers
            }
            Transport::Cluster(cluster) => {
                self.time.looked(&cluster.clocks().await);
                true
            }
        }
    }

    /// The time of the server, or of the nodes of a cluster.
    pub(crate) fn time(&self) -> &ServerTime {
        &self.time
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.clients, Clients::Cluster(..))
    }

    pub(crate) fn is_sentinel(&self) -> bool {
        matches!(self.clients, Clients::Sentinel(_))
    }

    /// The sentinels that do not answer, and why.
    pub(crate) fn silent_sentinels(&self) -> Vec<(String, String)> {
        let Clients::Sentinel(sentinels) = &self.clients else { return Vec::new() };
        let failures = self.addresses.iter().zip(sentinels.failures());
        failures.filter_map(|(address, error)| Some((address.clone(), describe(&error?)))).collect()
    }

    /// All addresses, for messages.
    pub(super) fn addresses(&self) -> String {
        self.addresses.join(", ")
    }

    /// The replicas that writes wait for.
    pub(super) fn wait(&self) -> Option<ReplicaWait> {
        self.wait
    }

    /// The longest to wait for an answer, whatever it is to.
    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Where commands go at this time, for people to read.
    pub(crate) async fn target(&self) -> String {
        match &self.clients {
            Clients::Single(client) => address(client),
            Clients::Sentinel(sentinels) => match sentinels.primary().await {
                Ok((client, _)) => address(&client),
                Err(_) => "unknown".into(),
            },
            Clients::Cluster(..) => self.addresses(),
        }
    }

    async fn connect_node(
        &self,
        client: &Client,
        term: Option<Term>,
        wait: Option<ReplicaWait>,
    ) -> Result<Live, ConnectError> {
        let made = Link::make(client, &self.node_config, wait, term.is_some()).await;
        let Link { node, lost } = made.map_err(|error| ConnectError { address: address(client), error })?;
        self.time.looked(&[node.clock()]);
        Ok(Live { transport: Transport::Node(node), lost, term })
    }

    async fn connect_cluster(
        &self,
        nodes: &NodeClients,
        wait: Option<ReplicaWait>,
    ) -> Result<Live, ConnectError> {
        let (nodes, config) = (Arc::clone(nodes), self.node_config.clone());
        let cluster = Cluster::connect(&self.addresses, nodes, config, wait).await?;
        self.time.looked(&cluster.clocks().await);
        let lost = Arc::new(AtomicBool::new(false));
        Ok(Live { transport: Transport::Cluster(cluster), lost, term: None })
    }
}

fn address(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

/// The longest to wait for it. A server that takes the connection waits for a command, and says nothing.
const GREETING: Duration = Duration::from_millis(500);

/// More than a refusal is long.
const LONGEST: u64 = 1024;

/// The refusal of the server, if it is why the connection was lost; otherwise the error itself. One that wants TLS
/// says nothing to those who do not speak it.
///
/// A server that has no connection left, or that is protected from other machines, says so as soon as somebody
/// connects, and closes the connection. redis-rs has sent several commands by then and wants an answer to each, so
/// that it reports no more than a connection that was reset.
pub(super) async fn explain(error: RedisError, server: &ConnectionAddr) -> RedisError {
    let ConnectionAddr::Tcp(host, port) = server else { return error };
    if !is_hanging_up(&error) {
        return error;
    }
    timeout(GREETING, refusal(host, *port)).await.ok().flatten().unwrap_or(error)
}

/// Whether the server may have closed the connection by itself.
fn is_hanging_up(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Io && !error.is_connection_refusal() && !error.is_timeout()
}

async fn refusal(host: &str, port: u16) -> Option<RedisError> {
    let stream = TcpStream::connect((host, port)).await.ok()?;
    let mut said = Vec::new();
    stream.take(LONGEST).read_to_end(&mut said).await.ok()?;
    redis::parse_redis_value(&said).ok()?.extract_error().err()
}

/// A connection to a server that has the scripts, and what is needed to know that it is closed.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) node: NodeConnection,
    pub(super) lost: Arc<AtomicBool>,
}

impl Link {
    /// Connects; to a replica only if nobody says that it is the primary.
    pub(super) async fn make(
        client: &Client,
        config: &AsyncConnectionConfig,
        wait: Option<ReplicaWait>,
        is_named_by_sentinels: bool,
    ) -> RedisResult<Self> {
        let lost = Arc::new(AtomicBool::new(false));
        let config = config.clone().set_push_sender(note_disconnection(&lost));
        let connected = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            if is_named_by_sentinels {
                check_role(&mut connection).await?;
            }
            let node = NodeConnection::new(connection, wait).await?;
            node.load_scripts().await?;
            Ok(node)
        };
        match connected.await {
            Ok(node) => Ok(Self { node, lost }),
            Err(error) => Err(explain(error, client.get_connection_info().addr()).await),
        }
    }

    /// Whether it is known to be closed.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Sentinels may name a server that has become a replica, and one that is not the primary yet.
async fn check_role(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let answer = connection.req_packed_command(&redis::cmd("HELLO")).await?.extract_error()?;
    let mut about: HashMap<String, Value> = redis::from_redis_value(answer)?;
    let role: String = redis::from_redis_value(about.remove("role").unwrap_or(Value::Nil))?;
    if role == "master" {
        return Ok(());
    }
    Err(std::io::Error::other("the sentinels name it as the primary, but it is a replica").into())
}

fn note_disconnection(lost: &Arc<AtomicBool>) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    let lost = Arc::clone(lost);
    move |push| {
        if push.kind == PushKind::Disconnection {
            lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
