//! Random stories: whatever is asked of a storage, in whatever order, it answers as a plain model
//! does, and holds the same in the end.

mod completions;
mod model;
pub(crate) mod play;
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
use step::StoryStep;

/// The environment variable with the number of stories of each kind per storage.
const NUMBER_VARIABLE: &str = "TRACKER_STORAGE_TEST_SEQUENCES";
const DEFAULT_NUMBER: u32 = 64;
const LONGEST_STORY: usize = 40;
/// How often a story that fails is told again, shorter.
const MOST_SHORTENINGS: u32 = 4_000;

/// The tests of a storage.
pub fn tests(under_test: &Arc<UnderTest>) -> [Trial; 2] {
    let told = Arc::clone(under_test);
    let random = Trial::ignorable_test(format!("{}/random stories", under_test.name), move || {
        with_fresh(&told, tell_stories)
    });
    [random, completions::test(under_test)]
}

fn tell_stories(fresh: &Fresh) -> Result<Completion, Failed> {
    tell_many(1..=LONGEST_STORY, |story| block_on(tell(fresh, story)))
}

/// Tells random stories with so many steps, as many as the environment asks for. Of those that fail,
/// the shortest is what the failure shows.
pub(crate) fn tell_many(
    steps: impl Into<SizeRange>,
    tell: impl Fn(Vec<StoryStep>) -> Result<(), TestCaseError>,
) -> Result<Completion, Failed> {
    tell_all(&prop::collection::vec(step::any(), steps), tell)
}

/// Tells random stories, each with exactly so many steps unless it fails and is told again, shorter.
pub(crate) fn tell_long(
    steps: usize,
    tell: impl Fn(Vec<StoryStep>) -> Result<(), TestCaseError>,
) -> Result<Completion, Failed> {
    // All are kept at first, and left out one by one.
    let kept = prop::collection::vec(prop::bool::weighted(1.0), steps);
    let stories = (kept, prop::collection::vec(step::any(), steps)).prop_map(|(kept, story)| {
        story.into_iter().zip(kept).filter_map(|(step, is_kept)| is_kept.then_some(step)).collect()
    });
    tell_all(&stories, tell)
}

fn tell_all(
    stories: &impl Strategy<Value = Vec<StoryStep>>,
    tell: impl Fn(Vec<StoryStep>) -> Result<(), TestCaseError>,
) -> Result<Completion, Failed> {
    let config = Config {
        cases: number()?,
        max_shrink_iters: MOST_SHORTENINGS,
        failure_persistence: None,
        ..Config::default()
    };
    match TestRunner::new(config).run(stories, tell) {
        Ok(()) => Ok(Completion::Completed),
        Err(TestError::Fail(reason, story)) => {
            let steps: Vec<_> = story.iter().map(|step| format!("  {step:?}")).collect();
            Err(format!("{}\nthe shortest story:\n{}", reason.message(), steps.join("\n")).into())
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

async fn tell(fresh: &Fresh, story: Vec<StoryStep>) -> Result<(), TestCaseError> {
    let fail = |what: &dyn std::fmt::Display| TestCaseError::fail(what.to_string());
    fresh.empty().await.map_err(|error| fail(&error))?;
    let storage = fresh.provider().open().await.map_err(|error| fail(&error))?;
    let mut model = Model::default();
    for step in &story {
        let (found, expected) = (play::play(step, &*storage).await, model.play(step));
        prop_assert_eq!(found, expected, "the storage's answer (left) is not the model's, at {:?}", step);
    }
    let content = play::export(&*storage).await.map_err(|error| fail(&error))?;
    prop_assert_eq!(content, model.content(), "the storage's content (left) is not the model's");
    storage.close().await.map_err(|error| fail(&error))
}
