//! P5: the peers that an announce gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::conformance::sample::{self, by, for_leecher, for_seeder, over_v6};
use crate::conformance::{CaseResult, TestContext};
use crate::{InfoHash, Operation, Peer, PeerSelection, Role};

const ANNOUNCE: Operation = Operation::AnnouncePeers;

/// Seeders 0 to 3 and leechers 4 to 9 of a new swarm.
async fn ten_peers(test: &TestContext) -> CaseResult<InfoHash> {
    let info_hash = test.info_hash();
    test.put_many(&info_hash, seeders(), Role::Seeder).await?;
    test.put_many(&info_hash, leechers(), Role::Leecher).await?;
    Ok(info_hash)
}

fn seeders() -> impl Iterator<Item = Peer> {
    (0..4).map(sample::peer)
}

fn leechers() -> impl Iterator<Item = Peer> {
    (4..10).map(sample::peer)
}

pub(super) async fn a_leecher_gets_all_peers_once(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    let did = "announce as leecher for 50 peers to 4 seeders and 6 leechers";
    test.finds(did, ANNOUNCE, &for_leecher(info_hash, 50), seeders().chain(leechers())).await
}

pub(super) async fn a_leecher_gets_seeders_first(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    let found = test.announce(&for_leecher(info_hash, 50)).await?;
    let first: BTreeSet<_> = found.iter().take(4).copied().collect();
    let did = "announce as leecher for 50 peers to 4 seeders and 6 leechers: the first 4";
    test.equal(did, ANNOUNCE, seeders().collect(), first)
}

pub(super) async fn a_few_wanted_are_all_seeders(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    let found = test.announce(&for_leecher(info_hash, 3)).await?;
    let seeders: BTreeSet<_> = seeders().collect();
    let is_right = distinct(&found) == 3 && found.iter().all(|peer| seeders.contains(peer));
    let did = "announce as leecher for 3 peers to 4 seeders and 6 leechers";
    test.holds(did, ANNOUNCE, "3 different seeders", is_right && found.len() == 3, found)
}

pub(super) async fn leechers_fill_up_what_seeders_leave(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    let found = test.announce(&for_leecher(info_hash, 7)).await?;
    let has_all_seeders = seeders().all(|seeder| found.contains(&seeder));
    let did = "announce as leecher for 7 peers to 4 seeders and 6 leechers";
    let is_right = has_all_seeders && found.len() == 7 && distinct(&found) == 7;
    test.holds(did, ANNOUNCE, "all 4 seeders and 3 different leechers", is_right, found)
}

fn distinct(peers: &[Peer]) -> usize {
    peers.iter().collect::<BTreeSet<_>>().len()
}

pub(super) async fn a_seeder_gets_leechers_only(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    let did = "announce as seeder for 50 peers to 4 seeders and 6 leechers";
    test.finds(did, ANNOUNCE, &for_seeder(info_hash, 50), leechers()).await
}

pub(super) async fn never_more_than_wanted(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    for num_want in [1, 4, 5, 9, 10] {
        let found = test.announce(&for_leecher(info_hash, num_want)).await?;
        let did = format!("announce as leecher for {num_want} peers to a swarm of 10: peers returned");
        test.equal(&did, ANNOUNCE, num_want, found.len())?;
    }
    let found = test.announce(&for_seeder(info_hash, 2)).await?;
    test.equal("announce as seeder for 2 peers to 6 leechers: peers returned", ANNOUNCE, 2, found.len())
}

pub(super) async fn any_number_may_be_wanted(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    for num_want in [11, 100_000, usize::MAX] {
        let did = format!("announce as leecher for {num_want} peers to a swarm of 10");
        test.finds(&did, ANNOUNCE, &for_leecher(info_hash, num_want), seeders().chain(leechers())).await?;
    }
    Ok(())
}

pub(super) async fn none_wanted_is_an_empty_list(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    for selection in [for_leecher(info_hash, 0), for_seeder(info_hash, 0)] {
        is_an_empty_list(test, "announce for no peers to a swarm of 10", &selection).await?;
    }
    Ok(())
}

pub(super) async fn none_wanted_of_an_unknown_swarm_is_an_empty_list(test: &TestContext) -> CaseResult {
    let selection = for_leecher(test.info_hash(), 0);
    is_an_empty_list(test, "announce for no peers to an unknown swarm", &selection).await
}

async fn is_an_empty_list(test: &TestContext, did: &str, selection: &PeerSelection) -> CaseResult {
    let found = test.ok(did, test.storage().announce_peers(selection).await)?;
    test.equal(did, ANNOUNCE, Vec::new(), found)
}

