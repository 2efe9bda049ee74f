//! Peers one by one, and whole announces: one call to the primary, and for the secondary the write of each peer.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::replication_stats::PendingWrite;
use super::storage::{is_in_doubt, of_primary};
use super::{MirrorStorage, NAME};
use storage_core::{
    Announce, AnnounceAnswer, AnnounceEvent, Capability, DownloadsRecord, Error, ErrorKind, InfoHash,
    Operation, Peer, PeerSelection, PeerStorage, PeerStorageExt, Result, Role, SwarmCounts, Transfer, When,
    announce_each,
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
    fn answers_at_once(&self) -> bool {
        false
    }

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
async fn graduate_on<S: PeerStorage + Transfer + ?Sized>(
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
            .with_message("the primary did not return the downloads of the swarm")
            .with_source(error)
    })?;
    if counts.downloads == 0 {
        // They have been forgotten since, which the secondary will do next.
        return Ok(());
    }
    let record = DownloadsRecord { info_hash: *info_hash, downloads: counts.downloads };
    secondary.import_downloads(&[record]).await.map(drop)
}

/// What is written of one peer.
enum Write {
    Put(Role),
    Graduate,
    Remove,
}

impl<S: PeerStorage + Transfer + ?Sized + 'static> MirrorStorage<S> {
    async fn announce_on_both(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        let announced = When::At(announce.announced.on(self));
        let announce = &announce.clone().at(announced);
        let (info_hash, peers) = (&announce.info_hash, announce.peers());
        let _locks = self.locks.of_peers(info_hash, peers).await;
        let pending = self.pending_write(peers.len(), peers.len() * PEER_BYTES);
        let answer = self.primary.announce(announce).await;
        let is_settled = answer.as_ref().err().is_none_or(|error| !may_have_written(error, peers));
        if is_settled {
            pending.cancel();
        }
        let answer = answer.map_err(of_primary)?;
        for (place, peer) in peers.iter().enumerate() {
            let is_download = answer.is_download && place == 0;
            self.pass_on_write(write_of(announce, is_download), *info_hash, *peer, announced);
        }
        Ok(AnnounceAnswer { failure: answer.failure.map(of_primary), ..answer })
    }

    fn pass_on_write(&self, write: Write, info_hash: InfoHash, peer: Peer, announced: When) {
        let (subject, pending) = ((&info_hash, &peer), self.pending_write(1, PEER_BYTES));
        match write {
            Write::Put(role) => {
                self.pass_on_peer(subject, (Operation::PutPeer, pending), move |secondary| async move {
                    secondary.put_peer(&info_hash, &peer, role, announced).await
                });
            }
            Write::Graduate => {
                let primary = Arc::clone(&self.primary);
                self.pass_on_peer(
                    subject,
                    (Operation::GraduatePeers, pending),
                    move |secondary| async move {
                        graduate_on(&*secondary, &*primary, &info_hash, &peer, announced).await
                    },
                );
            }
            Write::Remove => {
                self.pass_on_peer(subject, (Operation::RemovePeer, pending), move |secondary| async move {
                    secondary.remove_peer(&info_hash, &peer).await
                });
            }
        }
    }
}

/// What an announce writes of a peer; of those of a client, one is the download.
fn write_of(announce: &Announce, is_download: bool) -> Write {
    match announce.event {
        AnnounceEvent::Stopped => Write::Remove,
        AnnounceEvent::Completed if is_download => Write::Graduate,
        AnnounceEvent::Completed => Write::Put(Role::Seeder),
        AnnounceEvent::None | AnnounceEvent::Started => Write::Put(announce.role),
    }
}

/// Whether an announce that failed may have written: it fails between the writes of two peers as well.
fn may_have_written(error: &Error, peers: &[Peer]) -> bool {
    let was_refused = matches!(error.kind(), ErrorKind::Closed | ErrorKind::Busy | ErrorKind::Unsupported(_));
    match error.operation() {
        Operation::Announce => !was_refused,
        // Of a peer that leaves, one role may have been deleted.
        Operation::PutPeer | Operation::GraduatePeers => peers.len() > 1 || is_in_doubt(error),
        _ => true,
    }
}
