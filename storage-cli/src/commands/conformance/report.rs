//! One line per case, and the counts.

use std::io;

use serde::Serialize;
use storage_core::conformance::{Case, Level, Outcome, Violation};

use crate::error_code::ErrorCode;
use crate::output::Output;

/// Prints the outcome of cases.
pub(super) struct ConformanceReport<'a> {
    output: &'a mut Output,
    json: bool,
    counts: OutcomeCounts,
}

/// Cases by outcome. A case with a warning has passed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct OutcomeCounts {
    passed: usize,
    pub(super) failed: usize,
    skipped: usize,
    warned: usize,
    not_run: usize,
}

#[derive(Serialize)]
struct ReportLine<'a> {
    case: String,
    rule: &'a str,
    level: &'static str,
    outcome: &'static str,
    #[serde(flatten)]
    about: About<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum About<'a> {
    Nothing {},
    Skipped { reason: &'a str },
    Broken { did: &'a str, expected: &'a str, got: &'a str, likely_cause: Option<&'static str> },
}

impl<'a> ConformanceReport<'a> {
    pub(super) fn new(output: &'a mut Output, json: bool) -> Self {
        Self { output, json, counts: OutcomeCounts::default() }
    }

    /// Prints and counts the outcome of a case.
    pub(super) fn case(&mut self, case: &Case, outcome: &Outcome) -> io::Result<()> {
        self.counts.count(outcome);
        if self.json {
            return self.output.json(&line(case, outcome));
        }
        let name = case.name();
        match outcome {
            Outcome::Passed => self.output.line(format_args!("ok {name}")),
            Outcome::Failed(failure) => self.output.line(format_args!("FAILED {name}\n{failure}")),
            Outcome::Warned(failure) => self.output.line(format_args!("warning {name}\n{failure}")),
            Outcome::Skipped(reason) => self.output.line(format_args!("skipped {name}: {reason}")),
        }
    }

    /// Prints the counts; of `chosen` cases some may not have run.
    pub(super) fn finish(mut self, chosen: usize) -> io::Result<OutcomeCounts> {
        let OutcomeCounts { passed, failed, skipped, warned, .. } = self.counts;
        let not_run = chosen.saturating_sub(passed + failed + skipped);
        self.counts.not_run = not_run;
        if self.json {
            let code = (failed > 0).then_some(ErrorCode::CaseFailed);
            self.output.json_with_code(&self.counts, code)?;
            return Ok(self.counts);
        }
        match warned {
            0 => {}
            1 => self.output.line("1 warning")?,
            warned => self.output.line(format_args!("{warned} warnings"))?,
        }
        if not_run > 0 {
            self.output.line(format_args!("interrupted: {not_run} cases were not run"))?;
        }
        self.output.line(format_args!("{passed} passed, {failed} failed, {skipped} skipped"))?;
        Ok(self.counts)
    }
}

impl OutcomeCounts {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
            Outcome::Warned(_) => {
                self.passed += 1;
                self.warned += 1;
            }
        }
    }
}

fn line<'a>(case: &'a Case, outcome: &'a Outcome) -> ReportLine<'a> {
    let (outcome, about) = match outcome {
        Outcome::Passed => ("passed", About::Nothing {}),
        Outcome::Failed(failure) => ("failed", broken(failure)),
        Outcome::Warned(failure) => ("warned", broken(failure)),
        Outcome::Skipped(reason) => ("skipped", About::Skipped { reason }),
    };
    let level = match case.level() {
        Level::Must => "MUST",
        Level::Should => "SHOULD",
    };
    ReportLine { case: case.name(), rule: case.rule(), level, outcome, about }
}

fn broken(failure: &Violation) -> About<'_> {
    let Violation { did, expected, got, likely_cause } = failure;
    About::Broken { did, expected, got, likely_cause: *likely_cause }
}
