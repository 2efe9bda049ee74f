//! What the metrics of the core show of a storage, in Prometheus' text format.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

use std::time::Duration;

use prometheus::TextEncoder;
use storage_core::config::{StorageConfig, Value};
use storage_core::layer::Metrics;
use storage_core::{
    Backends, Event, InfoHash, Opened, Peer, PeerId, PeerSelection, PeerStorageExt, Role, Storage, Timestamp,
    When,
};
use storage_memory::MemoryDriver;

const SWARM: InfoHash = InfoHash::V1([1; 20]);

fn peer(port: u16) -> Peer {
    Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), port)
}

/// A storage whose calls are counted in a registry of its own.
async fn counted() -> (prometheus::Registry, Opened<dyn Storage>) {
    let metrics = prometheus::Registry::new();
    let registry = Backends::new().with(MemoryDriver).with_metrics(Metrics::register(&metrics).unwrap());
    let config = StorageConfig { name: "memory".into(), config: Value::Null };
    let opened = registry.open(config).await.unwrap();
    (metrics, opened)
}

/// The value of a series, `seeders{backend="memory"}`; `None` if it is not shown.
fn value(metrics: &prometheus::Registry, series: &str) -> Option<f64> {
    let text = TextEncoder::new().encode_to_string(&metrics.gather()).unwrap();
    let start = format!("tracker_storage_{series} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).map(|value| value.parse().unwrap())
}

/// How many calls are counted and timed with these labels.
fn calls(metrics: &prometheus::Registry, operation: &str, outcome: &str) -> f64 {
    let labels = format!(r#"{{backend="memory",operation="{operation}",outcome="{outcome}"}}"#);
    let counted = value(metrics, &format!("operations_total{labels}"));
    let timed = value(metrics, &format!("operation_seconds_count{labels}"));
    assert_eq!(counted, timed, "{labels}");
    counted.unwrap_or(0.0)
}

#[tokio::test]
async fn calls_are_counted_and_timed_by_outcome() {
    let (metrics, Opened { storage, .. }) = counted().await;
    storage.put_seeder(&SWARM, &peer(1)).await.unwrap();
    storage.put_leecher(&SWARM, &peer(2)).await.unwrap();
    storage.announce_peers(&PeerSelection::new(SWARM, 50)).await.unwrap();
    storage.announce_peers(&PeerSelection::new(InfoHash::V1([2; 20]), 50)).await.unwrap();
    storage.delete_leecher(&SWARM, &peer(1)).await.unwrap_err();
    storage.close().await.unwrap();
    storage.scrape_swarm(&SWARM).await.unwrap_err();

    assert_eq!(calls(&metrics, "put_peer", "ok"), 2.0);
    assert_eq!(calls(&metrics, "announce_peers", "ok"), 2.0);
    assert_eq!(calls(&metrics, "delete_peer", "not_found"), 1.0);
    assert_eq!(calls(&metrics, "delete_peer", "ok"), 0.0);
    assert_eq!(calls(&metrics, "scrape_swarm", "closed"), 1.0);
}

#[tokio::test]
async fn gauges_show_the_last_statistics() {
    let (metrics, Opened { storage, .. }) = counted().await;
    let gauge = |name: &str| value(&metrics, &format!(r#"{name}{{backend="memory"}}"#));
    for port in 1..=3 {
        storage.put_leecher(&SWARM, &peer(port)).await.unwrap();
    }
    storage.put_seeder(&InfoHash::V2([2; 32]), &peer(1)).await.unwrap();
    assert_eq!(gauge("leechers"), None);

    storage.statistics().await.unwrap();
    assert_eq!(gauge("info_hashes"), Some(2.0));
    assert_eq!(gauge("seeders"), Some(1.0));
    assert_eq!(gauge("leechers"), Some(3.0));

    storage.delete_leecher(&SWARM, &peer(3)).await.unwrap();
    storage.statistics().await.unwrap();
    assert_eq!(gauge("leechers"), Some(2.0));
}

#[tokio::test]
async fn garbage_collections_add_up_and_the_last_is_dated() {
    let (metrics, Opened { storage, .. }) = counted().await;
    let of = |name: &str| value(&metrics, &format!(r#"{name}{{backend="memory"}}"#));
    let (begun, long_ago) = (Timestamp::now(), Timestamp::from_seconds(1));
    for ports in [1..=2, 3..=5] {
        for port in ports {
            storage.put_peer(&SWARM, &peer(port), Role::Seeder, When::At(long_ago)).await.unwrap();
        }
        storage.collect_garbage(begun.before(Duration::from_secs(60))).await.unwrap();
    }

    assert_eq!(of("gc_removed_peers_total"), Some(5.0));
    assert!(of("gc_seconds").is_some_and(|seconds| (0.0..60.0).contains(&seconds)));
    let begun = begun.nanoseconds() as f64 / 1e9;
    assert!(
        of("gc_last_success_timestamp_seconds").is_some_and(|last| (begun..begun + 60.0).contains(&last))
    );
}

#[tokio::test]
async fn a_collection_that_fails_has_no_success() {
    let (metrics, Opened { storage, .. }) = counted().await;
    storage.close().await.unwrap();
    storage.collect_garbage(Timestamp::now()).await.unwrap_err();
    assert_eq!(calls(&metrics, "collect_garbage", "closed"), 1.0);
    assert_eq!(value(&metrics, r#"gc_last_success_timestamp_seconds{backend="memory"}"#), None);
}

#[tokio::test]
async fn info_names_backend_and_versions() {
    let (metrics, _opened) = counted().await;
    let version = env!("CARGO_PKG_VERSION");
    let labels = format!(r#"backend="memory",server="unknown",version="{version}""#);
    assert_eq!(value(&metrics, &format!("info{{{labels}}}")), Some(1.0));
}

#[test]
fn events_that_no_result_shows_are_counted() {
    let registry = prometheus::Registry::new();
    let metrics = Metrics::register(&registry).unwrap().meter();
    for count in [3, 4] {
        metrics.observe("pg", Event::Retried { reason: "serialization" });
        metrics.observe("pg", Event::Reconnected);
        metrics.observe("pg", Event::Skipped { what: "announce.query", count });
    }
    assert_eq!(value(&registry, r#"retries_total{backend="pg",reason="serialization"}"#), Some(2.0));
    assert_eq!(value(&registry, r#"reconnects_total{backend="pg"}"#), Some(2.0));
    assert_eq!(value(&registry, r#"skipped_rows_total{backend="pg",what="announce.query"}"#), Some(7.0));
}

#[tokio::test]
async fn several_storages_share_one_set_of_metrics() {
    let metrics = prometheus::Registry::new();
    let registry = Backends::new().with(MemoryDriver).with_metrics(Metrics::register(&metrics).unwrap());
    let config = StorageConfig { name: "memory".into(), config: Value::Null };
    let whole = registry.open(config.clone()).await.unwrap().storage;
    let data = registry.open_data(config).await.unwrap().storage;
    whole.ping().await.unwrap();
    data.ping().await.unwrap();
    assert_eq!(calls(&metrics, "ping", "ok"), 2.0);
    assert!(Metrics::register(&metrics).is_err());
}
