//! P1, P2: putting peers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::conformance::sample::{self, CUTOFF, STALE};
use crate::conformance::{CaseResult, TestContext};
use crate::{
    AddressFamily, Announce, ExportScope, InfoHash, Operation, Peer, PeerStorageExt, Result, Role, Storage,
    Timestamp, When,
};

/// The coarsest precision that a storage keeps times in.
const PRECISION: Duration = Duration::from_micros(1);

/// How far two nodes' readings of the same server's clock may differ: each is off by up to the time that the server's
/// answer took.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(2);

pub(super) async fn putting_a_seeder_again_is_an_upsert(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    for _ in 0..3 {
        test.ok("put a seeder", test.storage().put_seeder(&info_hash, &peer).await)?;
    }
    test.counts("put the same seeder three times", Operation::PutPeer, &info_hash, 1, 0).await
}

pub(super) async fn putting_a_leecher_again_is_an_upsert(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    for _ in 0..3 {
        test.ok("put a leecher", test.storage().put_leecher(&info_hash, &peer).await)?;
    }
    test.counts("put the same leecher three times", Operation::PutPeer, &info_hash, 0, 1).await
}

pub(super) async fn putting_refreshes_the_last_announce(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    for (peer, role) in [(sample::peer(1), Role::Seeder), (sample::peer_v6(2), Role::Leecher)] {
        test.put_at(&info_hash, &peer, role, STALE).await?;
        test.put(&info_hash, &peer, role).await?;
    }
    test.collect(CUTOFF).await?;
    let did = "put a seeder and a leecher in 1990 and again now, then collect garbage up to 1991";
    test.counts(did, Operation::PutPeer, &info_hash, 1, 1).await
}

/// The time that a peer is stored with.
async fn time_of(test: &TestContext, info_hash: InfoHash) -> CaseResult<Option<Timestamp>> {
    let exported = test.storage().export_peers(ExportScope::Swarm(info_hash), None, 10).await;
    Ok(test.ok("export a swarm", exported)?.records.first().map(|record| record.announced))
}

pub(super) async fn now_is_by_the_storages_clock(test: &TestContext) -> CaseResult {
    let (storage, peer) = (Arc::clone(test.storage()), sample::peer(1));
    for (operation, did) in [
        (Operation::PutPeer, "put a leecher now"),
        (Operation::GraduatePeers, "graduate a peer now"),
        (Operation::Announce, "announce a client as seeder now"),
    ] {
        let info_hash = test.info_hash();
        let begun = storage.now();
        match operation {
            Operation::PutPeer => {
                test.ok(did, storage.put_peer(&info_hash, &peer, Role::Leecher, When::Now).await)?;
            }
            Operation::GraduatePeers => {
                test.ok(did, storage.graduate_peer(&info_hash, &peer, When::Now).await)?;
            }
            _ => {
                let announce = Announce::new(info_hash, [peer])
                    .with_role(Role::Seeder)
                    .with_num_want(0)
                    .with_families(&AddressFamily::BOTH);
                test.ok(did, storage.announce(&announce).await)?;
            }
        }
        let ended = storage.now();
        let stored = time_of(test, info_hash).await?;
        let (earliest, latest) = (begun.before(CLOCK_DIFFERENCE), ended.after(CLOCK_DIFFERENCE));
        let is_within = stored.is_some_and(|time| earliest <= time && time <= latest);
        let expected = format!("a time from {earliest} to {latest}");
        test.holds(&format!("{did}: the time stored"), operation, &expected, is_within, shown(stored))?;
    }
    Ok(())
}

pub(super) async fn a_time_given_is_stored_as_it_is(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let time = test.storage().now().before(Duration::from_secs(9)).at_precision(PRECISION);
    test.put_at(&info_hash, &peer, Role::Leecher, time).await?;
    let stored = time_of(test, info_hash).await?;
    let did = "put a leecher as of 9 s ago: the time stored";
    test.holds(did, Operation::PutPeer, &time.to_string(), stored == Some(time), shown(stored))
}

fn shown(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "none".to_owned(), |time| time.to_string())
}

pub(super) async fn id_address_and_port_identify_a_peer(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let others = others_like(peer);
    for peer in [&[peer], others.as_slice()].concat() {
        test.put(&info_hash, &peer, Role::Leecher).await?;
    }
    let did = "put four leechers, three of which differ from the first in id, address or port alone";
    test.counts(did, Operation::PutPeer, &info_hash, 0, 4).await?;
    test.finds(did, Operation::PutPeer, &sample::for_leecher(info_hash, 9), others.into_iter().chain([peer]))
        .await
}

/// Peers that differ from this one in one thing each: id, address, port.
pub(super) fn others_like(peer: Peer) -> [Peer; 3] {
    [
        Peer::new(sample::peer_id(99), peer.address(), peer.port()),
        Peer::new(*peer.id(), IpAddr::from([192, 0, 2, 99]), peer.port()),
        Peer::new(*peer.id(), peer.address(), peer.port() + 1),
    ]
}

