//! The clients of redis-rs for a configuration; nothing is connected yet.

use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisResult};
use socket2::TcpKeepalive;
use storage_core::config::Problem;

use super::sentinels::Sentinels;
use super::tls::Certificates;
use crate::config::{DeploymentMode, RedisConfig, read_address};
use crate::error as errors;

/// The longest that connecting to a node of a cluster takes: one that does not answer must not keep callers from
/// looking for the node that has taken its place.
const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
#[cfg(target_os = "linux")]
const KEEPALIVE_COUNT: u32 = 3;

/// How long what was sent may stay without a sign that it arrived.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How servers are reached.
pub(super) enum Clients {
    Single(Box<Client>),
    Sentinel(Arc<Sentinels>),
    Cluster(NodeClients),
}

/// Makes a client of a server from its host and port.
pub(super) type NodeClients = Arc<dyn Fn(&str, u16) -> RedisResult<Client> + Send + Sync>;

impl Clients {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, Problem> {
        let problem = |message: String| Problem::new("addresses", message);
        let certificates = Certificates::read(config)?;
        let mut addresses = Vec::with_capacity(config.addresses.len());
        for address in &config.addresses {
            let (host, port) = read_address(address).map_err(|message| problem(message.into()))?;
            addresses.push(connection_address(host, port, config.tls));
        }
        let own_access = || access(config.db, &config.login, &config.password);
        let made = match &config.mode {
            DeploymentMode::Single => {
                let address = addresses.into_iter().next().ok_or_else(|| problem("is empty".into()))?;
                client(address, own_access(), &certificates).map(|client| Self::Single(Box::new(client)))
            }
            DeploymentMode::Sentinel { master } => sentinel(config, master.clone(), addresses, certificates),
            DeploymentMode::Cluster => {
                Ok(Self::Cluster(node_clients(config.tls, own_access(), certificates)))
            }
        };
        made.map_err(|error| problem(errors::describe(&error)))
    }
}

/// redis-rs has one timeout for sending and receiving.
pub(super) fn response_timeout(config: &RedisConfig) -> Duration {
    config.read_timeout.saturating_add(config.write_timeout)
}

/// The longest that connecting to a server takes.
pub(super) fn connect_timeout(config: &RedisConfig) -> Duration {
    match config.mode {
        DeploymentMode::Cluster => config.connect_timeout.min(CLUSTER_CONNECT_TIMEOUT),
        DeploymentMode::Single | DeploymentMode::Sentinel { .. } => config.connect_timeout,
    }
}

/// MoChi's `login` and `password` are for the sentinels.
fn sentinel(
    config: &RedisConfig,
    master: String,
    addresses: Vec<ConnectionAddr>,
    certificates: Certificates,
) -> RedisResult<Clients> {
    let to_sentinels = access(0, &config.login, &config.password);
    let clients = addresses.into_iter().map(|address| client(address, to_sentinels.clone(), &certificates));
    let clients = clients.collect::<RedisResult<Vec<_>>>()?;
    let to_data = access(config.db, &config.master_login, &config.master_password);
    let data_nodes = node_clients(config.tls, to_data, certificates);
    Ok(Clients::Sentinel(Arc::new(Sentinels::new(master, clients, data_nodes))))
}

fn node_clients(tls: bool, access: RedisConnectionInfo, certificates: Certificates) -> NodeClients {
    Arc::new(move |host, port| {
        client(connection_address(host.to_owned(), port, tls), access.clone(), &certificates)
    })
}

fn client(
    address: ConnectionAddr,
    access: RedisConnectionInfo,
    certificates: &Certificates,
) -> RedisResult<Client> {
    let info = address.into_connection_info()?;
    certificates.client(info.set_redis_settings(access).set_tcp_settings(tcp_settings()))
}

fn connection_address(host: String, port: u16, tls: bool) -> ConnectionAddr {
    if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn access(db: u32, login: &Option<String>, password: &Option<String>) -> RedisConnectionInfo {
    // With RESP3 the loss of a connection is told at once, and not by the first call that it costs.
    let mut access =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(i64::from(db));
    if let Some(login) = login {
        access = access.set_username(login);
    }
    if let Some(password) = password {
        access = access.set_password(password);
    }
    access
}

/// A server that is gone without a word is noticed within a minute, also by a connection that only waits.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    #[cfg(target_os = "linux")]
    let keepalive = keepalive.with_retries(KEEPALIVE_COUNT);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}
