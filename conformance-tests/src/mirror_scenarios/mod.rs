//! The mirror beyond the suite: both storages hold the same content, faults of the secondary do not
//! affect callers, and a tracker can migrate with it.

mod content;
mod missed_writes;
mod moving;
mod opening;
mod secondary;
mod test_env;

use libtest_mimic::{Completion, Trial};

use crate::runtime::block_on;

/// The name of a test: `mirror`, then the scenario's module and function in words.
fn title(module: &str, scenario: &str) -> String {
    format!("mirror/{module} {scenario}").replace('_', " ")
}

macro_rules! tests {
    ($($module:ident::$scenario:ident,)*) => {
        vec![$(Trial::ignorable_test(title(stringify!($module), stringify!($scenario)), || {
            block_on($module::$scenario());
            Ok(Completion::Completed)
        }),)*]
    };
}

/// All of them.
pub fn tests() -> Vec<Trial> {
    let mut tests = tests! {
        content::is_the_same_after_concurrent_writes,
        content::is_not_touched_where_the_primary_touched_no_peer,
        content::of_a_peer_is_written_in_the_order_of_the_primary,
        content::of_whole_announces_is_the_same,
        content::of_large_write_lists_is_the_same,
        content::that_is_already_absent_from_the_secondary_is_no_missed_write,
        content::of_the_queue_is_written_before_close_returns,
        secondary::that_hangs_delays_no_call,
        secondary::that_fails_is_suspended_until_it_responds,
        secondary::that_fails_does_not_fail_the_query_check,
        secondary::that_rejects_writes_is_not_suspended,
        secondary::that_hangs_until_close_misses_the_queued_writes,
        missed_writes::include_writes_with_an_unknown_outcome,
        missed_writes::include_cancelled_calls,
        missed_writes::exclude_rejected_writes,
        missed_writes::include_announces_that_write_and_cannot_read,
        opening::works_without_the_secondary,
        opening::reports_the_problems_of_both_storages,
        opening::rejects_a_mirror_in_a_mirror_and_one_storage_twice,
    };
    tests.push(content::random_sequences());
    tests.push(moving::test());
    tests
}
