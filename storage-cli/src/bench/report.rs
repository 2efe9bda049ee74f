//! The report of a workload.

use std::time::Duration;

use indicatif::HumanCount;
use serde::Serialize;

use super::call_stats::CallErrors;
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
            details: stats.errors,
        }
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

/// A header, and one row per workload.
pub(crate) fn rows(reports: &[BenchReport]) -> Vec<Vec<String>> {
    let header = ["workload", "per second", "p50", "p90", "p99", "max", "errors"].map(str::to_owned);
    std::iter::once(header.to_vec()).chain(reports.iter().map(BenchReport::row)).collect()
}
