//! What came of the cases, storage by storage and rule by rule, as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use comfy_table::{Table, presets};

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// It could not be run.
    Skipped,
}

#[derive(Default, Clone, Copy)]
struct CaseCount {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// Counts of passed, failed and skipped cases per storage and rule. Shows nothing if nothing ran.
#[derive(Default)]
pub struct Matrix(Mutex<BTreeMap<String, BTreeMap<&'static str, CaseCount>>>);

impl Matrix {
    /// Counts a case.
    pub fn record(&self, storage: &str, rule: &'static str, mark: Mark) {
        let mut matrix = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = matrix.entry(storage.to_owned()).or_default().entry(rule).or_default();
        match mark {
            Mark::Passed => count.passed += 1,
            Mark::Failed => count.failed += 1,
            Mark::Skipped => count.skipped += 1,
        }
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matrix = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rules: BTreeSet<_> = matrix.values().flat_map(BTreeMap::keys).copied().collect();
        if rules.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(std::iter::once("storage").chain(rules.iter().copied()));
        for (storage, counts) in matrix.iter() {
            let cells = rules.iter().map(|rule| counts.get(rule).copied().unwrap_or_default().to_string());
            table.add_row(std::iter::once(storage.clone()).chain(cells));
        }
        writeln!(f, "{table}")?;
        writeln!(f, "(cases that ended as they should; ! those that did not, ~ those skipped)\n")
    }
}

impl fmt::Display for CaseCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = *self;
        let mut parts = Vec::new();
        for (sign, number) in [("", passed), ("!", failed), ("~", skipped)] {
            if number > 0 {
                parts.push(format!("{sign}{number}"));
            }
        }
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_storage_is_a_row_and_each_rule_a_column() {
        let matrix = Matrix::default();
        matrix.record("memory", "P1", Mark::Passed);
        matrix.record("memory", "P1", Mark::Passed);
        matrix.record("pg", "P1", Mark::Failed);
        matrix.record("pg", "U1", Mark::Skipped);
        let shown = matrix.to_string();
        let rows: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["storage", "P1", "U1"]);
        assert_eq!(rows[1], ["memory", "2"]);
        assert_eq!(rows[2], ["pg", "!1", "~1"]);
    }

    #[test]
    fn nothing_is_shown_if_nothing_ran() {
        assert_eq!(Matrix::default().to_string(), "");
    }
}
