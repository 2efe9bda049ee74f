//! The server of a scenario, the proxy in front of it, and the storage that connects through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use storage_core::config::{StorageConfig, Value};
use storage_core::{PeerSelection, PeerStorageExt, Storage};
use storage_pg::recommended::Recommendation;

use super::client;
use crate::servers::postgres::Postgres;
use crate::servers::redis::{Node, Setup};
use crate::servers::{Found, Frozen, Missing, PgUrl, TcpProxy};
use crate::storages::pg::Design;
use crate::storages::{backends, redis};

/// The role of the storage under test on a PostgreSQL server.
pub const ROLE: &str = "chaos";
/// The most connections of the storage under test.
pub const POOL: usize = 4;

/// How often, and how many at once, calls are made to fill the pool.
const FILLING: usize = 20;

/// A backend under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetBackend {
    /// PostgreSQL.
    Pg,
    /// A single Redis.
    Redis,
}

impl TargetBackend {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pg, Self::Redis];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pg => "pg",
            Self::Redis => "redis",
        }
    }
}

/// A server of a scenario's own.
pub enum TargetServer {
    /// PostgreSQL.
    Pg(Arc<Postgres>),
    /// Redis.
    Redis(Node),
}

impl TargetServer {
    /// Starts a server that keeps what it has acknowledged when it is killed. Blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there are no programs for it, or they do not start.
    pub fn start(backend: TargetBackend) -> Found<Self> {
        match backend {
            TargetBackend::Pg => Postgres::of_a_test().map(Self::Pg),
            TargetBackend::Redis => {
                let setup = Setup::default().setting("appendonly yes").setting("appendfsync always");
                Node::start(&setup).map(Self::Redis)
            }
        }
    }
}

/// A server with a proxy in front of it.
pub struct ChaosTarget {
    /// The server.
    pub server: TargetServer,
    /// The proxy between the storage under test and the server.
    pub proxy: TcpProxy,
    /// The URL of PostgreSQL for the storage under test, without the proxy.
    url: String,
}

impl ChaosTarget {
    /// Makes the tables where there are any, and a proxy in front of the server.
    ///
    /// # Errors
    /// [`Missing`] if the server does not let it.
    pub async fn new(server: TargetServer) -> Found<Self> {
        let (address, url) = match &server {
            TargetServer::Pg(postgres) => {
                let url = postgres.new_role(ROLE).await.map_err(Missing::failed)?;
                let tables = Design::from(Recommendation::default()).tables;
                let mut connection = postgres.connect().await.map_err(Missing::failed)?;
                let tables = sqlx::raw_sql(sqlx::AssertSqlSafe(tables));
                tables.execute(&mut connection).await.map_err(Missing::failed)?;
                (pg_address(&url)?, url)
            }
            TargetServer::Redis(node) => (node.address().parse().map_err(Missing::failed)?, String::new()),
        };
        let proxy = TcpProxy::start(address).await.map_err(Missing::failed)?;
        Ok(Self { server, proxy, url })
    }

    /// Opens the storage under test, through the proxy.
    ///
    /// # Errors
    /// [`Missing`] if it does not open.
    pub async fn open(&self, operation_timeout: Duration) -> Found<Arc<dyn Storage>> {
        self.open_at(&[self.proxy.address()], operation_timeout).await
    }

    /// Opens the storage under test on these hosts.
    ///
    /// # Errors
    /// [`Missing`] if it does not open.
    pub async fn open_at(
        &self,
        hosts: &[SocketAddr],
        operation_timeout: Duration,
    ) -> Found<Arc<dyn Storage>> {
        open(self.config(hosts, operation_timeout)).await
    }

    /// The configuration of the storage under test.
    pub fn config(&self, hosts: &[SocketAddr], operation_timeout: Duration) -> StorageConfig {
        match &self.server {
            TargetServer::Pg(_) => pg_config(&self.url, hosts, operation_timeout),
            TargetServer::Redis(_) => redis_config(hosts, operation_timeout),
        }
    }

    /// The URL of PostgreSQL for the storage under test, or the address of Redis, without the proxy.
    pub fn direct_address(&self) -> String {
        match &self.server {
            TargetServer::Pg(_) => self.url.clone(),
            TargetServer::Redis(node) => node.address(),
        }
    }

    /// Opens a second storage, past the proxy, to look at what is stored.
    ///
    /// # Errors
    /// [`Missing`] if it does not open.
    pub async fn open_clean(&self) -> Found<Arc<dyn Storage>> {
        let long = Duration::from_secs(30);
        match &self.server {
            TargetServer::Pg(postgres) => open_clean_at(postgres).await,
            TargetServer::Redis(node) => {
                open(redis_config(&[node.address().parse().map_err(Missing::failed)?], long)).await
            }
        }
    }

