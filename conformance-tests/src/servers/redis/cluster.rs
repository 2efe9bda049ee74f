//! A Redis Cluster of three nodes.

use storage_core::config::Value;

use super::node::{Node, Setup};
use super::texts;
use crate::servers::server_process::free_port;
use crate::servers::{Found, Missing};

const NUMBER_OF_NODES: u16 = 3;
const SLOTS: u16 = 16_384;

/// A node that is down is detected soon, and the others keep serving.
const MISSING_NODES: &str = "cluster-node-timeout 5000\ncluster-require-full-coverage no";

/// A cluster of three primaries.
pub struct Cluster {
    nodes: Vec<Node>,
    replicas: Vec<Node>,
}

impl Cluster {
    /// Starts the nodes, each with what `setup` adds, makes them a cluster without replicas and waits until it
    /// serves. Blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is no program, or one does not start.
    pub fn start(setup: &Setup) -> Found<Self> {
        let primaries = start_nodes(setup)?;
        for (index, (node, _)) in primaries.iter().enumerate() {
            let number = u16::try_from(index).map_err(Missing::failed)?;
            let first_slot =
                |number: u16| number * (SLOTS / NUMBER_OF_NODES) + number.min(SLOTS % NUMBER_OF_NODES);
            let (first, last) = (first_slot(number), first_slot(number + 1) - 1);
            send(node, redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(last))?;
            // Nodes of one epoch would have to settle on others first.
            send(node, redis::cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(number + 1))?;
        }
        introduce(&primaries)?;
        Ok(Self { nodes: primaries.into_iter().map(|(node, _)| node).collect(), replicas: Vec::new() })
    }

    /// The same with a replica of each primary.
    ///
    /// # Errors
    /// [`Missing`] if there is no program, or one does not start.
    pub fn start_with_replicas(setup: &Setup) -> Found<Self> {
        let mut cluster = Self::start(setup)?;
        let replicas = start_nodes(setup)?;
        for (primary, (replica, bus_port)) in cluster.nodes.iter().zip(&replicas) {
            meet(primary, replica, *bus_port)?;
        }
        for (primary, (replica, _)) in cluster.nodes.iter().zip(&replicas) {
            let id: String = primary.ask(redis::cmd("CLUSTER").arg("MYID")).map_err(Missing::failed)?;
            replica.ask_until(redis::cmd("CLUSTER").arg("NODES"), |nodes: &String| nodes.contains(&id))?;
            send(replica, redis::cmd("CLUSTER").arg("REPLICATE").arg(id))?;
            let is_in_step = |about: &String| about.contains("state=online");
            primary.ask_until(redis::cmd("INFO").arg("replication"), is_in_step)?;
        }
        cluster.replicas = replicas.into_iter().map(|(node, _)| node).collect();
        for node in cluster.nodes.iter().chain(&cluster.replicas) {
            let all = cluster.nodes.len() + cluster.replicas.len();
            node.ask_until(redis::cmd("CLUSTER").arg("INFO"), |info: &String| serves(info, all))?;
        }
        Ok(cluster)
    }

    /// The keys of a storage's configuration.
    pub fn settings(&self) -> Vec<(String, Value)> {
        vec![
            ("addresses".into(), texts(self.nodes.iter().map(Node::address))),
            ("cluster".into(), Value::Boolean(true)),
        ]
    }

    /// The primaries.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A replica of each primary, in the same order; none where there are none.
    pub fn replicas(&self) -> &[Node] {
        &self.replicas
    }

    pub(in crate::servers) fn stop(&self) {
        for node in self.nodes.iter().chain(&self.replicas) {
            node.stop();
        }
    }
}

/// Nodes of clusters of their own, each with its port for other nodes.
fn start_nodes(setup: &Setup) -> Found<Vec<(Node, u16)>> {
    let start = |_| {
        let bus_port = free_port().map_err(Missing::failed)?;
        let settings = format!(
            "cluster-enabled yes\ncluster-announce-ip 127.0.0.1\ncluster-port {bus_port}\n{MISSING_NODES}"
        );
        Ok((Node::start(&setup.clone().setting(settings))?, bus_port))
    };
    (0..NUMBER_OF_NODES).map(start).collect()
}

/// Makes the nodes one cluster.
fn introduce(nodes: &[(Node, u16)]) -> Found<()> {
    for (node, _) in nodes {
        for (other, bus_port) in nodes {
            meet(node, other, *bus_port)?;
        }
    }
    for (node, _) in nodes {
        node.ask_until(redis::cmd("CLUSTER").arg("INFO"), |info: &String| serves(info, nodes.len()))?;
    }
    Ok(())
}

fn meet(node: &Node, other: &Node, bus_port: u16) -> Found<()> {
    send(node, redis::cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(other.port()).arg(bus_port))
}

fn send(node: &Node, command: &redis::Cmd) -> Found<()> {
    node.ask(command).map_err(Missing::failed)
}

/// Whether a node of a cluster of this size knows all others and accepts commands.
fn serves(info: &str, nodes: usize) -> bool {
    let is = |line: &str| info.lines().any(|found| found == line);
    is("cluster_state:ok") && is(&format!("cluster_known_nodes:{nodes}"))
}
