//! The clients of redis-rs for a configuration; nothing is connected yet.

use std::sync::Arc;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult, TlsCertificates, TlsMode,
};
use storage_core::config::Problem;

use super::{fault, tls};
use crate::config::{Mode, RedisConfig, read_address};

/// Repetitions within redis-rs, which follow redirections; ours come on top.
const CLUSTER_RETRIES: u32 = 3;
const CLUSTER_RETRY_WAIT_MILLISECONDS: (u64, u64) = (10, 200);

/// The longest that connecting to a node of a cluster takes: a new connection asks all of them, and one that
/// does not answer must not keep the others out of reach.
const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How servers are reached.
pub(super) enum Clients {
    Single(Box<Client>),
    Sentinel(SentinelClients),
    Cluster {
        repeating: Box<ClusterClient>,
        /// Never sends a command again whose outcome is unknown.
        once: Box<ClusterClient>,
    },
}

/// Makes a client of the sentinels for each question, for it needs exclusive access.
pub(super) type SentinelClients = Arc<dyn Fn() -> RedisResult<SentinelClientBuilder> + Send + Sync>;

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
                Some(address) => single(config, address, certificates),
                None => return Err(problem("is empty".into())),
            },
            Mode::Sentinel { master } => Ok(sentinel(config, master.clone(), addresses, certificates)),
            Mode::Cluster => cluster(config, addresses, certificates),
        };
        made.map_err(|error| problem(fault::describe(&error)))
    }
}

/// redis-rs has one timeout for sending and receiving.
pub(super) fn response_timeout(config: &RedisConfig) -> Duration {
    config.read_timeout.saturating_add(config.write_timeout)
}

fn single(
    config: &RedisConfig,
    address: ConnectionAddr,
    certificates: Option<TlsCertificates>,
) -> RedisResult<Clients> {
    let info = connection_info(address, config, &config.login, &config.password)?;
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates)?,
        None => Client::open(info)?,
    };
    Ok(Clients::Single(Box::new(client)))
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

fn cluster(
    config: &RedisConfig,
    addresses: Vec<ConnectionAddr>,
    certificates: Option<TlsCertificates>,
) -> RedisResult<Clients> {
    let client = |retries| {
        let nodes: RedisResult<Vec<_>> = addresses
            .iter()
            .map(|address| connection_info(address.clone(), config, &config.login, &config.password))
            .collect();
        let (shortest, longest) = CLUSTER_RETRY_WAIT_MILLISECONDS;
        let mut builder = ClusterClientBuilder::new(nodes?)
            .retries(retries)
            .min_retry_wait(shortest)
            .max_retry_wait(longest)
            .connection_timeout(config.connect_timeout.min(CLUSTER_CONNECT_TIMEOUT))
            .response_timeout(response_timeout(config))
            .use_protocol(ProtocolVersion::RESP3)
            .tcp_settings(tcp_settings());
        if config.tls {
            builder = builder.tls(TlsMode::Secure);
        }
        if let Some(certificates) = &certificates {
            builder = builder.certs(certificates.clone());
        }
        builder.build().map(Box::new)
    };
    Ok(Clients::Cluster { repeating: client(CLUSTER_RETRIES)?, once: client(0)? })
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

fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}
