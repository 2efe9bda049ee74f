//! The chaos tests: storages, opened as a tracker opens them, under load and faults, and invariants that
//! must hold whatever happens.
//!
//! A [scenario](scenarios) has a server and a proxy of its own, causes one kind of fault at random details, and returns
//! the violations of the [invariants]. Each client of its [load] keeps a [log](client_log) of what was acknowledged, what
//! was refused and what is unknown. The seed of a scenario decides the faults and the calls; the timing depends on the
//! machine.

pub mod client;
pub mod client_log;
pub mod invariants;
pub mod load;
mod long;
mod panics;
pub mod runtime_shutdown;
pub mod scenarios;
pub mod target;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rand::SeedableRng;
use rand::rngs::StdRng;
use storage_core::Storage;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::harness::unless_missing;
use crate::servers::{Found, Missing};
use client_log::{CallOutcome, ClientLog};
use invariants::StoredContents;
use load::ChaosLoad;
use target::{ChaosTarget, POOL, TargetBackend, TargetServer};

/// The environment variable with the seed of every scenario.
pub const SEED_VARIABLE: &str = "TRACKER_STORAGE_CHAOS_SEED";
/// The environment variable with the duration of a long run, in seconds.
pub const SECONDS_VARIABLE: &str = "TRACKER_STORAGE_CHAOS_SECONDS";

/// `operation_timeout` where the default is not the point.
pub const OPERATION_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a load is watched after a fault, or after the server's return: longer than service may be away.
pub const WATCHED: Duration = OPERATION_TIMEOUT.saturating_add(Duration::from_millis(1700));

/// Each scenario runs a server and a load on two threads.
const MAX_TEST_THREADS: usize = 2;
/// The longest that a scenario may take.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(180);
/// How long tasks may take to end after a scenario.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A fault, on one backend.
pub struct Scenario {
    /// Backend and fault: `pg/silent/all held once`.
    pub name: String,
    backend: TargetBackend,
    body: Box<dyn Fn(Run) -> LocalBoxFuture<'static, Found<ScenarioReport>> + Send + Sync>,
}

/// What a scenario runs on.
pub struct Run {
    /// The server and the proxy in front of it.
    pub target: ChaosTarget,
    /// Decides the details.
    pub rng: StdRng,
    /// What the scenario has found so far.
    pub report: ScenarioReport,
}

/// What a scenario has found.
#[derive(Debug, Default)]
pub struct ScenarioReport {
    /// The invariants that did not hold.
    pub violations: Vec<String>,
    /// Calls that were acknowledged.
    pub acknowledged: u64,
    /// Calls that failed and changed nothing.
    pub refused: u64,
    /// Calls whose outcome is unknown.
    pub unknown: u64,
}

impl ScenarioReport {
    /// Adds violations.
    pub fn add(&mut self, violations: Vec<String>) {
        self.violations.extend(violations);
    }

    /// Adds a violation unless a condition holds.
    pub fn ensure(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(violation());
        }
    }

    /// Counts the calls of a log.
    pub fn count(&mut self, log: &ClientLog) {
        for call in &log.calls {
            match call.outcome {
                CallOutcome::Acknowledged => self.acknowledged += 1,
                CallOutcome::Refused => self.refused += 1,
                CallOutcome::Unknown => self.unknown += 1,
            }
        }
    }
}

impl Scenario {
    fn new<F>(backend: TargetBackend, name: &str, body: fn(Run) -> F) -> Self
    where
        F: Future<Output = Found<ScenarioReport>> + 'static,
    {
        Self::with(backend, name, body)
    }

