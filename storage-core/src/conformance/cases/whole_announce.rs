//! A1: whole announces, and that a backend's own way of answering them is no other than the parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;

use crate::conformance::{CaseError, CaseResult, TestContext, sample};
use crate::{
    AddressFamily, Announce, AnnounceAnswer, AnnounceEvent, InfoHash, Operation, Peer, Result, Role,
    SwarmCounts, announce_by_parts,
};

const ANNOUNCE: Operation = Operation::Announce;
const V4_FIRST: &[AddressFamily] = &[AddressFamily::V4, AddressFamily::V6];

/// A leecher that goes on and wants 50 peers, IPv4 first.
fn by(info_hash: InfoHash, peers: &[Peer]) -> Announce {
    Announce::new(info_hash, peers.iter().copied()).with_families(V4_FIRST)
}

/// What a complete answer has.
#[derive(Debug, PartialEq, Eq)]
struct Complete {
    peers: Vec<Peer>,
    counts: SwarmCounts,
    is_download: bool,
}

async fn announce(test: &TestContext, did: &str, announce: Announce) -> CaseResult<Complete> {
    complete(test, did, test.storage().announce(&announce).await)
}

/// Nothing may be missing. The peers come sorted.
fn complete(test: &TestContext, did: &str, answer: Result<AnnounceAnswer>) -> CaseResult<Complete> {
    let answer = test.ok(did, answer)?;
    test.ok(did, answer.failure.map_or(Ok(()), Err))?;
    let AnnounceAnswer { peers: Some(mut peers), counts: Some(counts), is_download, .. } = answer else {
        let expected = "peers and counts, or the reason for what is missing";
        return Err(CaseError::unexpected(did, &**test.storage(), ANNOUNCE, expected, "neither"));
    };
    peers.sort();
    Ok(Complete { peers, counts, is_download })
}

/// An announce must be answered by these peers in any order, and no other; gives the counts.
async fn finds(
    test: &TestContext,
    did: &str,
    request: Announce,
    expected: impl IntoIterator<Item = Peer>,
) -> CaseResult<SwarmCounts> {
    let answer = announce(test, did, request).await?;
    let mut expected: Vec<_> = expected.into_iter().collect();
    expected.sort();
    test.equal(did, ANNOUNCE, expected, answer.peers)?;
    Ok(answer.counts)
}

fn counts(seeders: u64, leechers: u64) -> SwarmCounts {
    SwarmCounts { seeders, leechers, downloads: 0 }
}

pub(super) async fn the_write_comes_first(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let peers = [sample::peer(1)];
    let did = "announce as leecher to an empty swarm";
    let found = finds(test, did, by(info_hash, &peers), []).await?;
    test.equal(did, ANNOUNCE, counts(0, 1), found)?;
    test.counts(did, ANNOUNCE, &info_hash, 0, 1).await
}

pub(super) async fn a_new_role_moves_the_client(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (test.info_hash(), [sample::peer(1)]);
    announce(test, "announce as leecher", by(info_hash, &peers)).await?;
    let as_seeder = by(info_hash, &peers).with_role(Role::Seeder);
    let did = "announce as leecher, then as seeder";
    let found = announce(test, did, as_seeder).await?;
    test.equal(did, ANNOUNCE, counts(1, 0), found.counts)
}

pub(super) async fn it_refreshes_the_last_announce(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (test.info_hash(), [sample::peer(1), sample::peer_v6(1)]);
    for peer in &peers {
        test.put_at(&info_hash, peer, Role::Leecher, sample::STALE).await?;
    }
    announce(test, "announce again after a long time", by(info_hash, &peers)).await?;
    test.collect(sample::CUTOFF).await?;
    let did = "announce again after a long time, then collect garbage";
    test.counts(did, ANNOUNCE, &info_hash, 0, 2).await
}

pub(super) async fn a_client_never_gets_itself(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put_many(&info_hash, [sample::peer(7), sample::peer_v6(8)], Role::Leecher).await?;
    let peers = [sample::peer(1), sample::peer_v6(1), sample::peer(2)];
    let did = "announce by a client of two IPv4 addresses and one of IPv6 to a swarm of two others";
    for _ in 0..3 {
        let others = [sample::peer(7), sample::peer_v6(8)];
        let found = finds(test, did, by(info_hash, &peers), others).await?;
        test.equal(did, ANNOUNCE, counts(0, 5), found)?;
    }
    Ok(())
}

