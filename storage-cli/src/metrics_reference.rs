//! The tables of metrics in the book have every metric, with its labels and type, and no other.

#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use prometheus::Registry;
use prometheus::proto::MetricType;
use storage_core::layer::Metrics;
use storage_core::{CacheStatus, Collected, CountCheck, EndedCall, Event, Operation, Statistics};
use storage_memory::{MemoryConfig, MemoryStorage};

use crate::serve::FrontMetrics;

const BACKEND: &str = "pg";

/// Name, labels other than `backend`, and whether it is a histogram.
type Metric = (String, BTreeSet<String>, bool);

/// The rows of the table under a heading, each name with a prefix.
fn documented(heading: &str, prefix: &str) -> BTreeSet<Metric> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/monitoring.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let (_, section) = text.split_once(&format!("## {heading}\n")).expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("| ---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let columns: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let in_backticks =
            |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        let (labels, what) = (in_backticks(columns[1]), columns[2]);
        in_backticks(columns[0])
            .into_iter()
            .map(move |name| (format!("{prefix}{name}"), labels.clone(), what.starts_with("histogram")))
    })
    .collect()
}

fn gathered(registry: &Registry) -> BTreeSet<Metric> {
    let families = registry.gather();
    let metric = |family: &prometheus::proto::MetricFamily| {
        let labels = family.get_metric()[0].get_label().iter().map(|label| label.name().to_owned());
        let labels = labels.filter(|name| name != "backend").collect();
        (family.name().to_owned(), labels, family.get_field_type() == MetricType::HISTOGRAM)
    };
    families.iter().map(metric).collect()
}

#[test]
fn the_metrics_of_storages_are_those_in_the_book() {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).expect("a new registry");
    let meter = metrics.meter();
    let second = Duration::from_secs(1);
    for event in [
        Event::Retried { reason: "deadlock" },
        Event::Reconnected,
        Event::Skipped { what: "peer", count: 1 },
        Event::BatchSent { key: "announce.batch_query", calls: 1, waited: second, left: 0 },
        Event::Ran { key: "announce.query", took: second },
        Event::ClockLooked { ahead_seconds: 0.0 },
        Event::Leased { waited: second, connections: 1 },
        Event::CollectionScheduled { after: second },
        Event::MirrorMissed { writes: 1 },
        Event::MirrorSuspended { suspended: false },
        Event::MirrorQueued { writes: 1 },
        Event::CacheBackendAway { away: false },
        Event::CacheMeasured(CacheStatus::default()),
    ] {
        meter.observe(BACKEND, event);
    }
    meter.call_ended(&EndedCall::new(BACKEND, Operation::PutPeer, None, second));
    meter.completed(BACKEND, false);
    meter.counted(BACKEND, &Statistics::default());
    meter.counts_checked(BACKEND, &CountCheck::new(0, Vec::new(), ""));
    meter.collected(BACKEND, &Collected::removed(1), second);
    metrics.describe(&MemoryStorage::new(MemoryConfig::default()));

    let documented = documented("Metrics of storages", "tracker_storage_");
    assert_eq!(documented, gathered(&registry));
}

#[test]
fn the_metrics_of_serve_are_those_in_the_book() {
    let registry = Registry::new();
    let _metrics = FrontMetrics::register(&registry).expect("a new registry");
    let documented = documented("Metrics of `serve`", "");
    assert_eq!(documented, gathered(&registry));
}

/// Histograms have three series each, and rules are named with colons.
#[test]
fn alerts_and_dashboard_use_metrics_that_exist() {
    let mut known = documented("Metrics of storages", "tracker_storage_");
    known.extend(documented("Metrics of `serve`", ""));
    let is_known = |name: &str| {
        known.iter().any(|(known, _, is_histogram)| {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
            known == name || *is_histogram && of_histogram.into_iter().any(|name| known == name)
        })
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    for file in ["alerts.yml", "grafana-dashboard.json"] {
        let text = std::fs::read_to_string(folder.join(file)).expect("the file");
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let used: BTreeSet<_> = words.filter(|word| word.starts_with("tracker_")).collect();
        assert!(!used.is_empty(), "{file} uses no metric");
        let unknown: Vec<_> = used.into_iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{file} uses {unknown:?}");
    }
}