    fn with<F>(backend: TargetBackend, name: &str, body: impl Fn(Run) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Found<ScenarioReport>> + 'static,
    {
        let name = format!("{}/{name}", backend.name());
        Self { name, backend, body: Box::new(move |run| Box::pin(body(run))) }
    }

    /// Starts a server and runs the scenario on it, in a runtime of its own. Blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is no server, or a part of the scenario itself fails.
    pub fn run(&self, seed: u64) -> Found<ScenarioReport> {
        let server = TargetServer::start(self.backend)?;
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_name(&self.name).enable_all().build();
        let runtime = runtime.map_err(Missing::failed)?;
        let run = async {
            let target = ChaosTarget::new(server).await?;
            let run = Run { target, rng: StdRng::seed_from_u64(seed), report: ScenarioReport::default() };
            (self.body)(run).await
        };
        let finished = runtime.block_on(async { tokio::time::timeout(SCENARIO_TIMEOUT, run).await });
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        let mut report = finished.unwrap_or_else(|_| {
            let violations = vec![format!("the scenario takes longer than {SCENARIO_TIMEOUT:?}")];
            Ok(ScenarioReport { violations, ..ScenarioReport::default() })
        })?;
        report.add(panics::take(&self.name));
        Ok(report)
    }
}

impl Run {
    /// Watches the load of a storage that can be served again from now on, and [concludes](Self::conclude).
    ///
    /// # Errors
    /// [`Missing`] if the server cannot be asked.
    pub async fn conclude_after_return(
        mut self,
        storage: Arc<dyn Storage>,
        load: ChaosLoad,
    ) -> Found<ScenarioReport> {
        let returned = Instant::now();
        sleep(WATCHED).await;
        let end = Instant::now();
        let log = load.finish().await;
        self.report.add(invariants::service_is_back(&log, returned, OPERATION_TIMEOUT, end));
        self.conclude(storage, log, OPERATION_TIMEOUT).await
    }

    /// Checks what must hold after every load, once the faults are over: the log, the time of calls, what
    /// is open, and the close.
    ///
    /// # Errors
    /// [`Missing`] if the server cannot be asked.
    pub async fn conclude(
        mut self,
        storage: Arc<dyn Storage>,
        log: ClientLog,
        operation_timeout: Duration,
    ) -> Found<ScenarioReport> {
        let report = &mut self.report;
        report.count(&log);
        report.add(invariants::answers(&log));
        report.add(invariants::calls_in_time(&log, operation_timeout));
        let (target, proxy) = (&self.target, &self.target.proxy);
        let sessions = async || {
            proxy.close_abandoned();
            target.sessions().await
        };
        let open = async || Found::Ok(proxy.open());
        report.add(invariants::at_most("sessions on the server", POOL, sessions).await);
        report.add(invariants::at_most("connections open", POOL, open).await);
        report.add(invariants::clean_close(&storage).await);
        report.add(invariants::at_most("sessions after the close", 0, sessions).await);
        report.add(invariants::at_most("connections open after the close", 0, open).await);
        let clean = target.open_clean().await?;
        let contents = StoredContents::export(&*clean).await.map_err(Missing::failed)?;
        report.add(invariants::contents_match(&log, &contents));
        clean.close().await.map_err(Missing::failed)?;
        proxy.stop().await;
        Ok(self.report)
    }
}

/// Runs the scenarios that the command line asks for, or a long run where the environment asks for one.
pub fn main() -> ExitCode {
    if let Some(exit) = runtime_shutdown::child() {
        return exit;
    }
    panics::count();
    if let Ok(seconds) = std::env::var(SECONDS_VARIABLE) {
        let Ok(seconds) = seconds.parse() else {
            eprintln!("{SECONDS_VARIABLE}: expected a number of seconds");
            return ExitCode::from(2);
        };
        return long::run(Duration::from_secs(seconds));
    }
    let mut arguments = Arguments::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(cores.min(MAX_TEST_THREADS));
    let tests = scenarios::all().into_iter().map(test).collect();
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn test(scenario: Scenario) -> Trial {
    Trial::ignorable_test(scenario.name.clone(), move || {
        let seed = seed();
        match scenario.run(seed) {
            Ok(report) if report.violations.is_empty() => Ok(Completion::Completed),
            Ok(report) => {
                let violations = report.violations.join("\n  ");
                Err(Failed::from(format!("{SEED_VARIABLE}={seed}\n  {violations}")))
            }
            Err(missing) => unless_missing(scenario.backend.name(), missing),
        }
    })
}

/// The seed that the environment names, or a random one.
fn seed() -> u64 {
    let named = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
    named.unwrap_or_else(rand::random)
}
