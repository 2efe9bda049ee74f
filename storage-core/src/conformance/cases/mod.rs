//! The cases, a file a group of rules. A case is a function of the scene; this list gives it its
//! name and says what it needs.

mod announce;
mod close;
mod data;
mod delete;
mod errors;
mod garbage;
mod graduate;
mod limits;
mod put;
mod safety;
mod sampling;
mod schedule;
mod scrape;
mod statistics;
mod transfer;
mod transfer_data;
mod transfer_downloads;

use super::Case;
use crate::Capability::{
    AtomicGraduation, AtomicMove, Downloads, ExportPeers, ImportDownloads, ImportPeers, Statistics,
};

/// A case of this rule and title; its story is a function of the scene.
macro_rules! must {
    ($rule:literal $title:literal, $story:path) => {
        Case::must($rule, $title, |scene| Box::pin($story(scene)))
    };
}

/// The same for a SHOULD.
macro_rules! should {
    ($rule:literal $title:literal, $story:path) => {
        Case::should($rule, $title, |scene| Box::pin($story(scene)))
    };
}

/// Every case: those about safety first, then in the order of the rules.
pub(super) static ALL: &[Case] = &[
    must!("S1" "delete touches only its peer", safety::delete_peer_is_rehearsed).on_nothing(),
    must!("S1" "graduate touches only its peer", safety::graduate_peer_is_rehearsed).on_nothing(),
    must!("S1" "collect garbage touches only stale peers", safety::collect_garbage_is_rehearsed).on_nothing(),
    must!("S1" "delete data touches only its keys", safety::delete_data_is_rehearsed).on_nothing(),
    must!("S1" "forget swarm touches only its swarm", safety::forget_swarm_is_rehearsed).on_nothing(),
    must!("S1" "forget swarm removes its peers", safety::forgetting_removes_the_peers),
    must!("S1" "forget swarm removes its downloads", safety::forgetting_removes_the_downloads).needs(safety::FORGETS_DOWNLOADS).graduates(),
    must!("S1" "forget swarm leaves other swarms alone", safety::forgetting_leaves_other_swarms_alone),
    must!("S1" "forget unknown swarm is no error", safety::forgetting_an_unknown_swarm_is_no_error),
    must!("P1" "put seeder is an upsert", put::putting_a_seeder_again_is_an_upsert),
    must!("P1" "put leecher is an upsert", put::putting_a_leecher_again_is_an_upsert),
    must!("P1" "put refreshes the last announce", put::putting_refreshes_the_last_announce).collects(),
    must!("P1" "id, address and port identify a peer", put::id_address_and_port_identify_a_peer),
    must!("P1" "a peer is in each swarm by itself", put::a_peer_is_in_each_swarm_by_itself),
    must!("P1" "another node sees what was put", put::another_node_sees_what_was_put),
    must!("P1" "any port comes back", limits::any_port_comes_back),
    must!("P1" "any IPv4 address comes back", limits::any_ipv4_address_comes_back),
    must!("P1" "any IPv6 address comes back", limits::any_ipv6_address_comes_back),
    must!("P1" "any peer id comes back", limits::any_peer_id_comes_back),
    must!("P1" "an IPv4-mapped address is IPv4", limits::an_ipv4_mapped_address_is_ipv4),
    must!("P1" "v1 and v2 hashes that begin alike are two swarms", limits::v1_and_v2_swarms_are_kept_apart),
    must!("P1" "v2 hashes that begin alike are two swarms", limits::v2_hashes_with_a_common_beginning_are_kept_apart),
    must!("P1" "many tasks put the same peer once", put::many_tasks_put_the_same_peer_once),
    must!("P1" "many tasks lose no peer", put::many_tasks_lose_no_peer),
    must!("P1" "ten thousand peers in one swarm", limits::ten_thousand_peers_in_a_swarm),
    must!("P2" "put in the other role moves the peer", put::the_other_role_moves_a_peer),
    must!("P2" "announce finds a moved peer once", put::an_announce_finds_a_moved_peer_once),
    must!("P2" "scrape sees a moving peer once", put::a_scrape_sees_a_moving_peer_once).needs(&[AtomicMove]),
    must!("P2" "tasks that disagree leave one role", put::tasks_that_disagree_leave_one_role).needs(&[AtomicMove]),
    must!("P3" "delete seeder", delete::a_seeder_is_deleted),
    must!("P3" "delete leecher", delete::a_leecher_is_deleted),
    must!("P3" "delete IPv6 peer", delete::an_ipv6_peer_is_deleted),
    must!("P3" "delete absent seeder", delete::an_absent_seeder_is_not_found),
    must!("P3" "delete absent leecher", delete::an_absent_leecher_is_not_found),
    must!("P3" "delete from unknown swarm", delete::an_unknown_swarm_is_not_found),
    must!("P3" "delete leecher as seeder", delete::a_leecher_is_no_seeder_to_delete),
    must!("P3" "delete seeder as leecher", delete::a_seeder_is_no_leecher_to_delete),
    must!("P3" "delete leaves other peers alone", delete::deleting_leaves_other_peers_alone),
    must!("P3" "delete leaves other swarms alone", delete::deleting_leaves_other_swarms_alone),
    must!("P3" "of concurrent deletes one succeeds", delete::of_concurrent_deletes_one_succeeds),
    must!("P4" "graduate makes a seeder", graduate::a_leecher_becomes_a_seeder).graduates(),
    must!("P4" "graduate IPv6 leecher", graduate::an_ipv6_leecher_becomes_a_seeder).graduates(),
    must!("P4" "graduate adds a download", graduate::each_graduation_is_a_download).needs(&[Downloads]).graduates(),
    must!("P4" "graduate leaves others at the same address alone", graduate::others_at_the_same_address_stay).graduates(),
    must!("P4" "graduate leaves others of the same id alone", graduate::others_of_the_same_id_stay).graduates(),
    must!("P4" "graduate leaves other swarms alone", graduate::other_swarms_stay).graduates(),
    must!("P4" "graduate refreshes the last announce", graduate::graduating_refreshes_the_last_announce).graduates().collects(),
    must!("P4" "graduate absent leecher puts a seeder", graduate::an_absent_leecher_is_put_as_seeder).graduates(),
    must!("P4" "graduate in unknown swarm puts a seeder", graduate::an_unknown_swarm_gets_a_seeder).graduates(),
    must!("P4" "graduate absent leecher adds a download", graduate::an_absent_leecher_is_a_download).needs(&[Downloads]).graduates(),
    must!("P4" "graduate seeder leaves it a seeder", graduate::a_seeder_stays_one).graduates(),
    must!("P4" "graduate seeder adds a download", graduate::a_seeder_is_a_download).needs(&[Downloads]).graduates(),
    must!("P4" "many tasks graduate each its own", graduate::many_tasks_graduate_each_its_own).graduates(),
    must!("P4" "many tasks lose no download", graduate::many_tasks_lose_no_download).needs(&[Downloads]).graduates(),
    must!("P4" "many tasks graduate the same peer", graduate::many_tasks_graduate_the_same_peer).graduates(),
    must!("P4" "whole lives at the same time add up", graduate::whole_lives_at_once_add_up).needs(&[Downloads]).graduates(),
    must!("P4" "a graduation given up is whole", graduate::a_graduation_given_up_is_whole).needs(&[Downloads, AtomicGraduation]).graduates(),
    must!("P5" "leecher gets all peers once", announce::a_leecher_gets_all_peers_once),
    must!("P5" "leecher gets seeders first", announce::a_leecher_gets_seeders_first),
    must!("P5" "a few wanted are all seeders", announce::a_few_wanted_are_all_seeders),
    must!("P5" "leechers fill up what seeders leave", announce::leechers_fill_up_what_seeders_leave),
    must!("P5" "seeder gets leechers only", announce::a_seeder_gets_leechers_only),
    must!("P5" "never more than wanted", announce::never_more_than_wanted),
    must!("P5" "more may be wanted than there are", announce::any_number_may_be_wanted),
    must!("P5" "none wanted is an empty list", announce::none_wanted_is_an_empty_list),
    must!("P5" "none wanted of unknown swarm is an empty list", announce::none_wanted_of_an_unknown_swarm_is_an_empty_list),
    must!("P5" "only the family asked for", announce::only_the_family_asked_for),
    must!("P5" "the peer that asks is left out", announce::the_one_that_asks_is_left_out),
    must!("P5" "leaving out a peer costs no place", announce::leaving_out_one_costs_no_place),
    must!("P5" "only that very peer is left out", announce::only_the_very_peer_is_left_out),
    must!("P5" "unknown swarm is not found", announce::an_unknown_swarm_is_not_found),
    must!("P5" "seeder among seeders finds nobody", announce::a_seeder_among_seeders_finds_nobody),
    must!("P5" "family without peers is not found", announce::a_family_without_peers_is_not_found),
    must!("P5" "the only peer finds nobody", announce::the_only_peer_finds_nobody),
    should!("P6" "seeders vary from announce to announce", sampling::seeders_vary),
    should!("P6" "leechers vary from announce to announce", sampling::leechers_vary),
    should!("P6" "most peers appear in the end", sampling::most_peers_appear),
    must!("P7" "scrape counts both families together", scrape::both_families_count_together),
    must!("P7" "scrape of unknown swarm has zeros", scrape::an_unknown_swarm_has_zeros),
    must!("P7" "downloads outlive the peers", scrape::downloads_outlive_the_peers).needs(&[Downloads]).graduates(),
    must!("P7" "swarms count by themselves", scrape::swarms_count_by_themselves),
    must!("P7" "put is no download", scrape::putting_is_no_download),
    must!("D1" "binary data comes back", data::binary_data_comes_back).on_data(),
    must!("D1" "an empty value is not absent", data::an_empty_value_is_not_absent).on_data(),
    must!("D1" "the empty key is a key", data::the_empty_key_is_a_key).on_data(),
    must!("D1" "the empty context is a context", data::the_empty_context_is_a_context).on_data(),
    must!("D1" "a context is any text", data::a_context_is_any_text).on_data(),
    must!("D1" "keys differ by any byte", data::keys_differ_by_any_byte).on_data(),
    must!("D1" "a value may have 1 MiB", data::a_value_may_have_a_mebibyte).on_data(),
    must!("D2" "put overwrites", data::putting_overwrites).on_data(),
    must!("D2" "put of many overwrites", data::putting_many_overwrites).on_data(),
    must!("D2" "of a key given twice the last wins", data::of_a_key_given_twice_the_last_wins).on_data(),
    must!("D2" "a hundred keys in one put", data::a_hundred_keys_in_one_put).on_data(),
    must!("D2" "put of nothing is no error", data::putting_nothing_is_no_error).on_data(),
    must!("D2" "load of what is absent is none", data::what_is_absent_is_none).on_data(),
    must!("D2" "contains answers for each key", data::contains_answers_for_each_key).on_data(),
    must!("D2" "delete removes the keys named", data::deleting_removes_the_keys_named).on_data(),
    must!("D2" "delete ignores absent keys", data::deleting_ignores_absent_keys).on_data(),
    must!("D2" "contexts do not see each other", data::contexts_do_not_see_each_other).on_data(),
    must!("D2" "put of many is seen whole", data::many_are_seen_all_or_none).on_data(),
    must!("D2" "concurrent puts do not mix", data::concurrent_puts_do_not_mix).on_data(),
    must!("D3" "names of the peers' keys are refused", data::names_of_the_peers_keys_are_refused).on_nothing(),
    must!("D3" "names like the peers' keys disturb no swarm", data::names_like_the_peers_keys_disturb_no_swarm).on_both(),
    must!("U1" "stale peers go", garbage::stale_peers_go).collects(),
    must!("U1" "fresh peers stay", garbage::fresh_peers_stay).collects(),
    must!("U1" "the cutoff itself is stale", garbage::the_cutoff_itself_is_stale).collects(),
    must!("U1" "a second after the cutoff is fresh", garbage::a_second_after_the_cutoff_is_fresh).collects(),
    must!("U1" "collect says how many went", garbage::it_says_how_many_went).collects(),
    must!("U1" "collecting twice finds nothing more", garbage::a_second_collection_finds_nothing).collects(),
    must!("U1" "downloads stay", garbage::downloads_stay).needs(&[Downloads]).graduates().collects(),
    must!("U1" "data stays", garbage::data_stays).on_data().collects(),
    must!("U1" "a collected peer can come back", garbage::a_collected_peer_can_come_back).collects(),
    must!("U1" "two nodes collect each peer once", garbage::two_nodes_collect_each_peer_once).collects(),
    must!("U1" "no announce is lost beside a collection", garbage::no_announce_is_lost_beside_it).collects(),
    must!("U2" "swarms and peers are counted", statistics::swarms_and_peers_are_counted).needs(&[Statistics]).alone(),
    must!("U2" "a swarm without peers does not count", statistics::a_swarm_without_peers_does_not_count).needs(&[Statistics]).alone(),
    must!("U2" "repeated announces count once", statistics::repeated_announces_count_once).needs(&[Statistics]).alone(),
    must!("U2" "a graduate is no leecher", statistics::a_graduate_is_no_leecher).needs(&[Statistics]).graduates().alone(),
    must!("U3" "stale peers go by themselves", schedule::stale_peers_go_by_themselves).collects(),
    must!("U3" "switched off nothing goes", schedule::switched_off_it_removes_nothing).collects(),
    must!("U3" "closing stops the schedule", schedule::closing_stops_it).collects(),
    must!("U3" "statistics are taken by themselves", schedule::statistics_are_taken_by_themselves).needs(&[Statistics]).on_nothing(),
    must!("U3" "no interval is no statistics", schedule::no_interval_is_no_statistics).needs(&[Statistics]).on_nothing(),
    must!("T1" "export gives peers as they were put", transfer::export_gives_peers_as_they_were_put).needs(&[ExportPeers]),
    must!("T1" "pages give every peer once", transfer::pages_give_every_peer_once).needs(&[ExportPeers]),
    must!("T1" "a large swarm comes in pages", transfer::a_large_swarm_comes_in_pages).needs(transfer::PEERS_BOTH_WAYS),
    must!("T1" "a swarm is exported alone", transfer::a_swarm_is_exported_alone).needs(&[ExportPeers]),
    must!("T1" "writes between pages hide no peer", transfer::writes_between_pages_hide_no_peer).needs(&[ExportPeers]),
    must!("T1" "export of all gives every peer once", transfer::export_of_all_gives_every_peer_once).needs(&[ExportPeers]).alone(),
    must!("T1" "peers come in with roles", transfer::peers_come_in_with_roles).needs(&[ImportPeers]),
    must!("T1" "peers go out as they came in", transfer::what_came_in_goes_out_the_same).needs(transfer::PEERS_BOTH_WAYS),
    must!("T1" "the newer peer wins", transfer::the_newer_record_wins).needs(&[ImportPeers]),
    must!("T1" "an older peer is not taken", transfer::an_older_record_is_not_taken).needs(&[ImportPeers]),
    must!("T1" "at equal times the seeder comes in", transfer::at_equal_times_a_seeder_comes_in).needs(&[ImportPeers]),
    must!("T1" "at equal times the seeder stays", transfer::at_equal_times_a_seeder_stays).needs(&[ImportPeers]),
    must!("T1" "import moves a peer to leecher", transfer::import_moves_a_peer_to_leecher).needs(&[ImportPeers]),
    must!("T1" "a newer time refreshes the peer", transfer::a_newer_record_refreshes_the_peer).needs(&[ImportPeers]).collects(),
    must!("T1" "an older time does not age the peer", transfer::an_older_record_does_not_age_the_peer).needs(&[ImportPeers]).collects(),
    must!("T1" "importing peers again changes nothing", transfer::importing_again_changes_nothing).needs(&[ImportPeers]),
    must!("T1" "finer times are the same time", transfer::finer_times_are_the_same_time).needs(&[ImportPeers]),
    must!("T1" "of a peer twice in a batch the newer wins", transfer::of_a_peer_twice_in_a_batch_the_newer_wins).needs(&[ImportPeers]),
    must!("T1" "an import beside announces takes nothing back", transfer::an_import_beside_an_announce_takes_nothing_back).needs(&[ImportPeers]),
    must!("T1" "an empty batch of peers is no error", transfer::an_empty_batch_is_no_error).needs(&[ImportPeers]).on_nothing(),
    must!("T1" "downloads come in", transfer_downloads::downloads_come_in).needs(transfer_downloads::IN).raises_downloads(),
    must!("T1" "the greater downloads come in", transfer_downloads::the_greater_number_comes_in).needs(transfer_downloads::IN).raises_downloads(),
    must!("T1" "the greater downloads stay", transfer_downloads::the_greater_number_stays).needs(transfer_downloads::IN).raises_downloads(),
    must!("T1" "importing downloads again changes nothing", transfer_downloads::importing_again_changes_nothing).needs(transfer_downloads::IN).raises_downloads(),
    must!("T1" "of downloads twice in a batch the greater win", transfer_downloads::of_a_swarm_twice_in_a_batch_the_greater_wins).needs(transfer_downloads::IN).raises_downloads(),
    must!("T1" "graduations count on from what came in", transfer_downloads::graduations_count_on).needs(transfer_downloads::IN).graduates(),
    must!("T1" "an empty batch of downloads is no error", transfer_downloads::an_empty_batch_is_no_error).needs(&[ImportDownloads]).on_nothing(),
    must!("T1" "export of all gives every swarm's downloads once", transfer_downloads::pages_give_every_swarm_once).needs(transfer_downloads::BOTH_WAYS).raises_downloads().alone(),
    must!("T1" "binary data comes in", transfer_data::binary_data_comes_in).needs(transfer_data::IN).on_data(),
    must!("T1" "data that is there stays", transfer_data::what_is_there_stays).needs(transfer_data::IN).on_data(),
    must!("T1" "an empty value that is there stays", transfer_data::an_empty_value_stays).needs(transfer_data::IN).on_data(),
    must!("T1" "importing data again changes nothing", transfer_data::importing_again_changes_nothing).needs(transfer_data::IN).on_data(),
    must!("T1" "an empty batch of data is no error", transfer_data::an_empty_batch_is_no_error).needs(transfer_data::IN).on_nothing(),
    must!("T1" "export of all gives every entry of data once", transfer_data::pages_give_every_entry_once).needs(transfer_data::OUT).on_data().alone(),
    must!("L1" "closing twice is no error", close::closing_twice_is_no_error).on_nothing(),
    must!("L1" "every later call is closed", close::every_later_call_is_closed).on_both(),
    must!("L1" "closing waits for running work", close::closing_waits_for_running_work),
    must!("L1" "closing a node leaves others open", close::closing_a_node_leaves_others_open),
    must!("E1" "an absent peer is named", errors::an_absent_peer_is_named),
    must!("E1" "an announce without peers is named", errors::an_announce_without_peers_is_named),
    must!("E1" "a closed storage is named", errors::a_closed_storage_is_named),
    must!("E1" "what is lacking is named", errors::what_is_lacking_is_named).on_both(),
    must!("E1" "no value is repeated", errors::no_value_is_repeated).on_data(),
    must!("E1" "downloads too great are kept or refused", errors::a_number_too_large_is_kept_or_refused).needs(transfer_downloads::IN).raises_downloads(),
];