pub(super) async fn only_the_family_asked_for(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    for role in Role::BOTH {
        let number = if role.is_seeder() { 1 } else { 2 };
        test.put(&info_hash, &sample::peer(number), role).await?;
        test.put(&info_hash, &sample::peer_v6(number), role).await?;
    }
    let v4 = for_leecher(info_hash, 9);
    test.finds("announce for IPv4 peers", ANNOUNCE, &v4, [1, 2].map(sample::peer)).await?;
    let v6 = over_v6(v4);
    test.finds("announce for IPv6 peers", ANNOUNCE, &v6, [1, 2].map(sample::peer_v6)).await?;
    let v6 = over_v6(for_seeder(info_hash, 9));
    test.finds("announce as seeder for IPv6 peers", ANNOUNCE, &v6, [sample::peer_v6(2)]).await
}

pub(super) async fn the_one_that_asks_is_left_out(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    let (seeder, leecher) = (sample::peer(1), sample::peer(5));
    let others = |left_out| seeders().chain(leechers()).filter(move |peer| *peer != left_out);
    let did = "announce for 50 of 10 peers, leaving out a leecher";
    test.finds(did, ANNOUNCE, &by(leecher, for_leecher(info_hash, 50)), others(leecher)).await?;
    let did = "announce for 50 of 10 peers, leaving out a seeder";
    test.finds(did, ANNOUNCE, &by(seeder, for_leecher(info_hash, 50)), others(seeder)).await
}

pub(super) async fn leaving_out_one_costs_no_place(test: &TestContext) -> CaseResult {
    let info_hash = ten_peers(test).await?;
    let did = "announce as leecher for 9 of 10 peers, leaving out a seeder";
    let others = seeders().chain(leechers()).filter(|peer| *peer != sample::peer(1));
    test.finds(did, ANNOUNCE, &by(sample::peer(1), for_leecher(info_hash, 9)), others).await?;
    let did = "announce as seeder for 5 of 6 leechers, leaving out a leecher";
    let others = leechers().filter(|peer| *peer != sample::peer(5));
    test.finds(did, ANNOUNCE, &by(sample::peer(5), for_seeder(info_hash, 5)), others).await
}

pub(super) async fn only_the_very_peer_is_left_out(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let others = super::put::others_like(peer);
    for peer in others.into_iter().chain([peer]) {
        test.put(&info_hash, &peer, Role::Leecher).await?;
    }
    let did = "announce, leaving out a peer that others differ from in id, address or port alone";
    test.finds(did, ANNOUNCE, &by(peer, for_leecher(info_hash, 9)), others).await
}

pub(super) async fn an_unknown_swarm_is_an_empty_list(test: &TestContext) -> CaseResult {
    let selection = for_leecher(test.info_hash(), 9);
    test.finds("announce to a swarm that is not known", ANNOUNCE, &selection, []).await
}

pub(super) async fn a_seeder_among_seeders_finds_nobody(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    test.finds("announce as seeder to one seeder", ANNOUNCE, &for_seeder(info_hash, 9), []).await
}

pub(super) async fn a_family_without_peers_is_an_empty_list(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    test.finds(
        "announce for IPv6 peers to one IPv4 seeder",
        ANNOUNCE,
        &over_v6(for_leecher(info_hash, 9)),
        [],
    )
    .await
}

pub(super) async fn the_only_peer_finds_nobody(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.finds("announce, leaving out the only peer", ANNOUNCE, &by(peer, for_leecher(info_hash, 9)), [])
        .await
}

/// Whoever else asks at the same time, each gets the peers of its own swarm, family and role.
pub(super) async fn each_task_gets_its_own_peers(test: &TestContext) -> CaseResult {
    const SWARMS: u32 = 8;
    let mut expected = Vec::new();
    for swarm in 0..SWARMS {
        let info_hash = test.info_hash();
        for (make, over) in [(sample::peer as fn(u32) -> Peer, 0), (sample::peer_v6, 1)] {
            let numbers = |role: u32| (0..=swarm).map(move |number| 1_000 * swarm + 100 * role + number);
            test.put_many(&info_hash, numbers(1).map(make), Role::Seeder).await?;
            test.put_many(&info_hash, numbers(2).map(make), Role::Leecher).await?;
            let family = |selection| if over == 0 { selection } else { over_v6(selection) };
            let all = numbers(1).chain(numbers(2)).map(make);
            let oneself = make(1_000 * swarm + 200);
            let others = all.clone().filter(|peer| *peer != oneself);
            expected.push((family(for_leecher(info_hash, 50)), all.collect::<Vec<_>>()));
            expected.push((family(by(oneself, for_leecher(info_hash, 50))), others.collect()));
            expected.push((family(for_seeder(info_hash, 50)), numbers(2).map(make).collect()));
        }
    }
    let (selections, expected): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
    let calls = selections.into_iter().map(|selection| {
        let storage = Arc::clone(test.storage());
        async move { storage.announce_peers(&selection).await }
    });
    let did = "announce to 8 swarms as leechers and seeders over both families, all at once";
    let found = test.at_once(calls).await?;
    for (mut expected, found) in expected.into_iter().zip(found) {
        let mut found = test.ok(did, found)?;
        expected.sort();
        found.sort();
        test.equal(did, ANNOUNCE, expected, found)?;
    }
    Ok(())
}
