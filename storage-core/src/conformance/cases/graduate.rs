//! P4: leechers that become seeders.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::put::others_like;
use crate::conformance::sample::{self, CUTOFF, STALE};
use crate::conformance::{CaseResult, TestContext};
use crate::{InfoHash, Operation, Peer, PeerStorageExt, Result, Role, When};

const GRADUATE: Operation = Operation::GraduatePeers;

pub(super) async fn a_leecher_becomes_a_seeder(test: &TestContext) -> CaseResult {
    becomes_a_seeder(test, sample::peer(1)).await
}

pub(super) async fn an_ipv6_leecher_becomes_a_seeder(test: &TestContext) -> CaseResult {
    becomes_a_seeder(test, sample::peer_v6(1)).await
}

async fn becomes_a_seeder(test: &TestContext, peer: Peer) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.ok("graduate the leecher", test.storage().graduate_leecher(&info_hash, &peer).await)?;
    test.counts("graduate the only leecher", GRADUATE, &info_hash, 1, 0).await
}

pub(super) async fn each_graduation_is_a_download(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    for number in 1..=3 {
        test.put(&info_hash, &sample::peer(number), Role::Leecher).await?;
        test.graduate(&info_hash, &sample::peer(number)).await?;
        let did = format!("graduate leecher number {number}");
        test.downloads(&did, GRADUATE, &info_hash, number.into()).await?;
    }
    Ok(())
}

pub(super) async fn others_at_the_same_address_stay(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let [other, ..] = others_like(peer);
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.put(&info_hash, &other, Role::Leecher).await?;
    test.graduate(&info_hash, &peer).await?;
    let did = format!("put the leechers {peer} and {other}, graduate the first: leechers left");
    test.finds(&did, GRADUATE, &sample::for_seeder(info_hash, 9), [other]).await
}

pub(super) async fn others_of_the_same_id_stay(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let [_, moved, rebound] = others_like(peer);
    for peer in [peer, moved, rebound] {
        test.put(&info_hash, &peer, Role::Leecher).await?;
    }
    test.graduate(&info_hash, &peer).await?;
    let did = "graduate one of three leechers of the same id at other addresses or ports: leechers left";
    test.finds(did, GRADUATE, &sample::for_seeder(info_hash, 9), [moved, rebound]).await
}

pub(super) async fn other_swarms_stay(test: &TestContext) -> CaseResult {
    let (first, second, peer) = (test.info_hash(), test.info_hash(), sample::peer(1));
    test.put(&first, &peer, Role::Leecher).await?;
    test.put(&second, &peer, Role::Leecher).await?;
    test.graduate(&first, &peer).await?;
    let did = "graduate a leecher in one swarm, scrape the other that it is in";
    test.counts(did, GRADUATE, &second, 0, 1).await?;
    test.downloads(did, GRADUATE, &second, 0).await
}

pub(super) async fn graduating_refreshes_the_last_announce(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put_at(&info_hash, &peer, Role::Leecher, STALE).await?;
    test.graduate(&info_hash, &peer).await?;
    test.collect(CUTOFF).await?;
    let did = "put a leecher in 1990, graduate it now, then collect garbage up to 1991";
    test.counts(did, GRADUATE, &info_hash, 1, 0).await
}

pub(super) async fn an_absent_leecher_is_put_as_seeder(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Leecher).await?;
    test.graduate(&info_hash, &sample::peer(2)).await?;
    let did = "graduate a peer that is not in the swarm, beside a leecher";
    test.counts(did, GRADUATE, &info_hash, 1, 1).await
}

pub(super) async fn an_unknown_swarm_gets_a_seeder(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.graduate(&info_hash, &sample::peer(1)).await?;
    test.counts("graduate a peer in a swarm that is not known", GRADUATE, &info_hash, 1, 0).await
}

pub(super) async fn an_absent_leecher_is_a_download(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.graduate(&info_hash, &sample::peer(1)).await?;
    test.downloads("graduate a peer that is not in the swarm", GRADUATE, &info_hash, 1).await
}

pub(super) async fn a_seeder_stays_one(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Seeder).await?;
    test.graduate(&info_hash, &peer).await?;
    test.counts("graduate a seeder", GRADUATE, &info_hash, 1, 0).await
}

pub(super) async fn a_seeder_is_no_download(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Seeder).await?;
    test.graduate(&info_hash, &peer).await?;
    test.downloads("graduate a seeder", GRADUATE, &info_hash, 0).await
}

