//! Redis or Valkey: a server from the environment, or servers started from a program on this machine.

mod cluster;
mod database;
mod node;
mod rights;
mod sentinel;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::{
    Client, Cmd, Connection, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisResult,
};
use storage_core::config::Value;

use super::containers::Container;
use super::{Found, Missing};
pub use cluster::Cluster;
pub use database::Database;
use database::Databases;
pub use node::{Login, Node, Setup};
pub use rights::{Rights, RightsOnCluster, RightsOnSentinel, RightsOnServer};
pub use sentinel::{Sentinel, SentinelSetup};

/// The environment variable with the URL (`redis://user:password@host:port`) of a server to use: those
/// of its databases that are empty, which are emptied again.
pub const URL_VARIABLE: &str = "TRACKER_STORAGE_TEST_REDIS_URL";

/// One for each test, and as many again.
pub(super) const NUMBER_OF_DATABASES: u32 = 4096;

/// The longest that a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A single server that tests share, each in a database of its own.
pub struct Redis {
    databases: Arc<Databases>,
    node: Option<Node>,
    container: Option<Container>,
}

impl Redis {
    /// A server in a container, which is its own.
    pub(super) fn in_container(server: ConnectionInfo, container: Container) -> Self {
        let databases = Arc::new(Databases::new(server, 0..NUMBER_OF_DATABASES));
        Self { databases, node: None, container: Some(container) }
    }

    /// An empty database that nobody else uses. Blocks the thread while there is none.
    pub fn database(&self) -> Database {
        self.databases.take()
    }

    /// Stops a server that was started here; of another one, empties the databases still in use.
    pub(super) fn stop(&self) {
        match (&self.node, &self.container) {
            (Some(node), _) => node.stop(),
            (_, Some(container)) => container.stop(),
            _ => {
                if let Err(error) = self.databases.empty_all() {
                    eprintln!("could not empty the databases in use: {error}");
                }
            }
        }
    }
}

/// The server that the environment names.
pub(super) fn named_by_environment() -> Found<Redis> {
    let url = std::env::var(URL_VARIABLE);
    let url = url.map_err(|_| Missing::Absent(format!("{URL_VARIABLE} is not set")))?;
    let failed = |what: &dyn std::fmt::Display| Missing::failed(format!("{URL_VARIABLE}: {what}"));
    let server = url.into_connection_info().map_err(|error| failed(&error))?;
    if !matches!(server.addr(), ConnectionAddr::Tcp(..)) {
        return Err(failed(&"expected redis://user:password@host:port"));
    }
    let databases = Databases::that_are_empty(server).map_err(|error| failed(&error))?;
    if databases.is_empty() {
        return Err(failed(&"none of the server's databases is empty"));
    }
    Ok(Redis { databases: Arc::new(databases), node: None, container: None })
}

/// A server started from the program on this machine.
pub(super) fn from_program() -> Found<Redis> {
    let setup = Setup::default().setting(format!("databases {NUMBER_OF_DATABASES}"));
    let node = Node::start(&setup)?;
    let databases = Databases::new(node.server(), 0..NUMBER_OF_DATABASES);
    Ok(Redis { databases: Arc::new(databases), node: Some(node), container: None })
}

/// The server program, which is Sentinel too.
fn program() -> Found<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path)
        .flat_map(|directory| ["redis-server", "valkey-server"].map(|program| directory.join(program)));
    candidates
        .find(|program| program.is_file())
        .ok_or_else(|| Missing::Absent("no redis-server or valkey-server in PATH".into()))
}

/// Tries to start something a few times: another process may take a free port before the
/// server's start.
fn start<T>(what: &str, attempt: impl Fn() -> Result<T, String>) -> Found<T> {
    let mut failure = String::new();
    for _ in 0..3 {
        match attempt() {
            Ok(started) => return Ok(started),
            Err(error) => failure = error,
        }
    }
    Err(Missing::failed(format!("{what}: {failure}")))
}

/// Sends a command and waits for the answer, blocking the thread.
fn ask<T: FromRedisValue>(server: &ConnectionInfo, command: &Cmd) -> RedisResult<T> {
    command.query(&mut connect(server)?)
}

fn connect(server: &ConnectionInfo) -> RedisResult<Connection> {
    let connection = Client::open(server.clone())?.get_connection_with_timeout(TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    Ok(connection)
}

/// The keys of a storage's configuration for a database.
fn settings(database: &ConnectionInfo) -> Vec<(String, Value)> {
    let access = database.redis_settings();
    let text = |text: Option<&str>| Value::Text(text.unwrap_or_default().to_owned());
    vec![
        ("addresses".into(), texts([database.addr().to_string()])),
        ("login".into(), text(access.username())),
        ("password".into(), text(access.password())),
        ("db".into(), Value::Integer(access.db())),
    ]
}

/// A list of texts, as a configuration has it.
pub fn texts(texts: impl IntoIterator<Item = String>) -> Value {
    Value::List(texts.into_iter().map(Value::Text).collect())
}
