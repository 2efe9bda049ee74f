//! P7: counts of a swarm.

use std::sync::Arc;

use crate::conformance::{CaseResult, TestContext, sample};
use crate::{Operation, Role, SwarmCounts};

const SCRAPE: Operation = Operation::ScrapeSwarm;
const SCRAPES: Operation = Operation::ScrapeSwarms;

pub(super) async fn both_families_count_together(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put_many(&info_hash, (0..2).map(sample::peer), Role::Seeder).await?;
    test.put_many(&info_hash, (2..5).map(sample::peer_v6), Role::Seeder).await?;
    test.put_many(&info_hash, (5..6).map(sample::peer), Role::Leecher).await?;
    test.put_many(&info_hash, (6..8).map(sample::peer_v6), Role::Leecher).await?;
    let did = "put 2 seeders and 1 leecher of IPv4, 3 seeders and 2 leechers of IPv6";
    test.counts(did, SCRAPE, &info_hash, 5, 3).await
}

pub(super) async fn an_unknown_swarm_has_zeros(test: &TestContext) -> CaseResult {
    let counts = test.scrape(&test.info_hash()).await?;
    test.equal("scrape a swarm that is not known", SCRAPE, SwarmCounts::default(), counts)
}

pub(super) async fn downloads_outlive_the_peers(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.graduate(&info_hash, &peer).await?;
    test.delete(&info_hash, &peer, Role::Seeder).await?;
    test.downloads("graduate a peer, then delete it, the last of its swarm", SCRAPE, &info_hash, 1).await
}

pub(super) async fn swarms_count_by_themselves(test: &TestContext) -> CaseResult {
    let (first, second) = (test.info_hash(), test.info_hash());
    test.put_many(&first, (0..3).map(sample::peer), Role::Seeder).await?;
    test.put_many(&second, (2..4).map(sample::peer), Role::Leecher).await?;
    let did = "put 3 seeders into one swarm, 2 leechers into another";
    test.counts(did, SCRAPE, &first, 3, 0).await?;
    test.counts(did, SCRAPE, &second, 0, 2).await
}

pub(super) async fn putting_is_no_download(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.put(&info_hash, &peer, Role::Seeder).await?;
    test.downloads("put a leecher, then as seeder, without graduation", SCRAPE, &info_hash, 0).await
}

pub(super) async fn several_swarms_are_scraped_in_their_order(test: &TestContext) -> CaseResult {
    let (first, second, unknown) = (test.info_hash(), test.info_hash(), test.info_hash());
    test.put_many(&first, (0..3).map(sample::peer), Role::Seeder).await?;
    test.put_many(&second, (2..4).map(sample::peer_v6), Role::Leecher).await?;
    let did = "scrape two swarms of 3 seeders and of 2 leechers, an unknown one, and the second again";
    let found = test.storage().scrape_swarms(&[second, first, unknown, second]).await;
    let counts = |seeders, leechers| SwarmCounts { seeders, leechers, downloads: 0 };
    let expected = vec![counts(0, 2), counts(3, 0), counts(0, 0), counts(0, 2)];
    test.equal(did, SCRAPES, expected, test.ok(did, found)?)
}

pub(super) async fn no_swarm_is_an_empty_list(test: &TestContext) -> CaseResult {
    let found = test.ok("scrape no swarm", test.storage().scrape_swarms(&[]).await)?;
    test.equal("scrape no swarm", SCRAPES, Vec::new(), found)
}

pub(super) async fn each_task_gets_the_counts_of_its_own_swarm(test: &TestContext) -> CaseResult {
    let swarms: Vec<_> = (0..16).map(|_| test.info_hash()).collect();
    for (number, info_hash) in (0..).zip(&swarms) {
        test.put_many(info_hash, (0..number).map(sample::peer), Role::Seeder).await?;
        test.put_many(info_hash, (20..36 - number).map(sample::peer_v6), Role::Leecher).await?;
    }
    let calls = [swarms.clone(), swarms].concat().into_iter().map(|info_hash| {
        let storage = Arc::clone(test.storage());
        async move { storage.scrape_swarm(&info_hash).await }
    });
    let did = "scrape 16 swarms twice each, all at once";
    let found = test.all_ok(did, test.at_once(calls).await?)?;
    let expected: Vec<_> =
        (0..16).map(|number| SwarmCounts { seeders: number, leechers: 16 - number, downloads: 0 }).collect();
    test.equal(did, SCRAPE, [expected.clone(), expected].concat(), found)
}