pub(super) async fn a_seeder_is_refreshed(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put_at(&info_hash, &peer, Role::Seeder, STALE).await?;
    test.graduate(&info_hash, &peer).await?;
    test.collect(CUTOFF).await?;
    let did = "put a seeder in 1990, graduate it now, then collect garbage up to 1991";
    test.counts(did, GRADUATE, &info_hash, 1, 0).await
}

pub(super) async fn repeated_it_is_one_download(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Leecher).await?;
    for (number, who) in [(1, "a leecher"), (2, "a peer that is not in the swarm")] {
        for _ in 0..3 {
            test.graduate(&info_hash, &sample::peer(number)).await?;
        }
        let did = format!("graduate {who} three times");
        test.downloads(&did, GRADUATE, &info_hash, number.into()).await?;
    }
    Ok(())
}

pub(super) async fn it_tells_whether_it_was_a_download(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Leecher).await?;
    test.put(&info_hash, &sample::peer(2), Role::Seeder).await?;
    for (number, did, expected) in [
        (1, "graduate a leecher: whether it was a download", true),
        (1, "graduate a leecher again: whether it was a download", false),
        (2, "graduate a seeder: whether it was a download", false),
        (3, "graduate a peer that is not in the swarm: whether it was a download", true),
    ] {
        let is_download = test.graduate(&info_hash, &sample::peer(number)).await?;
        test.equal(did, GRADUATE, expected, is_download)?;
    }
    Ok(())
}

/// The addresses of a client, over both families.
fn addresses() -> [Peer; 3] {
    [sample::peer(1), sample::peer_v6(1), sample::peer(2)]
}

async fn graduate_all(test: &TestContext, info_hash: &InfoHash, peers: &[Peer]) -> CaseResult<bool> {
    let graduated = test.storage().graduate_peers(info_hash, peers, When::Now).await;
    test.ok(&format!("graduate a client at {} addresses", peers.len()), graduated)
}

pub(super) async fn all_addresses_become_seeders(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let [known, others @ ..] = addresses();
    test.put(&info_hash, &known, Role::Leecher).await?;
    graduate_all(test, &info_hash, &addresses()).await?;
    let did = format!("put the leecher {known}, graduate it there and at {} more addresses", others.len());
    test.counts(&did, GRADUATE, &info_hash, 3, 0).await?;
    let none = graduate_all(test, &info_hash, &[]).await?;
    test.equal("graduate a client without addresses: whether it was a download", GRADUATE, false, none)
}

pub(super) async fn several_addresses_are_one_download(test: &TestContext) -> CaseResult {
    for leechers in 0..=3 {
        let info_hash = test.info_hash();
        for peer in &addresses()[..leechers] {
            test.put(&info_hash, peer, Role::Leecher).await?;
        }
        let did = format!("graduate a client twice at 3 addresses, at {leechers} of which it was a leecher");
        let first = graduate_all(test, &info_hash, &addresses()).await?;
        let again = graduate_all(test, &info_hash, &addresses()).await?;
        test.equal(&did, GRADUATE, (true, false), (first, again))?;
        test.downloads(&did, GRADUATE, &info_hash, 1).await?;
    }
    Ok(())
}

pub(super) async fn an_address_given_twice_is_one(test: &TestContext) -> CaseResult {
    let [leecher, absent, _] = addresses();
    for (peers, who) in [
        (vec![leecher, leecher], "a leecher at one address, given twice"),
        (vec![leecher, absent, leecher], "a leecher at two addresses, one of them given twice"),
        (vec![absent, absent], "a peer that is not in the swarm, its address given twice"),
    ] {
        let info_hash = test.info_hash();
        if peers.contains(&leecher) {
            test.put(&info_hash, &leecher, Role::Leecher).await?;
        }
        let seeders = if peers.len() > 2 { 2 } else { 1 };
        let is_download = graduate_all(test, &info_hash, &peers).await?;
        let did = format!("graduate {who}");
        test.equal(&format!("{did}: whether it was a download"), GRADUATE, true, is_download)?;
        test.downloads(&did, GRADUATE, &info_hash, 1).await?;
        test.counts(&did, GRADUATE, &info_hash, seeders, 0).await?;
    }
    Ok(())
}

