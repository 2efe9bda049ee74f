//! Swarms.

use async_trait::async_trait;
use storage_core::{
    Announce, AnnounceAnswer, AnnounceEvent, InfoHash, Peer, PeerSelection, PeerStorage, Result, Role,
    SwarmCounts, Timestamp, When,
};

use crate::MemoryStorage;
use crate::shards::Writing;
use crate::swarm::Swarm;

#[async_trait]
impl PeerStorage for MemoryStorage {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        let announced = announced.on(self);
        self.swarms.write(info_hash).get_or_default().put(peer, role, announced);
        Ok(())
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        let mut place = self.swarms.write(info_hash);
        let Some(swarm) = place.get_mut() else {
            return Err(Self::not_found());
        };
        if !swarm.remove(peer, role) {
            return Err(Self::not_found());
        }
        if swarm.is_empty() {
            place.remove();
        }
        Ok(())
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        remove(&mut self.swarms.write(info_hash), std::slice::from_ref(peer));
        Ok(())
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let announced = announced.on(self);
        Ok(self.graduate(&mut self.swarms.write(info_hash), info_hash, peers, announced))
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        if selection.num_want == 0 {
            return Ok(Vec::new());
        }
        let place = self.swarms.read(&selection.info_hash);
        Ok(place.get().map(|swarm| swarm.select(selection)).unwrap_or_default())
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let place = self.swarms.read(info_hash);
        let swarm = place.get();
        let count = |role| swarm.map_or(0, |swarm| swarm.count(role) as u64);
        Ok(SwarmCounts {
            seeders: count(Role::Seeder),
            leechers: count(Role::Leecher),
            downloads: self.downloads_of(info_hash),
        })
    }

    async fn announce(&self, announce: &Announce<'_>) -> Result<AnnounceAnswer> {
        let info_hash = &announce.info_hash;
        let mut place = self.swarms.write(info_hash);
        let is_download = self.write_announce(&mut place, announce);
        let (mut peers, mut counts) = (Vec::new(), SwarmCounts::default());
        // Under the same lock: the answer is of the moment of the write.
        if let Some(swarm) = place.get() {
            for mut selection in announce.selections() {
                selection.num_want -= peers.len();
                announce.fill(&mut peers, swarm.select(&selection));
                if peers.len() >= announce.num_want {
                    break;
                }
            }
            counts.seeders = swarm.count(Role::Seeder) as u64;
            counts.leechers = swarm.count(Role::Leecher) as u64;
        }
        counts.downloads = self.downloads_of(info_hash);
        Ok(AnnounceAnswer::after_write(is_download, Ok(peers), Ok(counts)))
    }
}

impl MemoryStorage {
    pub(crate) fn downloads_of(&self, info_hash: &InfoHash) -> u64 {
        self.downloads.read(info_hash).get().copied().unwrap_or(0)
    }

    pub(crate) fn count_download(&self, info_hash: &InfoHash) {
        let mut place = self.downloads.write(info_hash);
        let downloads = place.get_or_default();
        *downloads = downloads.saturating_add(1);
    }

    /// Whether it was a download.
    fn write_announce(&self, place: &mut Place<'_>, announce: &Announce<'_>) -> bool {
        let Announce { info_hash, peers, role, event, .. } = announce;
        let announced = announce.announced.on(self);
        match event {
            _ if peers.is_empty() => {}
            AnnounceEvent::Completed => return self.graduate(place, info_hash, peers, announced),
            AnnounceEvent::Stopped => remove(place, peers),
            AnnounceEvent::None | AnnounceEvent::Started => {
                let swarm = place.get_or_default();
                peers.iter().for_each(|peer| swarm.put(peer, *role, announced));
            }
        }
        false
    }

    /// Makes a client a seeder; whether it was a download. Both are seen or neither, as the swarm is locked.
    fn graduate(
        &self,
        place: &mut Place<'_>,
        info_hash: &InfoHash,
        peers: &[Peer],
        announced: Timestamp,
    ) -> bool {
        if peers.is_empty() {
            return false;
        }
        let swarm = place.get_or_default();
        let is_download = !peers.iter().any(|peer| swarm.is_seeder(peer));
        peers.iter().for_each(|peer| swarm.put(peer, Role::Seeder, announced));
        if is_download {
            self.count_download(info_hash);
        }
        is_download
    }
}

/// The locked place of a swarm.
type Place<'a> = Writing<'a, InfoHash, Swarm>;

/// Takes peers out of a swarm in whichever role they are.
fn remove(place: &mut Place<'_>, peers: &[Peer]) {
    let Some(swarm) = place.get_mut() else { return };
    for peer in peers {
        let _ = swarm.remove(peer, Role::Seeder) || swarm.remove(peer, Role::Leecher);
    }
    if swarm.is_empty() {
        place.remove();
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
