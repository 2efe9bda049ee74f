use std::sync::Arc;
use std::time::Duration;

use storage_core::{Maintenance, PeerStorage, Statistics, Storage, Transfer};
use storage_memory::{MemoryConfig, MemoryStorage};

use super::{BenchRun, CallPace, Shape};
use crate::arguments::Workload;
use crate::interrupt::Interrupt;

const PACE: CallPace =
    CallPace { concurrency: 5, warmup: Duration::from_millis(5), duration: Duration::from_millis(20) };

fn memory() -> (Arc<MemoryStorage>, Arc<dyn Storage>) {
    let memory = Arc::new(MemoryStorage::new(MemoryConfig::default()));
    (Arc::clone(&memory), memory)
}

fn scene(storage: &Arc<dyn Storage>, shape: Shape) -> BenchRun {
    BenchRun::new(storage, shape, (20, 8), PACE, &Interrupt::listen())
}

#[tokio::test]
async fn every_workload_succeeds_and_leaves_nothing_behind() {
    let (memory, storage) = memory();
    for workload in Workload::ALL {
        let scene = scene(&storage, Shape::of(workload));
        scene.fill().await.unwrap();
        let report = scene.measure(workload, None).await.unwrap();
        assert!(!report.is_failure(), "{report:?}");
        assert_eq!(report.complaint(), None, "{report:?}");
        scene.empty().await.unwrap();
        assert_eq!(memory.statistics().await.unwrap(), Statistics::default(), "{workload:?}");
        assert_eq!(memory.export_downloads(None, 9).await.unwrap().records, [], "{workload:?}");
    }
}

#[tokio::test]
async fn swarms_of_others_are_left_alone() {
    let (memory, storage) = memory();
    let theirs = super::ground::Dataset::even(1, 1).member(0, 0);
    memory.put_seeder(&theirs.info_hash, &theirs.peer).await.unwrap();
    let scene = scene(&storage, Shape::Even);
    scene.fill().await.unwrap();
    assert_eq!(memory.statistics().await.unwrap().info_hashes, 21);
    scene.measure(Workload::PutNew, None).await.unwrap();
    scene.empty().await.unwrap();
    let left = Statistics { info_hashes: 1, seeders: 1, leechers: 0 };
    assert_eq!(memory.statistics().await.unwrap(), left);
}

#[tokio::test]
async fn re_announces_add_no_peer_and_change_no_role() {
    let (memory, storage) = memory();
    let scene = scene(&storage, Shape::Even);
    scene.fill().await.unwrap();
    let filled = memory.statistics().await.unwrap();
    assert_eq!(filled, Statistics { info_hashes: 20, seeders: 80, leechers: 80 });
    scene.measure(Workload::Put, None).await.unwrap();
    assert_eq!(memory.statistics().await.unwrap(), filled);
}

#[tokio::test]
async fn peers_that_come_in_random_order_are_the_same() {
    let (memory, storage) = memory();
    let scene = scene(&storage, Shape::Zipf).scattered(true);
    scene.fill().await.unwrap();
    let (_, other) = self::memory();
    let in_order = self::scene(&other, Shape::Zipf);
    in_order.fill().await.unwrap();
    assert_eq!(memory.statistics().await.unwrap(), other.statistics().await.unwrap());
}

#[tokio::test]
async fn calls_that_fail_are_counted_by_kind() {
    let (_, storage) = memory();
    let with_default_layers: Arc<dyn Storage> =
        storage_core::with_default_layers(Arc::clone(&storage), Default::default());
    with_default_layers.close().await.unwrap();
    let report = scene(&with_default_layers, Shape::Even).measure(Workload::Scrape, None).await.unwrap();
    assert!(report.is_failure(), "{report:?}");
    let complaint = report.complaint().unwrap();
    assert!(complaint.starts_with("scrape: "), "{complaint}");
    assert!(complaint.contains("closed ") && complaint.contains("; the first: memory"), "{complaint}");
}
