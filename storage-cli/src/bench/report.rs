//! The report of a workload.

use std::time::Duration;

use indicatif::HumanCount;
use serde::Serialize;
use storage_core::config::format_duration;

use super::call_stats::CallErrors;
use super::cpu_time::CpuTime;
use super::day::DaySettings;
use super::runner::RunResult;
use crate::arguments::Workload;
use crate::output::rounded;

/// The figures of a workload.
#[derive(Debug, Serialize)]
pub(crate) struct BenchReport {
    backend: &'static str,
    workload: &'static str,
    concurrency: usize,
    operations: u64,
    seconds: f64,
    rate: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    max_us: f64,
    errors: u64,
    bytes_per_peer: Option<u64>,
    #[serde(flatten)]
    day: Option<DayReport>,
    #[serde(skip)]
    details: CallErrors,
}

impl BenchReport {
    pub(super) fn new(
        backend: &'static str,
        workload: Workload,
        concurrency: usize,
        result: RunResult,
        bytes_per_peer: Option<u64>,
    ) -> Self {
        let RunResult { stats, took } = result;
        let latency = |quantile| rounded(stats.latencies.value_at_quantile(quantile) as f64 / 1e3);
        let seconds = took.as_secs_f64();
        let rate = if seconds > 0.0 { stats.operations as f64 / seconds } else { 0.0 };
        Self {
            backend,
            workload: workload.name(),
            concurrency,
            operations: stats.operations,
            seconds: rounded(seconds),
            rate: rounded(rate),
            p50_us: latency(0.5),
            p90_us: latency(0.9),
            p99_us: latency(0.99),
            max_us: rounded(stats.latencies.max() as f64 / 1e3),
            errors: stats.errors.count(),
            bytes_per_peer,
            day: None,
            details: stats.errors,
        }
    }

    /// With the figures of `day`.
    pub(super) fn of_day(self, day: DayReport) -> Self {
        Self { day: Some(day), ..self }
    }

    /// What the table has no column for.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.day.as_ref().map(DayReport::lines).unwrap_or_default()
    }

    /// A message about failed calls.
    pub(crate) fn complaint(&self) -> Option<String> {
        let details = self.details.describe()?;
        Some(format!("{}: {} calls failed: {details}", self.workload, self.errors))
    }

    /// Whether no call succeeded.
    pub(crate) fn is_failure(&self) -> bool {
        self.operations == 0
    }

    fn row(&self) -> Vec<String> {
        let mut row = vec![self.workload.to_owned(), HumanCount(self.rate.round() as u64).to_string()];
        let latencies = [self.p50_us, self.p90_us, self.p99_us, self.max_us];
        row.extend(latencies.map(|us| format!("{:.1?}", Duration::from_secs_f64(us / 1e6))));
        row.push(self.errors.to_string());
        row
    }
}

/// What only `day` reports.
#[derive(Debug, Serialize)]
pub(crate) struct DayReport {
    /// Announces made, with those that failed.
    announces: u64,
    /// The same in announce intervals.
    intervals: f64,
    /// Announces a second that were asked for.
    target_rate: Option<f64>,
    /// Processor time of this process for 10,000 announces.
    cpu_ms_per_10k: Option<f64>,
    /// Of the servers.
    server_cpu_ms_per_10k: Option<f64>,
    #[serde(skip)]
    settings: DaySettings,
}

impl DayReport {
    /// Announces of so many clients.
    pub(super) fn new(
        announces: u64,
        clients: u64,
        target_rate: Option<f64>,
        cpu_time: CpuTime,
        settings: DaySettings,
    ) -> Self {
        let for_10k = |time: Duration| rounded(time.as_secs_f64() * 1e3 * 1e4 / announces as f64);
        let known = |time: Option<Duration>| time.filter(|_| announces > 0).map(for_10k);
        Self {
            announces,
            intervals: rounded(announces as f64 / clients as f64),
            target_rate: target_rate.map(rounded),
            cpu_ms_per_10k: known(cpu_time.own),
            server_cpu_ms_per_10k: known(cpu_time.servers),
            settings,
        }
    }

    fn lines(&self) -> Vec<String> {
        let Self { intervals, settings, .. } = self;
        let interval = format_duration(settings.interval);
        let made = format!("{} announces, {intervals} intervals of {interval}", HumanCount(self.announces));
        let target = self.target_rate.map(|rate| format!("; {rate} per second were due"));
        let time = |time: Option<f64>| time.map_or("not known".to_owned(), |ms| format!("{ms} ms"));
        let mut cpu_time =
            format!("processor time for 10,000 announces: {} of this process", time(self.cpu_ms_per_10k));
        if !settings.server_processes.is_empty() {
            let servers = time(self.server_cpu_ms_per_10k);
            cpu_time += &format!(", {servers} of {}", settings.server_processes.join(" and "));
        }
        vec![made + &target.unwrap_or_default(), cpu_time]
    }
}

/// A header, and one row per workload.
pub(crate) fn rows(reports: &[BenchReport]) -> Vec<Vec<String>> {
    let header = ["workload", "per second", "p50", "p90", "p99", "max", "errors"].map(str::to_owned);
    std::iter::once(header.to_vec()).chain(reports.iter().map(BenchReport::row)).collect()
}
