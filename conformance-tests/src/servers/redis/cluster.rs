//! Three nodes that share the keys.

use storage_core::config::Value;

use super::node::{Node, Setup};
use super::texts;
use crate::servers::guardian::free_port;
use crate::servers::{Found, Missing};

const NUMBER_OF_NODES: u16 = 3;
const SLOTS: u16 = 16_384;

/// A node that is gone is noticed soon, and the others go on.
const MISSING_NODES: &str = "cluster-node-timeout 5000\ncluster-require-full-coverage no";

/// A cluster of three primaries without replicas.
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts the nodes, each with what `setup` adds, makes them a cluster and waits until it serves.
    /// Blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is no program, or one does not start.
    pub fn start(setup: &Setup) -> Found<Self> {
        let mut bus_ports = Vec::new();
        let mut nodes = Vec::new();
        for _ in 0..NUMBER_OF_NODES {
            let bus_port = free_port().map_err(Missing::failed)?;
            let settings = format!(
                "cluster-enabled yes\ncluster-announce-ip 127.0.0.1\ncluster-port {bus_port}\n{MISSING_NODES}"
            );
            nodes.push(Node::start(&setup.clone().setting(settings))?);
            bus_ports.push(bus_port);
        }
        for (node, number) in nodes.iter().zip(0..) {
            let first_slot =
                |number: u16| number * (SLOTS / NUMBER_OF_NODES) + number.min(SLOTS % NUMBER_OF_NODES);
            let (first, last) = (first_slot(number), first_slot(number + 1) - 1);
            tell(node, redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(last))?;
            // Nodes of one epoch would have to agree on others first.
            tell(node, redis::cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(number + 1))?;
        }
        for node in &nodes {
            for (other, bus_port) in nodes.iter().zip(&bus_ports) {
                tell(
                    node,
                    redis::cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(other.port()).arg(bus_port),
                )?;
            }
        }
        for node in &nodes {
            node.ask_until(redis::cmd("CLUSTER").arg("INFO"), |info: &String| serves(info))?;
        }
        Ok(Self { nodes })
    }

    /// The keys of a storage's configuration.
    pub fn settings(&self) -> Vec<(String, Value)> {
        vec![
            ("addresses".into(), texts(self.nodes.iter().map(Node::address))),
            ("cluster".into(), Value::Boolean(true)),
        ]
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(in crate::servers) fn stop(&self) {
        for node in &self.nodes {
            node.stop();
        }
    }
}

fn tell(node: &Node, command: &redis::Cmd) -> Found<()> {
    node.ask(command).map_err(Missing::failed)
}

/// Whether a node knows the others and takes commands.
fn serves(info: &str) -> bool {
    let is = |line: &str| info.lines().any(|found| found == line);
    is("cluster_state:ok") && is(&format!("cluster_known_nodes:{NUMBER_OF_NODES}"))
}
