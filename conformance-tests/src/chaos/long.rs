//! A long run: scenarios in random order, each time with another seed.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use rand::RngExt;

use super::{SEED_VARIABLE, ScenarioReport, scenarios};

static SUMMARY: Mutex<ChaosSummary> = Mutex::new(ChaosSummary(BTreeMap::new()));

/// What has come of the scenarios so far.
struct ChaosSummary(BTreeMap<String, SummaryRow>);

#[derive(Default, Clone, Copy)]
struct SummaryRow {
    runs: u64,
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    violations: u64,
}

impl SummaryRow {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.violations += other.violations;
    }

    fn cells(self) -> [String; 5] {
        [self.runs, self.acknowledged, self.refused, self.unknown, self.violations].map(|it| it.to_string())
    }
}

impl From<&ScenarioReport> for SummaryRow {
    fn from(report: &ScenarioReport) -> Self {
        let ScenarioReport { acknowledged, refused, unknown, .. } = *report;
        Self { runs: 1, acknowledged, refused, unknown, violations: report.violations.len() as u64 }
    }
}

impl fmt::Display for ChaosSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["scenario", "runs", "acknowledged", "refused", "unknown", "violations"]);
        for (scenario, row) in &self.0 {
            table.add_row(std::iter::once(scenario.clone()).chain(row.cells()));
        }
        let total = self.total();
        table.add_row(std::iter::once("all".to_owned()).chain(total.cells()));
        write!(f, "{table}")
    }
}

impl ChaosSummary {
    fn total(&self) -> SummaryRow {
        let mut total = SummaryRow::default();
        self.0.values().for_each(|row| total.add(*row));
        total
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.total().violations > 0)
    }
}

/// Runs scenarios for this time. Ctrl-C ends it with the summary so far.
pub(super) fn run(duration: Duration) -> ExitCode {
    ctrlc::set_handler(|| {
        let summary = summary();
        println!("\n{summary}");
        std::process::exit(if summary.exit_code() == 0 { 130 } else { 1 });
    })
    .expect("nobody else handles signals in this process");
    let filters: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut scenarios = scenarios::all();
    scenarios.retain(|scenario| filters.iter().all(|filter| scenario.name.contains(filter)));
    if scenarios.is_empty() {
        eprintln!("no scenario has {filters:?} in its name");
        return ExitCode::from(2);
    }
    let begun = Instant::now();
    while begun.elapsed() < duration {
        let scenario = &scenarios[rand::rng().random_range(0..scenarios.len())];
        let seed = rand::random();
        let report = scenario.run(seed).unwrap_or_else(|missing| {
            let violations = vec![format!("the scenario could not be finished: {missing}")];
            ScenarioReport { violations, ..ScenarioReport::default() }
        });
        let outcome = if report.violations.is_empty() { "ok" } else { "VIOLATED" };
        println!(
            "{:6.0}s {SEED_VARIABLE}={seed} {}: {outcome}",
            begun.elapsed().as_secs_f64(),
            scenario.name
        );
        for violation in &report.violations {
            println!("        {violation}");
        }
        summary().0.entry(scenario.name.clone()).or_default().add(SummaryRow::from(&report));
    }
    let summary = summary();
    println!("\n{summary}");
    ExitCode::from(summary.exit_code())
}

fn summary() -> MutexGuard<'static, ChaosSummary> {
    SUMMARY.lock().unwrap_or_else(PoisonError::into_inner)
}
