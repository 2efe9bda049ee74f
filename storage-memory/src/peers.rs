//! Swarms.

use async_trait::async_trait;
use storage_core::{
    InfoHash, Operation, Peer, PeerSelection, PeerStorage, Result, Role, SwarmCounts, Timestamp,
};

use crate::MemoryStorage;
use crate::shards::remove_and_shrink;

#[async_trait]
impl PeerStorage for MemoryStorage {
    async fn put_peer(
        &self,
        info_hash: &InfoHash,
        peer: &Peer,
        role: Role,
        announced: Timestamp,
    ) -> Result<()> {
        self.swarms.write(info_hash).entry(*info_hash).or_default().put(peer, role, announced);
        Ok(())
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        let mut shard = self.swarms.write(info_hash);
        let Some(swarm) = shard.get_mut(info_hash) else {
            return Err(Self::not_found(Operation::DeletePeer));
        };
        if !swarm.remove(peer, role) {
            return Err(Self::not_found(Operation::DeletePeer));
        }
        if swarm.is_empty() {
            remove_and_shrink(&mut shard, info_hash);
        }
        Ok(())
    }

    async fn graduate_peer(&self, info_hash: &InfoHash, peer: &Peer, announced: Timestamp) -> Result<()> {
        let mut shard = self.swarms.write(info_hash);
        shard.entry(*info_hash).or_default().put(peer, Role::Seeder, announced);
        // Still under the swarm's lock: both are seen or neither.
        let mut downloads = self.downloads.write(info_hash);
        let downloads = downloads.entry(*info_hash).or_default();
        *downloads = downloads.saturating_add(1);
        Ok(())
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        if selection.num_want == 0 {
            return Ok(Vec::new());
        }
        let shard = self.swarms.read(&selection.info_hash);
        let peers = shard.get(&selection.info_hash).map(|swarm| swarm.select(selection)).unwrap_or_default();
        if peers.is_empty() { Err(Self::not_found(Operation::AnnouncePeers)) } else { Ok(peers) }
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let shard = self.swarms.read(info_hash);
        let count = |role| shard.get(info_hash).map_or(0, |swarm| swarm.count(role) as u64);
        Ok(SwarmCounts {
            seeders: count(Role::Seeder),
            leechers: count(Role::Leecher),
            downloads: self.downloads.read(info_hash).get(info_hash).copied().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use storage_core::{DownloadsRecord, PeerId, Transfer};

    use super::*;
    use crate::MemoryConfig;

    #[tokio::test]
    async fn the_greatest_number_of_downloads_stays() {
        let storage = MemoryStorage::new(MemoryConfig::default());
        let info_hash = InfoHash::V1([1; 20]);
        let peer = Peer::new(PeerId([2; 20]), [192, 0, 2, 1].into(), 6881);
        let greatest = DownloadsRecord { info_hash, downloads: u64::MAX };
        storage.import_downloads(&[greatest]).await.unwrap();
        storage.graduate_leecher(&info_hash, &peer).await.unwrap();
        let counts = storage.scrape_swarm(&info_hash).await.unwrap();
        assert_eq!(counts, SwarmCounts { seeders: 1, leechers: 0, downloads: u64::MAX });
    }
}