pub(super) async fn a_peer_is_in_each_swarm_by_itself(test: &TestContext) -> CaseResult {
    let (first, second, peer) = (test.info_hash(), test.info_hash(), sample::peer(1));
    test.put(&first, &peer, Role::Leecher).await?;
    test.put(&second, &peer, Role::Seeder).await?;
    let did = "put a peer into one swarm as leecher, into another as seeder";
    test.counts(did, Operation::PutPeer, &first, 0, 1).await?;
    test.counts(did, Operation::PutPeer, &second, 1, 0).await
}

pub(super) async fn another_node_sees_what_was_put(test: &TestContext) -> CaseResult {
    test.only_if_shared()?;
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let node = test.another_node().await?;
    test.ok("put a seeder on one more node", node.put_seeder(&info_hash, &peer).await)?;
    test.counts("put a seeder on one node, scrape on another", Operation::PutPeer, &info_hash, 1, 0).await
}

pub(super) async fn many_tasks_put_the_same_peer_once(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let puts = (0..32).map(|_| put(test, info_hash, peer, Role::Leecher));
    test.all_ok("put the same leecher in 32 tasks", test.at_once(puts).await?)?;
    test.counts("put the same leecher in 32 tasks", Operation::PutPeer, &info_hash, 0, 1).await
}

pub(super) async fn many_tasks_lose_no_peer(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let puts = (0..32).map(|number| {
        let role = Role::from_is_seeder(number % 2 == 0);
        put(test, info_hash, sample::peer(number), role)
    });
    test.all_ok("put 32 peers in 32 tasks", test.at_once(puts).await?)?;
    let did = "put 16 seeders and 16 leechers into one swarm in 32 tasks";
    test.counts(did, Operation::PutPeer, &info_hash, 16, 16).await
}

fn put(
    test: &TestContext,
    info_hash: InfoHash,
    peer: Peer,
    role: Role,
) -> impl Future<Output = Result<()>> + use<> {
    let storage = Arc::clone(test.storage());
    async move { storage.put_peer(&info_hash, &peer, role, When::Now).await }
}

pub(super) async fn the_other_role_moves_a_peer(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.put(&info_hash, &peer, Role::Seeder).await?;
    test.counts("put a leecher, then as seeder", Operation::PutPeer, &info_hash, 1, 0).await?;
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.counts("put it as leecher again", Operation::PutPeer, &info_hash, 0, 1).await
}

pub(super) async fn an_announce_finds_a_moved_peer_once(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.put(&info_hash, &peer, Role::Seeder).await?;
    let did = "put a leecher, then as seeder, announce as";
    let announce = sample::for_leecher(info_hash, 9);
    test.finds(&format!("{did} leecher"), Operation::PutPeer, &announce, [peer]).await?;
    let announce = sample::for_seeder(info_hash, 9);
    test.finds(&format!("{did} seeder"), Operation::PutPeer, &announce, []).await
}

pub(super) async fn a_scrape_sees_a_moving_peer_once(test: &TestContext) -> CaseResult {
    const PEERS: u32 = 8;
    let info_hash = test.info_hash();
    test.put_many(&info_hash, (0..PEERS).map(sample::peer), Role::Leecher).await?;
    let tasks = (0..PEERS + 2).map(|number| {
        let storage = Arc::clone(test.storage());
        async move {
            if number < PEERS {
                move_back_and_forth(&*storage, &info_hash, &sample::peer(number)).await.map(|()| Vec::new())
            } else {
                scrape_often(&*storage, &info_hash).await
            }
        }
    });
    let sums = test.all_ok("move peers and scrape", test.at_once(tasks).await?)?;
    let wrong = sums.into_iter().flatten().find(|sum| *sum != u64::from(PEERS));
    let did = "scrape while 8 peers move between the roles: a sum of seeders and leechers other than 8";
    test.equal(did, Operation::PutPeer, None, wrong)?;
    let did = "move 8 leechers to seeder and back";
    test.counts(did, Operation::PutPeer, &info_hash, 0, u64::from(PEERS)).await
}

async fn move_back_and_forth(storage: &dyn Storage, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
    for _ in 0..10 {
        storage.put_seeder(info_hash, peer).await?;
        storage.put_leecher(info_hash, peer).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The sums of seeders and leechers.
async fn scrape_often(storage: &dyn Storage, info_hash: &InfoHash) -> Result<Vec<u64>> {
    let mut sums = Vec::new();
    for _ in 0..60 {
        let counts = storage.scrape_swarm(info_hash).await?;
        sums.push(counts.seeders + counts.leechers);
        tokio::task::yield_now().await;
    }
    Ok(sums)
}

pub(super) async fn tasks_that_disagree_leave_one_role(test: &TestContext) -> CaseResult {
    for _ in 0..5 {
        let (info_hash, peer) = (test.info_hash(), sample::peer(1));
        let puts = (0..16).map(|number| put(test, info_hash, peer, Role::from_is_seeder(number % 2 == 0)));
        let did = "put one peer as seeder in 8 tasks and as leecher in 8 tasks at the same time";
        test.all_ok(did, test.at_once(puts).await?)?;
        let counts = test.scrape(&info_hash).await?;
        test.equal(did, Operation::PutPeer, 1, counts.seeders + counts.leechers)?;
    }
    Ok(())
}
