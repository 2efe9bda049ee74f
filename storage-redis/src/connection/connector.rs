//! Making connections: to a server, to the primary that the sentinels name, to a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use redis::{AsyncConnectionConfig, Client, RedisError};
use storage_core::config::Problem;
use storage_core::{ServerTime, SharedObserver, TaskSpawner};

use super::clients::{Clients, NodeClients, connect_timeout, response_timeout};
use super::cluster::Cluster;
use super::error::describe;
use super::link::Link;
use super::node::{NodeConnection, ReplicaWait};
use super::sentinels::Term;
use crate::NAME;
use crate::config::RedisConfig;

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

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionUse {
    /// All calls.
    Shared,
    /// Writes that are acknowledged when replicas have them.
    Replicated,
}

/// Why there is no connection, and to where.
#[derive(Clone)]
pub(super) struct ConnectError {
    pub(super) address: String,
    pub(super) error: RedisError,
}

/// Makes connections of one configuration.
pub(super) struct Connector {
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

    /// Makes a connection.
    pub(super) fn connect(
        self: &Arc<Self>,
        purpose: ConnectionUse,
    ) -> BoxFuture<'static, Result<Live, ConnectError>> {
        let connector = Arc::clone(self);
        let wait = self.wait.filter(|_| purpose == ConnectionUse::Replicated);
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
    pub(super) fn time(&self) -> &ServerTime {
        &self.time
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.clients, Clients::Cluster(..))
    }

    pub(super) fn is_sentinel(&self) -> bool {
        matches!(self.clients, Clients::Sentinel(_))
    }

    /// The sentinels that do not answer, and why.
    pub(super) fn silent_sentinels(&self) -> Vec<(String, String)> {
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
    pub(super) async fn target(&self) -> String {
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
