//! Whole announces: one call to the primary, and for the secondary the write of each peer.

use std::sync::Arc;

use super::MirrorStorage;
use super::peers::{PEER_BYTES, graduate_on};
use super::storage::{is_in_doubt, of_primary};
use crate::announce::leave;
use crate::{
    Announce, AnnounceAnswer, AnnounceEvent, Error, ErrorKind, InfoHash, Operation, Peer, PeerStorage,
    Result, Role, Timestamp, Transfer,
};

/// What an announce writes of one peer.
enum Write {
    Put(Role),
    Graduate,
    /// Out of whichever role it is in, this one most likely.
    Delete(Role),
}

impl<S: PeerStorage + Transfer + ?Sized + 'static> MirrorStorage<S> {
    pub(super) async fn announce_on_both(&self, announce: &Announce<'_>) -> Result<AnnounceAnswer> {
        let Announce { info_hash, peers, announced, .. } = announce;
        let _turns = self.turns.of_peers(info_hash, peers).await;
        let owed = self.owe(peers.len(), peers.len() * PEER_BYTES);
        let answer = self.primary.announce(announce).await;
        let is_settled = answer.as_ref().err().is_none_or(|error| !may_have_written(error, peers));
        if is_settled {
            owed.forgiven();
        }
        let answer = answer.map_err(of_primary)?;
        for (place, peer) in peers.iter().enumerate() {
            self.pass_on_write(write_of(announce, place), *info_hash, *peer, *announced);
        }
        Ok(answer)
    }

    fn pass_on_write(&self, write: Write, info_hash: InfoHash, peer: Peer, announced: Timestamp) {
        let (subject, owed) = ((&info_hash, &peer), self.owe(1, PEER_BYTES));
        match write {
            Write::Put(role) => {
                self.pass_on_peer(subject, (Operation::PutPeer, owed), move |secondary| async move {
                    secondary.put_peer(&info_hash, &peer, role, announced).await
                });
            }
            Write::Graduate => {
                let primary = Arc::clone(&self.primary);
                self.pass_on_peer(subject, (Operation::GraduatePeer, owed), move |secondary| async move {
                    graduate_on(&*secondary, &*primary, &info_hash, &peer, announced).await
                });
            }
            Write::Delete(role) => {
                self.pass_on_peer(subject, (Operation::DeletePeer, owed), move |secondary| async move {
                    leave(&*secondary, &info_hash, &peer, role).await
                });
            }
        }
    }
}

/// What an announce writes of the peer at this place.
fn write_of(announce: &Announce<'_>, place: usize) -> Write {
    match announce.event {
        AnnounceEvent::Stopped => Write::Delete(announce.role),
        AnnounceEvent::Completed if place == 0 => Write::Graduate,
        AnnounceEvent::Completed => Write::Put(Role::Seeder),
        AnnounceEvent::None | AnnounceEvent::Started => Write::Put(announce.role),
    }
}

/// Whether an announce that failed may have written: it fails as well when the read after the write does,
/// and between the writes of two peers.
fn may_have_written(error: &Error, peers: &[Peer]) -> bool {
    let was_refused = matches!(error.kind(), ErrorKind::Closed | ErrorKind::Busy | ErrorKind::Unsupported(_));
    match error.operation() {
        Operation::Announce => !was_refused,
        Operation::PutPeer | Operation::GraduatePeer | Operation::DeletePeer => {
            peers.len() > 1 || is_in_doubt(error)
        }
        _ => true,
    }
}