    /// Makes calls until the storage has as many connections as it may have, or does not open more.
    ///
    /// # Errors
    /// [`Missing`] if the sessions cannot be counted.
    pub async fn fill_pool(&self, storage: &dyn Storage) -> Found<()> {
        let (context, swarm, peer) = (client::context(), client::swarm(0), client::peer(0, 0));
        let selection = PeerSelection::new(swarm, 1);
        for _ in 0..FILLING {
            // Different kinds do not share a batch.
            join_all((0..FILLING).map(async |_| {
                let _ = tokio::join!(
                    storage.load_data(&context, b"none"),
                    storage.announce_peers(&selection),
                    storage.scrape_swarm(&swarm),
                    storage.delete_leecher(&swarm, &peer),
                    storage.delete_data(&context, &[]),
                );
            }))
            .await;
            if self.sessions().await? >= POOL {
                break;
            }
        }
        Ok(())
    }

    /// The number of sessions on the server, those of a clean storage not among them for PostgreSQL.
    ///
    /// # Errors
    /// What the server says.
    pub async fn sessions(&self) -> Found<usize> {
        match &self.server {
            TargetServer::Pg(postgres) => postgres.count_sessions(ROLE).await.map_err(Missing::failed),
            TargetServer::Redis(node) => {
                let client = node.client();
                let mut connection =
                    client.get_multiplexed_async_connection().await.map_err(Missing::failed)?;
                let mut list = ::redis::cmd("CLIENT");
                list.arg("LIST").arg("TYPE").arg("normal");
                let sessions: String = list.query_async(&mut connection).await.map_err(Missing::failed)?;
                // The one that asks is not meant.
                Ok(sessions.lines().count().saturating_sub(1))
            }
        }
    }

    /// Freezes the whole server.
    ///
    /// # Errors
    /// [`Missing`] if it cannot be done.
    pub fn freeze_server(&self) -> Found<Frozen> {
        match &self.server {
            TargetServer::Pg(postgres) => postgres.freeze(),
            TargetServer::Redis(node) => node.freeze_process(),
        }
    }

    /// Kills the server at once.
    ///
    /// # Errors
    /// [`Missing`] if it cannot be done.
    pub fn kill(&self) -> Found<()> {
        match &self.server {
            TargetServer::Pg(postgres) => postgres.kill(),
            TargetServer::Redis(node) => node.kill(),
        }
    }

    /// Starts the server again after a [`kill`](Self::kill).
    ///
    /// # Errors
    /// [`Missing`] if it does not start.
    pub fn start_again(&self) -> Found<()> {
        match &self.server {
            TargetServer::Pg(postgres) => postgres.start_again(),
            TargetServer::Redis(node) => node.start_again(),
        }
    }
}

/// Opens a storage on a PostgreSQL server, past every proxy, to look at what is stored.
///
/// # Errors
/// [`Missing`] if it does not open.
pub async fn open_clean_at(postgres: &Postgres) -> Found<Arc<dyn Storage>> {
    open(Design::from(Recommendation::default()).config_at(postgres.url().to_owned())).await
}

/// The configuration of the storage under test on PostgreSQL: by the login of this URL at these hosts.
pub fn pg_config(url: &str, hosts: &[SocketAddr], operation_timeout: Duration) -> StorageConfig {
    let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    let url = PgUrl::parse(url).at(&hosts).with("pool_max_conns", POOL).with("sslmode", "disable");
    let url = if hosts.len() > 1 { url.with("target_session_attrs", "read-write") } else { url };
    let timeout = format!("{}ms", operation_timeout.as_millis());
    let changes = [("OPERATION_TIMEOUT", timeout.as_str()), ("PEER__SYNCHRONOUS_COMMIT", "on")];
    Design::from(Recommendation::default()).changed_config_at(url.to_string(), &changes)
}

/// The configuration of the storage under test on Redis.
pub fn redis_config(hosts: &[SocketAddr], operation_timeout: Duration) -> StorageConfig {
    let addresses = hosts.iter().map(|host| Value::Text(host.to_string())).collect();
    redis::config(vec![
        ("addresses".to_owned(), Value::List(addresses)),
        ("pool_size".to_owned(), Value::Integer(POOL as i64)),
        ("operation_timeout".to_owned(), Value::Text(format!("{}ms", operation_timeout.as_millis()))),
    ])
}

/// Opens a storage as a tracker does.
///
/// # Errors
/// [`Missing`] if it does not open.
pub async fn open(config: StorageConfig) -> Found<Arc<dyn Storage>> {
    Ok(backends().open(config).await.map_err(Missing::failed)?.storage)
}

/// The address of a PostgreSQL server.
///
/// # Errors
/// [`Missing`] if the URL has more than one.
pub fn pg_address(url: &str) -> Found<SocketAddr> {
    let url = PgUrl::parse(url);
    let (host, port) = url.host_and_port().ok_or_else(|| Missing::failed("no single host"))?;
    format!("{host}:{port}").parse().map_err(Missing::failed)
}
