//! A storage with the swarms of a run in it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use indicatif::HumanCount;
use storage_core::{Result as StorageResult, Storage};

use super::announces::BenchClients;
use super::callers::{AnnouncePeers, Lifecycle, PutCaller, PutNew, Scrape, Seat};
use super::filling;
use super::gauge::{CallPace, Gauged, TimedCaller, gauge};
use super::ground::Dataset;
use super::report::BenchReport;
use crate::arguments::Workload;
use crate::exit::CommandError;
use crate::interrupt::Interrupt;
use crate::progress::{counted, watched};

/// Sizes of swarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All alike.
    Even,
    /// Of all sizes.
    Zipf,
}

impl Shape {
    /// Those that a workload wants.
    pub(crate) fn of(workload: Workload) -> Self {
        if workload == Workload::Tracker { Self::Zipf } else { Self::Even }
    }
}

/// Swarms of a run's own in a storage.
pub(crate) struct BenchRun {
    storage: Arc<dyn Storage>,
    ground: Arc<Dataset>,
    pace: CallPace,
    interrupt: Interrupt,
    scattered: bool,
}

impl BenchRun {
    /// Swarms, none of them there yet.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        shape: Shape,
        (swarms, peers): (u64, u64),
        pace: CallPace,
        interrupt: &Interrupt,
    ) -> Self {
        let ground = match shape {
            Shape::Even => Dataset::even(swarms, peers),
            Shape::Zipf => Dataset::zipf(swarms, peers),
        };
        let (storage, ground) = (Arc::clone(storage), Arc::new(ground));
        Self { storage, ground, pace, interrupt: interrupt.clone(), scattered: false }
    }

    /// Whether peers are put there in random order, and not swarm after swarm.
    pub(crate) fn scattered(self, scattered: bool) -> Self {
        Self { scattered, ..self }
    }

    /// With what the info hashes begin.
    pub(crate) fn prefix(&self) -> String {
        self.ground.prefix()
    }

    /// Puts the peers there.
    pub(crate) async fn fill(&self) -> StorageResult<()> {
        let done = AtomicU64::new(0);
        let order = filling::FillOrder::new(&self.ground, self.scattered);
        let callers = self.pace.concurrency;
        let fill = filling::fill(&self.storage, &self.ground, &order, callers, &done, &self.interrupt);
        let all = HumanCount(self.ground.peers());
        watched(fill, |_| format!("filling: {} of {all} peers", counted(&done))).await
    }

    /// Removes them, and what workloads added.
    pub(crate) async fn empty(&self) -> StorageResult<()> {
        let done = AtomicU64::new(0);
        let empty = filling::empty(&self.storage, &self.ground, self.pace.concurrency, &done);
        let all = HumanCount(self.ground.opened());
        watched(empty, |_| format!("emptying: {} of {all} swarms", counted(&done))).await
    }

    /// Measures.
    pub(crate) async fn measure(
        &self,
        workload: Workload,
        bytes_per_peer: Option<u64>,
    ) -> Result<BenchReport, CommandError> {
        let done = Arc::new(AtomicU64::new(0));
        let work = self.run(workload, &done);
        let gauged = watched(work, |elapsed| self.pace.describe(workload, elapsed, &done)).await?;
        let concurrency = self.pace.concurrency;
        Ok(BenchReport::new(self.storage.name(), workload, concurrency, gauged, bytes_per_peer))
    }

    async fn run(&self, workload: Workload, done: &Arc<AtomicU64>) -> Result<Gauged, CommandError> {
        let of = self.pace.concurrency as u64;
        let seats = (0..of).map(|index| Seat::new(Arc::clone(&self.storage), &self.ground, index, of));
        match workload {
            Workload::Put => self.gauge(seats.map(PutCaller), done).await,
            Workload::PutNew => self.gauge(seats.map(PutNew::new), done).await,
            Workload::Announce => self.gauge(seats.map(AnnouncePeers), done).await,
            Workload::Scrape => self.gauge(seats.map(Scrape), done).await,
            Workload::Lifecycle => self.gauge(seats.map(Lifecycle), done).await,
            Workload::Tracker => self.gauge(seats.map(BenchClients::present), done).await,
        }
    }

    async fn gauge<C: TimedCaller>(
        &self,
        callers: impl Iterator<Item = C>,
        done: &Arc<AtomicU64>,
    ) -> Result<Gauged, CommandError> {
        let (gauged, _) = gauge(callers, self.pace, done, &self.interrupt).await?;
        Ok(gauged)
    }
}