pub(super) async fn leaving_itself_out_costs_no_place(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put_many(&info_hash, (10..14).map(sample::peer), Role::Leecher).await?;
    let peers = [sample::peer(1), sample::peer(2)];
    for _ in 0..5 {
        let request = by(info_hash, &peers).with_num_want(4);
        let did = "announce by a client of two addresses for 4 peers to a swarm of 4 others";
        finds(test, did, request, (10..14).map(sample::peer)).await?;
    }
    Ok(())
}

/// Two seeders and two leechers of each family.
async fn both_families(test: &TestContext) -> CaseResult<InfoHash> {
    let info_hash = test.info_hash();
    for make in [sample::peer, sample::peer_v6] {
        test.put_many(&info_hash, (0..2).map(make), Role::Seeder).await?;
        test.put_many(&info_hash, (2..4).map(make), Role::Leecher).await?;
    }
    Ok(info_hash)
}

pub(super) async fn the_second_family_fills_what_the_first_leaves(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (both_families(test).await?, [sample::peer(9)]);
    for (first, families) in [
        (AddressFamily::V4, &[AddressFamily::V4, AddressFamily::V6]),
        (AddressFamily::V6, &[AddressFamily::V6, AddressFamily::V4]),
    ] {
        let request = by(info_hash, &peers).with_families(families).with_num_want(6);
        let did = format!("announce for 6 peers of both families, {first:?} first, to 4 of each");
        let found = announce(test, &did, request).await?.peers;
        let of_first = found.iter().filter(|peer| peer.family() == first).count();
        let distinct = found.iter().collect::<BTreeSet<_>>().len();
        let is_right = found.len() == 6 && distinct == 6 && of_first == 4;
        test.holds(&did, ANNOUNCE, "all 4 of the first family and 2 of the other", is_right, found)?;
    }
    Ok(())
}

pub(super) async fn only_the_families_asked_for(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (both_families(test).await?, [sample::peer(9)]);
    let v4 = by(info_hash, &peers).with_families(&[AddressFamily::V4]);
    finds(test, "announce for IPv4 peers", v4, (0..4).map(sample::peer)).await?;
    let v6 = by(info_hash, &peers).with_families(&[AddressFamily::V6]);
    finds(test, "announce for IPv6 peers", v6, (0..4).map(sample::peer_v6)).await?;
    let none = by(info_hash, &peers).with_families(&[]);
    finds(test, "announce for peers of no family", none, []).await.map(drop)
}

pub(super) async fn a_seeder_gets_leechers_only(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (both_families(test).await?, [sample::peer(9)]);
    let request = by(info_hash, &peers).with_role(Role::Seeder);
    let leechers = (2..4).flat_map(|number| [sample::peer(number), sample::peer_v6(number)]);
    let did = "announce as seeder to 4 seeders and 4 leechers";
    let found = finds(test, did, request, leechers).await?;
    test.equal(did, ANNOUNCE, counts(5, 4), found)
}

pub(super) async fn none_wanted_gives_the_counts(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (both_families(test).await?, [sample::peer(9)]);
    let did = "announce for no peers to 4 seeders and 4 leechers";
    let found = finds(test, did, by(info_hash, &peers).with_num_want(0), []).await?;
    test.equal(did, ANNOUNCE, counts(4, 5), found)
}

pub(super) async fn any_number_may_be_wanted(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (both_families(test).await?, [sample::peer(9)]);
    let all = (0..4).flat_map(|number| [sample::peer(number), sample::peer_v6(number)]);
    let request = by(info_hash, &peers).with_num_want(usize::MAX);
    finds(test, "announce for as many peers as can be", request, all).await.map(drop)
}

pub(super) async fn a_client_without_addresses_only_looks(test: &TestContext) -> CaseResult {
    let info_hash = both_families(test).await?;
    let all = (0..4).flat_map(|number| [sample::peer(number), sample::peer_v6(number)]);
    let did = "announce without an address to 4 seeders and 4 leechers";
    let found = finds(test, did, by(info_hash, &[]), all).await?;
    test.equal(did, ANNOUNCE, counts(4, 4), found)
}

