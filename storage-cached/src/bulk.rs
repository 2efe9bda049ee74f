//! Peers in bulk.

use std::collections::BTreeMap;

use async_trait::async_trait;
use storage_core::{
    BulkPeerStorage, InfoHash, Operation, Peer, PeerRecord, PeerWrite, Result, Role, Storage, SwarmSnapshot,
    Written, failed_for_each, write_order,
};

use crate::CachedStorage;
use crate::access::{Access, Answered};
use crate::shard::SwarmShard;
use crate::shared::Shared;
use crate::swarm::{CachedSwarm, Rules};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Storage + ?Sized + 'static> BulkPeerStorage for CachedStorage<S> {
    /// They go to the storage inside at once, after what of their swarms waits, and the swarms are read again.
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let mut results: Vec<_> = writes.iter().map(|_| Ok(Written::Unchanged)).collect();
        let mut of_worker: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for place in write_order(writes) {
            of_worker.entry(self.shared.worker_of(&writes[place].info_hash)).or_default().push(place);
        }
        for places in of_worker.into_values() {
            let part: Vec<_> = places.iter().map(|place| writes[*place]).collect();
            for (place, written) in places.into_iter().zip(self.shared.write_inside(&part).await) {
                results[place] = written;
            }
        }
        results
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        let record =
            |(role, announced): (Role, _)| PeerRecord { info_hash: *info_hash, peer: *peer, role, announced };
        let look = |swarm: &CachedSwarm| swarm.get(peer).map(record);
        let ask = || self.shared.backend.find_peer(info_hash, peer);
        self.shared.read(Operation::FindPeer, info_hash, look, ask).await
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        let mut snapshots = Vec::with_capacity(info_hashes.len());
        for info_hash in info_hashes {
            let look = |swarm: &mut CachedSwarm, _: &Rules, _: bool| Ok(snapshot(swarm, info_hash, limit));
            let then = |_: &mut SwarmShard, _: u64, snapshot| snapshot;
            let read =
                self.shared.in_memory(Operation::ReadSwarms, info_hash, Access::Read, look, then).await?;
            match read {
                Ok(Answered::Here(snapshot)) => snapshots.push(snapshot),
                Ok(Answered::Inside) => {
                    let one = std::slice::from_ref(info_hash);
                    snapshots.extend(self.shared.noted(self.shared.backend.read_swarms(one, limit).await)?);
                }
                Err(obstacle) => return Err(self.shared.refused(Operation::ReadSwarms, obstacle)),
            }
        }
        Ok(snapshots)
    }
}

impl<S: Storage + ?Sized + 'static> Shared<S> {
    /// Makes writes of the swarms of one worker at the storage inside.
    async fn write_inside(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let mut swarms: Vec<_> = writes.iter().map(|write| write.info_hash).collect();
        swarms.dedup();
        let lock = match self.lock_after_flushes(Operation::WritePeers, &swarms).await {
            Ok(lock) => lock,
            Err(error) => return failed_for_each(&error, writes.len()),
        };
        // Also if the call is given up: memory does not know better than the storage.
        self.outdate(&swarms);
        let results = self.backend.write_peers(writes).await;
        drop(lock);
        results.into_iter().map(|result| self.noted(result)).collect()
    }

    /// These swarms are read again before they are relied upon.
    pub(crate) fn outdate(&self, info_hashes: &[InfoHash]) {
        for info_hash in info_hashes {
            let hash = self.shards.hash(info_hash);
            self.shards.lock(hash).outdate(hash, info_hash);
        }
    }
}

fn snapshot(swarm: &CachedSwarm, info_hash: &InfoHash, limit: usize) -> SwarmSnapshot {
    let counts = swarm.counts();
    let is_complete = counts.seeders + counts.leechers <= limit as u64;
    let mut peers = Vec::new();
    swarm.swarm().sample(limit, |peer, role, state| {
        peers.push(PeerRecord { info_hash: *info_hash, peer, role, announced: state.announced() });
    });
    SwarmSnapshot { info_hash: *info_hash, peers, counts, is_complete }
}
