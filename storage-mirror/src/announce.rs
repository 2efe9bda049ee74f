//! Whole announces: one call to the primary, and for the secondary the write of each peer.

use std::sync::Arc;

use super::MirrorStorage;
use super::peers::{PEER_BYTES, graduate_on};
use super::storage::{is_in_doubt, of_primary};
use storage_core::{
    Announce, AnnounceAnswer, AnnounceEvent, Error, ErrorKind, InfoHash, Operation, Peer, PeerStorage,
    Result, Role, Transfer, When,
};

/// What is written of one peer.
pub(super) enum Write {
    Put(Role),
    Graduate,
    Remove,
}

impl<S: PeerStorage + Transfer + ?Sized + 'static> MirrorStorage<S> {
    pub(super) async fn announce_on_both(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        let announced = When::At(announce.announced.on(self));
        let announce = &announce.clone().at(announced);
        let (info_hash, peers) = (&announce.info_hash, announce.peers());
        let _locks = self.locks.of_peers(info_hash, peers).await;
        let pending = self.pending_write(peers.len(), peers.len() * PEER_BYTES);
        let answer = self.primary.announce(announce).await;
        let is_settled = answer.as_ref().err().is_none_or(|error| !may_have_written(error, peers));
        if is_settled {
            pending.cancel();
        }
        let answer = answer.map_err(of_primary)?;
        for (place, peer) in peers.iter().enumerate() {
            let is_download = answer.is_download && place == 0;
            self.pass_on_write(write_of(announce, is_download), *info_hash, *peer, announced);
        }
        Ok(AnnounceAnswer { failure: answer.failure.map(of_primary), ..answer })
    }

    pub(super) fn pass_on_write(&self, write: Write, info_hash: InfoHash, peer: Peer, announced: When) {
        let (subject, pending) = ((&info_hash, &peer), self.pending_write(1, PEER_BYTES));
        match write {
            Write::Put(role) => {
                self.pass_on_peer(subject, (Operation::PutPeer, pending), move |secondary| async move {
                    secondary.put_peer(&info_hash, &peer, role, announced).await
                });
            }
            Write::Graduate => {
                let primary = Arc::clone(&self.primary);
                self.pass_on_peer(
                    subject,
                    (Operation::GraduatePeers, pending),
                    move |secondary| async move {
                        graduate_on(&*secondary, &*primary, &info_hash, &peer, announced).await
                    },
                );
            }
            Write::Remove => {
                self.pass_on_peer(subject, (Operation::RemovePeer, pending), move |secondary| async move {
                    secondary.remove_peer(&info_hash, &peer).await
                });
            }
        }
    }
}

/// What an announce writes of a peer; of those of a client, one is the download.
fn write_of(announce: &Announce, is_download: bool) -> Write {
    match announce.event {
        AnnounceEvent::Stopped => Write::Remove,
        AnnounceEvent::Completed if is_download => Write::Graduate,
        AnnounceEvent::Completed => Write::Put(Role::Seeder),
        AnnounceEvent::None | AnnounceEvent::Started => Write::Put(announce.role),
    }
}

/// Whether an announce that failed may have written: it fails between the writes of two peers as well.
fn may_have_written(error: &Error, peers: &[Peer]) -> bool {
    let was_refused = matches!(error.kind(), ErrorKind::Closed | ErrorKind::Busy | ErrorKind::Unsupported(_));
    match error.operation() {
        Operation::Announce => !was_refused,
        // Of a peer that leaves, one role may have been deleted.
        Operation::PutPeer | Operation::GraduatePeers => peers.len() > 1 || is_in_doubt(error),
        _ => true,
    }
}
