//! U1: stale peers go, all others stay.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::conformance::sample::{self, CUTOFF, STALE};
use crate::conformance::{CaseResult, TestContext};
use crate::{InfoHash, Operation, PeerStorageExt, Result, Role, Storage, Timestamp, When};

const COLLECT: Operation = Operation::CollectGarbage;

pub(super) async fn stale_peers_go(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    put_four(test, &info_hash, 0, STALE).await?;
    test.collect(CUTOFF).await?;
    let did = "put a seeder and a leecher of each family in 1990, collect garbage up to 1991";
    test.counts(did, COLLECT, &info_hash, 0, 0).await
}

pub(super) async fn fresh_peers_stay(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    put_four(test, &info_hash, 0, STALE).await?;
    put_four(test, &info_hash, 4, Timestamp::now()).await?;
    test.collect(CUTOFF).await?;
    let did = "put a seeder and a leecher of each family in 1990 and others now, collect garbage up to 1991";
    test.counts(did, COLLECT, &info_hash, 2, 2).await
}

/// Puts a seeder and a leecher of each family.
async fn put_four(test: &TestContext, info_hash: &InfoHash, number: u32, announced: Timestamp) -> CaseResult {
    for role in Role::BOTH {
        let number = number + u32::from(role.is_seeder());
        test.put_at(info_hash, &sample::peer(number), role, announced).await?;
        test.put_at(info_hash, &sample::peer_v6(number), role, announced).await?;
    }
    Ok(())
}

pub(super) async fn the_cutoff_itself_is_stale(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put_at(&info_hash, &sample::peer(1), Role::Seeder, CUTOFF).await?;
    test.collect(CUTOFF).await?;
    let did = "put a peer that last announced at the cutoff itself, collect garbage";
    test.counts(did, COLLECT, &info_hash, 0, 0).await
}

pub(super) async fn a_second_after_the_cutoff_is_fresh(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let after = CUTOFF.after(Duration::from_secs(1));
    test.put_at(&info_hash, &sample::peer(1), Role::Seeder, after).await?;
    test.collect(CUTOFF).await?;
    still_there(test, "put a peer a second after the cutoff, collect garbage", &info_hash).await
}

/// One seeder with a time long past must still be there. Where others use the storage, their garbage
/// collection may rightly have taken it.
pub(super) async fn still_there(test: &TestContext, did: &str, info_hash: &InfoHash) -> CaseResult {
    let was_taken = !test.is_exclusive() && test.scrape(info_hash).await?.seeders == 0;
    test.skip_unless(!was_taken, "others use the storage, and may have collected the stale peer")?;
    test.counts(did, COLLECT, info_hash, 1, 0).await
}

pub(super) async fn it_says_how_many_went(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let info_hash = test.info_hash();
    test.collect(CUTOFF).await?;
    put_four(test, &info_hash, 0, STALE).await?;
    put_four(test, &info_hash, 4, Timestamp::now()).await?;
    let did = "put 4 peers in 1990 and 4 now, collect garbage up to 1991: peers removed";
    test.equal(did, COLLECT, 4, test.collect(CUTOFF).await?)
}

pub(super) async fn a_second_collection_finds_nothing(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    put_four(test, &test.info_hash(), 0, STALE).await?;
    test.collect(CUTOFF).await?;
    test.equal("collect garbage twice: peers removed", COLLECT, 0, test.collect(CUTOFF).await?)
}

pub(super) async fn downloads_stay(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let graduated = test.storage().graduate_peer(&info_hash, &peer, When::At(STALE)).await;
    test.ok("graduate a peer in 1990", graduated)?;
    test.collect(CUTOFF).await?;
    test.downloads("graduate a peer in 1990, collect garbage up to 1991", COLLECT, &info_hash, 1).await
}

pub(super) async fn data_stays(test: &TestContext) -> CaseResult {
    let (context, key) = (test.context()?, test.key());
    test.put_data(&context, &[(key.clone(), key.clone())]).await?;
    test.collect(CUTOFF).await?;
    test.loads("put data, collect garbage up to 1991", COLLECT, &context, &key, Some(&key)).await
}