pub(super) async fn a_completed_client_is_one_download(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (test.info_hash(), [sample::peer(1), sample::peer_v6(1)]);
    announce(test, "announce over IPv4 and IPv6", by(info_hash, &peers)).await?;
    let completed = by(info_hash, &peers).with_event(AnnounceEvent::Completed).with_role(Role::Seeder);
    let did = "announce over IPv4 and IPv6, then completed";
    let found = announce(test, did, completed.clone()).await?;
    let expected = SwarmCounts { seeders: 2, leechers: 0, downloads: 1 };
    test.equal(did, ANNOUNCE, (expected, true), (found.counts, found.is_download))?;
    let did = "announce over IPv4 and IPv6 that it completed, again";
    let found = announce(test, did, completed).await?;
    test.equal(did, ANNOUNCE, (expected, false), (found.counts, found.is_download))
}

pub(super) async fn a_completed_client_gets_leechers_only(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (both_families(test).await?, [sample::peer(9)]);
    test.put(&info_hash, &peers[0], Role::Leecher).await?;
    let leechers = (2..4).flat_map(|number| [sample::peer(number), sample::peer_v6(number)]);
    for role in Role::BOTH {
        let completed = by(info_hash, &peers).with_event(AnnounceEvent::Completed).with_role(role);
        finds(test, "announce that the download is complete", completed, leechers.clone()).await?;
    }
    test.counts("announce that the download is complete", ANNOUNCE, &info_hash, 5, 4).await
}

pub(super) async fn a_stopped_client_is_gone(test: &TestContext) -> CaseResult {
    let info_hash = both_families(test).await?;
    for role in Role::BOTH {
        let peers = [sample::peer(9), sample::peer_v6(9)];
        announce(test, "announce", by(info_hash, &peers).with_role(role)).await?;
        let stopped = by(info_hash, &peers).with_event(AnnounceEvent::Stopped).with_role(role);
        let did = format!("announce as {role} over IPv4 and IPv6, then stopped");
        let found = finds(test, &did, stopped, []).await?;
        test.equal(&did, ANNOUNCE, counts(4, 4), found)?;
        test.counts(&did, ANNOUNCE, &info_hash, 4, 4).await?;
    }
    Ok(())
}

pub(super) async fn it_stops_in_whichever_role_it_is(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (test.info_hash(), [sample::peer(1)]);
    for role in Role::BOTH {
        test.put(&info_hash, &peers[0], role.other()).await?;
        let stopped = by(info_hash, &peers).with_event(AnnounceEvent::Stopped).with_role(role);
        let did = format!("put a {}, then announce that it stopped as {role}", role.other());
        let found = announce(test, &did, stopped).await?;
        test.equal(&did, ANNOUNCE, counts(0, 0), found.counts)?;
    }
    Ok(())
}

pub(super) async fn stopping_without_having_been_there_is_no_error(test: &TestContext) -> CaseResult {
    let (info_hash, peers) = (test.info_hash(), [sample::peer(1)]);
    let stopped = by(info_hash, &peers).with_event(AnnounceEvent::Stopped);
    let did = "announce to an unknown swarm that the client stopped";
    let found = finds(test, did, stopped, []).await?;
    test.equal(did, ANNOUNCE, SwarmCounts::default(), found)
}

pub(super) async fn swarms_are_kept_apart(test: &TestContext) -> CaseResult {
    let (short, long) = test.twin_info_hashes();
    for (info_hash, number) in [(short, 1), (long, 2)] {
        announce(test, "announce", by(info_hash, &[sample::peer(number)])).await?;
    }
    let did = "announce one peer to a v1 swarm, one to a v2 swarm that begins alike, then a third to each";
    for (info_hash, number) in [(short, 1), (long, 2)] {
        let peers = [sample::peer(3)];
        let found = finds(test, did, by(info_hash, &peers), [sample::peer(number)]).await?;
        test.equal(did, ANNOUNCE, counts(0, 2), found)?;
    }
    Ok(())
}

