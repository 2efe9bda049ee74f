//! The clients of redis-rs for a configuration; nothing is connected yet.

use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult, TlsCertificates, TlsMode,
};
use socket2::TcpKeepalive;
use storage_core::config::Problem;

use super::{fault, tls};
use crate::config::{Mode, RedisConfig, read_address};

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
    Sentinel(SentinelClients),
    Cluster(NodeClients),
}

/// Makes a client of the sentinels for each question, for it needs exclusive access.
pub(super) type SentinelClients = Arc<dyn Fn() -> RedisResult<SentinelClientBuilder> + Send + Sync>;

/// Makes a client of a node of a cluster from its host and port.
pub(super) type NodeClients = Arc<dyn Fn(&str, u16) -> RedisResult<Client> + Send + Sync>;

impl Clients {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, Problem> {
        let problem = |message: String| Problem { key: "addresses".into(), message };
        let certificates = tls::certificates(config)?;
        let mut addresses = Vec::with_capacity(config.addresses.len());
        for address in &config.addresses {
            let (host, port) = read_address(address).map_err(|message| problem(message.into()))?;
            addresses.push(connection_address(host, port, config.tls));
        }
        let made = match &config.mode {
            Mode::Single => match addresses.into_iter().next() {
                Some(address) => {
                    single(config, address, certificates).map(|client| Clients::Single(Box::new(client)))
                }
                None => return Err(problem("is empty".into())),
            },
            Mode::Sentinel { master } => Ok(sentinel(config, master.clone(), addresses, certificates)),
            Mode::Cluster => Ok(Clients::Cluster(nodes(config, certificates))),
        };
        made.map_err(|error| problem(fault::describe(&error)))
    }
}

/// redis-rs has one timeout for sending and receiving.
pub(super) fn response_timeout(config: &RedisConfig) -> Duration {
    config.read_timeout.saturating_add(config.write_timeout)
}

/// The longest that connecting to a server takes.
pub(super) fn connect_timeout(config: &RedisConfig) -> Duration {
    match config.mode {
        Mode::Cluster => config.connect_timeout.min(CLUSTER_CONNECT_TIMEOUT),
        Mode::Single | Mode::Sentinel { .. } => config.connect_timeout,
    }
}

fn single(
    config: &RedisConfig,
    address: ConnectionAddr,
    certificates: Option<TlsCertificates>,
) -> RedisResult<Client> {
    let info = connection_info(address, config, &config.login, &config.password)?;
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

fn sentinel(
    config: &RedisConfig,
    master: String,
    addresses: Vec<ConnectionAddr>,
    certificates: Option<TlsCertificates>,
) -> Clients {
    let config = config.clone();
    let sentinels = move || {
        let mut builder = SentinelClientBuilder::new(addresses.clone(), &master, SentinelServerType::Master)?
            .set_client_to_redis_db(i64::from(config.db))
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_tcp_settings(tcp_settings())
            .set_client_to_sentinel_tcp_settings(tcp_settings());
        if config.tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = &certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        if let Some(login) = &config.login {
            builder = builder.set_client_to_sentinel_username(login);
        }
        if let Some(password) = &config.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(login) = &config.master_login {
            builder = builder.set_client_to_redis_username(login);
        }
        if let Some(password) = &config.master_password {
            builder = builder.set_client_to_redis_password(password);
        }
        Ok(builder)
    };
    Clients::Sentinel(Arc::new(sentinels))
}

fn nodes(config: &RedisConfig, certificates: Option<TlsCertificates>) -> NodeClients {
    let config = config.clone();
    Arc::new(move |host, port| {
        let address = connection_address(host.to_owned(), port, config.tls);
        single(&config, address, certificates.clone())
    })
}

fn connection_address(host: String, port: u16, tls: bool) -> ConnectionAddr {
    if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn connection_info(
    address: ConnectionAddr,
    config: &RedisConfig,
    login: &Option<String>,
    password: &Option<String>,
) -> RedisResult<ConnectionInfo> {
    // With RESP3 the loss of a connection is told at once, and not by the first call that it costs.
    let mut settings =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(i64::from(config.db));
    if let Some(login) = login {
        settings = settings.set_username(login);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    let info = address.into_connection_info()?;
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
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
