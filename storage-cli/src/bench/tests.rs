use std::sync::Arc;
use std::time::Duration;

use storage_core::{ExportScope, Maintenance, PeerStorageExt, Statistics, Storage, Timestamp, Transfer};
use storage_memory::{MemoryConfig, MemoryStorage};

use super::{DaySettings, LocalRun, RunSettings, SwarmSizes};
use crate::arguments::Workload;
use crate::interrupt::Interrupt;

const SETTINGS: RunSettings =
    RunSettings { concurrency: 5, warmup: Duration::from_millis(5), duration: Duration::from_millis(20) };

fn memory() -> (Arc<MemoryStorage>, Arc<dyn Storage>) {
    let memory = Arc::new(MemoryStorage::new(MemoryConfig::default()));
    (Arc::clone(&memory), memory)
}

fn run(storage: &Arc<dyn Storage>, sizes: SwarmSizes) -> LocalRun {
    LocalRun::new(storage, sizes, (20, 8), SETTINGS, &Interrupt::listen())
}

/// 1,000 clients in 200 swarms.
fn day(storage: &Arc<dyn Storage>, speed: Option<f64>) -> LocalRun {
    let day = DaySettings { interval: Duration::from_secs(2), speed, server_processes: Vec::new() };
    LocalRun::day(storage, (200, 1_000), SETTINGS, day, &Interrupt::listen())
}

#[tokio::test]
async fn every_workload_succeeds_and_leaves_nothing_behind() {
    let (memory, storage) = memory();
    for workload in Workload::ALL {
        let run = match workload {
            Workload::Day => day(&storage, None),
            _ => run(&storage, SwarmSizes::of(workload)),
        };
        run.load().await.unwrap();
        let report = run.measure(workload, None).await.unwrap();
        assert!(!report.is_failure(), "{report:?}");
        assert_eq!(report.complaint(), None, "{report:?}");
        run.remove().await.unwrap();
        assert_eq!(memory.statistics().await.unwrap(), Statistics::default(), "{workload:?}");
        assert_eq!(memory.export_downloads(None, 9).await.unwrap().records, [], "{workload:?}");
    }
}

#[tokio::test]
async fn swarms_of_others_are_left_alone() {
    let (memory, storage) = memory();
    let theirs = super::dataset::Dataset::even(1, 1).member(0, 0);
    memory.put_seeder(&theirs.info_hash, &theirs.peer).await.unwrap();
    let run = run(&storage, SwarmSizes::Even);
    run.load().await.unwrap();
    assert_eq!(memory.statistics().await.unwrap().info_hashes, 21);
    run.measure(Workload::PutNew, None).await.unwrap();
    run.remove().await.unwrap();
    let left = Statistics::new(1, 1, 0);
    assert_eq!(memory.statistics().await.unwrap(), left);
}

#[tokio::test]
async fn re_announces_add_no_peer_and_change_no_role() {
    let (memory, storage) = memory();
    let run = run(&storage, SwarmSizes::Even);
    run.load().await.unwrap();
    let loaded = memory.statistics().await.unwrap();
    assert_eq!(loaded, Statistics::new(20, 80, 80));
    run.measure(Workload::Put, None).await.unwrap();
    assert_eq!(memory.statistics().await.unwrap(), loaded);
}

#[tokio::test]
async fn peers_that_come_in_random_order_are_the_same() {
    let (memory, storage) = memory();
    let run = run(&storage, SwarmSizes::Zipf).scattered(true);
    run.load().await.unwrap();
    let (_, other) = self::memory();
    let in_order = self::run(&other, SwarmSizes::Zipf);
    in_order.load().await.unwrap();
    assert_eq!(memory.statistics().await.unwrap(), other.statistics().await.unwrap());
}

#[tokio::test]
async fn calls_that_fail_are_counted_by_kind() {
    let (_, storage) = memory();
    let with_default_layers: Arc<dyn Storage> =
        storage_core::with_default_layers(Arc::clone(&storage), Default::default());
    with_default_layers.close().await.unwrap();
    let report = run(&with_default_layers, SwarmSizes::Even).measure(Workload::Scrape, None).await.unwrap();
    assert!(report.is_failure(), "{report:?}");
    let complaint = report.complaint().unwrap();
    assert!(complaint.starts_with("scrape: "), "{complaint}");
    assert!(complaint.contains("closed ") && complaint.contains("; the first: memory"), "{complaint}");
}

#[tokio::test]
async fn a_day_goes_on_from_the_peers_that_are_loaded() {
    let (memory, storage) = memory();
    // In 25 ms a fifth of the clients announce.
    let run = day(&storage, Some(16.0));
    run.load().await.unwrap();
    let loaded = memory.statistics().await.unwrap();
    let peers = loaded.seeders + loaded.leechers;
    // All but those that are between two visits.
    assert!((940..980).contains(&peers), "{loaded:?}");
    assert_eq!(loaded.info_hashes, 200);
    let report = run.measure(Workload::Day, None).await.unwrap();
    assert_eq!(report.complaint(), None, "{report:?}");
    let left = memory.statistics().await.unwrap();
    assert!((930..990).contains(&(left.seeders + left.leechers)), "{left:?}");
    let now = Timestamp::now();
    let records = memory.export_peers(ExportScope::All, None, 2_000).await.unwrap().records;
    assert!(records.iter().all(|record| record.announced <= now), "a peer announced in the future");
    let oldest = records.iter().map(|record| now.since(record.announced)).max().unwrap();
    assert!(oldest < Duration::from_secs(20), "{oldest:?}");
}
