//! `bench`: throughput and latency of a storage or a tracker.

mod remote;

use std::sync::Arc;

use storage_core::{Backends, Capability, Storage};

use crate::arguments::{BenchArguments, Workload};
use crate::bench::{self, BenchReport, LocalRun, SwarmSizes};
use crate::exit_code::{CommandError, Exit};
use crate::interrupt::Interrupt;
use crate::open::{ConfiguredStorage, DEFAULT_BACKEND};
use crate::output::{Output, note};

/// Swarms, and peers of each, where the command line does not say.
const EVEN: (u64, u64) = (100, 100);
/// Swarms, and peers of the largest.
const ZIPF: (u64, u64) = (10_000, 10_000);

/// Loads peers, measures each workload, removes the peers, and prints one line per workload.
pub(crate) async fn run(
    backends: &Backends,
    arguments: &BenchArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    if let Some(url) = &arguments.announce_url {
        return remote::run(url, arguments, output).await;
    }
    let BenchArguments { config, at, .. } = arguments;
    let (configured, _) =
        ConfiguredStorage::read_or_default(backends.clone(), config.as_deref(), at, DEFAULT_BACKEND)?;
    let bytes_per_peer = bytes_per_peer(&configured, arguments).await?;
    let storage = configured.open().await?.storage;
    let interrupt = Interrupt::listen();
    let mut bench = Bench { configured, storage, arguments, interrupt, bytes_per_peer, reports: Vec::new() };
    let measured = bench.measure(output).await;
    let closed = bench.storage.close().await.map_err(|error| bench.configured.failed(&error));
    if !arguments.json {
        bench.print(output)?;
    }
    measured.and(closed)?;
    Ok(match bench.reports.iter().any(BenchReport::is_failure) {
        _ if bench.interrupt.is_set() => Exit::Interrupted,
        true => Exit::Finding,
        false => Exit::Success,
    })
}

struct Bench<'a> {
    configured: ConfiguredStorage,
    storage: Arc<dyn Storage>,
    arguments: &'a BenchArguments,
    interrupt: Interrupt,
    bytes_per_peer: Option<u64>,
    reports: Vec<BenchReport>,
}

impl Bench<'_> {
    async fn measure(&mut self, output: &mut Output) -> Result<(), CommandError> {
        let title = self.title().await?;
        output.title(title, self.arguments.json)?;
        let chosen = self.chosen();
        for sizes in [SwarmSizes::Even, SwarmSizes::Zipf] {
            let workloads: Vec<_> =
                chosen.iter().copied().filter(|workload| SwarmSizes::of(*workload) == sizes).collect();
            if !workloads.is_empty() && !self.interrupt.is_set() {
                self.measure_on(sizes, &workloads, output).await?;
            }
        }
        Ok(())
    }

    /// What is measured, and how.
    async fn title(&self) -> Result<String, CommandError> {
        let diagnostics = self.storage.diagnostics().await.map_err(|error| self.configured.failed(&error))?;
        let (name, server, settings) = (self.storage.name(), diagnostics.server, self.arguments.settings());
        Ok(format!("{name} ({server}): {settings}"))
    }

    /// The workloads asked for. Those that leave downloads behind which cannot be removed again are run
    /// only if they are named.
    fn chosen(&self) -> Vec<Workload> {
        let named = &self.arguments.workload;
        let missing = self.storage.missing_capabilities();
        let stays = match missing.reason(Capability::ForgetDownloads) {
            Some(reason) if missing.has(Capability::Downloads) => Some(reason),
            _ => None,
        };
        let mut chosen = Workload::ALL.to_vec();
        if !named.is_empty() {
            chosen.retain(|workload| named.contains(workload));
        }
        if let Some(reason) = stays
            && chosen.iter().any(|workload| workload.completes())
        {
            if named.is_empty() {
                chosen.retain(|workload| !workload.completes());
                note(format_args!(
                    "skipping lifecycle and tracker: their downloads could not be removed ({reason}); name them \
                     with --workload to run them anyway"
                ));
            } else {
                note(format_args!("warning: the downloads of the run's info hashes are kept: {reason}"));
            }
        }
        chosen
    }

    async fn measure_on(
        &mut self,
        sizes: SwarmSizes,
        workloads: &[Workload],
        output: &mut Output,
    ) -> Result<(), CommandError> {
        let run = LocalRun::new(
            &self.storage,
            sizes,
            size(sizes, self.arguments),
            self.arguments.settings(),
            &self.interrupt,
        )
        .scattered(self.arguments.scattered);
        note(format_args!("info hashes begin with {}", run.prefix()));
        let measured = match run.load().await {
            Ok(()) => self.measure_each(&run, workloads, output).await,
            Err(error) => Err(self.configured.failed(&error)),
        };
        if self.arguments.keep {
            return measured;
        }
        let removed = run.remove().await.map_err(|error| {
            let failure = self.configured.failed(&error);
            CommandError { message: format!("not everything was removed: {}", failure.message), ..failure }
        });
        measured.and(removed)
    }

    async fn measure_each(
        &mut self,
        run: &LocalRun,
        workloads: &[Workload],
        output: &mut Output,
    ) -> Result<(), CommandError> {
        for workload in workloads {
            let report = run.measure(*workload, self.bytes_per_peer).await?;
            if self.interrupt.is_set() {
                // An interrupted measurement means nothing.
                break;
            }
            if let Some(complaint) = report.complaint() {
                note(complaint);
            }
            if self.arguments.json {
                output.json(&report)?;
            }
            self.reports.push(report);
        }
        Ok(())
    }

    fn print(&self, output: &mut Output) -> Result<(), CommandError> {
        if !self.reports.is_empty() {
            output.table(bench::rows(&self.reports))?;
        }
        if let Some(bytes) = self.bytes_per_peer {
            let peers = self.arguments.peers.unwrap_or(EVEN.1);
            output.line(format_args!("about {bytes} bytes per peer in swarms of {peers}"))?;
        }
        Ok(())
    }
}

/// Swarms, and peers of each or of the largest.
fn size(sizes: SwarmSizes, arguments: &BenchArguments) -> (u64, u64) {
    let (swarms, peers) = match sizes {
        SwarmSizes::Even => EVEN,
        SwarmSizes::Zipf => ZIPF,
    };
    (arguments.swarms.unwrap_or(swarms), arguments.peers.unwrap_or(peers))
}

/// Memory per peer of an in-process storage; measured first, while the process is small.
async fn bytes_per_peer(
    configured: &ConfiguredStorage,
    arguments: &BenchArguments,
) -> Result<Option<u64>, CommandError> {
    if !configured.driver()?.is_private() {
        return Ok(None);
    }
    let storage = configured.try_open().await.map_err(|error| configured.refused(&error))?.storage;
    let measured = bench::bytes_per_peer(&*storage, arguments.peers.unwrap_or(EVEN.1)).await;
    let closed = storage.close().await;
    measured.and_then(|bytes| closed.map(|()| bytes)).map_err(|error| configured.failed(&error))
}
