//! Peers, one by one.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::announce::Write;
use super::replication_stats::PendingWrite;
use super::storage::of_primary;
use super::{MirrorStorage, NAME};
use storage_core::{
    Announce, AnnounceAnswer, Capability, DownloadsRecord, Error, ErrorKind, InfoHash, Operation, Peer,
    PeerSelection, PeerStorage, PeerStorageExt, Result, Role, SwarmCounts, Transfer, When, announce_each,
};

/// About what a queued write of a peer takes up.
pub(super) const PEER_BYTES: usize = 512;

impl<S: PeerStorage + ?Sized + 'static> MirrorStorage<S> {
    /// Writes a peer on the primary, and queues the same for the secondary.
    async fn write_peer<F>(
        &self,
        operation: Operation,
        (info_hash, peer): (&InfoHash, &Peer),
        call: impl Future<Output = Result<()>> + Send,
        apply: impl FnOnce(Arc<S>) -> F + Send + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let _lock = self.locks.of_peers(info_hash, std::slice::from_ref(peer)).await;
        let ((), pending) = self.write(1, PEER_BYTES, call).await?;
        self.pass_on_peer((info_hash, peer), (operation, pending), apply);
        Ok(())
    }

    /// Queues a write of a peer for the secondary.
    pub(super) fn pass_on_peer<F>(
        &self,
        (info_hash, peer): (&InfoHash, &Peer),
        pending: (Operation, PendingWrite),
        apply: impl FnOnce(Arc<S>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let lane = self.write_queue.lane(self.locks.hash(info_hash));
        let subject = self.locks.hash((info_hash, peer));
        self.pass_on(lane, Some(subject), pending, apply);
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: PeerStorage + Transfer + ?Sized + 'static> PeerStorage for MirrorStorage<S> {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        let announced = When::At(announced.on(self));
        let call = self.primary.put_peer(info_hash, peer, role, announced);
        let (swarm, put) = (*info_hash, *peer);
        self.write_peer(Operation::PutPeer, (info_hash, peer), call, move |secondary| async move {
            secondary.put_peer(&swarm, &put, role, announced).await
        })
        .await
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        let call = self.primary.delete_peer(info_hash, peer, role);
        let (swarm, deleted) = (*info_hash, *peer);
        self.write_peer(Operation::DeletePeer, (info_hash, peer), call, move |secondary| async move {
            secondary.delete_peer(&swarm, &deleted, role).await
        })
        .await
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        let call = self.primary.remove_peer(info_hash, peer);
        let (swarm, removed) = (*info_hash, *peer);
        self.write_peer(Operation::RemovePeer, (info_hash, peer), call, move |secondary| async move {
            secondary.remove_peer(&swarm, &removed).await
        })
        .await
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let announced = When::At(announced.on(self));
        let _locks = self.locks.of_peers(info_hash, peers).await;
        let call = self.primary.graduate_peers(info_hash, peers, announced);
        let (is_download, pending) = self.write(peers.len(), peers.len() * PEER_BYTES, call).await?;
        pending.cancel();
        for (place, peer) in peers.iter().enumerate() {
            let write = if is_download && place == 0 { Write::Graduate } else { Write::Put(Role::Seeder) };
            self.pass_on_write(write, *info_hash, *peer, announced);
        }
        Ok(is_download)
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        self.primary.announce_peers(selection).await.map_err(of_primary)
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        self.primary.scrape_swarm(info_hash).await.map_err(of_primary)
    }

    async fn scrape_swarms(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        self.primary.scrape_swarms(info_hashes).await.map_err(of_primary)
    }

    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        self.announce_on_both(announce).await
    }

    /// Writes of the same peer wait for each other.
    fn try_announce(&self, _announce: &Announce) -> Option<Result<AnnounceAnswer>> {
        None
    }

    fn announce_many<'a>(
        &'a self,
        announces: &'a [Announce],
    ) -> BoxStream<'a, (usize, Result<AnnounceAnswer>)> {
        announce_each(self, announces)
    }
}

/// Graduates a peer on the secondary: as a seeder, and with the downloads that the primary has by now.
/// Adding one instead would lose it to a migration that has read the lower number and brings it later.
pub(super) async fn graduate_on<S: PeerStorage + Transfer + ?Sized>(
    secondary: &S,
    primary: &S,
    info_hash: &InfoHash,
    peer: &Peer,
    announced: When,
) -> Result<()> {
    if !copies_downloads(secondary, primary) {
        return secondary.graduate_peer(info_hash, peer, announced).await.map(drop);
    }
    secondary.put_peer(info_hash, peer, Role::Seeder, announced).await?;
    copy_downloads(secondary, primary, info_hash).await
}

/// Whether the secondary can be given the downloads that the primary has.
pub(super) fn copies_downloads<S: PeerStorage + Transfer + ?Sized>(secondary: &S, primary: &S) -> bool {
    secondary.missing_capabilities().has(Capability::ImportDownloads)
        && primary.missing_capabilities().has(Capability::Downloads)
}

/// Gives the secondary the downloads that the primary has by now.
pub(super) async fn copy_downloads<S: PeerStorage + Transfer + ?Sized>(
    secondary: &S,
    primary: &S,
    info_hash: &InfoHash,
) -> Result<()> {
    let counts = primary.scrape_swarm(info_hash).await.map_err(|error| {
        Error::new(NAME, Operation::GraduatePeers, ErrorKind::Corrupt)
            .with_message("the primary did not tell the swarm's downloads")
            .with_source(error)
    })?;
    if counts.downloads == 0 {
        // They have been forgotten since, which the secondary will do next.
        return Ok(());
    }
    let record = DownloadsRecord { info_hash: *info_hash, downloads: counts.downloads };
    secondary.import_downloads(&[record]).await.map(drop)
}
