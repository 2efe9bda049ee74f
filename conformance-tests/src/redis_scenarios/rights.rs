//! What a user must be allowed: as much as the example of a configuration says, and no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use storage_core::config::Value;
use storage_core::conformance::{Outcome, Suite};
use storage_core::{ErrorKind, PeerSelection, Storage};

use super::fixtures::{context, peer, swarm};
use super::raw::{peer_key, swarm_key};
use super::test_env::open;
use crate::servers::redis::{Node, Rights, RightsOnCluster, RightsOnSentinel, RightsOnServer, Setup};
use crate::servers::{Found, Missing};
use crate::storages::ByConfiguration;
use crate::storages::redis::{config, with_patience};

/// What only describes the servers, or the client, and is not among the rights.
const OPTIONAL: [&str; 3] = ["info", "config|get", "client|setinfo"];

/// Cases under way at once.
const WIDTH: usize = 8;

pub(super) fn server() -> Found<RightsOnServer> {
    let servers = RightsOnServer::start()?;
    reset([servers.node()])?;
    Ok(servers)
}

pub(super) fn sentinel() -> Found<RightsOnSentinel> {
    let servers = RightsOnSentinel::start()?;
    reset([servers.servers().primary()])?;
    Ok(servers)
}

pub(super) fn cluster() -> Found<RightsOnCluster> {
    let cluster = RightsOnCluster::start()?;
    reset(cluster.nodes())?;
    Ok(cluster)
}

/// Forgets the commands that the start has sent.
fn reset<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Found<()> {
    let mut nodes = nodes.into_iter();
    nodes.try_for_each(|node| node.ask(redis::cmd("CONFIG").arg("RESETSTAT")).map_err(Missing::failed))
}

pub(super) async fn of_a_server_are_all_used(server: &RightsOnServer) {
    // The first database needs no SELECT.
    let (_first, database) = (server.database(), server.database());
    let storage = use_everything(server.settings(&database)).await;
    announce_to_a_swarm_in_both_roles(&mut database.connect().await.unwrap(), &*storage).await;
    storage.close().await.unwrap();
    wait_for_a_replica(server.settings(&database)).await;
    assert_all_used(Rights::Data, &[server.node()]);
}

/// The same as of a server; sentinels and servers talk to each other, so that what is refused says more.
pub(super) async fn behind_sentinels_are_enough(servers: &RightsOnSentinel) {
    let storage = use_everything(servers.settings(1)).await;
    storage.close().await.unwrap();
    assert_eq!(refused(servers.servers().primary()), BTreeSet::new());
    for sentinel in servers.servers().sentinels() {
        assert_eq!(refused(sentinel), BTreeSet::new());
    }
}

pub(super) async fn of_a_cluster_are_all_used(cluster: &RightsOnCluster) {
    let storage = use_everything(with_patience(cluster.settings())).await;
    ask_while_a_slot_moves(cluster, &*storage).await;
    storage.close().await.unwrap();
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    wait_for_a_replica(cluster.settings()).await;
    assert_all_used(Rights::Cluster, &nodes);
}

/// Without INFO and CONFIG everything works, and the diagnostics say what it could not look at, and why.
pub(super) async fn without_info_are_reported(server: &RightsOnServer) {
    let database = server.database();
    let storage = open(server.settings(&database), &[]).await;
    let diagnostics = storage.diagnostics().await.unwrap();
    assert_eq!(about(&diagnostics.warnings, &["refuses INFO", "+info"]), 1, "{diagnostics:?}");
    assert_eq!(about(&diagnostics.warnings, &["refuses CONFIG GET", "+config|get"]), 1, "{diagnostics:?}");
    assert_eq!(diagnostics.warnings.len(), 2, "{diagnostics:?}");
    let items: Vec<_> = diagnostics.findings.iter().map(|(item, _)| item.as_str()).collect();
    assert_eq!(items, ["version", "mode", "server"]);
    let is_named = ["Redis ", "Valkey "].iter().any(|product| diagnostics.server.starts_with(product));
    assert!(is_named, "{diagnostics:?}");
    storage.close().await.unwrap();

    let mut allow = redis::cmd("ACL");
    allow.arg("SETUSER").arg(server.login().name).arg("+info").arg("+config|get");
    server.node().ask::<()>(&allow).unwrap();
    let storage = open(server.settings(&database), &[]).await;
    let diagnostics = storage.diagnostics().await.unwrap();
    let persistence = ("persistence".to_owned(), "append only file off, snapshots off".to_owned());
    assert_eq!(diagnostics.findings[6], persistence, "{diagnostics:?}");
    storage.close().await.unwrap();
}

/// Where an operator has renamed them away.
pub(super) fn server_without_info() -> Found<Node> {
    Node::start(&Setup::default().setting("rename-command INFO \"\"").setting("rename-command CONFIG \"\""))
}

