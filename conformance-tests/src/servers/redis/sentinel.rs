//! A primary and a replica, watched by three sentinels.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use redis::RedisResult;
use storage_core::config::Value;

use super::database::{Database, Databases};
use super::node::{Login, Node, Setup};
use super::{NUMBER_OF_DATABASES, texts};
use crate::servers::server_process::free_port;
use crate::servers::{Found, Missing};

/// The name by which the sentinels know the primary.
const MASTER: &str = "tracker";

const NUMBER_OF_SENTINELS: usize = 3;

const CA_FILE: &str = "ca.pem";

/// How a primary, a replica and their sentinels are set up.
#[derive(Debug, Clone, Copy)]
pub struct SentinelSetup {
    /// How long a server must be silent for its sentinels to mark it as down.
    pub down_after: Duration,
    /// Whether clients need TLS, a user for the sentinels, and another one for the data.
    pub secured: bool,
    /// A line of the configuration of the primary and the replica.
    pub setting: &'static str,
}

impl Default for SentinelSetup {
    /// Long enough that a busy machine causes no failover.
    fn default() -> Self {
        Self { down_after: Duration::from_secs(120), secured: false, setting: "" }
    }
}

/// The credentials that clients need.
struct Security {
    certificates: TestCertificates,
    for_data: Login,
    for_sentinels: Login,
}

/// A primary and a replica, watched by three sentinels.
pub struct Sentinel {
    primary: Watched,
    replica: Watched,
    sentinels: Vec<Watched>,
    security: Option<Security>,
    databases: Arc<Databases>,
}

/// A server and the port that the others, and clients, reach it at; its own port is for the tests.
struct Watched {
    node: Node,
    port: u16,
}

impl Sentinel {
    /// Starts the servers, and waits until the sentinels know all of them. Blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is no program, or one does not start.
    pub fn start(setup: &SentinelSetup) -> Found<Self> {
        let security = if setup.secured { Some(Security::new()?) } else { None };
        let data = |add: &dyn Fn(Setup) -> Setup| {
            Watched::start(
                &|| {
                    let data = Setup::default()
                        .setting(format!("databases {NUMBER_OF_DATABASES}"))
                        .setting(setup.setting);
                    let Some(security) = &security else { return add(data) };
                    let Login { name, password } = &security.for_data;
                    let data = data.login(security.for_data.clone());
                    add(data.setting(format!("masteruser {name}\nmasterauth {password}")))
                },
                security.as_ref(),
            )
        };
        let primary = data(&|setup| setup)?;
        let replica = data(&|setup| setup.setting(format!("replicaof 127.0.0.1 {}", primary.port)))?;
        let is_up = |info: &String| info.contains("master_link_status:up");
        replica.node.ask_until(redis::cmd("INFO").arg("replication"), is_up)?;

        let watch = watch(primary.port, setup, security.as_ref());
        let sentinels: Found<Vec<_>> = (0..NUMBER_OF_SENTINELS)
            .map(|_| {
                Watched::start(
                    &|| {
                        let setup = Setup::default().sentinel();
                        let setup = match &security {
                            Some(security) => setup.login(security.for_sentinels.clone()),
                            None => setup,
                        };
                        setup.setting(watch.clone())
                    },
                    security.as_ref(),
                )
            })
            .collect();
        let sentinels = sentinels?;
        for sentinel in &sentinels {
            sentinel.node.ask_until(redis::cmd("SENTINEL").arg("MASTER").arg(MASTER), knows_all)?;
        }
        let databases = Arc::new(Databases::new(primary.node.server(), 0..NUMBER_OF_DATABASES));
        Ok(Self { primary, replica, sentinels, security, databases })
    }

    /// An empty database, on the server that was the primary at first. Blocks the thread while there is
    /// none.
    pub fn database(&self) -> Database {
        self.databases.take()
    }

    /// The keys of a storage's configuration for the database of that number.
    pub fn settings(&self, database: u32) -> Vec<(String, Value)> {
        let addresses = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
        let mut settings = vec![
            ("addresses".into(), texts(addresses)),
            ("sentinel".into(), Value::Boolean(true)),
            ("sentinel_master".into(), Value::Text(MASTER.into())),
            ("db".into(), Value::Integer(database.into())),
        ];
        let Some(Security { for_data, for_sentinels, .. }) = &self.security else { return settings };
        let ca_file = self.primary.node.path(CA_FILE).display().to_string();
        settings.extend([
            ("tls".into(), Value::Boolean(true)),
            ("ca_certs".into(), texts([ca_file])),
            ("login".into(), Value::Text(for_sentinels.name.into())),
            ("password".into(), Value::Text(for_sentinels.password.clone())),
            ("master_login".into(), Value::Text(for_data.name.into())),
            ("master_password".into(), Value::Text(for_data.password.clone())),
        ]);
        settings
    }

