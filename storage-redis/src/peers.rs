//! Peers: on one server each call is a script; on a cluster, steps.

mod cluster;
mod scripted;

use async_trait::async_trait;
use redis::Value;
use storage_core::{
    Announce, AnnounceAnswer, InfoHash, Operation, Peer, PeerSelection, PeerStorage, Result, Role,
    SwarmCounts, When,
};

use crate::connection::{Call, read};
use crate::layout::{SwarmKey, read_decimal};
use crate::storage::RedisStorage;
use cluster::SIZES_UNKNOWN;
pub(crate) use cluster::standing;

/// More peers than any answer can hold.
pub(crate) const MOST_WANTED: usize = 1_000_000;

#[async_trait]
impl PeerStorage for RedisStorage {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        let announced = announced.on(self);
        let swarm = SwarmKey::new(*info_hash, peer.family());
        if self.connections.is_cluster() {
            return self
                .put_on_cluster(Call::repeatable(Operation::PutPeer), swarm, peer, role, announced)
                .await
                .map(drop);
        }
        self.put_by_script(swarm, peer, role, announced).await
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        let swarm = SwarmKey::new(*info_hash, peer.family());
        let removed = if self.connections.is_cluster() {
            self.delete_on_cluster(swarm, peer, role).await?
        } else {
            self.delete_by_script(swarm, peer, role).await?
        };
        if removed { Ok(()) } else { Err(Self::not_found()) }
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        let swarm = SwarmKey::new(*info_hash, peer.family());
        if self.connections.is_cluster() {
            return self.remove_on_cluster(swarm, peer).await;
        }
        self.remove_by_script(swarm, peer).await
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let announced = announced.on(self);
        self.connections.check_open(Operation::GraduatePeers)?;
        if peers.is_empty() {
            return Ok(false);
        }
        if self.connections.is_cluster() {
            return self.graduate_on_cluster(info_hash, peers, announced).await;
        }
        self.graduate_by_script(info_hash, peers, announced).await
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        self.connections.check_open(Operation::AnnouncePeers)?;
        let selection = PeerSelection { num_want: selection.num_want.min(MOST_WANTED), ..selection.clone() };
        if selection.num_want == 0 {
            return Ok(Vec::new());
        }
        if self.connections.is_cluster() {
            return self.select_on_cluster(&selection, SIZES_UNKNOWN).await;
        }
        self.announce_by_script(&selection).await
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        if self.connections.is_cluster() {
            return self.scrape_on_cluster(info_hash).await;
        }
        self.scrape_by_script(info_hash).await
    }

    /// In one round trip; on a cluster, in steps side by side. Each swarm's counts belong together; those
    /// of different swarms need not.
    async fn scrape_swarms(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        self.connections.check_open(Operation::ScrapeSwarms)?;
        if !self.connections.is_cluster() {
            return self.scrape_many_by_script(info_hashes).await;
        }
        futures::future::try_join_all(info_hashes.iter().map(|info_hash| self.scrape_on_cluster(info_hash)))
            .await
    }

    /// In one round trip, and as a whole; on a cluster, in steps.
    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        self.connections.check_open(Operation::Announce)?;
        if self.connections.is_cluster() {
            return self.announce_on_cluster(announce).await;
        }
        self.announce_at_once(announce).await
    }
}

impl RedisStorage {
    /// Downloads as `CHI_D` has them.
    pub(crate) fn read_downloads(&self, call: Call, value: Value) -> Result<u64> {
        let Some(text) = read::<Option<Vec<u8>>>(call, value)? else { return Ok(0) };
        let downloads = read_decimal(&text);
        if downloads.is_none() {
            self.connections.note_unreadable("downloads", 1);
        }
        Ok(downloads.unwrap_or(0))
    }
}
