//! P3: deleting peers.

use std::sync::Arc;

use super::put::others_like;
use crate::conformance::{CaseResult, TestContext, sample};
use crate::{ErrorKind, InfoHash, Operation, Peer, PeerStorageExt, Role};

const REMOVE: Operation = Operation::RemovePeer;

pub(super) async fn a_seeder_is_deleted(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Seeder).await?;
    test.ok("delete the seeder", test.storage().delete_seeder(&info_hash, &peer).await)?;
    test.counts("put and delete a seeder", Operation::DeletePeer, &info_hash, 0, 0).await
}

pub(super) async fn a_leecher_is_deleted(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    test.ok("delete the leecher", test.storage().delete_leecher(&info_hash, &peer).await)?;
    test.counts("put and delete a leecher", Operation::DeletePeer, &info_hash, 0, 0).await
}

pub(super) async fn an_ipv6_peer_is_deleted(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer_v6(1), Role::Leecher).await?;
    test.delete(&info_hash, &sample::peer_v6(1), Role::Leecher).await?;
    test.counts("put and delete an IPv6 leecher", Operation::DeletePeer, &info_hash, 0, 0).await
}

pub(super) async fn an_absent_seeder_is_not_found(test: &TestContext) -> CaseResult {
    is_not_found_beside_another(test, Role::Seeder).await
}

pub(super) async fn an_absent_leecher_is_not_found(test: &TestContext) -> CaseResult {
    is_not_found_beside_another(test, Role::Leecher).await
}

async fn is_not_found_beside_another(test: &TestContext, role: Role) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    test.put(&info_hash, &sample::peer(2), Role::Leecher).await?;
    is_not_found(test, &info_hash, &sample::peer(3), role).await?;
    test.counts("delete a peer that is not there", Operation::DeletePeer, &info_hash, 1, 1).await
}

async fn is_not_found(test: &TestContext, info_hash: &InfoHash, peer: &Peer, role: Role) -> CaseResult {
    let deleted = test.storage().delete_peer(info_hash, peer, role).await;
    let did = format!("delete the {role} {peer}, which is not there in that role");
    test.fails(&did, Operation::DeletePeer, ErrorKind::NotFound, deleted).map(drop)
}

pub(super) async fn an_unknown_swarm_is_not_found(test: &TestContext) -> CaseResult {
    is_not_found(test, &test.info_hash(), &sample::peer(1), Role::Seeder).await
}

pub(super) async fn a_leecher_is_no_seeder_to_delete(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    is_not_found(test, &info_hash, &peer, Role::Seeder).await?;
    test.counts("delete a leecher as seeder", Operation::DeletePeer, &info_hash, 0, 1).await
}

pub(super) async fn a_seeder_is_no_leecher_to_delete(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Seeder).await?;
    is_not_found(test, &info_hash, &peer, Role::Leecher).await?;
    test.counts("delete a seeder as leecher", Operation::DeletePeer, &info_hash, 1, 0).await
}

pub(super) async fn deleting_leaves_other_peers_alone(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let others = others_like(peer);
    for peer in others.into_iter().chain([peer]) {
        test.put(&info_hash, &peer, Role::Seeder).await?;
    }
    test.delete(&info_hash, &peer, Role::Seeder).await?;
    let did = "delete one of four seeders, the others differing from it in id, address or port alone";
    test.finds(did, Operation::DeletePeer, &sample::for_leecher(info_hash, 9), others).await
}

pub(super) async fn deleting_leaves_other_swarms_alone(test: &TestContext) -> CaseResult {
    let (first, second, peer) = (test.info_hash(), test.info_hash(), sample::peer(1));
    test.put(&first, &peer, Role::Seeder).await?;
    test.put(&second, &peer, Role::Seeder).await?;
    test.delete(&first, &peer, Role::Seeder).await?;
    let did = "delete a seeder from one swarm, scrape the other that it is in";
    test.counts(did, Operation::DeletePeer, &second, 1, 0).await
}

pub(super) async fn of_concurrent_deletes_one_succeeds(test: &TestContext) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    test.put(&info_hash, &peer, Role::Leecher).await?;
    let deletes = (0..16).map(|_| {
        let storage = Arc::clone(test.storage());
        async move { storage.delete_leecher(&info_hash, &peer).await }
    });
    let mut succeeded = 0;
    for result in test.at_once(deletes).await? {
        match result {
            Err(error) if error.is_not_found() => {}
            result => {
                test.ok("delete one leecher in 16 tasks", result)?;
                succeeded += 1;
            }
        }
    }
    let did = "delete one leecher in 16 tasks: how many succeeded, the others having not found it";
    test.equal(did, Operation::DeletePeer, 1, succeeded)
}

pub(super) async fn a_peer_is_removed_in_whichever_role_it_is(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    for role in Role::BOTH {
        for peer in [sample::peer(1), sample::peer_v6(1)] {
            test.put(&info_hash, &peer, role).await?;
            test.ok("remove a peer", test.storage().remove_peer(&info_hash, &peer).await)?;
            test.counts(&format!("remove the {role} {peer}"), REMOVE, &info_hash, 0, 0).await?;
        }
    }
    Ok(())
}

pub(super) async fn removing_an_absent_peer_is_no_error(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let did = "remove a peer from a swarm that is not known";
    test.ok(did, test.storage().remove_peer(&info_hash, &sample::peer(1)).await)?;
    test.put(&info_hash, &sample::peer(1), Role::Leecher).await?;
    test.put(&info_hash, &sample::peer(2), Role::Seeder).await?;
    let did = "remove a peer that is not in a swarm of two";
    test.ok(did, test.storage().remove_peer(&info_hash, &sample::peer(3)).await)?;
    test.counts(did, REMOVE, &info_hash, 1, 1).await
}

pub(super) async fn removing_leaves_other_peers_alone(test: &TestContext) -> CaseResult {
    let (info_hash, elsewhere, peer) = (test.info_hash(), test.info_hash(), sample::peer(1));
    let others = super::put::others_like(peer);
    for peer in others.into_iter().chain([peer]) {
        test.put(&info_hash, &peer, Role::Leecher).await?;
    }
    test.put(&elsewhere, &peer, Role::Leecher).await?;
    let did = "remove a peer that others differ from in id, address or port alone";
    test.ok(did, test.storage().remove_peer(&info_hash, &peer).await)?;
    test.finds(did, REMOVE, &sample::for_seeder(info_hash, 9), others).await?;
    test.counts("remove a peer from another swarm", REMOVE, &elsewhere, 0, 1).await
}
