//! The backends agree: the same random stories on `redis`, `pg` and `memory` together get the same
//! answers and leave the same content.

use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use storage_core::{OpenError, Storage};

use crate::harness::with_fresh;
use crate::runtime::block_on;
use crate::storages::{self, Fresh, UnderTest};
use crate::stories::play::{export, play};
use crate::stories::step::StoryStep;
use crate::stories::tell_long;

const STEPS: usize = 50;

pub(super) fn test() -> Trial {
    Trial::ignorable_test("redis/agreement with pg and memory", || {
        with_fresh(&under_test("redis/single"), |redis| {
            with_fresh(&under_test("pg/postgres-inet"), |pg| {
                with_fresh(&under_test("memory"), |memory| {
                    let sides = [("redis", redis), ("pg", pg), ("memory", memory)];
                    agree(&block_on(open(sides))?)
                })
            })
        })
    })
}

fn under_test(name: &str) -> UnderTest {
    let mut all = storages::all().into_iter();
    all.find(|under_test| under_test.name == name).unwrap_or_else(|| panic!("there is no `{name}`"))
}

/// One of those that are compared.
struct ViewOfServer<'a> {
    name: &'static str,
    fresh: &'a Fresh,
    storage: Arc<dyn Storage>,
}

impl ViewOfServer<'_> {
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

async fn open<'a>(sides: [(&'static str, &'a Fresh); 3]) -> Result<Vec<ViewOfServer<'a>>, OpenError> {
    let mut opened = Vec::new();
    for (name, fresh) in sides {
        opened.push(ViewOfServer { name, fresh, storage: fresh.provider().open().await? });
    }
    Ok(opened)
}

fn agree(sides: &[ViewOfServer<'_>]) -> Result<Completion, Failed> {
    tell_long(STEPS, |story| {
        block_on(async {
            let mut storages = Vec::new();
            for side in sides {
                storages.push((side.name, side.emptied().await?));
            }
            tell(&storages, &story).await
        })
    })
}

/// Tells a story to all storages, which are empty, step by step.
async fn tell(storages: &[(&str, Arc<dyn Storage>)], story: &[StoryStep]) -> Result<(), TestCaseError> {
    for step in story {
        let mut answers = Vec::new();
        for (name, storage) in storages {
            answers.push((*name, play(step, &**storage).await));
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
    fn a_disagreement_is_told_in_few_steps() {
        let memory = || Arc::new(MemoryStorage::new(MemoryConfig::default())) as Arc<dyn Storage>;
        for flaw in [Flaw::GraduateUncounted, Flaw::DeleteInAnyRole, Flaw::ImportOverwrites] {
            let found = tell_long(STEPS, |story| {
                let broken = Arc::new(Broken::new(memory(), flaw));
                block_on(tell(&[("sound", memory()), ("broken", broken)], &story))
            });
            let failure = found.err().unwrap();
            let message = failure.message().unwrap();
            let (_, story) = message.split_once("the shortest story:\n").unwrap();
            assert!(story.lines().count() <= 3, "{message}");
        }
    }
}