pub(super) async fn a_collected_peer_can_come_back(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put_at(&info_hash, &peer, Role::Leecher, STALE).await?;
    test.collect(CUTOFF).await?;
    test.put(&info_hash, &peer, Role::Seeder).await?;
    let did = "collect a stale leecher, then put it as seeder";
    test.counts(did, COLLECT, &info_hash, 1, 0).await?;
    test.finds(did, COLLECT, &sample::for_leecher(info_hash, 9), [peer]).await
}

pub(super) async fn two_nodes_collect_each_peer_once(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.collect(CUTOFF).await?;
    for number in 0..20 {
        test.put_at(&info_hash, &sample::peer(number), Role::Seeder, STALE).await?;
    }
    test.put_many(&info_hash, (20..40).map(sample::peer), Role::Seeder).await?;
    let nodes = [Arc::clone(test.storage()), test.another_node().await?];
    let collections = nodes.map(collect);
    let did = "put 20 stale and 20 fresh seeders, collect garbage on two nodes at the same time";
    let removed: Vec<_> = test.all_ok(did, test.at_once(collections).await?)?;
    test.counts(did, COLLECT, &info_hash, 20, 0).await?;
    if test.is_exclusive() {
        let did = format!("{did}: peers removed by both together");
        test.equal(&did, COLLECT, 20, removed.iter().sum())?;
    }
    Ok(())
}

pub(super) async fn more_than_allowed_stay(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let (info_hash, did) = (
        test.info_hash(),
        "put 4 peers in 1990 and 4 now, collect garbage up to 1991 if no more than 3 are stale",
    );
    test.collect(CUTOFF).await?;
    put_four(test, &info_hash, 0, STALE).await?;
    put_four(test, &info_hash, 4, Timestamp::now()).await?;
    let collected = test.ok(did, test.storage().collect_at_most(CUTOFF, 3).await)?;
    test.equal(&format!("{did}: peers removed"), COLLECT, 0, collected.removed)?;
    let is_told = collected.withheld > 3;
    test.holds(&format!("{did}: stale peers left"), COLLECT, "more than 3", is_told, collected.withheld)?;
    let counts = test.scrape(&info_hash).await?;
    test.equal(&format!("{did}: peers there"), COLLECT, 8, counts.seeders + counts.leechers)
}

pub(super) async fn as_many_as_allowed_go(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let (info_hash, did) = (
        test.info_hash(),
        "put 4 peers in 1990 and 4 now, collect garbage up to 1991 if no more than 4 are stale",
    );
    test.collect(CUTOFF).await?;
    put_four(test, &info_hash, 0, STALE).await?;
    put_four(test, &info_hash, 4, Timestamp::now()).await?;
    let collected = test.ok(did, test.storage().collect_at_most(CUTOFF, 4).await)?;
    let done = (collected.removed, collected.withheld);
    test.equal(&format!("{did}: stale peers removed, and left"), COLLECT, (4, 0), done)?;
    let counts = test.scrape(&info_hash).await?;
    test.equal(&format!("{did}: peers there"), COLLECT, 4, counts.seeders + counts.leechers)
}

async fn collect(storage: Arc<dyn Storage>) -> Result<u64> {
    Ok(storage.collect_garbage(CUTOFF).await?.removed)
}

pub(super) async fn no_announce_is_lost_beside_it(test: &TestContext) -> CaseResult {
    const PEERS: u32 = 16;
    let node = test.another_node().await?;
    for _ in 0..5 {
        let info_hash = test.info_hash();
        for number in 0..PEERS {
            test.put_at(&info_hash, &sample::peer(number), Role::Leecher, STALE).await?;
        }
        let announces = (0..PEERS).map(|number| -> BoxFuture<'static, Result<u64>> {
            let (storage, peer) = (Arc::clone(test.storage()), sample::peer(number));
            Box::pin(async move { storage.put_leecher(&info_hash, &peer).await.map(|()| 0) })
        });
        let nodes = [Arc::clone(test.storage()), Arc::clone(&node)];
        let collections = nodes.into_iter().map(|node| -> BoxFuture<'static, _> { Box::pin(collect(node)) });
        let did = "16 stale leechers announce again while two nodes collect garbage";
        test.all_ok(did, test.at_once(announces.chain(collections).collect::<Vec<_>>()).await?)?;
        test.counts(did, COLLECT, &info_hash, 0, PEERS.into()).await?;
    }
    Ok(())
}
