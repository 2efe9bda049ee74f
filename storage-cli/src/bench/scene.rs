//! A storage with the swarms of a run in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::HumanCount;
use storage_core::{Result as StorageResult, Storage};

use super::announces::Clients;
use super::callers::{AnnouncePeers, Lifecycle, Put, PutNew, Scrape, Seat};
use super::filling;
use super::gauge::{Gauged, Pace, gauge};
use super::ground::Ground;
use super::progress::watched;
use super::report::Report;
use crate::arguments::Workload;
use crate::exit::Failure;
use crate::interrupt::Interrupt;

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
pub(crate) struct Scene {
    storage: Arc<dyn Storage>,
    ground: Arc<Ground>,
    pace: Pace,
    interrupt: Interrupt,
}

impl Scene {
    /// Swarms, none of them there yet.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        shape: Shape,
        (swarms, peers): (u64, u64),
        pace: Pace,
        interrupt: &Interrupt,
    ) -> Self {
        let ground = match shape {
            Shape::Even => Ground::even(swarms, peers),
            Shape::Zipf => Ground::zipf(swarms, peers),
        };
        Self { storage: Arc::clone(storage), ground: Arc::new(ground), pace, interrupt: interrupt.clone() }
    }

    /// With what the info hashes begin.
    pub(crate) fn prefix(&self) -> String {
        self.ground.prefix()
    }

    /// Puts the peers there.
    pub(crate) async fn fill(&self) -> StorageResult<()> {
        let done = AtomicU64::new(0);
        let callers = self.pace.concurrency;
        let fill = filling::fill(&self.storage, &self.ground, callers, &done, &self.interrupt);
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
    ) -> Result<Report, Failure> {
        let done = Arc::new(AtomicU64::new(0));
        let work = self.gauge(workload, &done);
        let gauged = watched(work, |elapsed| self.describe(workload, elapsed, &done)).await?;
        let concurrency = self.pace.concurrency;
        Ok(Report::new(self.storage.name(), workload, concurrency, gauged, bytes_per_peer))
    }

    async fn gauge(&self, workload: Workload, done: &Arc<AtomicU64>) -> Result<Gauged, Failure> {
        let (pace, interrupt) = (self.pace, &self.interrupt);
        let of = pace.concurrency as u64;
        let seats = (0..of).map(|index| Seat::new(&self.storage, &self.ground, index, of));
        match workload {
            Workload::Put => gauge(seats.map(Put), pace, done, interrupt).await,
            Workload::PutNew => gauge(seats.map(PutNew::new), pace, done, interrupt).await,
            Workload::Announce => gauge(seats.map(AnnouncePeers), pace, done, interrupt).await,
            Workload::Scrape => gauge(seats.map(Scrape), pace, done, interrupt).await,
            Workload::Lifecycle => gauge(seats.map(Lifecycle), pace, done, interrupt).await,
            Workload::Tracker => {
                let clients = seats.zip(0..).map(|(seat, index)| Clients::new(seat, index, of));
                gauge(clients, pace, done, interrupt).await
            }
        }
    }

    fn describe(&self, workload: Workload, elapsed: Duration, done: &AtomicU64) -> String {
        let Pace { warmup, duration, .. } = self.pace;
        let rate = done.load(Ordering::Relaxed) as f64 / elapsed.as_secs_f64().max(0.001);
        let (elapsed, all) = (elapsed.as_secs_f64(), (warmup + duration).as_secs_f64());
        format!("{}: {elapsed:.0} of {all:.0} s, {} a second", workload.name(), HumanCount(rate as u64))
    }
}

fn counted(done: &AtomicU64) -> HumanCount {
    HumanCount(done.load(Ordering::Relaxed))
}
