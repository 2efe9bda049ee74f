//! `bench`: throughput and latency of a storage or a tracker.

use std::io;
use std::sync::Arc;

use storage_core::{Capability, Storage};

use crate::arguments::{BenchArguments, Workload};
use crate::bench::{self, AnnounceUrl, BenchReport, DaySettings, LocalRun, RemoteRun, SwarmSizes};
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::interrupt::Interrupt;
use crate::open::ConfiguredStorage;
use crate::output::{Output, note, note_code};
use crate::progress::with_progress;

/// Swarms, and peers of each, where the command line does not say.
const EVEN: (u64, u64) = (100, 100);
/// Swarms, and peers of the largest.
const ZIPF: (u64, u64) = (10_000, 10_000);
/// Swarms, and peers of all together.
const DAY: (u64, u64) = (1_000_000, 5_000_000);

/// Measures a tracker or a storage, and prints one line per workload.
pub(crate) async fn run(context: &mut CommandContext, arguments: &BenchArguments) -> CommandResult {
    let reports = Reports { output: &mut context.output, json: arguments.json, reports: Vec::new() };
    if let Some(url) = &arguments.announce_url {
        return run_remote(url, arguments, reports).await;
    }
    let day = day(arguments)?;
    let BenchArguments { config, at, .. } = arguments;
    let (configured, _) =
        ConfiguredStorage::read_or_default(context.backends.clone(), config.as_deref(), at)?;
    let bytes_per_peer = match day {
        Some(_) => None,
        None => bytes_per_peer(&configured, arguments).await?,
    };
    let storage = configured.open().await?.storage;
    let interrupt = Interrupt::listen();
    let mut bench = Bench { configured, storage, arguments, day, interrupt, bytes_per_peer, reports };
    let measured = bench.measure().await;
    let closed = bench.storage.close().await.map_err(|error| bench.configured.failed(&error));
    bench.reports.print_table()?;
    if let (false, Some(bytes)) = (arguments.json, bytes_per_peer) {
        let peers = arguments.peers.unwrap_or(EVEN.1);
        bench.reports.output.line(format_args!("about {bytes} bytes per peer in swarms of {peers}"))?;
    }
    measured.and(closed)?;
    Ok(bench.reports.exit(&bench.interrupt))
}

/// Starts clients of a tracker, measures, and stops them.
async fn run_remote(
    url: &AnnounceUrl,
    arguments: &BenchArguments,
    mut reports: Reports<'_>,
) -> CommandResult {
    let interrupt = Interrupt::listen();
    let (settings, keep) = (arguments.settings(), arguments.keep);
    let run = RemoteRun::new(url, size(SwarmSizes::Zipf, arguments), settings, keep, &interrupt).await?;
    reports.output.title(format_args!("{url}: {settings}"), arguments.json)?;
    note(format_args!("info hashes begin with {}", run.prefix()));
    let report = run.measure().await?;
    if !interrupt.is_set() {
        reports.add(report)?;
        reports.print_table()?;
    }
    Ok(reports.exit(&interrupt))
}

/// The reports, printed one by one as JSON or together as a table.
struct Reports<'a> {
    output: &'a mut Output,
    json: bool,
    reports: Vec<BenchReport>,
}

impl Reports<'_> {
    fn add(&mut self, report: BenchReport) -> io::Result<()> {
        if let Some(complaint) = report.complaint() {
            note(complaint);
        }
        if self.json {
            self.output.json(&report)?;
        }
        self.reports.push(report);
        Ok(())
    }

    fn print_table(&mut self) -> io::Result<()> {
        if self.json || self.reports.is_empty() {
            return Ok(());
        }
        self.output.table(bench::rows(&self.reports))?;
        self.reports.iter().flat_map(BenchReport::lines).try_for_each(|line| self.output.line(line))
    }

    fn exit(&self, interrupt: &Interrupt) -> Exit {
        match self.reports.iter().any(BenchReport::is_failure) {
            _ if interrupt.is_set() => Exit::Interrupted,
            true => {
                note_code(ErrorCode::WorkloadFailed);
                Exit::Finding
            }
            false => Exit::Success,
        }
    }
}

/// A run on a storage: loads peers, measures each workload, and removes the peers.
struct Bench<'a> {
    configured: ConfiguredStorage,
    storage: Arc<dyn Storage>,
    arguments: &'a BenchArguments,
    day: Option<DaySettings>,
    interrupt: Interrupt,
    bytes_per_peer: Option<u64>,
    reports: Reports<'a>,
}

