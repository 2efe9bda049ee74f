//! A run against a tracker.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::future::{join_all, try_join_all};
use indicatif::HumanCount;

use super::http::HttpAnnouncer;
use super::udp::UdpAnnouncer;
use super::{AnnounceUrl, TrackerUrl};
use crate::arguments::Workload;
use crate::bench::clients::{Announcer, BenchClients};
use crate::bench::dataset::Dataset;
use crate::bench::report::BenchReport;
use crate::bench::runner::{RunResult, RunSettings, run_workers};
use crate::bench::workers::WorkerContext;
use crate::error_code::ErrorCode;
use crate::exit_code::CommandError;
use crate::interrupt::Interrupt;
use crate::progress::{counted, with_progress};
use crate::serve::TrackerProtocol;

/// A run against a tracker.
pub(crate) struct RemoteRun {
    tracker: Arc<TrackerUrl>,
    dataset: Arc<Dataset>,
    settings: RunSettings,
    interrupt: Interrupt,
    keep: bool,
}

impl RemoteRun {
    /// Resolves the tracker's address. With `keep` the peers do not stop at the end.
    pub(crate) async fn new(
        url: &AnnounceUrl,
        (swarms, peers): (u64, u64),
        settings: RunSettings,
        keep: bool,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let (tracker, dataset) = (Arc::new(url.resolve().await?), Arc::new(Dataset::zipf(swarms, peers)));
        Ok(Self { tracker, dataset, settings, interrupt: interrupt.clone(), keep })
    }

    /// The prefix of the info hashes.
    pub(crate) fn prefix(&self) -> String {
        self.dataset.prefix()
    }

    pub(crate) async fn measure(&self) -> Result<BenchReport, CommandError> {
        let protocol = self.tracker.url.protocol;
        let result = match protocol {
            TrackerProtocol::Http => {
                self.run_with(|| Ok(HttpAnnouncer::new(Arc::clone(&self.tracker)))).await?
            }
            TrackerProtocol::Udp => self.run_with(|| UdpAnnouncer::new(&self.tracker)).await?,
        };
        let concurrency = self.settings.concurrency;
        Ok(BenchReport::new(protocol.name(), Workload::Tracker, concurrency, result, None))
    }

    async fn run_with<A: Announcer + 'static>(
        &self,
        make: impl Fn() -> std::io::Result<A>,
    ) -> Result<RunResult, CommandError> {
        let of = self.settings.concurrency as u64;
        let clients = (0..of)
            .map(|index| Ok(BenchClients::absent(WorkerContext::new(make()?, &self.dataset, index, of))));
        let clients: std::io::Result<Vec<_>> = clients.collect();
        let mut clients = clients.map_err(|error| self.failed("cannot open a socket", &error))?;
        let started = self.start_all(&mut clients).await;
        if let Err(failure) = started {
            // The tracker may have them all the same.
            let _ = self.stop_all(&mut clients).await;
            return Err(failure);
        }
        let (result, mut clients) =
            run_workers(Workload::Tracker, clients, self.settings, &self.interrupt).await?;
        if !self.keep {
            self.stop_all(&mut clients).await?;
        }
        Ok(result)
    }

    async fn start_all<A: Announcer>(&self, clients: &mut [BenchClients<A>]) -> Result<(), CommandError> {
        let done = AtomicU64::new(0);
        let all = HumanCount(self.dataset.peers());
        let started = try_join_all(clients.iter_mut().map(|some| some.start_all(&done, &self.interrupt)));
        let started =
            with_progress(started, |_| format!("starting: {} of {all} peers", counted(&done))).await;
        started.map(drop).map_err(|error| self.failed("a peer cannot start", &error))
    }

    async fn stop_all<A: Announcer>(&self, clients: &mut [BenchClients<A>]) -> Result<(), CommandError> {
        let done = AtomicU64::new(0);
        let all = HumanCount(clients.iter().map(BenchClients::count).sum());
        // A failure does not keep the others from stopping.
        let stopping = join_all(clients.iter_mut().map(|some| some.stop_all(&done)));
        let stopped =
            with_progress(stopping, |_| format!("stopping: {} of {all} peers", counted(&done))).await;
        let failed = stopped.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |error| Err(self.failed("not all peers could be stopped", &error)))
    }

    fn failed(&self, what: &str, error: &impl std::fmt::Debug) -> CommandError {
        CommandError::finding(ErrorCode::TrackerFailed, format!("{}: {what}: {error:?}", self.tracker.url))
    }
}
