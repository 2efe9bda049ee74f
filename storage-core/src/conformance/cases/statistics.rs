//! U2: counts of all swarms.

use crate::conformance::{Scene, Verdict, sample};
use crate::{Operation, Role, Statistics};

const STATISTICS: Operation = Operation::Statistics;

pub(super) async fn swarms_and_peers_are_counted(scene: &Scene) -> Verdict {
    let before = scene.statistics().await?;
    let ((short, long), other) = (scene.twin_info_hashes(), scene.info_hash());
    scene.put_many(&short, (0..2).map(sample::peer), Role::Seeder).await?;
    scene.put_many(&short, (2..4).map(sample::peer_v6), Role::Seeder).await?;
    scene.put_many(&long, (0..3).map(sample::peer), Role::Leecher).await?;
    scene.put(&other, &sample::peer_v6(1), Role::Leecher).await?;
    scene.put(&other, &sample::peer(1), Role::Seeder).await?;
    let did = "put 5 seeders and 4 leechers into 3 swarms";
    grows_by(scene, did, before, 3, 5, 4).await
}

/// The statistics must have grown by this much; where others use the storage, they must have at
/// least this much.
async fn grows_by(
    scene: &Scene,
    did: &str,
    before: Statistics,
    info_hashes: u64,
    seeders: u64,
    leechers: u64,
) -> Verdict {
    let now = scene.statistics().await?;
    if scene.is_exclusive() {
        let expected = Statistics {
            info_hashes: before.info_hashes + info_hashes,
            seeders: before.seeders + seeders,
            leechers: before.leechers + leechers,
        };
        return scene.equal(&format!("{did}, from {before:?}"), STATISTICS, expected, now);
    }
    let is_enough = now.info_hashes >= info_hashes && now.seeders >= seeders && now.leechers >= leechers;
    let expected = format!("at least {info_hashes} info hashes, {seeders} seeders, {leechers} leechers");
    scene.holds(did, STATISTICS, &expected, is_enough, now)
}

pub(super) async fn a_swarm_without_peers_does_not_count(scene: &Scene) -> Verdict {
    scene.only_if_exclusive()?;
    let before = scene.statistics().await?;
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    scene.put(&info_hash, &peer, Role::Seeder).await?;
    scene.delete(&info_hash, &peer, Role::Seeder).await?;
    grows_by(scene, "put and delete the only peer of a swarm", before, 0, 0, 0).await
}

pub(super) async fn repeated_announces_count_once(scene: &Scene) -> Verdict {
    scene.only_if_exclusive()?;
    let before = scene.statistics().await?;
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    for role in [Role::Leecher, Role::Leecher, Role::Seeder, Role::Leecher, Role::Seeder, Role::Seeder] {
        scene.put(&info_hash, &peer, role).await?;
    }
    grows_by(scene, "put one peer again and again, last as seeder", before, 1, 1, 0).await
}

pub(super) async fn a_graduate_is_no_leecher(scene: &Scene) -> Verdict {
    scene.only_if_exclusive()?;
    let before = scene.statistics().await?;
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    scene.put(&info_hash, &peer, Role::Leecher).await?;
    scene.graduate(&info_hash, &peer).await?;
    grows_by(scene, "put and graduate a leecher", before, 1, 1, 0).await
}
