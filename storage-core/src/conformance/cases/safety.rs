//! S1: destructive queries touch only what they are given, and a swarm can be forgotten.

use crate::conformance::{Failure, Scene, Stop, Verdict, sample};
use crate::{Capability, Operation, Role};

pub(super) async fn delete_peer_is_rehearsed(scene: &Scene) -> Verdict {
    touches_only_its_own(scene, Operation::DeletePeer).await
}

pub(super) async fn graduate_peer_is_rehearsed(scene: &Scene) -> Verdict {
    touches_only_its_own(scene, Operation::GraduatePeers).await
}

pub(super) async fn write_peers_is_rehearsed(scene: &Scene) -> Verdict {
    touches_only_its_own(scene, Operation::WritePeers).await
}

pub(super) async fn collect_garbage_is_rehearsed(scene: &Scene) -> Verdict {
    touches_only_its_own(scene, Operation::CollectGarbage).await
}

pub(super) async fn delete_data_is_rehearsed(scene: &Scene) -> Verdict {
    touches_only_its_own(scene, Operation::DeleteData).await
}

pub(super) async fn forget_swarm_is_rehearsed(scene: &Scene) -> Verdict {
    touches_only_its_own(scene, Operation::ForgetSwarm).await
}

async fn touches_only_its_own(scene: &Scene, operation: Operation) -> Verdict {
    let rehearsals = scene.ok("rehearse destructive operations", scene.storage().rehearse().await)?;
    let mut rehearsals =
        rehearsals.into_iter().filter(|rehearsal| rehearsal.operation == operation).peekable();
    let reason = format!("the storage has no query of `{operation}` to rehearse");
    scene.skip_unless(rehearsals.peek().is_some(), &reason)?;
    for rehearsal in rehearsals {
        if let Some(overreach) = rehearsal.overreach {
            let did = format!("rehearse `{}` in a way that leaves no trace", rehearsal.key);
            let failure = Failure::new(did, "it touches its own entry alone", overreach);
            return Err(Stop::Failed(Failure { likely_cause: Some(rehearsal.key), ..failure }));
        }
    }
    Ok(())
}

pub(super) async fn forgetting_removes_the_peers(scene: &Scene) -> Verdict {
    let info_hash = scene.info_hash();
    scene.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    scene.put(&info_hash, &sample::peer(2), Role::Leecher).await?;
    scene.put(&info_hash, &sample::peer_v6(3), Role::Leecher).await?;
    let forgotten = scene.ok("forget the swarm", scene.storage().forget_swarm(&info_hash).await)?;
    scene.equal("forget a swarm of three peers", Operation::ForgetSwarm, 3, forgotten.peers)?;
    scene.counts("forget the swarm, then scrape", Operation::ForgetSwarm, &info_hash, 0, 0).await
}

pub(super) async fn forgetting_removes_the_downloads(scene: &Scene) -> Verdict {
    let (info_hash, operation) = (scene.info_hash(), Operation::ForgetSwarm);
    scene.graduate(&info_hash, &sample::peer(1)).await?;
    let forgotten = scene.ok("forget the swarm", scene.storage().forget_swarm(&info_hash).await)?;
    scene.equal("forget a swarm with downloads: are they gone?", operation, true, forgotten.downloads)?;
    scene.downloads("forget a swarm with downloads, then scrape", operation, &info_hash, 0).await
}

pub(super) async fn forgetting_leaves_other_swarms_alone(scene: &Scene) -> Verdict {
    let ((short, long), other) = (scene.twin_info_hashes(), scene.info_hash());
    for info_hash in [short, long, other] {
        scene.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    }
    scene.ok("forget the swarm", scene.storage().forget_swarm(&short).await)?;
    let did = "forget a swarm, then scrape another with the same peer";
    scene.counts(did, Operation::ForgetSwarm, &other, 1, 0).await?;
    let did = "forget a v1 swarm, then scrape the v2 swarm whose hash begins like it";
    scene.counts(did, Operation::ForgetSwarm, &long, 1, 0).await
}

pub(super) async fn forgetting_many_leaves_other_swarms_alone(scene: &Scene) -> Verdict {
    let ((short, long), other, operation) =
        (scene.twin_info_hashes(), scene.info_hash(), Operation::ForgetSwarm);
    for info_hash in [short, long, other] {
        scene.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
        scene.put(&info_hash, &sample::peer(2), Role::Leecher).await?;
    }
    // One of them twice, and one that is not known.
    let forgotten = [short, other, short, scene.info_hash()];
    let forgotten = scene.storage().forget_swarms(&forgotten).await;
    let forgotten = scene.ok("forget two swarms of two peers each", forgotten)?;
    scene.equal("forget two swarms of two peers each", operation, 4, forgotten.peers)?;
    for info_hash in [short, other] {
        scene.counts("forget swarms, then scrape one of them", operation, &info_hash, 0, 0).await?;
    }
    let did = "forget swarms, then scrape the v2 swarm whose hash begins like that of one";
    scene.counts(did, operation, &long, 1, 1).await?;
    let none = scene.ok("forget no swarms", scene.storage().forget_swarms(&[]).await)?;
    scene.equal("forget no swarms", operation, 0, none.peers)
}

pub(super) async fn forgetting_an_unknown_swarm_is_no_error(scene: &Scene) -> Verdict {
    let forgotten = scene.storage().forget_swarm(&scene.info_hash()).await;
    let forgotten = scene.ok("forget a swarm that is not known", forgotten)?;
    scene.equal("forget a swarm that is not known", Operation::ForgetSwarm, 0, forgotten.peers)
}

pub(super) const FORGETS_DOWNLOADS: &[Capability] = &[Capability::Downloads, Capability::ForgetDownloads];
