//! The mirror beyond the suite: that both sides hold the same, that trouble with the secondary is
//! nobody else's, and that a tracker can move by it.

mod content;
mod moving;
mod opening;
mod outcome;
mod sides;
mod trouble;

use libtest_mimic::{Completion, Trial};

use crate::runtime::block_on;

/// The name of a test: `mirror`, then the story's module and function in words.
fn title(module: &str, story: &str) -> String {
    format!("mirror/{module} {story}").replace('_', " ")
}

macro_rules! tests {
    ($($module:ident::$story:ident,)*) => {
        vec![$(Trial::ignorable_test(title(stringify!($module), stringify!($story)), || {
            block_on($module::$story());
            Ok(Completion::Completed)
        }),)*]
    };
}

/// All of them.
pub fn tests() -> Vec<Trial> {
    let mut tests = tests! {
        content::is_the_same_on_both_sides_after_writers_that_meet,
        content::is_not_touched_where_the_primary_had_nobody_to_touch,
        content::of_a_peer_is_written_in_the_order_of_the_primary,
        content::of_whole_announces_is_the_same_on_both_sides,
        content::of_large_lists_of_writes_is_the_same_on_both_sides,
        content::that_the_secondary_has_already_lost_is_no_miss,
        content::of_the_queue_is_written_before_closing_ends,
        trouble::of_a_hanging_secondary_holds_up_no_call,
        trouble::of_a_failing_secondary_suspends_it_until_it_answers,
        trouble::of_a_secondary_fails_no_query_check,
        trouble::with_one_write_does_not_suspend,
        trouble::that_outlasts_closing_is_missed,
        outcome::in_doubt_is_a_missed_write,
        outcome::of_a_call_given_up_is_a_missed_write,
        outcome::of_a_refused_write_is_no_miss,
        outcome::of_an_announce_that_cannot_read_is_a_missed_write,
        opening::works_without_the_secondary,
        opening::tells_the_problems_of_both_sides,
        opening::refuses_a_mirror_in_a_mirror_and_one_storage_twice,
    };
    tests.push(content::random_stories());
    tests.push(moving::test());
    tests
}
