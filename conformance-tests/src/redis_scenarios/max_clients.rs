//! A server that has reached its limit of connections (`maxclients`).

use std::time::Duration;

use redis::Client;
use redis::aio::MultiplexedConnection;
use storage_core::config::Value;
use storage_core::{Error, ErrorKind, OpenError};

use super::fixtures::swarm;
use super::test_env::open;
use crate::servers::Found;
use crate::servers::redis::{Cluster, Node, Setup};
use crate::storages::backends;
use crate::storages::redis::config;

pub(super) fn cluster() -> Found<Cluster> {
    Cluster::start(&Setup::default())
}

/// Opens connections until the server accepts no more.
async fn exhaust_connections(client: &Client, most: usize) -> Vec<MultiplexedConnection> {
    let mut connections = vec![client.get_multiplexed_async_connection().await.unwrap()];
    limit(&mut connections[0], most).await;
    while let Ok(one) = client.get_multiplexed_async_connection().await {
        connections.push(one);
    }
    connections
}

async fn limit(connection: &mut MultiplexedConnection, clients: usize) {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxclients").arg(clients);
    set.exec_async(connection).await.unwrap();
}

fn with_one_connection(node: &Node) -> Vec<(String, Value)> {
    let mut settings = node.settings();
    settings.push(("pool_size".into(), Value::Integer(1)));
    settings
}

fn says_so(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("no connection left (`maxclients`)"), "{error}");
}

async fn refusal(mut settings: Vec<(String, Value)>, startup_timeout: &str) -> Error {
    settings.push(("startup_timeout".into(), Value::Text(startup_timeout.into())));
    match backends().open(config(settings)).await {
        Err(OpenError::Storage(error)) => error,
        Err(other) => panic!("not refused by the server: {other}"),
        Ok(_) => panic!("opened all the same"),
    }
}

/// In the first database, and in another one, for which redis-rs sends one more command.
pub(super) async fn reached_is_reported_when_a_storage_is_opened(node: &Node) {
    let connections = exhaust_connections(&node.client(), 4).await;
    for database in [0, 3] {
        let mut settings = node.settings();
        settings.retain(|(key, _)| key != "db");
        settings.push(("db".into(), Value::Integer(database)));
        says_so(&refusal(settings, "300ms").await);
    }
    drop(connections);
}

/// Opening retries as it does for a server that is not up yet.
pub(super) async fn reached_is_retried_at_start(node: &Node) {
    let mut connections = exhaust_connections(&node.client(), 4).await;
    let opening = open(with_one_connection(node), &[("startup_timeout", "20s")]);
    let makes_room = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        limit(&mut connections[0], 100).await;
    };
    let (storage, ()) = tokio::join!(opening, makes_room);
    storage.ping().await.unwrap();
}

/// A storage that has lost its connections reports why it gets no others, and reconnects when there is room.
pub(super) async fn reached_is_reported_to_calls_that_need_another_connection(node: &Node) {
    let storage = open(with_one_connection(node), &[("retry_timeout", "500ms")]).await;
    let mut connections = exhaust_connections(&node.client(), 4).await;
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    // One of these connections after the other takes the place of the storage's connection.
    limit(&mut connections[0], 1).await;
    kill.exec_async(&mut connections[0]).await.unwrap();
    says_so(&storage.scrape_swarm(&swarm(1)).await.unwrap_err());
    limit(&mut connections[0], 100).await;
    storage.scrape_swarm(&swarm(1)).await.unwrap();
    storage.close().await.unwrap();
}

pub(super) async fn reached_is_reported_by_the_nodes_of_a_cluster(cluster: &Cluster) {
    let mut of_nodes = Vec::new();
    for node in cluster.nodes() {
        of_nodes.push(exhaust_connections(&node.client(), 8).await);
    }
    says_so(&refusal(cluster.settings(), "300ms").await);
    for connections in &mut of_nodes {
        limit(&mut connections[0], 1_000).await;
    }
    let storage = open(cluster.settings(), &[]).await;
    storage.ping().await.unwrap();
    storage.close().await.unwrap();
}
