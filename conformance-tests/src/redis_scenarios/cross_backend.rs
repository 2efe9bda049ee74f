//! The same random sequences on `redis`, `pg` and `memory` together get the same
//! answers and leave the same content.

use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use storage_core::{OpenError, Storage};

use crate::harness::with_fresh;
use crate::random_sequences::run::{export, run_step};
use crate::random_sequences::run_long_sequences;
use crate::random_sequences::step::SequenceStep;
use crate::runtime::block_on;
use crate::storages::{self, Fresh, UnderTest};

const STEPS: usize = 50;

pub(super) fn test() -> Trial {
    Trial::ignorable_test("redis/same answers as pg and memory", || {
        with_fresh(&under_test("redis/single"), |redis| {
            with_fresh(&under_test("pg/postgres-inet"), |pg| {
                with_fresh(&under_test("memory"), |memory| {
                    let compared = [("redis", redis), ("pg", pg), ("memory", memory)];
                    compare(&block_on(open(compared))?)
                })
            })
        })
    })
}

fn under_test(name: &str) -> UnderTest {
    let mut all = storages::all().into_iter();
    all.find(|under_test| under_test.name == name).unwrap_or_else(|| panic!("there is no `{name}`"))
}

/// One of the storages that are compared.
struct ComparedStorage<'a> {
    name: &'static str,
    fresh: &'a Fresh,
    storage: Arc<dyn Storage>,
}

impl ComparedStorage<'_> {
    /// The storage, empty: opening takes long where queries are checked, so it is kept.
    async fn emptied(&self) -> Result<Arc<dyn Storage>, TestCaseError> {
        let provider = self.fresh.provider();
        if provider.is_private() {
            return provider.open().await.map_err(|error| self.failed(&error));
        }
        self.fresh.empty().await.map_err(|error| self.failed(&error))?;
        Ok(Arc::clone(&self.storage))
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> TestCaseError {
        TestCaseError::fail(format!("{}: {error}", self.name))
    }
}

async fn open<'a>(compared: [(&'static str, &'a Fresh); 3]) -> Result<Vec<ComparedStorage<'a>>, OpenError> {
    let mut opened = Vec::new();
    for (name, fresh) in compared {
        opened.push(ComparedStorage { name, fresh, storage: fresh.provider().open().await? });
    }
    Ok(opened)
}

fn compare(compared: &[ComparedStorage<'_>]) -> Result<Completion, Failed> {
    run_long_sequences(STEPS, |sequence| {
        block_on(async {
            let mut storages = Vec::new();
            for one in compared {
                storages.push((one.name, one.emptied().await?));
            }
            check(&storages, &sequence).await
        })
    })
}

/// Runs a sequence on all storages, which are empty, step by step.
async fn check(
    storages: &[(&str, Arc<dyn Storage>)],
    sequence: &[SequenceStep],
) -> Result<(), TestCaseError> {
    for step in sequence {
        let mut answers = Vec::new();
        for (name, storage) in storages {
            answers.push((*name, run_step(step, &**storage).await));
        }
        prop_assert!(are_equal(&answers), "{:?} gives {:#?}", step, answers);
    }
    let mut contents = Vec::new();
    for (name, storage) in storages {
        let content = export(&**storage).await;
        contents.push((*name, content.map_err(|error| TestCaseError::fail(error.to_string()))?));
    }
    prop_assert!(are_equal(&contents), "in the end there are {:#?}", contents);
    Ok(())
}

fn are_equal<T: PartialEq>(found: &[(&str, T)]) -> bool {
    found.windows(2).all(|pair| pair[0].1 == pair[1].1)
}

#[cfg(test)]
mod tests {
    use storage_memory::{MemoryConfig, MemoryStorage};

    use super::*;
    use crate::broken::{Broken, Flaw};

    #[test]
    fn a_difference_is_reported_in_few_steps() {
        let memory = || Arc::new(MemoryStorage::new(MemoryConfig::default())) as Arc<dyn Storage>;
        for flaw in [Flaw::GraduateUncounted, Flaw::DeleteInAnyRole, Flaw::ImportOverwrites] {
            let found = run_long_sequences(STEPS, |sequence| {
                let broken = Arc::new(Broken::new(memory(), flaw));
                block_on(check(&[("sound", memory()), ("broken", broken)], &sequence))
            });
            let failure = found.err().unwrap();
            let message = failure.message().unwrap();
            let (_, sequence) = message.split_once("the shortest sequence:\n").unwrap();
            assert!(sequence.lines().count() <= 3, "{message}");
        }
    }
}
