//! What the operator of a tracker sees.

mod common;
mod tracker;

use common::MEMORY;
use serde_json::Value;
use tracker::RunningTracker;
use tracker::http::{client, get, send};
use tracker::udp::{Udp, announce};

const INFO_HASH: [u8; 20] = [7; 20];

/// Two seeders and a leecher of one swarm, and a request that is wrong.
fn in_use(tracker: &RunningTracker) {
    client(b's', 1).announce(tracker.http(), &INFO_HASH, 0, "");
    client(b'l', 2).announce(tracker.http6(), &INFO_HASH, 9, "");
    Udp::to(tracker.udp()).announce(&announce(INFO_HASH, b'S', 3, 0));
    get(tracker.http(), "/announce?info_hash=short");
}

/// The state, once the storage has been counted with these peers.
fn stats_with(tracker: &RunningTracker, peers: u64) -> Value {
    loop {
        let stats = get(tracker.admin(), "/stats").json();
        let count = |key: &str| stats[key].as_u64().unwrap_or_default();
        if count("seeders") + count("leechers") == peers {
            return stats;
        }
    }
}

#[test]
fn the_state_is_served_as_json() {
    let tracker = RunningTracker::start();
    in_use(&tracker);
    let stats = stats_with(&tracker, 3);
    assert_eq!(stats["backend"], "memory");
    assert_eq!(stats["server"], Value::Null, "it has none");
    assert_eq!([&stats["swarms"], &stats["seeders"], &stats["leechers"]], [1, 2, 1]);
    let requests = &stats["requests"];
    assert_eq!([&requests["announces"], &requests["malformed"]], [4, 1], "{stats}");
    assert_eq!([&requests["denied"], &requests["failed"], &stats["errors"]], [0, 0, 0], "{stats}");
    assert!(stats["announces_per_second"].as_f64().unwrap() > 0.0, "{stats}");
    let families = &stats["announces_by_family"];
    assert_eq!([&families["ipv4"]["total"], &families["ipv6"]["total"]], [2, 1], "{stats}");
    let storage = &stats["storage"];
    assert_eq!([&storage["pool"], &storage["mirror"]], [&Value::Null; 2], "{stats}");
    assert_eq!(
        [&storage["calls"]["max_in_flight"], &storage["pending_writes"]["count"]],
        [10_000, 0],
        "{stats}"
    );
    assert_eq!(
        (&stats["healthy"], &get(tracker.admin(), "/stats").json()["backend"]),
        (&true.into(), &stats["backend"])
    );
    let latency = &stats["latency_milliseconds"];
    assert!(latency["p50"].as_f64().unwrap() <= latency["p99"].as_f64().unwrap(), "{stats}");
    assert_eq!(stats["last_error"], Value::Null);
}

#[test]
fn swarms_are_counted_at_once_however_seldom_they_are_counted() {
    let config = "storage: {name: memory, config: {prometheus_reporting_interval: 1h}}\n";
    let tracker = RunningTracker::with(config, &[]);
    while get(tracker.admin(), "/stats").json()["swarms"].is_null() {}
    assert!(get(tracker.admin(), "/stats").json()["statistics_seconds_ago"].as_u64().unwrap() < 60);
}

#[test]
fn garbage_collections_are_shown() {
    let config = "storage: {name: memory, config: {gc_interval: 100ms, peer_lifetime: 1ms}}\n";
    let tracker = RunningTracker::with(config, &[]);
    client(b's', 1).announce(tracker.http(), &INFO_HASH, 0, "");
    loop {
        let stats = get(tracker.admin(), "/stats").json();
        let collection = &stats["last_garbage_collection"];
        if collection.is_object() {
            assert!(collection["took_milliseconds"].as_f64().unwrap() >= 0.0, "{collection}");
            assert_eq!(stats["next_garbage_collection_seconds"], 0, "{stats}");
            break;
        }
    }
}

/// The grace after a start is longer than the interval.
#[test]
fn the_next_garbage_collection_is_shown() {
    let tracker =
        RunningTracker::with("storage: {name: memory, config: {gc_interval: 1m, peer_lifetime: 40m}}\n", &[]);
    let next = loop {
        if let Some(next) = get(tracker.admin(), "/stats").json()["next_garbage_collection_seconds"].as_u64()
        {
            break next;
        }
    };
    assert!((2_300..=2_400).contains(&next), "{next}");
    let due = metric(&tracker, "tracker_storage_gc_next_timestamp_seconds{backend=\"memory\"}").unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((2_300.0..=2_400.0).contains(&(due - now)), "{due}");

    let tracker = RunningTracker::with("storage: {name: memory, config: {maintenance: false}}\n", &[]);
    let stats = get(tracker.admin(), "/stats").json();
    assert_eq!(stats["next_garbage_collection_seconds"], Value::Null, "{stats}");
    assert_eq!(metric(&tracker, "tracker_storage_gc_next_timestamp_seconds{backend=\"memory\"}"), None);
}

/// The value of a metric.
fn metric(tracker: &RunningTracker, name: &str) -> Option<f64> {
    let metrics = get(tracker.admin(), "/metrics").text();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn metrics_are_those_of_the_storage_and_of_the_front_ends() {
    let tracker = RunningTracker::start();
    in_use(&tracker);
    stats_with(&tracker, 3);
    let metrics = get(tracker.admin(), "/metrics").text();
    for line in [
        r#"tracker_requests_total{action="announce",outcome="ok",protocol="http"} 2"#,
        r#"tracker_requests_total{action="announce",outcome="malformed",protocol="http"} 1"#,
        r#"tracker_requests_total{action="announce",outcome="ok",protocol="udp"} 1"#,
        r#"tracker_request_seconds_count{action="announce",protocol="udp"} 1"#,
        r#"tracker_storage_seeders{backend="memory"} 2"#,
        r#"tracker_storage_operations_total{backend="memory",operation="announce",outcome="ok"} 3"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("mochi_"), "{metrics}");
    let taken = metric(&tracker, "tracker_storage_statistics_timestamp_seconds{backend=\"memory\"}").unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((0.0..60.0).contains(&(now - taken)), "{taken}");
}

#[test]
fn counts_have_mochis_names_too_when_asked() {
    let tracker = RunningTracker::with(MEMORY, &["--mochi-metric-names"]);
    in_use(&tracker);
    stats_with(&tracker, 3);
    let metrics = get(tracker.admin(), "/metrics").text();
    for line in [
        "mochi_storage_infohashes_count 1",
        "mochi_storage_seeders_count 2",
        "mochi_storage_leechers_count 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let tracker = RunningTracker::start();
    let page = get(tracker.admin(), "/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
}

#[test]
fn the_operators_address_has_no_announces_and_takes_no_orders() {
    let tracker = RunningTracker::start();
    assert_eq!(get(tracker.admin(), "/health").text(), "ok\n");
    assert_eq!(get(tracker.admin(), "/announce").status, 404);
    let post = send(tracker.admin(), b"POST /stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(post.unwrap().status, 405);
}
