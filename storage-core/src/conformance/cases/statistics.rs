//! U2: counts of all swarms.

use crate::conformance::{CaseResult, TestContext, sample};
use crate::{Operation, Role, Statistics};

const STATISTICS: Operation = Operation::Statistics;

pub(super) async fn swarms_and_peers_are_counted(test: &TestContext) -> CaseResult {
    let before = test.statistics().await?;
    let ((short, long), other) = (test.twin_info_hashes(), test.info_hash());
    test.put_many(&short, (0..2).map(sample::peer), Role::Seeder).await?;
    test.put_many(&short, (2..4).map(sample::peer_v6), Role::Seeder).await?;
    test.put_many(&long, (0..3).map(sample::peer), Role::Leecher).await?;
    test.put(&other, &sample::peer_v6(1), Role::Leecher).await?;
    test.put(&other, &sample::peer(1), Role::Seeder).await?;
    let did = "put 5 seeders and 4 leechers into 3 swarms";
    grows_by(test, did, before, 3, 5, 4).await
}

/// The statistics must have grown by this much; where others use the storage, they must have at
/// least this much.
async fn grows_by(
    test: &TestContext,
    did: &str,
    before: Statistics,
    info_hashes: u64,
    seeders: u64,
    leechers: u64,
) -> CaseResult {
    let now = test.statistics().await?;
    if test.is_exclusive() {
        let expected = Statistics {
            info_hashes: before.info_hashes + info_hashes,
            seeders: before.seeders + seeders,
            leechers: before.leechers + leechers,
        };
        return test.equal(&format!("{did}, from {before:?}"), STATISTICS, expected, now);
    }
    let is_enough = now.info_hashes >= info_hashes && now.seeders >= seeders && now.leechers >= leechers;
    let expected = format!("at least {info_hashes} info hashes, {seeders} seeders, {leechers} leechers");
    test.holds(did, STATISTICS, &expected, is_enough, now)
}

pub(super) async fn a_swarm_without_peers_does_not_count(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let before = test.statistics().await?;
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Seeder).await?;
    test.delete(&info_hash, &peer, Role::Seeder).await?;
    grows_by(test, "put and delete the only peer of a swarm", before, 0, 0, 0).await
}

pub(super) async fn repeated_announces_count_once(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let before = test.statistics().await?;
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    for role in [Role::Leecher, Role::Leecher, Role::Seeder, Role::Leecher, Role::Seeder, Role::Seeder] {
        test.put(&info_hash, &peer, role).await?;
    }
    grows_by(test, "put one peer again and again, last as seeder", before, 1, 1, 0).await
}

pub(super) async fn a_graduate_is_no_leecher(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let before = test.statistics().await?;
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.graduate(&info_hash, &peer).await?;
    grows_by(test, "put and graduate a leecher", before, 1, 1, 0).await
}
