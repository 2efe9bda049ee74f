//! Nodes of a cluster that go and come back, and garbage collection on a cluster.

use std::time::Duration;

use storage_core::Storage;

use super::garbage;
use super::ground::open;
use super::load::{Load, holds_downloads, holds_peers, swarms};
use super::material::peer;
use super::raw::{self, Keys};
use crate::servers::Found;
use crate::servers::redis::{Cluster, Node, Setup};

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn servers() -> Found<Cluster> {
    Cluster::start(&Setup::default().durable())
}

/// While a node is gone, swarms on the other nodes are served; when it is back all are, on the storage
/// opened before, and nothing acknowledged is missing.
pub(super) async fn other_nodes_serve_while_one_is_gone(servers: &Cluster) {
    let settings = [("retry_timeout", "300ms"), ("operation_timeout", "2s")];
    let storage = open(servers.settings(), &settings).await;
    let load = Load::start(&storage);
    load.puts_more(300, PATIENCE).await;

    let node = without_shared_keys(servers);
    node.kill().unwrap();
    load.fails(PATIENCE).await;
    load.puts_more(100, PATIENCE).await;
    node.start_again().unwrap();
    tokio::time::timeout(PATIENCE, wait_until_all_are_served(&*storage)).await.expect("all swarms in time");
    load.puts_more(300, PATIENCE).await;

    let noted = load.finish().await;
    noted.failures_are_passing();
    holds_peers(&*storage, &noted.acknowledged.put).await;
    holds_downloads(&*storage, noted.acknowledged.graduated, &noted).await;
}

/// A node that has none of the keys that every write needs.
fn without_shared_keys(servers: &Cluster) -> &Node {
    let holds = |node: &Node, key| node.ask::<u64>(redis::cmd("EXISTS").arg(key)).is_ok();
    let mut nodes = servers.nodes().iter();
    nodes.find(|node| !["CHI_I", "CHI_D"].iter().any(|key| holds(node, *key))).expect("two keys, three nodes")
}

async fn wait_until_all_are_served(storage: &dyn Storage) {
    for swarm in swarms() {
        while storage.put_seeder(&swarm, &peer(u32::MAX / 2)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// As on a single server.
pub(super) async fn garbage_of_three_nodes_takes_what_is_stale_and_nothing_fresh(servers: &Cluster) {
    let keys = async || {
        let mut keys = Keys::new();
        for node in servers.nodes() {
            let mut connection = node.client().get_multiplexed_async_connection().await.unwrap();
            keys.extend(raw::all(&mut connection).await.unwrap());
        }
        keys
    };
    garbage::collect_while_peers_announce(async || open(servers.settings(), &[]).await, keys).await;
}
