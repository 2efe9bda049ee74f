//! Outages of cluster nodes, and garbage collection on a cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use storage_core::{AddressFamily, Announce, InfoHash, PeerStorageExt, Role, Storage, When};

use super::fixtures::{peer, swarm};
use super::garbage;
use super::load::{WriteLoad, holds_downloads, holds_peers, swarms};
use super::raw::{self, Keys};
use super::test_env::open;
use crate::servers::redis::texts;
use crate::servers::redis::{Cluster, Node, Setup};
use crate::servers::tcp_proxy::{Direction, NetworkFault};
use crate::servers::{Found, TcpProxy};

const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn servers() -> Found<Cluster> {
    Cluster::start(&Setup::default().durable())
}

pub(super) async fn the_time_is_that_of_its_nodes(servers: &Cluster) {
    let storage = open(servers.settings(), &[]).await;
    let clock = storage.clock().expect("the nodes were asked for their time");
    assert!(clock.ahead_seconds.abs() < 5.0 && clock.noticed.is_none(), "{clock:?}");
    storage.close().await.unwrap();
}

/// A client repeats its completion while the first one is in flight.
pub(super) async fn completions_at_the_same_time_are_one_download(servers: &Cluster) {
    let storage = open(servers.settings(), &[]).await;
    let peers = [peer(1), peer(2)];
    for round in 0..100_u8 {
        let swarm = InfoHash::V1([round; 20]);
        if round % 2 == 0 {
            storage.put_leecher(&swarm, &peers[0]).await.unwrap();
        }
        let backwards = [peers[1], peers[0]];
        let completions = (0..10).map(|telling| {
            let peers = if telling % 2 == 0 { &peers } else { &backwards };
            storage.graduate_peers(&swarm, peers, When::Now)
        });
        let downloads = join_all(completions)
            .await
            .into_iter()
            .filter(|is_download| *is_download.as_ref().unwrap())
            .count();
        assert_eq!(downloads, 1, "round {round}");
        assert_eq!(storage.scrape_swarm(&swarm).await.unwrap().downloads, 1, "round {round}");
        storage.forget_swarm(&swarm).await.unwrap();
    }
    storage.close().await.unwrap();
}

/// While a node is down, swarms on the other nodes are served; once it is back all are, on the same storage, and no
/// acknowledged write is missing.
pub(super) async fn other_nodes_serve_while_one_is_gone(servers: &Cluster) {
    let settings = [("retry_timeout", "300ms"), ("operation_timeout", "2s")];
    let storage = open(servers.settings(), &settings).await;
    let load = WriteLoad::start(&storage);
    load.puts_more(300, TIMEOUT).await;

    let node = without_shared_keys(servers);
    node.kill().unwrap();
    load.fails(TIMEOUT).await;
    load.puts_more(100, TIMEOUT).await;
    node.start_again().unwrap();
    tokio::time::timeout(TIMEOUT, wait_until_all_are_served(&*storage)).await.expect("all swarms in time");
    load.puts_more(300, TIMEOUT).await;

    let noted = load.finish().await;
    noted.failures_are_passing();
    holds_peers(&*storage, &noted.acknowledged.put).await;
    holds_downloads(&*storage, noted.acknowledged.graduated, &noted).await;
}

/// The open connections to a node go silent, and new ones work: every call succeeds again within
/// `operation_timeout` plus a second.
pub(super) async fn a_node_whose_connections_go_silent_is_reconnected(servers: &Cluster) {
    let (node, others) = servers.nodes().split_last().unwrap();
    let proxy = TcpProxy::start(node.address()).await.unwrap();
    let port = proxy.address().port();
    node.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("cluster-announce-port").arg(port)).unwrap();
    for other in others {
        let knows_the_way = |nodes: &String| nodes.contains(&format!(":{port}@"));
        other.ask_until(redis::cmd("CLUSTER").arg("NODES"), knows_the_way).unwrap();
    }
    let mut settings = servers.settings();
    settings[0].1 = texts(others.iter().map(Node::address));
    let storage = open(settings, &[("retry_timeout", "300ms"), ("operation_timeout", "2s")]).await;
    let load = WriteLoad::start(&storage);
    load.puts_more(300, TIMEOUT).await;
    assert!(proxy.open() > 0);

    for seed in 0..2 {
        let silent =
            proxy.fault_open(Direction::Both, NetworkFault::Drop, 1.0, &mut StdRng::seed_from_u64(seed));
        assert!(silent > 0);
        // As long as a call that begins in the last moment of that time.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let failures = load.noted().failures.len();
        load.puts_more(600, TIMEOUT).await;
        let noted = load.noted();
        assert_eq!(noted.failures.len(), failures, "{:?}", noted.failures.last());
    }

    let noted = load.finish().await;
    noted.failures_are_passing();
    assert!(noted.longest < Duration::from_millis(2_500), "a call took {:?}", noted.longest);
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

/// For swarms that an announce reads whole, and for larger ones that it samples.
pub(super) async fn announces_return_peers_in_both_roles_in_the_later_one(servers: &Cluster) {
    let storage = open(servers.settings(), &[]).await;
    for (info_hash, size) in [(1, 3), (2, 12), (3, 81), (4, 300)] {
        let swarm = swarm(info_hash);
        // Of three peers one is a seeder only, one a leecher who was a seeder, and one the reverse.
        let (mut seeders, mut leechers) = (redis::cmd("HSET"), redis::cmd("HSET"));
        seeders.arg(raw::swarm_key("S4", &swarm));
        leechers.arg(raw::swarm_key("L4", &swarm));
        for number in 0..size {
            seeders.arg(raw::peer_key(&peer(number))).arg(1_000 + number % 3);
            if number % 3 != 0 {
                leechers.arg(raw::peer_key(&peer(number))).arg(1_003 - number % 3);
            }
        }
        for command in [&seeders, &leechers] {
            let written = servers.nodes().iter().any(|node| node.ask::<u64>(command).is_ok());
            assert!(written, "a node has the key");
        }
        let all_leechers: BTreeSet<_> = (1..size).step_by(3).map(peer).collect();
        let all_seeders: BTreeSet<_> =
            (0..size).map(peer).filter(|peer| !all_leechers.contains(peer)).collect();
        let client = [peer(1_000), peer(1_001)];
        for role in Role::BOTH {
            for num_want in [0, 1, 4, 50, 200, 1_000] {
                let announce = Announce::new(swarm, client.iter().copied())
                    .with_role(role)
                    .with_num_want(num_want)
                    .with_families(&[AddressFamily::V6, AddressFamily::V4]);
                let answer = storage.announce(&announce).await.unwrap();
                let found = answer.peers.unwrap();
                let message = format!("{num_want} of {size} peers for a {role:?}");
                let first: BTreeSet<_> = if role.is_seeder() { BTreeSet::new() } else { all_seeders.clone() };
                let number = num_want.min(first.len() + all_leechers.len());
                assert_eq!(
                    (found.len(), found.iter().collect::<BTreeSet<_>>().len()),
                    (number, number),
                    "{message}"
                );
                let (seeders, leechers) = found.split_at(first.len().min(number));
                assert!(seeders.iter().all(|peer| first.contains(peer)), "seeders first: {message}");
                assert!(leechers.iter().all(|peer| all_leechers.contains(peer)), "leechers then: {message}");
                let counted = answer.counts.unwrap();
                let both = u64::from(size - size.div_ceil(3));
                assert_eq!(counted.seeders + counted.leechers, u64::from(size) + both + 2, "{message}");
            }
        }
    }
    storage.close().await.unwrap();
}

/// The same scenario as on a single server.
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