impl Bench<'_> {
    async fn measure(&mut self) -> Result<(), CommandError> {
        let diagnostics = self.storage.diagnostics().await.map_err(|error| self.configured.failed(&error))?;
        let (name, server, settings) = (self.storage.name(), diagnostics.server, self.arguments.settings());
        self.reports.output.title(format_args!("{name} ({server}): {settings}"), self.arguments.json)?;
        let chosen = self.chosen();
        for sizes in [SwarmSizes::Even, SwarmSizes::Zipf, SwarmSizes::Day] {
            let mut workloads = chosen.clone();
            workloads.retain(|workload| SwarmSizes::of(*workload) == sizes);
            if !workloads.is_empty() && !self.interrupt.is_set() {
                self.measure_on(sizes, &workloads).await?;
            }
        }
        Ok(())
    }

    /// The workloads asked for; a day only if it is named. Those that leave downloads behind which cannot be removed again are run
    /// only if they are named.
    fn chosen(&self) -> Vec<Workload> {
        let named = &self.arguments.workload;
        let mut chosen = Workload::ALL.to_vec();
        chosen.retain(|workload| match named.as_slice() {
            [] => *workload != Workload::Day,
            named => named.contains(workload),
        });
        let missing = self.storage.missing_capabilities();
        if let Some(reason) = missing.reason(Capability::ForgetDownloads)
            && missing.has(Capability::Downloads)
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

    async fn measure_on(&mut self, sizes: SwarmSizes, workloads: &[Workload]) -> Result<(), CommandError> {
        let (size, settings) = (size(sizes, self.arguments), self.arguments.settings());
        let (storage, interrupt) = (&self.storage, &self.interrupt);
        let run = match &self.day {
            Some(day) => LocalRun::day(storage, size, settings, day.clone(), interrupt),
            None => {
                LocalRun::new(storage, sizes, size, settings, interrupt).scattered(self.arguments.scattered)
            }
        };
        note(format_args!("info hashes begin with {}", run.prefix()));
        let measured = match run.load().await {
            Ok(()) => self.measure_each(&run, workloads).await,
            Err(error) => Err(self.configured.failed(&error)),
        };
        if self.arguments.keep {
            return measured;
        }
        let removed = run.remove().await.map_err(|error| {
            self.configured.failed(&error).while_doing("cannot remove all peers of the run")
        });
        measured.and(removed)
    }

    async fn measure_each(&mut self, run: &LocalRun, workloads: &[Workload]) -> Result<(), CommandError> {
        for workload in workloads {
            let report = run.measure(*workload, self.bytes_per_peer).await?;
            if self.interrupt.is_set() {
                // An interrupted measurement means nothing.
                break;
            }
            self.reports.add(report)?;
        }
        Ok(())
    }
}

/// The settings of `day`, if that is the workload.
fn day(arguments: &BenchArguments) -> Result<Option<DaySettings>, CommandError> {
    let refused = |message: String| CommandError::usage(ErrorCode::Usage, message);
    let Some(day) = arguments.day().map_err(refused)? else { return Ok(None) };
    let (swarms, peers) = size(SwarmSizes::Day, arguments);
    if peers < swarms {
        let message = format!("{swarms} swarms need as many peers or more: raise --peers or lower --swarms");
        return Err(refused(message));
    }
    match bench::missing_processes(&day.server_processes)[..] {
        [] => Ok(Some(day)),
        [name, ..] => Err(refused(format!("--server-process: no process is called {name} on this machine"))),
    }
}

/// Swarms, and peers of each, of the largest, or of all.
fn size(sizes: SwarmSizes, arguments: &BenchArguments) -> (u64, u64) {
    let (swarms, peers) = match sizes {
        SwarmSizes::Even => EVEN,
        SwarmSizes::Zipf => ZIPF,
        SwarmSizes::Day => DAY,
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
    let measuring = bench::bytes_per_peer(&*storage, arguments.peers.unwrap_or(EVEN.1));
    let measured = with_progress(measuring, |took| format!("measuring memory: {took:.0?}")).await;
    let closed = storage.close().await;
    measured.and_then(|bytes| closed.map(|()| bytes)).map_err(|error| configured.failed(&error))
}
