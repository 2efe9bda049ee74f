//! Making connections: to a server, to the primary that the sentinels name, to a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError};
use storage_core::config::Problem;
use storage_core::{ServerTime, SharedObserver};

use super::clients::{Clients, NodeClients, SentinelClients, connect_timeout, response_timeout};
use super::cluster::Cluster;
use super::node::NodeConnection;
use super::renewable::Renewable;
use super::request::load_scripts;
use crate::NAME;
use crate::config::RedisConfig;

/// A connection and what is needed to know that it is good no more.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) wire: Wire,
    lost: Arc<AtomicBool>,
    /// Which answer of the sentinels led to it.
    primary: u64,
}

impl Live {
    /// Whether it is known to be closed.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// What commands are sent over.
#[derive(Clone)]
pub(super) enum Wire {
    Node(NodeConnection),
    Cluster(Cluster),
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
    /// With Sentinel, the primary that the sentinels named last.
    primary: Renewable<Client, ConnectError>,
    node_config: AsyncConnectionConfig,
    seeds: Vec<String>,
    /// All addresses as one text, for messages.
    addresses: String,
    response_timeout: Duration,
    time: ServerTime,
}

impl Connector {
    pub(super) fn new(config: &RedisConfig, observer: SharedObserver) -> Result<Self, Problem> {
        let node_config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(connect_timeout(config)))
            .set_response_timeout(Some(response_timeout(config)))
            // As many as redis-rs may gather into one write; its own 50 are fewer than callers wait.
            .set_pipeline_buffer_size(512);
        let (clients, addresses) = (Clients::new(config)?, config.addresses.join(", "));
        let seeds = config.addresses.clone();
        let response_timeout = response_timeout(config);
        let time = ServerTime::new(NAME, observer);
        Ok(Self {
            clients,
            primary: Renewable::default(),
            node_config,
            seeds,
            addresses,
            response_timeout,
            time,
        })
    }

    /// Makes a connection.
    pub(super) fn connect(self: &Arc<Self>) -> BoxFuture<'static, Result<Live, ConnectError>> {
        let connector = Arc::clone(self);
        async move {
            match &connector.clients {
                Clients::Single(client) => connector.connect_node(client, 0).await,
                Clients::Sentinel(sentinels) => {
                    let (generation, client) = connector.primary.get(|_| connector.ask(sentinels)).await?;
                    let connected = connector.connect_node(&client, generation).await;
                    if connected.is_err() {
                        connector.primary.give_up(generation);
                    }
                    connected
                }
                Clients::Cluster(nodes) => connector.connect_cluster(nodes).await,
            }
        }
        .boxed()
    }

    /// Whether the server of a connection answers; looks at its clock again. That a node of a cluster does not is no
    /// reason to give up the others.
    pub(super) async fn check(&self, live: &Live) -> bool {
        match &live.wire {
            Wire::Node(node) => {
                let answers = node.check().await;
                if answers {
                    self.time.looked(&[node.clock()]);
                }
                answers
            }
            Wire::Cluster(cluster) => {
                self.time.looked(&cluster.clocks().await);
                true
            }
        }
    }

    /// The time of the server, or of the nodes of a cluster.
    pub(super) fn time(&self) -> &ServerTime {
        &self.time
    }

    /// The connection has failed: the sentinels shall be asked again.
    pub(super) fn give_up(&self, live: &Live) {
        self.primary.give_up(live.primary);
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.clients, Clients::Cluster(..))
    }

    pub(super) fn is_sentinel(&self) -> bool {
        matches!(self.clients, Clients::Sentinel(_))
    }

    /// All addresses, for messages.
    pub(super) fn addresses(&self) -> &str {
        &self.addresses
    }

    /// The longest to wait for an answer, whatever it is to.
    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Where commands go at this time, for people to read.
    pub(super) async fn target(&self) -> String {
        match &self.clients {
            Clients::Single(client) => address(client),
            Clients::Sentinel(sentinels) => match self.primary.get(|_| self.ask(sentinels)).await {
                Ok((_, client)) => address(&client),
                Err(_) => "unknown".into(),
            },
            Clients::Cluster(..) => self.addresses.clone(),
        }
    }

    fn ask(&self, sentinels: &SentinelClients) -> BoxFuture<'static, Result<Client, ConnectError>> {
        let (sentinels, addresses) = (Arc::clone(sentinels), self.addresses.clone());
        async move {
            let asked = async { sentinels()?.build()?.async_get_client().await };
            asked.await.map_err(|error| ConnectError { address: format!("sentinels {addresses}"), error })
        }
        .boxed()
    }

    async fn connect_node(&self, client: &Client, primary: u64) -> Result<Live, ConnectError> {
        let lost = Arc::new(AtomicBool::new(false));
        let config = self.node_config.clone().set_push_sender(note_disconnection(&lost));
        let connected = async {
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            let node = NodeConnection::new(connection).await?;
            self.time.looked(&[node.clock()]);
            let wire = Wire::Node(node);
            load_scripts(wire.clone()).await?;
            Ok(wire)
        };
        match connected.await {
            Ok(wire) => Ok(Live { wire, lost, primary }),
            Err(error) => Err(ConnectError { address: address(client), error }),
        }
    }

    async fn connect_cluster(&self, nodes: &NodeClients) -> Result<Live, ConnectError> {
        let cluster = Cluster::connect(&self.seeds, Arc::clone(nodes), self.node_config.clone()).await?;
        self.time.looked(&cluster.clocks().await);
        let lost = Arc::new(AtomicBool::new(false));
        Ok(Live { wire: Wire::Cluster(cluster), lost, primary: 0 })
    }
}

pub(super) fn note_disconnection(
    lost: &Arc<AtomicBool>,
) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    let lost = Arc::clone(lost);
    move |push| {
        if push.kind == PushKind::Disconnection {
            lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn address(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}
