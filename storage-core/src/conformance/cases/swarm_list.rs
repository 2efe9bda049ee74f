//! U4: lists of swarms.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::conformance::{CaseError, CaseResult, TestContext, Violation, sample};
use crate::{
    Capability, Cursor, InfoHash, ListedSwarm, Operation, Peer, PeerStorageExt, Role, SwarmCounts, SwarmOrder,
};

pub(super) const LIST: &[Capability] = &[Capability::ListSwarms];
pub(super) const LIST_AND_DOWNLOADS: &[Capability] = &[Capability::ListSwarms, Capability::Downloads];
pub(super) const LIST_AND_STATISTICS: &[Capability] = &[Capability::ListSwarms, Capability::Statistics];

const LIST_SWARMS: Operation = Operation::ListSwarms;

/// The orders that need no downloads.
const BY_PEERS: [SwarmOrder; 4] =
    [SwarmOrder::InfoHash, SwarmOrder::Peers, SwarmOrder::Seeders, SwarmOrder::Leechers];

/// All pages of a list.
async fn pages(test: &TestContext, order: SwarmOrder, limit: usize) -> CaseResult<Vec<Vec<ListedSwarm>>> {
    let did = format!("list swarms by {} in pages of {limit}", order.name());
    let (mut pages, mut from) = (Vec::new(), None::<Cursor>);
    loop {
        let page = test.storage().list_swarms(order, from.as_ref(), limit).await;
        let page = test.ok(&did, page)?;
        let length = page.swarms.len();
        test.holds(&did, LIST_SWARMS, "no page longer than that", length <= limit.max(1), length)?;
        pages.push(page.swarms);
        match page.next {
            None => return Ok(pages),
            next if next == from => {
                let expected = "each page leads to another one, or is the last";
                return Err(CaseError::Failed(Violation::new(did, expected, "a page that leads to itself")));
            }
            next => from = next,
        }
    }
}

/// What a list has of these swarms, in its order.
async fn listed(
    test: &TestContext,
    order: SwarmOrder,
    limit: usize,
    of: &BTreeSet<InfoHash>,
) -> CaseResult<Vec<InfoHash>> {
    let swarms = pages(test, order, limit).await?.into_iter().flatten();
    Ok(swarms.map(|swarm| swarm.info_hash).filter(|info_hash| of.contains(info_hash)).collect())
}

/// Puts so many seeders and leechers into a new swarm, of both families in turn.
async fn swarm_with(test: &TestContext, seeders: u32, leechers: u32) -> CaseResult<InfoHash> {
    let info_hash = test.info_hash();
    fill(test, &info_hash, seeders, leechers).await?;
    Ok(info_hash)
}

async fn fill(test: &TestContext, info_hash: &InfoHash, seeders: u32, leechers: u32) -> CaseResult {
    let peer = |number: u32| -> Peer {
        if number.is_multiple_of(2) { sample::peer(number) } else { sample::peer_v6(number) }
    };
    test.put_many(info_hash, (0..seeders).map(peer), Role::Seeder).await?;
    test.put_many(info_hash, (seeders..seeders + leechers).map(peer), Role::Leecher).await
}

/// Swarms of both lengths of info hash, some of them alike in every count.
async fn some_swarms(test: &TestContext) -> CaseResult<BTreeMap<InfoHash, SwarmCounts>> {
    let (short, long) = test.twin_info_hashes();
    let mut swarms = BTreeMap::new();
    let numbers = [(1, 0), (0, 1), (3, 2), (2, 3), (5, 0), (0, 5), (2, 2), (2, 2), (2, 2), (1, 1), (1, 1)];
    let others = numbers.iter().skip(2).map(|_| test.info_hash());
    for (info_hash, (seeders, leechers)) in [short, long].into_iter().chain(others).zip(numbers) {
        fill(test, &info_hash, seeders, leechers).await?;
        let (seeders, leechers) = (seeders.into(), leechers.into());
        swarms.insert(info_hash, SwarmCounts { seeders, leechers, downloads: 0 });
    }
    Ok(swarms)
}

fn in_order(swarms: &BTreeMap<InfoHash, SwarmCounts>, order: SwarmOrder) -> Vec<InfoHash> {
    let mut sorted: Vec<_> = swarms.iter().filter(|(_, counts)| order.lists(counts)).collect();
    sorted.sort_by_key(|(info_hash, counts)| (Reverse(order.rank(counts)), **info_hash));
    sorted.into_iter().map(|(info_hash, _)| *info_hash).collect()
}

pub(super) async fn each_order_is_kept(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let swarms = some_swarms(test).await?;
    let own = swarms.keys().copied().collect();
    for order in BY_PEERS {
        let did = format!("put 11 swarms, list them by {}", order.name());
        let found = listed(test, order, 1_000, &own).await?;
        test.equal(&did, LIST_SWARMS, in_order(&swarms, order), found)?;
    }
    Ok(())
}

