//! Users with the ACL rules of the example configuration, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use storage_core::config::Value;
use storage_redis::EXAMPLE_CONFIG;

use super::database::{Database, Databases};
use super::node::{Login, Node, Setup};
use super::{Cluster, NUMBER_OF_DATABASES, Sentinel, SentinelSetup};
use crate::servers::Found;
use crate::servers::Missing;

/// The servers that a line with rights is for, in the order of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// A single server, and the data nodes behind Sentinel.
    Data,
    /// Sentinels.
    Sentinel,
    /// The nodes of a cluster.
    Cluster,
}

impl Rights {
    /// What follows `ACL SETUSER` in the example: the user's name, then the rules.
    fn words(self) -> impl Iterator<Item = &'static str> {
        let mut lines = EXAMPLE_CONFIG.lines().filter_map(|line| line.trim().strip_prefix("# ACL SETUSER "));
        lines.nth(self as usize).expect("a line for each kind of server").split_whitespace()
    }

    /// The commands, as `hget` and `config|get`.
    pub fn commands(self) -> BTreeSet<&'static str> {
        self.words().filter_map(|word| word.strip_prefix('+')).collect()
    }

    /// Makes the user on a server.
    ///
    /// # Errors
    /// [`Missing`] if the server refuses.
    pub fn grant(self, node: &Node, login: &Login) -> Found<()> {
        let mut set = redis::cmd("ACL");
        set.arg("SETUSER").arg(login.name);
        let password = format!(">{}", login.password);
        for word in self.words().skip(1) {
            set.arg(if word == ">PASSWORD" { password.as_str() } else { word });
        }
        node.ask(&set).map_err(Missing::failed)
    }
}

/// A single server.
pub struct RightsOnServer {
    node: Node,
    databases: Arc<Databases>,
    login: Login,
}

impl RightsOnServer {
    /// Starts the server and makes the user. Blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is no program, or one does not start.
    pub fn start() -> Found<Self> {
        let node = Node::start(&Setup::default().setting(format!("databases {NUMBER_OF_DATABASES}")))?;
        let login = Login::new("tracker");
        Rights::Data.grant(&node, &login)?;
        let databases = Arc::new(Databases::new(node.server(), 0..NUMBER_OF_DATABASES));
        Ok(Self { node, databases, login })
    }

    /// An empty database that nobody else uses, to be reached with all rights.
    pub fn database(&self) -> Database {
        self.databases.take()
    }

    /// The keys of a storage's configuration for a database, as the user.
    pub fn settings(&self, database: &Database) -> Vec<(String, Value)> {
        logged_in(database.settings(), ["login", "password"], &self.login)
    }

    /// The server, with all rights.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The user.
    pub fn login(&self) -> &Login {
        &self.login
    }

    pub(in crate::servers) fn stop(&self) {
        self.node.stop();
    }
}

/// Sentinels and what they watch.
pub struct RightsOnSentinel {
    servers: Sentinel,
    for_data: Login,
    for_sentinels: Login,
}

impl RightsOnSentinel {
    /// Starts the servers and makes the users. Blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is no program, or one does not start.
    pub fn start() -> Found<Self> {
        let servers = Sentinel::start(&SentinelSetup::default())?;
        let (for_data, for_sentinels) = (Login::new("tracker"), Login::new("seeker"));
        for node in [servers.primary(), servers.replica()] {
            Rights::Data.grant(node, &for_data)?;
        }
        for node in servers.sentinels() {
            Rights::Sentinel.grant(node, &for_sentinels)?;
        }
        Ok(Self { servers, for_data, for_sentinels })
    }

    /// The servers, with all rights.
    pub fn servers(&self) -> &Sentinel {
        &self.servers
    }

    /// The keys of a storage's configuration for the database of that number, as the users.
    pub fn settings(&self, database: u32) -> Vec<(String, Value)> {
        let settings = logged_in(self.servers.settings(database), ["login", "password"], &self.for_sentinels);
        logged_in(settings, ["master_login", "master_password"], &self.for_data)
    }

    pub(in crate::servers) fn stop(&self) {
        self.servers.stop();
    }
}

/// A cluster.
pub struct RightsOnCluster {
    cluster: Cluster,
    login: Login,
}

impl RightsOnCluster {
    /// Starts the nodes and makes the user on each. Blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is no program, or one does not start.
    pub fn start() -> Found<Self> {
        let (cluster, login) = (Cluster::start(&Setup::default())?, Login::new("tracker"));
        for node in cluster.nodes() {
            Rights::Cluster.grant(node, &login)?;
        }
        Ok(Self { cluster, login })
    }

    /// The nodes, with all rights.
    pub fn nodes(&self) -> &[Node] {
        self.cluster.nodes()
    }

    /// The keys of a storage's configuration, as the user.
    pub fn settings(&self) -> Vec<(String, Value)> {
        logged_in(self.cluster.settings(), ["login", "password"], &self.login)
    }

    pub(in crate::servers) fn stop(&self) {
        self.cluster.stop();
    }
}

fn logged_in(
    mut settings: Vec<(String, Value)>,
    [name, password]: [&str; 2],
    login: &Login,
) -> Vec<(String, Value)> {
    settings.retain(|(key, _)| key != name && key != password);
    settings.push((name.into(), Value::Text(login.name.into())));
    settings.push((password.into(), Value::Text(login.password.clone())));
    settings
}
