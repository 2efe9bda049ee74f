//! Redis beyond the suite: MoChi's own data and layout, what others leave there, what calls cost, and
//! what happens when servers go.

mod access;
mod acknowledged;
mod agreement;
mod check;
mod cluster;
mod crowd;
mod failover;
mod garbage;
mod ground;
mod layout;
mod load;
mod lost_answers;
mod material;
mod mochi;
mod raw;
mod replicas;
mod resharding;
mod restart;
mod rights;
mod round_trips;
mod unusual;

use libtest_mimic::Trial;

use crate::servers::redis::{Node, Setup};
use ground::{InDatabase, On};

/// The name of a test: `redis`, then the story's module and function in words.
fn title(module: &str, story: &str) -> String {
    format!("redis/{module} {story}").replace('_', " ")
}

/// Tests of stories that take place in the same way.
macro_rules! tests {
    ($ground:expr; $($module:ident::$story:ident,)*) => {
        [$($ground.test(title(stringify!($module), stringify!($story)), $module::$story),)*]
    };
}

/// All of them.
pub fn tests() -> Vec<Trial> {
    let mut tests = vec![agreement::test()];
    tests.extend(tests! {
        On(mochi::server);
        mochi::snapshot_reads_back_exactly,
        mochi::snapshot_is_counted_by_its_peers,
        mochi::snapshot_keeps_its_fresh_peers,
        mochi::snapshot_loses_its_stale_peers_only,
    });
    tests.extend(tests! {
        InDatabase;
        layout::peers_stand_in_the_key_of_their_role_and_family,
        layout::counters_change_by_differences,
        layout::swarm_keys_without_peers_leave_the_set,
        layout::data_stands_in_the_key_of_its_context,
        layout::is_the_same_after_imports,
        unusual::a_peer_in_both_roles_has_the_later_one,
        unusual::peers_in_both_roles_have_the_later_one_in_swarms_of_all_sizes,
        unusual::a_leecher_by_the_later_time_is_a_download,
        unusual::a_stale_second_role_is_garbage,
        unusual::a_v2_hash_and_its_beginning_are_two_swarms,
        unusual::unreadable_entries_are_left_out_of_exports_and_counted,
        unusual::announces_return_no_unreadable_peer,
        unusual::garbage_collection_leaves_unreadable_entries,
        unusual::an_announce_mends_an_unreadable_time,
        unusual::a_write_that_is_refused_stops_no_other,
        unusual::swarms_lost_from_the_set_are_found,
        unusual::a_set_is_reported_as_keydb,
        unusual::keys_of_another_type_are_passed_over_and_counted,
        unusual::a_key_of_another_type_is_named,
        unusual::a_database_of_another_program_is_told,
        unusual::garbage_collection_passes_over_a_set,
        garbage::of_three_nodes_takes_what_is_stale_and_nothing_fresh,
    });
    tests.extend(tests! {
        On(|| Node::start(&Setup::default()));
        round_trips::each_call_is_one,
        round_trips::a_batch_of_scrapes_is_one,
        lost_answers::leave_one_download_of_a_graduation,
        lost_answers::leave_one_download_of_a_list_that_ends_with_a_deletion,
        lost_answers::leave_no_peer_that_has_stopped,
        lost_answers::leave_a_delete_uncertain,
        lost_answers::are_made_up_for_where_that_is_safe,
        access::keeps_connections_alive,
        access::names_no_user_that_lacks_a_right,
        check::takes_the_example_as_it_is,
        crowd::is_told_when_a_storage_is_opened,
        crowd::is_waited_for_at_start,
        crowd::is_told_to_calls_that_need_another_connection,
    });
    tests.extend(tests! {
        On(check::forgetful_server);
        check::warns_of_eviction_and_of_absent_persistence,
    });
    tests.extend(tests! {
        On(restart::server);
        restart::calls_fail_while_the_server_is_gone_and_then_succeed,
        restart::a_short_absence_is_waited_for,
        restart::scripts_that_are_gone_are_loaded_again,
        acknowledged::downloads_in_the_log_survive_the_death_of_a_server,
        check::describes_a_server_that_keeps_everything,
    });
    tests.extend(tests! {
        On(failover::servers);
        failover::writes_resume_when_the_primary_is_killed,
        acknowledged::downloads_are_lost_for_a_second_at_most_in_an_orderly_failover,
        acknowledged::downloads_that_a_replica_has_survive_an_orderly_failover,
        acknowledged::downloads_are_lost_for_a_second_at_most_when_a_primary_is_killed,
        acknowledged::downloads_that_a_replica_has_survive_the_death_of_a_primary,
    });
    tests.extend(tests! {
        On(acknowledged::careful_servers);
        acknowledged::a_primary_that_refuses_writes_without_a_replica_loses_few_in_an_orderly_failover,
    });
    tests.extend(tests! {
        On(replicas::servers);
        replicas::that_stand_still_leave_downloads_and_data_uncertain,
        replicas::that_stand_still_leave_peers_uncertain_where_these_wait,
        replicas::that_stand_still_are_waited_for_by_a_repetition_that_changes_nothing,
        check::says_what_a_failover_costs,
    });
    tests.extend(tests! {
        On(failover::secured_servers);
        failover::writes_follow_when_the_primary_is_replaced,
    });
    tests.extend(tests! {
        On(access::servers);
        access::needs_an_authority_that_is_trusted,
        access::needs_the_password_of_the_sentinels,
        access::needs_the_password_of_the_data_nodes,
    });
    tests.extend(tests! {
        On(rights::server);
        rights::of_a_server_are_all_used,
        rights::without_info_are_told,
    });
    tests.extend(tests! {
        On(rights::server_without_info);
        rights::on_a_server_without_info_are_enough,
    });
    tests.extend(tests! {
        On(rights::sentinel);
        rights::behind_sentinels_are_enough,
    });
    tests.extend(tests! {
        On(rights::cluster);
        rights::of_a_cluster_are_all_used,
    });
    tests.extend(tests! {
        On(crowd::cluster);
        crowd::is_told_by_the_nodes_of_a_cluster,
    });
    tests.extend(tests! {
        On(cluster::servers);
        cluster::the_time_is_that_of_its_nodes,
        cluster::completions_at_the_same_time_are_one_download,
        cluster::announces_return_peers_in_both_roles_in_the_later_one,
        cluster::other_nodes_serve_while_one_is_gone,
        cluster::a_node_whose_connections_fall_silent_is_connected_anew,
        cluster::garbage_of_three_nodes_takes_what_is_stale_and_nothing_fresh,
    });
    tests.extend(tests! {
        On(resharding::servers);
        resharding::a_slot_is_served_while_it_moves,
        resharding::a_slot_is_served_while_it_moves_to_a_node_without_slots,
        resharding::nothing_fails_while_slots_move_back_and_forth,
    });
    tests.extend(tests! {
        On(resharding::servers_with_replicas);
        resharding::a_slot_is_served_while_it_moves_and_writes_wait_for_replicas,
        resharding::downloads_wait_for_the_replica_of_the_node_that_takes_them,
        resharding::repetitions_wait_for_the_replica_too,
    });
    tests
}
