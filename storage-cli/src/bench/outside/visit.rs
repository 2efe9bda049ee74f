//! Clients of a run's own at a tracker: they come, announce, and leave.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::future::{join_all, try_join_all};
use indicatif::HumanCount;

use super::http::Http;
use super::udp::UdpVisitor;
use super::{AnnounceUrl, TrackerUrl, UrlProtocol};
use crate::arguments::Workload;
use crate::bench::announces::{Announcer, BenchClients};
use crate::bench::callers::Seat;
use crate::bench::gauge::{CallPace, Gauged, gauge};
use crate::bench::ground::Dataset;
use crate::bench::report::BenchReport;
use crate::exit::CommandError;
use crate::interrupt::Interrupt;
use crate::progress::{counted, watched};

/// A visit to a tracker.
pub(crate) struct RemoteVisit {
    tracker: Arc<TrackerUrl>,
    ground: Arc<Dataset>,
    pace: CallPace,
    interrupt: Interrupt,
    keep: bool,
}

impl RemoteVisit {
    /// Swarms of all sizes; `keep`: their peers don't leave at the end.
    pub(crate) async fn new(
        url: &AnnounceUrl,
        (swarms, peers): (u64, u64),
        pace: CallPace,
        keep: bool,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let (tracker, ground) = (Arc::new(url.resolve().await?), Arc::new(Dataset::zipf(swarms, peers)));
        Ok(Self { tracker, ground, pace, interrupt: interrupt.clone(), keep })
    }

    /// With what the info hashes begin.
    pub(crate) fn prefix(&self) -> String {
        self.ground.prefix()
    }

    /// Measures.
    pub(crate) async fn measure(&self) -> Result<BenchReport, CommandError> {
        let protocol = self.tracker.url.protocol;
        let gauged = match protocol {
            UrlProtocol::Http => self.by(|| Ok(Http::new(Arc::clone(&self.tracker)))).await?,
            UrlProtocol::Udp => self.by(|| UdpVisitor::new(&self.tracker)).await?,
        };
        let concurrency = self.pace.concurrency;
        Ok(BenchReport::new(protocol.name(), Workload::Tracker, concurrency, gauged, None))
    }

    async fn by<A: Announcer>(&self, make: impl Fn() -> std::io::Result<A>) -> Result<Gauged, CommandError> {
        let of = self.pace.concurrency as u64;
        let clients =
            (0..of).map(|index| Ok(BenchClients::absent(Seat::new(make()?, &self.ground, index, of))));
        let clients: std::io::Result<Vec<_>> = clients.collect();
        let mut clients = clients.map_err(|error| self.failed("cannot open a socket", &error))?;
        let come = self.come(&mut clients).await;
        if let Err(failure) = come {
            // They may be there all the same.
            let _ = self.leave(&mut clients).await;
            return Err(failure);
        }
        let done = Arc::new(AtomicU64::new(0));
        let measured = gauge(clients, self.pace, &done, &self.interrupt);
        let describe = |elapsed| self.pace.describe(Workload::Tracker, elapsed, &done);
        let (gauged, mut clients) = watched(measured, describe).await?;
        if !self.keep {
            self.leave(&mut clients).await?;
        }
        Ok(gauged)
    }

    async fn come<A: Announcer>(&self, clients: &mut [BenchClients<A>]) -> Result<(), CommandError> {
        let done = AtomicU64::new(0);
        let all = HumanCount(self.ground.peers());
        let come = try_join_all(clients.iter_mut().map(|some| some.come(&done, &self.interrupt)));
        let come = watched(come, |_| format!("coming: {} of {all} peers", counted(&done))).await;
        come.map(drop).map_err(|error| self.failed("a peer cannot start", &error))
    }

    async fn leave<A: Announcer>(&self, clients: &mut [BenchClients<A>]) -> Result<(), CommandError> {
        let done = AtomicU64::new(0);
        let all = HumanCount(clients.iter().map(BenchClients::count).sum());
        // One that fails does not keep the others.
        let leave = join_all(clients.iter_mut().map(|some| some.leave(&done)));
        let left = watched(leave, |_| format!("leaving: {} of {all} peers", counted(&done))).await;
        let failed = left.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |error| Err(self.failed("not all peers could leave", &error)))
    }

    fn failed(&self, what: &str, error: &impl std::fmt::Debug) -> CommandError {
        CommandError::finding(format!("{}: {what}: {error:?}", self.tracker.url))
    }
}
