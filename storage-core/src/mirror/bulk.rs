//! Peers in bulk: on the primary together, and for the secondary each by itself.

use std::sync::Arc;

use async_trait::async_trait;

use super::MirrorStorage;
use super::peers::{PEER_BYTES, graduate_on};
use super::storage::{is_in_doubt, of_primary};
use crate::{
    BulkPeerStorage, InfoHash, Operation, Peer, PeerChange, PeerRecord, PeerWrite, Result, Role,
    SwarmSnapshot, When, Written, write_order,
};

#[async_trait]
impl<S: BulkPeerStorage + ?Sized + 'static> BulkPeerStorage for MirrorStorage<S> {
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let _turns = self.turns.of_swarms(writes.iter().map(|write| &write.info_hash)).await;
        let owed = self.owe(writes.len(), writes.len() * PEER_BYTES);
        let results = self.primary.write_peers(writes).await;
        owed.forgiven();
        for place in write_order(writes) {
            match results.get(place) {
                Some(Ok(Written::Unchanged)) => {}
                Some(Ok(written)) => self.pass_on_bulk(writes[place], *written),
                Some(Err(error)) if !is_in_doubt(error) => {}
                // Nobody knows what the primary has: dropped, it is counted as missed.
                _ => drop(self.owe(1, PEER_BYTES)),
            }
        }
        results.into_iter().map(|result| result.map_err(of_primary)).collect()
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        self.primary.find_peer(info_hash, peer).await.map_err(of_primary)
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        self.primary.read_swarms(info_hashes, limit).await.map_err(of_primary)
    }
}

impl<S: BulkPeerStorage + ?Sized + 'static> MirrorStorage<S> {
    /// Queues a write that took effect on the primary.
    fn pass_on_bulk(&self, write: PeerWrite, written: Written) {
        let PeerWrite { info_hash, peer, announced, .. } = write;
        let (subject, owed) = ((&info_hash, &peer), (Operation::WritePeers, self.owe(1, PEER_BYTES)));
        if written == Written::Download {
            let primary = Arc::clone(&self.primary);
            return self.pass_on_peer(subject, owed, move |secondary| async move {
                graduate_on(&*secondary, &*primary, &info_hash, &peer, When::At(announced)).await
            });
        }
        let change = match write.change {
            PeerChange::Graduate => PeerChange::Put(Role::Seeder),
            change => change,
        };
        let write = PeerWrite { change, ..write };
        self.pass_on_peer(subject, owed, move |secondary| async move {
            secondary.write_peers(&[write]).await.pop().map_or(Ok(()), |result| result.map(drop))
        });
    }
}
