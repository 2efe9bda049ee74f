//! P3: deleting peers.

use std::sync::Arc;

use super::put::others_like;
use crate::conformance::{Scene, Verdict, sample};
use crate::{ErrorKind, InfoHash, Operation, Peer, Role};

const REMOVE: Operation = Operation::RemovePeer;

pub(super) async fn a_seeder_is_deleted(scene: &Scene) -> Verdict {
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    scene.put(&info_hash, &peer, Role::Seeder).await?;
    scene.ok("delete the seeder", scene.storage().delete_seeder(&info_hash, &peer).await)?;
    scene.counts("put and delete a seeder", Operation::DeletePeer, &info_hash, 0, 0).await
}

pub(super) async fn a_leecher_is_deleted(scene: &Scene) -> Verdict {
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    scene.put(&info_hash, &peer, Role::Leecher).await?;
    scene.ok("delete the leecher", scene.storage().delete_leecher(&info_hash, &peer).await)?;
    scene.counts("put and delete a leecher", Operation::DeletePeer, &info_hash, 0, 0).await
}

pub(super) async fn an_ipv6_peer_is_deleted(scene: &Scene) -> Verdict {
    let info_hash = scene.info_hash();
    scene.put(&info_hash, &sample::peer_v6(1), Role::Leecher).await?;
    scene.delete(&info_hash, &sample::peer_v6(1), Role::Leecher).await?;
    scene.counts("put and delete an IPv6 leecher", Operation::DeletePeer, &info_hash, 0, 0).await
}

pub(super) async fn an_absent_seeder_is_not_found(scene: &Scene) -> Verdict {
    is_not_found_beside_another(scene, Role::Seeder).await
}

pub(super) async fn an_absent_leecher_is_not_found(scene: &Scene) -> Verdict {
    is_not_found_beside_another(scene, Role::Leecher).await
}

async fn is_not_found_beside_another(scene: &Scene, role: Role) -> Verdict {
    let info_hash = scene.info_hash();
    scene.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    scene.put(&info_hash, &sample::peer(2), Role::Leecher).await?;
    is_not_found(scene, &info_hash, &sample::peer(3), role).await?;
    scene.counts("delete a peer that is not there", Operation::DeletePeer, &info_hash, 1, 1).await
}

async fn is_not_found(scene: &Scene, info_hash: &InfoHash, peer: &Peer, role: Role) -> Verdict {
    let deleted = scene.storage().delete_peer(info_hash, peer, role).await;
    let did = format!("delete the {role} {peer}, which is not there in that role");
    scene.fails(&did, Operation::DeletePeer, ErrorKind::NotFound, deleted).map(drop)
}

pub(super) async fn an_unknown_swarm_is_not_found(scene: &Scene) -> Verdict {
    is_not_found(scene, &scene.info_hash(), &sample::peer(1), Role::Seeder).await
}

pub(super) async fn a_leecher_is_no_seeder_to_delete(scene: &Scene) -> Verdict {
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    scene.put(&info_hash, &peer, Role::Leecher).await?;
    is_not_found(scene, &info_hash, &peer, Role::Seeder).await?;
    scene.counts("delete a leecher as seeder", Operation::DeletePeer, &info_hash, 0, 1).await
}

pub(super) async fn a_seeder_is_no_leecher_to_delete(scene: &Scene) -> Verdict {
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    scene.put(&info_hash, &peer, Role::Seeder).await?;
    is_not_found(scene, &info_hash, &peer, Role::Leecher).await?;
    scene.counts("delete a seeder as leecher", Operation::DeletePeer, &info_hash, 1, 0).await
}

pub(super) async fn deleting_leaves_other_peers_alone(scene: &Scene) -> Verdict {
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    let others = others_like(peer);
    for peer in others.into_iter().chain([peer]) {
        scene.put(&info_hash, &peer, Role::Seeder).await?;
    }
    scene.delete(&info_hash, &peer, Role::Seeder).await?;
    let did = "delete one of four seeders, the others differing from it in id, address or port alone";
    scene.finds(did, Operation::DeletePeer, &sample::for_leecher(info_hash, 9), others).await
}

pub(super) async fn deleting_leaves_other_swarms_alone(scene: &Scene) -> Verdict {
    let (first, second, peer) = (scene.info_hash(), scene.info_hash(), sample::peer(1));
    scene.put(&first, &peer, Role::Seeder).await?;
    scene.put(&second, &peer, Role::Seeder).await?;
    scene.delete(&first, &peer, Role::Seeder).await?;
    let did = "delete a seeder from one swarm, scrape the other that it is in";
    scene.counts(did, Operation::DeletePeer, &second, 1, 0).await
}

pub(super) async fn of_concurrent_deletes_one_succeeds(scene: &Scene) -> Verdict {
    let (info_hash, peer) = (scene.info_hash(), sample::peer(1));
    scene.put(&info_hash, &peer, Role::Leecher).await?;
    let deletes = (0..16).map(|_| {
        let storage = Arc::clone(scene.storage());
        async move { storage.delete_leecher(&info_hash, &peer).await }
    });
    let mut succeeded = 0;
    for result in scene.at_once(deletes).await? {
        match result {
            Err(error) if error.is_not_found() => {}
            result => {
                scene.ok("delete one leecher in 16 tasks", result)?;
                succeeded += 1;
            }
        }
    }
    let did = "delete one leecher in 16 tasks: how many succeeded, the others having not found it";
    scene.equal(did, Operation::DeletePeer, 1, succeeded)
}

pub(super) async fn a_peer_is_removed_in_whichever_role_it_is(scene: &Scene) -> Verdict {
    let info_hash = scene.info_hash();
    for role in Role::BOTH {
        for peer in [sample::peer(1), sample::peer_v6(1)] {
            scene.put(&info_hash, &peer, role).await?;
            scene.ok("remove a peer", scene.storage().remove_peer(&info_hash, &peer).await)?;
            scene.counts(&format!("remove the {role} {peer}"), REMOVE, &info_hash, 0, 0).await?;
        }
    }
    Ok(())
}

pub(super) async fn removing_an_absent_peer_is_no_error(scene: &Scene) -> Verdict {
    let info_hash = scene.info_hash();
    let did = "remove a peer from a swarm that is not known";
    scene.ok(did, scene.storage().remove_peer(&info_hash, &sample::peer(1)).await)?;
    scene.put(&info_hash, &sample::peer(1), Role::Leecher).await?;
    scene.put(&info_hash, &sample::peer(2), Role::Seeder).await?;
    let did = "remove a peer that is not in a swarm of two";
    scene.ok(did, scene.storage().remove_peer(&info_hash, &sample::peer(3)).await)?;
    scene.counts(did, REMOVE, &info_hash, 1, 1).await
}

pub(super) async fn removing_leaves_other_peers_alone(scene: &Scene) -> Verdict {
    let (info_hash, elsewhere, peer) = (scene.info_hash(), scene.info_hash(), sample::peer(1));
    let others = super::put::others_like(peer);
    for peer in others.into_iter().chain([peer]) {
        scene.put(&info_hash, &peer, Role::Leecher).await?;
    }
    scene.put(&elsewhere, &peer, Role::Leecher).await?;
    let did = "remove a peer that others differ from in id, address or port alone";
    scene.ok(did, scene.storage().remove_peer(&info_hash, &peer).await)?;
    scene.finds(did, REMOVE, &sample::for_seeder(info_hash, 9), others).await?;
    scene.counts("remove a peer from another swarm", REMOVE, &elsewhere, 0, 1).await
}
