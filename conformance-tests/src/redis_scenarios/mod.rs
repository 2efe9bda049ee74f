//! Redis beyond the suite: MoChi's data and layout, data of other programs, round trips for each call,
//! outages and failover.

mod check;
mod cluster;
mod connection;
mod cross_backend;
mod durability;
mod failover;
mod fixtures;
mod foreign_data;
mod garbage;
mod layout;
mod load;
mod lost_answers;
mod max_clients;
mod mochi;
mod raw;
mod replicas;
mod resharding;
mod restart;
mod rights;
mod round_trips;
mod test_env;

use libtest_mimic::Trial;

use crate::servers::redis::{Node, Setup};
use test_env::{InDatabase, OnServers};

/// The name of a test: `redis`, then the scenario's module and function in words.
fn title(module: &str, scenario: &str) -> String {
    format!("redis/{module} {scenario}").replace('_', " ")
}

/// Tests of scenarios that need the same environment.
macro_rules! tests {
    ($env:expr; $($module:ident::$scenario:ident,)*) => {
        [$($env.test(title(stringify!($module), stringify!($scenario)), $module::$scenario),)*]
    };
}

/// All of them.
pub fn tests() -> Vec<Trial> {
    let mut tests = vec![cross_backend::test()];
    tests.extend(tests! {
        OnServers(mochi::server);
        mochi::snapshot_reads_back_exactly,
        mochi::snapshot_is_counted_by_its_peers,
        mochi::snapshot_keeps_its_fresh_peers,
        mochi::snapshot_loses_its_stale_peers_only,
    });
    tests.extend(tests! {
        InDatabase;
        layout::peers_are_in_the_key_of_their_role_and_family,
        layout::counters_change_by_differences,
        layout::swarm_keys_without_peers_leave_the_set,
        layout::data_is_in_the_key_of_its_context,
        layout::is_the_same_after_imports,
        foreign_data::a_peer_in_both_roles_has_the_later_one,
        foreign_data::peers_in_both_roles_have_the_later_one_in_swarms_of_all_sizes,
        foreign_data::a_leecher_by_the_later_time_is_a_download,
        foreign_data::a_stale_second_role_is_garbage,
        foreign_data::a_v2_hash_and_its_beginning_are_two_swarms,
        foreign_data::unreadable_entries_are_left_out_of_exports_and_counted,
        foreign_data::announces_return_no_unreadable_peer,
        foreign_data::garbage_collection_leaves_unreadable_entries,
        foreign_data::an_announce_repairs_an_unreadable_time,
        foreign_data::a_rejected_write_stops_no_other,
        foreign_data::swarms_lost_from_the_set_are_found,
        foreign_data::a_set_is_reported_as_keydb,
        foreign_data::keys_of_another_type_are_skipped_and_counted,
        foreign_data::a_key_of_another_type_is_named,
        foreign_data::a_database_of_another_program_is_reported,
        foreign_data::garbage_collection_skips_a_set,
        garbage::of_three_nodes_takes_what_is_stale_and_nothing_fresh,
    });
    tests.extend(tests! {
        OnServers(|| Node::start(&Setup::default()));
        round_trips::each_call_is_one,
        round_trips::a_batch_of_scrapes_is_one,
        lost_answers::leave_one_download_of_a_graduation,
        lost_answers::leave_one_download_of_a_list_that_ends_with_a_deletion,
        lost_answers::leave_no_peer_that_has_stopped,
        lost_answers::leave_a_delete_uncertain,
        lost_answers::are_retried_where_that_is_safe,
        connection::has_keepalive,
        connection::errors_do_not_name_the_user,
        check::accepts_the_example,
        max_clients::reached_is_reported_when_a_storage_is_opened,
        max_clients::reached_is_retried_at_start,
        max_clients::reached_is_reported_to_calls_that_need_another_connection,
    });
    tests.extend(tests! {
        OnServers(check::server_without_persistence);
        check::warns_of_eviction_and_of_absent_persistence,
    });
    tests.extend(tests! {
        OnServers(restart::server);
        restart::calls_fail_while_the_server_is_gone_and_then_succeed,
        restart::a_short_outage_is_retried,
        restart::scripts_that_are_gone_are_loaded_again,
        durability::downloads_in_the_append_only_file_survive_a_crash,
        check::describes_a_server_that_keeps_everything,
    });
    tests.extend(tests! {
        OnServers(failover::servers);
        failover::writes_resume_when_the_primary_is_killed,
        durability::downloads_are_lost_for_a_second_at_most_in_an_orderly_failover,
        durability::downloads_that_a_replica_has_survive_an_orderly_failover,
        durability::downloads_are_lost_for_a_second_at_most_when_a_primary_is_killed,
        durability::downloads_that_a_replica_has_survive_a_crash_of_the_primary,
    });
    tests.extend(tests! {
        OnServers(durability::servers_with_min_replicas);
        durability::a_primary_that_refuses_writes_without_a_replica_loses_few_in_an_orderly_failover,
    });
    tests.extend(tests! {
        OnServers(replicas::servers);
        replicas::that_are_frozen_leave_downloads_and_data_uncertain,
        replicas::that_are_frozen_leave_peers_uncertain_where_these_wait,
        replicas::that_are_frozen_are_waited_for_by_a_retry_that_changes_nothing,
        check::says_what_a_failover_costs,
    });
    tests.extend(tests! {
        OnServers(failover::secured_servers);
        failover::writes_follow_when_the_primary_is_replaced,
    });
    tests.extend(tests! {
        OnServers(connection::servers);
        connection::needs_a_trusted_certificate_authority,
        connection::needs_the_password_of_the_sentinels,
        connection::needs_the_password_of_the_data_nodes,
    });
    tests.extend(tests! {
        OnServers(rights::server);
        rights::of_a_server_are_all_used,
        rights::without_info_are_reported,
    });
    tests.extend(tests! {
        OnServers(rights::server_without_info);
        rights::on_a_server_without_info_are_enough,
    });
    tests.extend(tests! {
        OnServers(rights::sentinel);
        rights::behind_sentinels_are_enough,
    });
    tests.extend(tests! {
        OnServers(rights::cluster);
        rights::of_a_cluster_are_all_used,
    });
    tests.extend(tests! {
        OnServers(max_clients::cluster);
        max_clients::reached_is_reported_by_the_nodes_of_a_cluster,
    });
    tests.extend(tests! {
        OnServers(cluster::servers);
        cluster::the_time_is_that_of_its_nodes,
        cluster::completions_at_the_same_time_are_one_download,
        cluster::announces_return_peers_in_both_roles_in_the_later_one,
        cluster::other_nodes_serve_while_one_is_gone,
        cluster::a_node_whose_connections_go_silent_is_reconnected,
        cluster::garbage_of_three_nodes_takes_what_is_stale_and_nothing_fresh,
    });
    tests.extend(tests! {
        OnServers(resharding::servers);
        resharding::a_slot_is_served_while_it_moves,
        resharding::a_slot_is_served_while_it_moves_to_a_node_without_slots,
        resharding::nothing_fails_while_slots_move_back_and_forth,
    });
    tests.extend(tests! {
        OnServers(resharding::servers_with_replicas);
        resharding::a_slot_is_served_while_it_moves_and_writes_wait_for_replicas,
        resharding::downloads_wait_for_the_replica_of_the_node_that_takes_them,
        resharding::retries_wait_for_the_replica_too,
    });
    tests
}
