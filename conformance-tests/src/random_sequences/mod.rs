//! Random sequences of operations: a storage must give the same answers as a simple model, and hold the
//! same content in the end.

mod completions;
mod model;
pub(crate) mod run;
pub(crate) mod step;

use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};
use proptest::collection::SizeRange;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::harness::with_fresh;
use crate::runtime::block_on;
use crate::storages::{Fresh, UnderTest};
use model::Model;
use step::SequenceStep;

/// The environment variable with the number of sequences of each kind per storage.
const NUMBER_VARIABLE: &str = "TRACKER_STORAGE_TEST_SEQUENCES";
const DEFAULT_NUMBER: u32 = 64;
const LONGEST_SEQUENCE: usize = 40;
/// How many shorter sequences are tried to shrink one that fails.
const MAX_SHRINK_STEPS: u32 = 4_000;

/// The tests of a storage.
pub fn tests(under_test: &Arc<UnderTest>) -> [Trial; 2] {
    let for_random = Arc::clone(under_test);
    let random = Trial::ignorable_test(format!("{}/random sequences", under_test.name), move || {
        with_fresh(&for_random, run_all)
    });
    [random, completions::test(under_test)]
}

fn run_all(fresh: &Fresh) -> Result<Completion, Failed> {
    run_sequences(1..=LONGEST_SEQUENCE, |sequence| block_on(check(fresh, sequence)))
}

/// Runs random sequences of this number of steps, as many as the environment asks for. The failure shows
/// the shortest sequence that fails.
pub(crate) fn run_sequences(
    steps: impl Into<SizeRange>,
    check: impl Fn(Vec<SequenceStep>) -> Result<(), TestCaseError>,
) -> Result<Completion, Failed> {
    run_strategy(&prop::collection::vec(step::any(), steps), check)
}

/// Runs random sequences of exactly this number of steps. A sequence that fails is shrunk.
pub(crate) fn run_long_sequences(
    steps: usize,
    check: impl Fn(Vec<SequenceStep>) -> Result<(), TestCaseError>,
) -> Result<Completion, Failed> {
    // All steps are kept at first; shrinking leaves them out one by one.
    let kept = prop::collection::vec(prop::bool::weighted(1.0), steps);
    let sequences = (kept, prop::collection::vec(step::any(), steps)).prop_map(|(kept, sequence)| {
        sequence.into_iter().zip(kept).filter_map(|(step, is_kept)| is_kept.then_some(step)).collect()
    });
    run_strategy(&sequences, check)
}

fn run_strategy(
    sequences: &impl Strategy<Value = Vec<SequenceStep>>,
    check: impl Fn(Vec<SequenceStep>) -> Result<(), TestCaseError>,
) -> Result<Completion, Failed> {
    let config = Config {
        cases: number()?,
        max_shrink_iters: MAX_SHRINK_STEPS,
        failure_persistence: None,
        ..Config::default()
    };
    match TestRunner::new(config).run(sequences, check) {
        Ok(()) => Ok(Completion::Completed),
        Err(TestError::Fail(reason, sequence)) => {
            let steps: Vec<_> = sequence.iter().map(|step| format!("  {step:?}")).collect();
            Err(format!("{}\nthe shortest sequence:\n{}", reason.message(), steps.join("\n")).into())
        }
        Err(TestError::Abort(reason)) => Err(reason.message().into()),
    }
}

fn number() -> Result<u32, Failed> {
    match std::env::var(NUMBER_VARIABLE) {
        Ok(number) => {
            number.parse().map_err(|_| format!("{NUMBER_VARIABLE}: expected a whole number").into())
        }
        Err(_) => Ok(DEFAULT_NUMBER),
    }
}

async fn check(fresh: &Fresh, sequence: Vec<SequenceStep>) -> Result<(), TestCaseError> {
    let fail = |what: &dyn std::fmt::Display| TestCaseError::fail(what.to_string());
    fresh.empty().await.map_err(|error| fail(&error))?;
    let storage = fresh.provider().open().await.map_err(|error| fail(&error))?;
    let mut model = Model::default();
    for step in &sequence {
        let (found, expected) = (run::run_step(step, &*storage).await, model.run_step(step));
        prop_assert_eq!(found, expected, "the storage's answer (left) is not the model's, at {:?}", step);
    }
    let content = run::export(&*storage).await.map_err(|error| fail(&error))?;
    prop_assert_eq!(content, model.content(), "the storage's content (left) is not the model's");
    storage.close().await.map_err(|error| fail(&error))
}
