//! Peers in bulk: some at a time on the primary, and together for the secondary.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::MirrorStorage;
use super::peers::{PEER_BYTES, copies_downloads, copy_downloads};
use super::storage::{is_in_doubt, of_primary};
use storage_core::{
    BulkPeerStorage, InfoHash, Operation, Peer, PeerChange, PeerRecord, PeerWrite, Result, Role,
    SwarmSnapshot, Written, write_order,
};

/// Writes that are made on the primary at once: other writes of their swarms wait meanwhile.
const MAX_CONCURRENT: usize = 256;

/// A write of the primary, and whether it is a download.
type Done = (PeerWrite, bool);

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: BulkPeerStorage + ?Sized + 'static> BulkPeerStorage for MirrorStorage<S> {
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let mut results: Vec<_> = writes.iter().map(|_| Ok(Written::Unchanged)).collect();
        for places in write_order(writes).chunks(MAX_CONCURRENT) {
            let part: Vec<_> = places.iter().map(|place| writes[*place]).collect();
            for (place, written) in places.iter().zip(self.write_some(&part).await) {
                results[*place] = written.map_err(of_primary);
            }
        }
        results
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        self.primary.find_peer(info_hash, peer).await.map_err(of_primary)
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        self.primary.read_swarms(info_hashes, limit).await.map_err(of_primary)
    }
}

impl<S: BulkPeerStorage + ?Sized + 'static> MirrorStorage<S> {
    async fn write_some(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let _locks = self.locks.of_swarms(writes.iter().map(|write| &write.info_hash)).await;
        let pending = self.pending_write(writes.len(), writes.len() * PEER_BYTES);
        let results = self.primary.write_peers(writes).await;
        let mut done: Vec<Done> = Vec::new();
        for (write, result) in writes.iter().zip(&results) {
            match result {
                // A peer that was not there: it may come later, and have another time.
                Ok(Written::Unchanged) if write.change == PeerChange::Touch => {}
                Ok(Written::Unchanged) if write.change == PeerChange::Graduate => {}
                // Passed on also where it changed nothing: before an answer that was lost it may have. Of both the
                // secondary keeps the later.
                Ok(written) => done.push((*write, *written == Written::Download)),
                // Nobody knows what the primary has: dropped, it is counted as missed.
                Err(error) if is_in_doubt(error) => drop(self.pending_write(1, PEER_BYTES)),
                Err(_) => {}
            }
        }
        let primary = Arc::clone(&self.primary);
        self.pass_on_records(
            Operation::WritePeers,
            pending,
            &done,
            |(write, _)| self.lane_of_swarm(&write.info_hash),
            |_| PEER_BYTES,
            |secondary, done| async move { write_on(&*secondary, &*primary, &done).await },
        );
        results
    }
}

/// Makes the primary's writes on the secondary. Downloads become those that the primary has, or where that cannot be
/// the secondary counts them.
async fn write_on<S: BulkPeerStorage + ?Sized>(secondary: &S, primary: &S, done: &[Done]) -> Result<()> {
    let copies = copies_downloads(secondary, primary);
    let of_secondary = |(write, is_download): &Done| match write.change {
        PeerChange::Graduate if copies || !is_download => {
            PeerWrite { change: PeerChange::Put(Role::Seeder), ..*write }
        }
        _ => *write,
    };
    let writes: Vec<_> = done.iter().map(of_secondary).collect();
    let mut results = secondary.write_peers(&writes).await;
    for (write, result) in writes.iter().zip(&mut results) {
        // A peer that the secondary never got cannot be touched there.
        if write.change == PeerChange::Touch
            && matches!(result, Ok(Written::Unchanged))
            && let Some(record) = primary.find_peer(&write.info_hash, &write.peer).await?
        {
            let put =
                PeerWrite { change: PeerChange::Put(record.role), announced: record.announced, ..*write };
            *result = secondary.write_peers(&[put]).await.pop().unwrap_or(Ok(Written::Unchanged));
        }
    }
    results.into_iter().collect::<Result<Vec<_>>>()?;
    let downloads = done.iter().filter(|(_, is_download)| copies && *is_download);
    let swarms: BTreeSet<_> = downloads.map(|(write, _)| write.info_hash).collect();
    for info_hash in &swarms {
        copy_downloads(secondary, primary, info_hash).await?;
    }
    Ok(())
}