pub(super) async fn pages_have_each_swarm_once(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let swarms = some_swarms(test).await?;
    let own = swarms.keys().copied().collect();
    for order in BY_PEERS {
        for limit in [1, 4, 11] {
            let did = format!("put 11 swarms, list them by {} in pages of {limit}", order.name());
            let found = listed(test, order, limit, &own).await?;
            test.equal(&did, LIST_SWARMS, in_order(&swarms, order), found)?;
        }
    }
    Ok(())
}

pub(super) async fn counts_are_those_of_scrapes(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    for (seeders, leechers) in [(3, 2), (0, 4)] {
        let info_hash = swarm_with(test, seeders, leechers).await?;
        test.graduate(&info_hash, &sample::peer(1_000)).await?;
    }
    for order in SwarmOrder::ALL.iter().copied() {
        let swarms: Vec<_> = pages(test, order, 1_000).await?.into_iter().flatten().collect();
        test.holds("put and list 2 swarms", LIST_SWARMS, "at least 2", swarms.len() >= 2, swarms.len())?;
        for ListedSwarm { info_hash, counts } in swarms {
            let did = format!("scrape {info_hash}, which is listed by {}", order.name());
            test.equal(&did, LIST_SWARMS, test.scrape(&info_hash).await?, counts)?;
        }
    }
    Ok(())
}

pub(super) async fn downloads_are_an_order(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let mut swarms = BTreeMap::new();
    for downloads in [2, 4, 1, 2, 0, 3] {
        let info_hash = swarm_with(test, 0, 1).await?;
        for number in 0..downloads {
            test.graduate(&info_hash, &sample::peer(1_000 + number)).await?;
        }
        let counts = SwarmCounts { seeders: 1, leechers: 1, downloads: downloads.into() };
        swarms.insert(info_hash, counts);
    }
    let own = swarms.keys().copied().collect();
    for limit in [1, 4, 1_000] {
        let did = format!("graduate 0 to 4 leechers of 6 swarms, list them by downloads in pages of {limit}");
        let found = listed(test, SwarmOrder::Downloads, limit, &own).await?;
        test.equal(&did, LIST_SWARMS, in_order(&swarms, SwarmOrder::Downloads), found)?;
    }
    Ok(())
}

pub(super) async fn downloads_without_peers_are_listed(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.graduate(&info_hash, &peer).await?;
    test.delete(&info_hash, &peer, Role::Seeder).await?;
    let own = BTreeSet::from([info_hash]);
    for order in SwarmOrder::ALL.iter().copied() {
        let did = format!("graduate and delete the only peer of a swarm, list by {}", order.name());
        let expected = if order == SwarmOrder::Downloads { vec![info_hash] } else { Vec::new() };
        test.equal(&did, LIST_SWARMS, expected, listed(test, order, 1_000, &own).await?)?;
    }
    Ok(())
}

pub(super) async fn a_swarm_without_peers_is_not_listed(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    let own = BTreeSet::from([info_hash]);
    test.delete(&info_hash, &peer, Role::Leecher).await?;
    for order in SwarmOrder::ALL.iter().copied() {
        let did = format!("put and delete the only peer of a swarm, list by {}", order.name());
        test.equal(&did, LIST_SWARMS, Vec::new(), listed(test, order, 1_000, &own).await?)?;
    }
    Ok(())
}

pub(super) async fn as_many_are_listed_as_there_are(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    for more in [0, 3] {
        for _ in 0..more {
            swarm_with(test, 1, 0).await?;
        }
        let expected = test.statistics().await?.info_hashes;
        for order in BY_PEERS {
            let listed: usize = pages(test, order, 1_000).await?.iter().map(Vec::len).sum();
            let did = format!("list by {}, after {more} more swarms: how many there are", order.name());
            test.equal(&did, LIST_SWARMS, expected, listed as u64)?;
        }
    }
    Ok(())
}

pub(super) async fn a_limit_of_none_is_one(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    for number in 0..2 {
        let put = test.storage().put_seeder(&info_hash, &sample::peer(number)).await;
        test.ok("put a seeder", put)?;
    }
    for order in BY_PEERS {
        let page = test.storage().list_swarms(order, None, 0).await;
        let did = format!("list by {} with a limit of 0: the length of the page", order.name());
        let length = test.ok(&did, page)?.swarms.len();
        test.holds(&did, LIST_SWARMS, "at most 1", length <= 1, length)?;
    }
    Ok(())
}

pub(super) async fn an_unknown_cursor_is_no_error(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let greatest = Cursor::after_ranked_swarm(u64::MAX, &info_hash);
    let cursors = [Cursor::new(""), Cursor::new("no cursor"), Cursor::after_swarm(&info_hash), greatest];
    for order in BY_PEERS {
        for cursor in &cursors {
            let page = test.storage().list_swarms(order, Some(cursor), 3).await;
            test.ok(&format!("list by {} from {cursor:?}", order.name()), page)?;
        }
    }
    Ok(())
}
