//! Counts and latencies of calls.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use storage_core::{Error, Result};

/// Calls that succeeded, how long they took, and those that failed.
#[derive(Debug)]
pub(super) struct CallStats {
    pub(super) operations: u64,
    /// Nanoseconds.
    pub(super) latencies: Histogram<u64>,
    pub(super) errors: CallErrors,
}

/// Failures by kind.
#[derive(Debug, Default)]
pub(super) struct CallErrors {
    by_kind: BTreeMap<&'static str, u64>,
    first: Option<Error>,
}

impl CallStats {
    /// Latencies have three significant digits.
    pub(super) fn new() -> Result<Self, CreationError> {
        Ok(Self { operations: 0, latencies: Histogram::new(3)?, errors: CallErrors::default() })
    }

    pub(super) fn clear(&mut self) {
        self.operations = 0;
        self.latencies.reset();
        self.errors = CallErrors::default();
    }

    /// Counts a call, and records its latency if it was timed and succeeded.
    pub(super) fn count(&mut self, result: Result<()>, took: Option<Duration>) {
        match result {
            Ok(()) => {
                self.operations += 1;
                if let Some(took) = took {
                    // Fails only for values beyond the range, and the range grows.
                    let _ = self.latencies.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                }
            }
            Err(error) => self.errors.add(error),
        }
    }

    /// Adds the counts of another worker.
    pub(super) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        let _ = self.latencies.add(other.latencies);
        for (kind, count) in other.errors.by_kind {
            *self.errors.by_kind.entry(kind).or_default() += count;
        }
        self.errors.first = self.errors.first.take().or(other.errors.first);
    }
}

impl CallErrors {
    fn add(&mut self, error: Error) {
        *self.by_kind.entry(error.kind().name()).or_default() += 1;
        self.first.get_or_insert(error);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// The counts by kind, and the first failure.
    pub(super) fn describe(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let kinds: Vec<_> = self.by_kind.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        Some(format!("{}; the first: {first:?}", kinds.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_of_all_sizes_are_kept_to_three_digits() {
        let (mut one, mut other) = (CallStats::new().unwrap(), CallStats::new().unwrap());
        one.count(Ok(()), Some(Duration::from_nanos(80)));
        one.count(Ok(()), None);
        other.count(Ok(()), Some(Duration::from_secs(5)));
        one.add(other);
        assert_eq!(one.operations, 3);
        assert_eq!(one.latencies.value_at_quantile(0.5), 80);
        let longest = one.latencies.max();
        assert!((4_990_000_000..5_010_000_000).contains(&longest), "{longest}");
    }
}
