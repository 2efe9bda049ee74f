//! Swarms.

use async_trait::async_trait;
use rand::seq::SliceRandom;
use storage_core::{
    ErrorKind, InfoHash, Operation, Peer, PeerSelection, PeerStorage, Result, Role, SwarmCounts, When,
};

use crate::ExampleStorage;
use crate::storage::Presence;

#[async_trait]
impl PeerStorage for ExampleStorage {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        let announced = announced.on(self);
        let presence = Presence { announced, role };
        self.put(&mut self.lock(), Operation::PutPeer, (*info_hash, &[*peer]), presence)
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        let (mut contents, key) = (self.lock(), (*info_hash, *peer));
        if contents.peers.get(&key).is_none_or(|presence| presence.role != role) {
            return Err(Self::error(Operation::DeletePeer, ErrorKind::NotFound));
        }
        contents.peers.remove(&key);
        Ok(())
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let announced = announced.on(self);
        let mut contents = self.lock();
        let is_seeder = |peer: &Peer| {
            let presence = contents.peers.get(&(*info_hash, *peer));
            presence.is_some_and(|presence| presence.role.is_seeder())
        };
        let is_download = !peers.is_empty() && !peers.iter().any(is_seeder);
        let presence = Presence { announced, role: Role::Seeder };
        // First what may be refused, so that downloads rise only with it (P4).
        self.put(&mut contents, Operation::GraduatePeers, (*info_hash, peers), presence)?;
        if is_download {
            let downloads = contents.downloads.entry(*info_hash).or_default();
            *downloads = downloads.saturating_add(1);
        }
        Ok(is_download)
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        if selection.num_want == 0 {
            return Ok(Vec::new());
        }
        let contents = self.lock();
        let mut found = Vec::new();
        for role in selection.roles() {
            let fits = |peer: &Peer| peer.family() == selection.family && Some(*peer) != selection.exclude;
            let in_role = contents.swarm(selection.info_hash).filter(|(_, presence)| presence.role == *role);
            let mut candidates: Vec<_> = in_role.map(|(peer, _)| peer).filter(fits).collect();
            candidates.shuffle(&mut rand::rng());
            candidates.truncate(selection.num_want - found.len());
            found.append(&mut candidates);
        }
        Ok(found)
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let contents = self.lock();
        let downloads = contents.downloads.get(info_hash).copied().unwrap_or(0);
        let mut counts = SwarmCounts { downloads, ..SwarmCounts::default() };
        for (_, presence) in contents.swarm(*info_hash) {
            match presence.role {
                Role::Seeder => counts.seeders += 1,
                Role::Leecher => counts.leechers += 1,
            }
        }
        Ok(counts)
    }
}
