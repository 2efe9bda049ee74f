//! Swarms.

use async_trait::async_trait;
use storage_core::{
    Announce, AnnounceAnswer, AnnounceEvent, InfoHash, Operation, Peer, PeerSelection, PeerStorage, Result,
    Role, SwarmCounts, Timestamp, When,
};

use crate::MemoryStorage;
use crate::shards::WriteEntry;
use crate::swarm::TimedSwarm;

#[async_trait]
impl PeerStorage for MemoryStorage {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        let announced = announced.on(self);
        let place = &mut self.swarms.write(info_hash);
        self.put_all(place, Operation::PutPeer, std::slice::from_ref(peer), role, announced)
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        let mut place = self.swarms.write(info_hash);
        let Some(swarm) = place.get_mut() else {
            return Err(Self::not_found());
        };
        if !swarm.remove(peer, role) {
            return Err(Self::not_found());
        }
        self.capacity.release(1);
        if swarm.is_empty() {
            place.remove();
        }
        Ok(())
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        self.remove(&mut self.swarms.write(info_hash), std::slice::from_ref(peer));
        Ok(())
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let announced = announced.on(self);
        let place = &mut self.swarms.write(info_hash);
        self.graduate(place, Operation::GraduatePeers, info_hash, peers, announced)
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

    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        self.announce_now(announce)
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn try_announce(&self, announce: &Announce) -> Option<Result<AnnounceAnswer>> {
        Some(self.announce_now(announce))
    }
}

impl MemoryStorage {
    fn announce_now(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        let info_hash = &announce.info_hash;
        let mut place = self.swarms.write(info_hash);
        let is_download = self.write_announce(&mut place, announce)?;
        let (mut peers, mut counts) = (Vec::new(), SwarmCounts::default());
        // Under the same lock: the answer is of the moment of the write.
        if let Some(swarm) = place.get() {
            peers = swarm.peers_for(announce);
            counts.seeders = swarm.count(Role::Seeder) as u64;
            counts.leechers = swarm.count(Role::Leecher) as u64;
        }
        counts.downloads = self.downloads_of(info_hash);
        Ok(AnnounceAnswer::after_write(is_download, Ok(peers), Ok(counts)))
    }

    pub(crate) fn downloads_of(&self, info_hash: &InfoHash) -> u64 {
        self.downloads.read(info_hash).get().copied().unwrap_or(0)
    }

    /// Counts a download, unless those of too many swarms are counted already.
    pub(crate) fn count_download(&self, info_hash: &InfoHash) -> bool {
        let mut place = self.downloads.write(info_hash);
        if place.get().is_none() && !self.downloads_capacity.acquire() {
            return false;
        }
        let downloads = place.get_or_default();
        *downloads = downloads.saturating_add(1);
        true
    }

    /// Writes a peer of a swarm; what `write` says of it. If it is new and there is no capacity for it, it is taken out
    /// again: looking it up before would cost every announce what only a new peer of a full storage needs.
    ///
    /// # Errors
    /// [`ErrorKind::Full`](storage_core::ErrorKind::Full).
    pub(crate) fn write(
        &self,
        place: &mut SwarmEntry<'_>,
        operation: Operation,
        peer: &Peer,
        write: impl FnOnce(&mut TimedSwarm) -> bool,
    ) -> Result<bool> {
        let swarm = place.get_or_default();
        let before = swarm.len();
        let written = write(swarm);
        if swarm.len() == before || self.capacity.acquire() {
            return Ok(written);
        }
        swarm.forget(peer);
        if swarm.is_empty() {
            place.remove();
        }
        Err(self.full(operation))
    }

    /// Puts the peers of a client in or updates them; fails if there is no capacity for any of them.
    fn put_all(
        &self,
        place: &mut SwarmEntry<'_>,
        operation: Operation,
        peers: &[Peer],
        role: Role,
        announced: Timestamp,
    ) -> Result<()> {
        let (mut is_stored, mut refused) = (false, None);
        for peer in peers {
            let put = |swarm: &mut TimedSwarm| {
                swarm.put(peer, role, announced);
                true
            };
            match self.write(place, operation, peer, put) {
                Ok(_) => is_stored = true,
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if !is_stored => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes peers out of a swarm in whichever role they are.
    fn remove(&self, place: &mut SwarmEntry<'_>, peers: &[Peer]) {
        let Some(swarm) = place.get_mut() else { return };
        self.capacity.release(peers.iter().filter(|peer| swarm.forget(peer)).count());
        if swarm.is_empty() {
            place.remove();
        }
    }

    /// Whether it was a download.
    fn write_announce(&self, place: &mut SwarmEntry<'_>, announce: &Announce) -> Result<bool> {
        let Announce { info_hash, role, event, .. } = announce;
        let peers = announce.peers();
        let announced = announce.announced.on(self);
        match event {
            _ if peers.is_empty() => {}
            AnnounceEvent::Completed => {
                return self.graduate(place, Operation::Announce, info_hash, peers, announced);
            }
            AnnounceEvent::Stopped => self.remove(place, peers),
            AnnounceEvent::None | AnnounceEvent::Started => {
                self.put_all(place, Operation::Announce, peers, *role, announced)?;
            }
        }
        Ok(false)
    }

    /// Makes a client a seeder; whether it was a download. Both are seen or neither, as the swarm is locked.
    fn graduate(
        &self,
        place: &mut SwarmEntry<'_>,
        operation: Operation,
        info_hash: &InfoHash,
        peers: &[Peer],
        announced: Timestamp,
    ) -> Result<bool> {
        if peers.is_empty() {
            return Ok(false);
        }
        let is_seeder = place.get().is_some_and(|swarm| peers.iter().any(|peer| swarm.is_seeder(peer)));
        self.put_all(place, operation, peers, Role::Seeder, announced)?;
        Ok(!is_seeder && self.count_download(info_hash))
    }
}

/// The locked place of a swarm.
pub(crate) type SwarmEntry<'a> = WriteEntry<'a, InfoHash, TimedSwarm>;

#[cfg(test)]
mod tests {
    use storage_core::{DownloadsRecord, PeerId, Transfer};

    use super::*;
    use crate::MemoryConfig;
    use storage_core::PeerStorageExt;

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
