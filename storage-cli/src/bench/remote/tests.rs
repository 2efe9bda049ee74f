use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use storage_core::layer::Limits;
use storage_core::{Maintenance, Opened, Schedule, Statistics, Storage};
use storage_memory::{MemoryConfig, MemoryStorage};

use super::RemoteRun;
use crate::bench::RunSettings;
use crate::interrupt::Interrupt;
use crate::serve::{Addresses, ServeMetrics, ServeOptions, ServeSettings, TrackerServer};

const SETTINGS: RunSettings =
    RunSettings { concurrency: 5, warmup: Duration::from_millis(5), duration: Duration::from_millis(20) };

/// A tracker over HTTP and UDP, and what it keeps.
async fn tracker() -> (Arc<MemoryStorage>, TrackerServer) {
    let memory = Arc::new(MemoryStorage::new(MemoryConfig::default()));
    let storage: Arc<dyn Storage> = Arc::clone(&memory) as _;
    let schedule = Schedule { enabled: false, ..Schedule::default() };
    let prometheus = Registry::new();
    let any = || vec!["127.0.0.1:0".parse().unwrap()];
    let options = ServeOptions {
        settings: ServeSettings::default(),
        addresses: Addresses { http: any(), udp: any(), admin: Vec::new() },
        metrics: ServeMetrics::register(&prometheus, false).unwrap(),
        prometheus,
    };
    let opened = Opened::new(storage, Limits::default(), schedule);
    (memory, TrackerServer::start(opened, options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_start_announce_and_stop() {
    let (memory, server) = tracker().await;
    let peers = |counted: Statistics| counted.seeders + counted.leechers;
    for (protocol, url) in &server.listening {
        let url = url.parse().unwrap();
        for keep in [false, true] {
            let run = RemoteRun::new(&url, (20, 8), SETTINGS, keep, &Interrupt::listen()).await.unwrap();
            let before = memory.statistics().await.unwrap();
            let report = run.measure().await.unwrap();
            assert!(!report.is_failure(), "{protocol}: {report:?}");
            assert_eq!(report.complaint(), None, "{protocol}");
            let after = memory.statistics().await.unwrap();
            assert_eq!(peers(after) > peers(before), keep, "{protocol}: {before:?}, {after:?}");
        }
    }
    assert_eq!(server.stop().await.count, 0);
}
