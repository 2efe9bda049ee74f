//! A run on a storage.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use indicatif::HumanCount;
use storage_core::{Result as StorageResult, Storage};

use super::dataset::Dataset;
use super::day::{self, Day, DaySettings};
use super::load;
use super::report::BenchReport;
use super::runner::{RunSettings, run_workers};
use super::workers::{StorageWorker, WorkerContext};
use crate::arguments::Workload;
use crate::exit_code::CommandError;
use crate::interrupt::Interrupt;
use crate::progress::{counted, with_progress};

/// Sizes of swarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SwarmSizes {
    /// All alike.
    Even,
    /// Of all sizes.
    Zipf,
    /// Those of `day`.
    Day,
}

impl SwarmSizes {
    /// The sizes for a workload.
    pub(crate) fn of(workload: Workload) -> Self {
        match workload {
            Workload::Tracker => Self::Zipf,
            Workload::Day => Self::Day,
            _ => Self::Even,
        }
    }
}

/// A run on a storage.
pub(crate) struct LocalRun {
    storage: Arc<dyn Storage>,
    dataset: Arc<Dataset>,
    settings: RunSettings,
    interrupt: Interrupt,
    scattered: bool,
    /// The peers, if it is a run of `day`.
    day: Option<Arc<Day>>,
}

impl LocalRun {
    /// Prepares a run of all workloads but `day`; nothing is loaded yet.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        sizes: SwarmSizes,
        (swarms, peers): (u64, u64),
        settings: RunSettings,
        interrupt: &Interrupt,
    ) -> Self {
        let dataset = match sizes {
            SwarmSizes::Even => Dataset::even(swarms, peers),
            SwarmSizes::Zipf => Dataset::zipf(swarms, peers),
            // The peers are those of the day.
            SwarmSizes::Day => Dataset::even(swarms, 0),
        };
        let (storage, dataset) = (Arc::clone(storage), Arc::new(dataset));
        Self { storage, dataset, settings, interrupt: interrupt.clone(), scattered: false, day: None }
    }

    /// Prepares a run of `day`: swarms, and peers in all of them together.
    pub(crate) fn day(
        storage: &Arc<dyn Storage>,
        (swarms, peers): (u64, u64),
        settings: RunSettings,
        day: DaySettings,
        interrupt: &Interrupt,
    ) -> Self {
        let run = Self::new(storage, SwarmSizes::Day, (swarms, peers), settings, interrupt);
        let length = settings.warmup + settings.duration;
        let day = Day::new(&run.dataset, peers, length, day);
        Self { day: Some(Arc::new(day)), ..run }
    }

    /// Whether peers are put there in random order, and not swarm after swarm.
    pub(crate) fn scattered(self, scattered: bool) -> Self {
        Self { scattered, ..self }
    }

    /// The prefix of the info hashes.
    pub(crate) fn prefix(&self) -> String {
        self.dataset.prefix()
    }

    pub(crate) async fn load(&self) -> StorageResult<()> {
        let done = AtomicU64::new(0);
        let order = self.scattered.then(|| load::scattered(&self.dataset));
        let record = |index: u64| match (&self.day, &order) {
            (Some(day), _) => day.record(index),
            (None, Some(order)) => Some(load::record(&self.dataset, order[index as usize])),
            (None, None) => Some(load::record(&self.dataset, index)),
        };
        let count = self.day.as_ref().map_or(self.dataset.peers(), |day| day.clients());
        let (workers, interrupt) = (self.settings.concurrency, &self.interrupt);
        let loading = load::load(&self.storage, count, &record, workers, &done, interrupt);
        let all = HumanCount(count);
        with_progress(loading, |_| format!("loading: {} of {all} peers", counted(&done))).await
    }

    /// Removes the peers, and those that workloads added.
    pub(crate) async fn remove(&self) -> StorageResult<()> {
        let done = AtomicU64::new(0);
        let removal = load::remove(&self.storage, &self.dataset, self.settings.concurrency, &done);
        let all = HumanCount(self.dataset.opened());
        with_progress(removal, |_| format!("removing: {} of {all} swarms", counted(&done))).await
    }

    pub(crate) async fn measure(
        &self,
        workload: Workload,
        bytes_per_peer: Option<u64>,
    ) -> Result<BenchReport, CommandError> {
        let settings = self.settings;
        if let Some(day) = &self.day {
            return day::measure(&self.storage, day, settings, &self.interrupt).await;
        }
        let of = settings.concurrency as u64;
        let workers = (0..of).map(|index| {
            let context = WorkerContext::new(Arc::clone(&self.storage), &self.dataset, index, of);
            StorageWorker::new(workload, context)
        });
        let (result, _) = run_workers(workload, workers, settings, &self.interrupt).await?;
        Ok(BenchReport::new(self.storage.name(), workload, settings.concurrency, result, bytes_per_peer))
    }
}