pub(super) async fn on_a_server_without_info_are_enough(node: &Node) {
    let storage = open(node.settings(), &[]).await;
    let warnings = storage.diagnostics().await.unwrap().warnings;
    assert_eq!(about(&warnings, &["refuses INFO", "unknown command"]), 1, "{warnings:?}");
    assert_eq!(about(&warnings, &["refuses CONFIG GET", "unknown command"]), 1, "{warnings:?}");
    storage.close().await.unwrap();
}

fn about(warnings: &[String], words: &[&str]) -> usize {
    warnings.iter().filter(|warning| words.iter().all(|word| warning.contains(word))).count()
}

/// Runs the whole suite, and what it leaves out.
async fn use_everything(settings: Vec<(String, Value)>) -> Arc<dyn Storage> {
    let suite = Suite::new(Arc::new(ByConfiguration::new(config(settings.clone()), true)));
    let run = futures::stream::iter(Suite::cases()).map(|case| {
        let suite = &suite;
        async move { (case.name(), suite.run(case).await) }
    });
    let outcomes: Vec<_> = run.buffer_unordered(WIDTH).collect().await;
    for (name, outcome) in outcomes {
        assert!(matches!(outcome, Outcome::Passed | Outcome::Skipped(_)), "{name}: {outcome:?}");
    }
    let storage = open(settings, &[]).await;
    storage.ping().await.unwrap();
    storage.probe().await.unwrap();
    storage.diagnostics().await.unwrap();
    storage
}

/// There is none.
async fn wait_for_a_replica(mut settings: Vec<(String, Value)>) {
    settings.push(("wait_replicas".into(), Value::Integer(1)));
    let storage = open(settings, &[("wait_timeout", "10ms")]).await;
    let kept = storage.put_data(&context("kept"), &[("key".into(), "value".into())]).await;
    assert_eq!(kept.unwrap_err().kind(), ErrorKind::Uncertain);
    storage.close().await.unwrap();
}

/// As old MoChi nodes leave it; there scripts look at how the server keeps a hash.
async fn announce_to_a_swarm_in_both_roles(connection: &mut MultiplexedConnection, storage: &dyn Storage) {
    for number in 0..81 {
        for kind in ["S4", "L4"] {
            let key = swarm_key(kind, &swarm(1));
            let () = connection.hset(&key, peer_key(&peer(number)), 1_000 + number).await.unwrap();
        }
    }
    for want in [5, 50] {
        let found = storage.announce_peers(&PeerSelection::new(swarm(1), want)).await.unwrap();
        assert_eq!(found.len(), want);
    }
}

/// A node that gives a slot away sends those who ask for a key to the node that takes it.
async fn ask_while_a_slot_moves(cluster: &RightsOnCluster, storage: &dyn Storage) {
    let key = swarm_key("S4", &swarm(1));
    let nodes = cluster.nodes();
    let slot: u16 = nodes[0].ask(redis::cmd("CLUSTER").arg("KEYSLOT").arg(&key)).unwrap();
    let owner = nodes.iter().find(|node| node.ask::<u64>(redis::cmd("HLEN").arg(&key)).is_ok()).unwrap();
    let taker = nodes.iter().find(|node| node.port() != owner.port()).unwrap();
    let set = |node: &Node, state: &str, other: Option<&Node>| {
        let mut set = redis::cmd("CLUSTER");
        set.arg("SETSLOT").arg(slot).arg(state);
        if let Some(other) = other {
            set.arg(other.ask::<String>(redis::cmd("CLUSTER").arg("MYID")).unwrap());
        }
        node.ask::<()>(&set).unwrap();
    };
    set(taker, "IMPORTING", Some(owner));
    set(owner, "MIGRATING", Some(taker));
    storage.scrape_swarm(&swarm(1)).await.unwrap();
    set(owner, "STABLE", None);
    set(taker, "STABLE", None);
}

/// Everything allowed was used, and nothing else was missed.
fn assert_all_used(rights: Rights, nodes: &[&Node]) {
    let mut used = BTreeSet::new();
    for node in nodes {
        let stats: String = node.ask(redis::cmd("INFO").arg("commandstats")).unwrap();
        let lines = stats.lines().filter(|line| !line.contains(":calls=0,"));
        used.extend(
            lines.filter_map(|line| Some(line.strip_prefix("cmdstat_")?.split(':').next()?.to_owned())),
        );
        assert_eq!(refused(node), BTreeSet::new());
    }
    let unused: Vec<_> = rights.commands().into_iter().filter(|command| !used.contains(*command)).collect();
    assert_eq!(unused, [""; 0], "used were {used:?}");
}

/// The commands that users were refused, but for the optional ones.
fn refused(node: &Node) -> BTreeSet<String> {
    let log: Vec<std::collections::HashMap<String, redis::Value>> =
        node.ask(redis::cmd("ACL").arg("LOG")).unwrap();
    let text = |value: &redis::Value| redis::from_redis_value::<String>(value.clone()).unwrap();
    log.iter()
        .map(|entry| text(&entry["object"]))
        .filter(|object| !OPTIONAL.contains(&object.as_str()))
        .collect()
}
