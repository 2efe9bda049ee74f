//! Swarms.

use async_trait::async_trait;
use storage_core::{
    Announce, AnnounceAnswer, AnnounceEvent, InfoHash, Operation, Peer, PeerSelection, PeerStorage, Result,
    Role, SwarmCounts, Timestamp,
};

use crate::MemoryStorage;
use crate::shards::{Shard, remove_and_shrink};
use crate::swarm::Swarm;

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
            downloads: self.downloads_of(info_hash),
        })
    }

    async fn announce(&self, announce: &Announce<'_>) -> Result<AnnounceAnswer> {
        let info_hash = &announce.info_hash;
        let mut shard = self.swarms.write(info_hash);
        self.write_announce(&mut shard, announce);
        let mut answer = AnnounceAnswer::default();
        // Under the same lock: the answer is of the moment of the write.
        if let Some(swarm) = shard.get(info_hash) {
            for mut selection in announce.selections() {
                selection.num_want -= answer.peers.len();
                announce.fill(&mut answer.peers, swarm.select(&selection));
                if answer.peers.len() >= announce.num_want {
                    break;
                }
            }
            answer.counts.seeders = swarm.count(Role::Seeder) as u64;
            answer.counts.leechers = swarm.count(Role::Leecher) as u64;
        }
        answer.counts.downloads = self.downloads_of(info_hash);
        Ok(answer)
    }
}

impl MemoryStorage {
    fn downloads_of(&self, info_hash: &InfoHash) -> u64 {
        self.downloads.read(info_hash).get(info_hash).copied().unwrap_or(0)
    }

    fn write_announce(&self, shard: &mut Shard<InfoHash, Swarm>, announce: &Announce<'_>) {
        let Announce { info_hash, peers, role, event, announced, .. } = *announce;
        if peers.is_empty() {
            return;
        }
        if event == AnnounceEvent::Stopped {
            let Some(swarm) = shard.get_mut(&info_hash) else { return };
            for peer in peers {
                let _ = swarm.remove(peer, role) || swarm.remove(peer, role.other());
            }
            if swarm.is_empty() {
                remove_and_shrink(shard, &info_hash);
            }
            return;
        }
        let completed = event == AnnounceEvent::Completed;
        let role = if completed { Role::Seeder } else { role };
        let swarm = shard.entry(info_hash).or_default();
        for peer in peers {
            swarm.put(peer, role, announced);
        }
        if completed {
            let mut downloads = self.downloads.write(&info_hash);
            let downloads = downloads.entry(info_hash).or_default();
            *downloads = downloads.saturating_add(1);
        }
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