pub(super) async fn many_tasks_lose_no_announce(test: &TestContext) -> CaseResult {
    const CLIENTS: u32 = 64;
    let info_hash = test.info_hash();
    let calls = (0..CLIENTS).map(|number| {
        let storage = Arc::clone(test.storage());
        async move {
            let peers = [sample::peer(number)];
            for role in [Role::Leecher, Role::Leecher, Role::from_is_seeder(number % 2 == 0)] {
                storage.announce(&by(info_hash, &peers).with_role(role)).await?;
            }
            if number % 4 == 0 {
                let stopped = AnnounceEvent::Stopped;
                storage.announce(&by(info_hash, &peers).with_event(stopped)).await?;
            }
            Ok(())
        }
    });
    let did = "announce as 64 clients at once, 32 of them in the end as seeders, of which 16 stop";
    test.all_ok(did, test.at_once(calls).await?)?;
    test.counts(did, ANNOUNCE, &info_hash, 16, 32).await
}

pub(super) async fn announces_together_have_an_answer_each(test: &TestContext) -> CaseResult {
    let swarms: Vec<_> = (0..8).map(|_| test.info_hash()).collect();
    for (number, info_hash) in (0..).zip(&swarms) {
        test.put_many(info_hash, (0..number).map(sample::peer), Role::Seeder).await?;
    }
    let peers = [sample::peer(100)];
    let announces: Vec<_> = swarms.iter().rev().map(|info_hash| by(*info_hash, &peers)).collect();
    let did = "announce to 8 swarms together, of which each has one seeder less than the one before it";
    let mut answers = test.storage().announce_many(&announces);
    let mut found = Vec::new();
    while let Some((place, answer)) = answers.next().await {
        let AnnounceAnswer { counts, peers, .. } = test.ok(did, answer)?;
        found.push((place, counts.unwrap_or_default(), peers.unwrap_or_default().len() as u64));
    }
    found.sort_by_key(|(place, ..)| *place);
    let expected = (0..8).rev().enumerate().map(|(place, seeders)| (place, counts(seeders, 1), seeders));
    let expected: Vec<_> = expected.collect();
    test.equal(&format!("{did}: places, counts and number of peers"), ANNOUNCE, expected, found)
}

pub(super) async fn no_announces_are_an_empty_list(test: &TestContext) -> CaseResult {
    let answers = test.storage().announce_many(&[]).count().await;
    test.equal("make no announces: answers", ANNOUNCE, 0, answers)
}

/// The same announces, by the backend's own way in one swarm, by the parts in another.
pub(super) async fn the_parts_give_the_same_answers(test: &TestContext) -> CaseResult {
    const STEPS: u32 = 200;
    let (whole, parts) = (test.info_hash(), test.info_hash());
    for _ in 0..STEPS {
        let (event, role, peers, families) = any_announce();
        let of = |info_hash| by(info_hash, &peers).with_event(event).with_role(role).with_families(families);
        let did =
            format!("announce of {peers:?} as {role}, {event:?}, for {families:?}, in one call and by parts");
        let in_one = announce(test, &did, of(whole)).await?;
        let by_parts = complete(test, &did, announce_by_parts(&**test.storage(), &of(parts)).await)?;
        test.equal(&did, ANNOUNCE, by_parts, in_one)?;
    }
    Ok(())
}

/// Of few clients, so that announces meet.
fn any_announce() -> (AnnounceEvent, Role, Vec<Peer>, &'static [AddressFamily]) {
    use AnnounceEvent::{Completed, None, Started, Stopped};
    let number = rand::random_range(0..8);
    let event = [None, None, Started, Completed, Stopped][rand::random_range(0..5)];
    let role = Role::from_is_seeder(rand::random());
    let (v4, v6) = (sample::peer(number), sample::peer_v6(number));
    let peers = [vec![v4], vec![v6], vec![v4, v6], vec![v6, v4, sample::peer(number + 100)], vec![]];
    let families: [&[_]; 3] = [V4_FIRST, &[AddressFamily::V6, AddressFamily::V4], &[AddressFamily::V6]];
    let peers = peers[rand::random_range(0..peers.len())].clone();
    (event, role, peers, families[rand::random_range(0..families.len())])
}
