//! Writes and reads for many.

use async_trait::async_trait;
use storage_core::{
    BulkPeerStorage, InfoHash, Operation, Peer, PeerChange, PeerRecord, PeerWrite, Result, Role, SwarmCounts,
    SwarmSnapshot, Written, write_order,
};

use crate::MemoryStorage;
use crate::swarm::TimedSwarm;

#[async_trait]
impl BulkPeerStorage for MemoryStorage {
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let mut results: Vec<_> = writes.iter().map(|_| Ok(Written::Unchanged)).collect();
        for place in write_order(writes) {
            results[place] = self.write_one(&writes[place]);
        }
        results
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        let stored = self.swarms.read(info_hash).get().and_then(|swarm| swarm.get(peer));
        let record = |(role, announced)| PeerRecord { info_hash: *info_hash, peer: *peer, role, announced };
        Ok(stored.map(record))
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        Ok(info_hashes.iter().map(|info_hash| self.snapshot(*info_hash, limit)).collect())
    }
}

impl MemoryStorage {
    fn write_one(&self, write: &PeerWrite) -> Result<Written> {
        let PeerWrite { info_hash, peer, change, announced } = write;
        let mut place = self.swarms.write(info_hash);
        let stored = place.get().and_then(|swarm| swarm.get(peer));
        match (change, stored) {
            (PeerChange::Put(role), _) => {
                let put = |swarm: &mut TimedSwarm| swarm.put_newer(peer, *role, *announced);
                if !self.write(&mut place, Operation::WritePeers, peer, put)? {
                    return Ok(Written::Unchanged);
                }
            }
            (PeerChange::Touch, Some((role, time))) => {
                place.get_or_default().put(peer, role, time.max(*announced));
            }
            (PeerChange::Delete, Some((role, time))) if time <= *announced => {
                let swarm = place.get_or_default();
                swarm.remove(peer, role);
                self.capacity.release(1);
                if swarm.is_empty() {
                    place.remove();
                }
            }
            (PeerChange::Graduate, Some((Role::Seeder, time))) => {
                place.get_or_default().put(peer, Role::Seeder, time.max(*announced));
            }
            (PeerChange::Graduate, stored) if stored.is_none_or(|(_, time)| time <= *announced) => {
                let put = |swarm: &mut TimedSwarm| {
                    swarm.put(peer, Role::Seeder, *announced);
                    true
                };
                self.write(&mut place, Operation::WritePeers, peer, put)?;
                if self.count_download(info_hash) {
                    return Ok(Written::Download);
                }
            }
            _ => return Ok(Written::Unchanged),
        }
        Ok(Written::Applied)
    }

    /// The swarm as it is under one lock.
    fn snapshot(&self, info_hash: InfoHash, limit: usize) -> SwarmSnapshot {
        let place = self.swarms.read(&info_hash);
        let mut counts = SwarmCounts { downloads: self.downloads_of(&info_hash), ..SwarmCounts::default() };
        let Some(swarm) = place.get() else {
            return SwarmSnapshot { info_hash, peers: Vec::new(), counts, is_complete: true };
        };
        counts.seeders = swarm.count(Role::Seeder) as u64;
        counts.leechers = swarm.count(Role::Leecher) as u64;
        let is_complete = swarm.len() <= limit;
        let mut peers = Vec::with_capacity(swarm.len().min(limit));
        swarm.sample(limit, |peer, role, announced| {
            peers.push(PeerRecord { info_hash, peer, role, announced: (*announced).into() });
        });
        SwarmSnapshot { info_hash, peers, counts, is_complete }
    }
}
