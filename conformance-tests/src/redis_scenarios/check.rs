//! What `check` reports about a server, and the example configuration.

use std::io::Write;

use storage_core::config::{StorageConfig, Value};
use storage_core::{Diagnostics, Driver};
use storage_redis::RedisDriver;

use super::test_env::{TestDatabase, open};
use crate::servers::Found;
use crate::servers::redis::{Node, Sentinel, Setup};
use crate::storages::backends;

/// A server that evicts keys when its memory is full, and does not persist.
pub(super) fn server_without_persistence() -> Found<Node> {
    Node::start(&Setup::default().setting("maxmemory-policy allkeys-lru"))
}

/// Each warning has its own reason.
pub(super) async fn warns_of_eviction_and_of_absent_persistence(server: &Node) {
    let warnings = diagnostics(server).await.warnings;
    let about = |what: &str| warnings.iter().filter(|warning| warning.contains(what)).count();
    assert_eq!(
        (about("maxmemory-policy"), about("persistence is off"), warnings.len()),
        (1, 1, 2),
        "{warnings:?}"
    );
}

/// The server and its version, the connection, its eviction policy and its persistence.
pub(super) async fn describes_a_server_that_keeps_everything(server: &Node) {
    let diagnostics = diagnostics(server).await;
    let is_named = ["Redis ", "Valkey "].iter().any(|product| diagnostics.server.starts_with(product));
    assert!(is_named, "{diagnostics:?}");
    for (item, expected) in [
        ("mode", "single node"),
        ("memory policy", "noeviction"),
        ("persistence", "append only file on, snapshots off"),
    ] {
        let found = diagnostics.findings.iter().find(|(name, _)| name == item);
        assert_eq!(found.map(|(_, found)| found.as_str()), Some(expected), "{item}");
    }
    assert!(diagnostics.warnings.is_empty(), "{:?}", diagnostics.warnings);
}

/// In strict mode: an unknown key would be an error, and a value that is replaced by another a warning.
pub(super) async fn accepts_the_example(server: &Node) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(RedisDriver.example_config().unwrap().as_bytes()).unwrap();
    let address = ("TRACKER_STORAGE__CONFIG__ADDRESSES".to_owned(), server.address());
    let config = StorageConfig::load(file.path(), StorageConfig::DEFAULT_PATH, std::iter::once(address));
    let opened = backends().open(config.unwrap()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(opened.warnings.is_empty(), "{:?}", opened.warnings);
    opened.storage.ping().await.unwrap();
    opened.storage.close().await.unwrap();
}

/// With a replica, and a sentinel that is down.
pub(super) async fn says_what_a_failover_costs(servers: &Sentinel) {
    let diagnostics = async |wait_replicas: i64| {
        let mut settings = servers.settings(0);
        let Some((_, Value::List(sentinels))) = settings.iter_mut().find(|(key, _)| key == "addresses")
        else {
            panic!("no list of sentinels")
        };
        sentinels.push(Value::Text("127.0.0.1:1".into()));
        settings.push(("wait_replicas".into(), Value::Integer(wait_replicas)));
        open(settings, &[]).await.diagnostics().await.unwrap()
    };
    for (wait_replicas, expected) in [
        (0, "what the replicas have not received yet; set `wait_replicas` to wait for them"),
        (1, "peers only"),
    ] {
        let Diagnostics { findings, warnings, .. } = diagnostics(wait_replicas).await;
        let found = findings.iter().find(|(name, _)| name == "lost in a failover");
        assert_eq!(found.map(|(_, found)| found.as_str()), Some(expected));
        assert!(warnings.iter().any(|warning| warning.contains("the sentinel 127.0.0.1:1 ")), "{warnings:?}");
        assert!(!warnings.iter().any(|warning| warning.contains("`wait_replicas`")), "{warnings:?}");
    }
    let warnings = diagnostics(2).await.warnings;
    let expected = "`wait_replicas` is 2, and there are 1 replicas: no download and no data is acknowledged";
    assert!(warnings.iter().any(|warning| warning.contains(expected)), "{warnings:?}");
}

async fn diagnostics(server: &Node) -> Diagnostics {
    TestDatabase::of(server).open().await.diagnostics().await.unwrap()
}