    /// The server that was the primary at first.
    pub fn primary(&self) -> &Node {
        &self.primary.node
    }

    /// The server that was the replica at first.
    pub fn replica(&self) -> &Node {
        &self.replica.node
    }

    /// The sentinels.
    pub fn sentinels(&self) -> impl Iterator<Item = &Node> {
        self.sentinels.iter().map(|sentinel| &sentinel.node)
    }

    /// Makes the sentinels promote the replica, while the old primary works.
    ///
    /// # Errors
    /// What the sentinel says.
    pub fn fail_over(&self) -> RedisResult<()> {
        self.sentinels[0].node.ask(redis::cmd("SENTINEL").arg("FAILOVER").arg(MASTER))
    }

    /// Whether a sentinel names the server as the primary that was the replica at first.
    pub fn names_replica(&self) -> bool {
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER);
        let named = |(_, port): (String, u16)| port == self.replica.port;
        self.sentinels().any(|sentinel| sentinel.ask(&question).is_ok_and(named))
    }

    /// Ends all processes for good.
    pub fn stop(&self) {
        for node in self.sentinels().chain([self.replica(), self.primary()]) {
            node.stop();
        }
    }
}

impl Security {
    fn new() -> Found<Self> {
        let certificates = TestCertificates::new().map_err(Missing::failed)?;
        Ok(Self { certificates, for_data: Login::new("tracker"), for_sentinels: Login::new("seeker") })
    }

    /// Adds a port for TLS, which the servers use among themselves too.
    fn add_to(&self, setup: Setup, port: u16) -> Setup {
        let TestCertificates { authority, server, key } = &self.certificates;
        setup
            .file(CA_FILE, authority.as_bytes())
            .file("server.pem", server.as_bytes())
            .file("server.key", key.as_bytes())
            .setting(format!("tls-port {port}\ntls-replication yes\ntls-auth-clients no"))
            .setting(format!("tls-ca-cert-file {CA_FILE}\ntls-cert-file server.pem\ntls-key-file server.key"))
    }
}

impl Watched {
    fn start(setup: &dyn Fn() -> Setup, security: Option<&Security>) -> Found<Self> {
        let Some(security) = security else {
            let node = Node::start(&setup())?;
            let port = node.port();
            return Ok(Self { node, port });
        };
        let port = free_port().map_err(Missing::failed)?;
        Ok(Self { node: Node::start(&security.add_to(setup(), port))?, port })
    }
}

/// The lines of a sentinel's configuration about what it watches.
fn watch(primary: u16, setup: &SentinelSetup, security: Option<&Security>) -> String {
    let down_after = setup.down_after.as_millis();
    let mut lines = vec![
        format!("sentinel monitor {MASTER} 127.0.0.1 {primary} 2"),
        format!("sentinel down-after-milliseconds {MASTER} {down_after}"),
        format!("sentinel failover-timeout {MASTER} {}", 5 * down_after),
    ];
    if let Some(Security { for_data, for_sentinels, .. }) = security {
        lines.extend([
            format!("sentinel auth-user {MASTER} {}", for_data.name),
            format!("sentinel auth-pass {MASTER} {}", for_data.password),
            format!("sentinel sentinel-user {}", for_sentinels.name),
            format!("sentinel sentinel-pass {}", for_sentinels.password),
        ]);
    }
    lines.join("\n")
}

/// Whether a sentinel knows the replica and the other sentinels.
fn knows_all(master: &HashMap<String, String>) -> bool {
    let is = |key: &str, value: &str| master.get(key).is_some_and(|found| found == value);
    is("flags", "master") && is("num-slaves", "1") && is("num-other-sentinels", "2")
}

/// A certificate authority of the tests, and a certificate from it for servers on the loopback interface, as PEM.
struct TestCertificates {
    /// The authority's certificate, for clients.
    authority: String,
    /// The servers' certificate.
    server: String,
    /// The servers' key.
    key: String,
}

impl TestCertificates {
    fn new() -> Result<Self, rcgen::Error> {
        let mut authority = named("tracker tests: authority", &[])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate()?;
        let server = named("tracker tests: server", &["127.0.0.1"])?.signed_by(&key, &issuer)?;
        Ok(Self { authority: authority_certificate.pem(), server: server.pem(), key: key.serialize_pem() })
    }
}

/// A certificate for these addresses. Each needs a name of its own: no client trusts one that names itself as
/// its issuer.
fn named(name: &str, addresses: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(addresses)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