pub(super) async fn a_seeder_at_one_address_is_no_download(test: &TestContext) -> CaseResult {
    let [leecher, seeder, _] = addresses();
    for order in [[leecher, seeder], [seeder, leecher]] {
        let info_hash = test.info_hash();
        test.put(&info_hash, &leecher, Role::Leecher).await?;
        test.put(&info_hash, &seeder, Role::Seeder).await?;
        let did = "graduate a client at two addresses, at one of which it was a seeder";
        let is_download = graduate_all(test, &info_hash, &order).await?;
        test.equal(did, GRADUATE, false, is_download)?;
        test.downloads(did, GRADUATE, &info_hash, 0).await?;
        test.counts(did, GRADUATE, &info_hash, 2, 0).await?;
    }
    Ok(())
}

pub(super) async fn many_tasks_graduate_each_its_own(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put_many(&info_hash, (0..32).map(sample::peer), Role::Leecher).await?;
    let graduations = (0..32).map(|number| graduate(test, info_hash, sample::peer(number)));
    let did = "graduate 32 leechers in 32 tasks";
    test.all_ok(did, test.at_once(graduations).await?)?;
    test.counts(did, GRADUATE, &info_hash, 32, 0).await
}

pub(super) async fn many_tasks_lose_no_download(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put_many(&info_hash, (0..32).map(sample::peer), Role::Leecher).await?;
    let graduations = (0..32).map(|number| graduate(test, info_hash, sample::peer(number)));
    let did = "graduate 32 leechers in 32 tasks";
    test.all_ok(did, test.at_once(graduations).await?)?;
    test.downloads(did, GRADUATE, &info_hash, 32).await
}

pub(super) async fn many_tasks_graduate_the_same_peer(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    let graduations = (0..16).map(|_| graduate(test, info_hash, peer));
    let did = "graduate the same leecher in 16 tasks";
    test.all_ok(did, test.at_once(graduations).await?)?;
    test.counts(did, GRADUATE, &info_hash, 1, 0).await
}

pub(super) async fn many_tasks_are_one_download(test: &TestContext) -> CaseResult {
    let (info_hash, absent) = (test.info_hash(), sample::peer(2));
    test.put(&info_hash, &sample::peer(1), Role::Leecher).await?;
    for (peer, who, downloads) in
        [(sample::peer(1), "leecher", 1), (absent, "peer that is not in the swarm", 2)]
    {
        let did = format!("graduate the same {who} in 16 tasks");
        let graduations = (0..16).map(|_| graduate(test, info_hash, peer));
        test.all_ok(&did, test.at_once(graduations).await?)?;
        test.downloads(&did, GRADUATE, &info_hash, downloads).await?;
    }
    Ok(())
}

fn graduate(
    test: &TestContext,
    info_hash: InfoHash,
    peer: Peer,
) -> impl Future<Output = Result<bool>> + use<> {
    let storage = Arc::clone(test.storage());
    async move { storage.graduate_leecher(&info_hash, &peer).await }
}

pub(super) async fn whole_lives_at_once_add_up(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let lives = (0..16).map(|number| {
        let (storage, peer) = (Arc::clone(test.storage()), sample::peer(number));
        async move {
            storage.put_leecher(&info_hash, &peer).await?;
            storage.graduate_leecher(&info_hash, &peer).await?;
            storage.delete_seeder(&info_hash, &peer).await
        }
    });
    let did = "put, graduate and delete 16 peers in 16 tasks";
    test.all_ok(did, test.at_once(lives).await?)?;
    test.counts(did, GRADUATE, &info_hash, 0, 0).await?;
    test.downloads(did, GRADUATE, &info_hash, 16).await
}

pub(super) async fn a_graduation_given_up_is_whole(test: &TestContext) -> CaseResult {
    const PEERS: u32 = 32;
    let info_hash = test.info_hash();
    test.put_many(&info_hash, (0..PEERS).map(sample::peer), Role::Leecher).await?;
    let graduations = (0..PEERS).map(|number| {
        let graduation = graduate(test, info_hash, sample::peer(number));
        give_up_after(number / 2, graduation)
    });
    let ended = test.at_once(graduations).await?.into_iter().flatten().collect();
    test.all_ok("graduate leechers, giving up most of it half-way", ended)?;
    let did = "give up 32 graduations while they are under way, then wait";
    let mut counts = test.scrape(&info_hash).await?;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = std::mem::replace(&mut counts, test.scrape(&info_hash).await?);
        if before == counts && counts.seeders == counts.downloads {
            break;
        }
    }
    let is_whole = counts.seeders == counts.downloads && counts.seeders + counts.leechers == u64::from(PEERS);
    test.holds(did, GRADUATE, "as many downloads as seeders, and 32 peers", is_whole, counts)
}

/// Drops a call after it has had to wait this many times.
async fn give_up_after<T>(waits: u32, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = waits;
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
