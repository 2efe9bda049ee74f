//! Swarms.

use std::collections::HashSet;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use sqlx::postgres::PgConnection;
use storage_core::{
    Announce, AnnounceAnswer, AnnounceEvent, Error, ErrorKind, InfoHash, Operation, Peer, PeerId, PeerRecord,
    PeerSelection, PeerStorage, Result, Role, SwarmCounts, When, announce_by_parts,
};

use crate::arguments::{self, random_sample};
use crate::batch::{self, Deletion};
use crate::error::QueryError;
use crate::graduation::Graduation;
use crate::query_spec::{Query, queries};
use crate::retry::{TxMode, with_retries};
use crate::statement::{QueryStatement, ResultRow, Statement};
use crate::storage::PgStorage;

#[async_trait]
impl PeerStorage for PgStorage {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        let announced = announced.on(self);
        let record = PeerRecord { info_hash: *info_hash, peer: *peer, role, announced };
        self.batches.puts.call(record, |record| self.put_alone(record)).await
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        self.delete(Deletion { info_hash: *info_hash, peer: *peer, role: Some(role) }).await
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        match self.delete(Deletion { info_hash: *info_hash, peer: *peer, role: None }).await {
            Err(error) if error.is_not_found() => Ok(()),
            removed => removed,
        }
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let announced = announced.on(self);
        if peers.is_empty() {
            return Ok(false);
        }
        // An address that comes a second time would be found as that of a seeder.
        let mut peers = peers.to_vec();
        peers.sort_unstable();
        peers.dedup();
        if let [peer] = &peers[..] {
            let record = PeerRecord { info_hash: *info_hash, peer: *peer, role: Role::Seeder, announced };
            let done = self.batches.graduations.call(record, |_| Box::pin(async { Ok(None) })).await?;
            if let Some(is_download) = done {
                return Ok(is_download);
            }
        }
        let graduation = Graduation::of(&self.core)?;
        with_retries!(&self.core, Operation::GraduatePeers, TxMode::Transaction, |connection, attempt| {
            let is_download = graduation.run(connection, info_hash, &peers, announced).await?;
            // One that took effect, and was repeated because its answer was lost, finds a seeder.
            Ok(is_download || attempt.may_have_committed)
        })
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        if selection.num_want == 0 {
            return Ok(Vec::new());
        }
        self.batches.selections.call(selection.clone(), |_| self.select_alone(selection)).await
    }

    /// Clients that begin or go on are answered together; the few others, and whoever comes while few calls are in
    /// flight, by the calls above.
    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        let is_put = matches!(announce.event, AnnounceEvent::None | AnnounceEvent::Started);
        if !is_put {
            return announce_by_parts(self, announce).await;
        }
        let announce = announce.clone().at(announce.announced.on(self));
        let alone = |announce| async move { announce_by_parts(self, &announce).await }.boxed();
        self.batches.announces.call(announce, alone).await
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        self.batches.scrapes.call(*info_hash, |_| self.scrape_alone(info_hash)).await
    }

    async fn scrape_swarms(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        if !self.core.has(Query::CountSwarmBatch) || info_hashes.len() < 2 {
            return try_join_all(info_hashes.iter().map(|info_hash| self.scrape_swarm(info_hash))).await;
        }
        batch::count(&self.core, Operation::ScrapeSwarms, info_hashes).await.into_iter().collect()
    }
}

/// Calls by themselves. Their futures are large, and apart from those of calls that are gathered, which would
/// have to make room for them.
impl PgStorage {
    async fn delete(&self, deletion: Deletion) -> Result<()> {
        self.batches.deletions.call(deletion, |deletion| self.delete_alone(deletion)).await
    }

    fn put_alone(&self, record: PeerRecord) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let put = self.core.statement(queries::PutPeer, Operation::PutPeer)?;
            with_retries!(&self.core, Operation::PutPeer, TxMode::Autocommit, |connection, attempt| {
                let PeerRecord { info_hash, peer, role, announced } = &record;
                let (role, announced, expires) = (*role, *announced, Some(attempt.expiry()));
                let peer = arguments::PutPeer { info_hash, peer, role, announced, expires };
                let written = put.execute(connection, peer).await?;
                attempt.check_expiry(&put, connection, (written, 1)).await
            })
        })
    }

    fn delete_alone(&self, deletion: Deletion) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let delete = self.core.statement(queries::DeletePeer, Operation::DeletePeer)?;
            let Deletion { info_hash, peer, .. } = &deletion;
            // A deletion that took effect, and was repeated because its answer was lost, finds nothing.
            let found = with_retries!(
                &self.core,
                Operation::DeletePeer,
                TxMode::Autocommit,
                |connection, attempt| {
                    let mut deleted = 0;
                    for role in deletion.roles() {
                        let (role, expires) = (*role, Some(attempt.expiry()));
                        let peer = arguments::DeletePeer { info_hash, peer, role, expires };
                        deleted = delete.execute(connection, peer).await?;
                        if deleted > 0 {
                            break;
                        }
                    }
                    if deleted == 0 && attempt.may_have_expired(&delete) {
                        return Err(QueryError::expired(delete.query.key()));
                    }
                    Ok(deleted > 0 || attempt.may_have_committed)
                }
            )?;
            if found { Ok(()) } else { Err(not_found()) }
        })
    }

    fn select_alone<'a>(&'a self, selection: &'a PeerSelection) -> BoxFuture<'a, Result<Vec<Peer>>> {
        Box::pin(async move {
            let announce = self.core.statement(queries::SelectPeers, Operation::AnnouncePeers)?;
            with_retries!(&self.core, Operation::AnnouncePeers, TxMode::Autocommit, |connection| {
                self.select(announce, connection, selection).await
            })
        })
    }

    fn scrape_alone<'a>(&'a self, info_hash: &'a InfoHash) -> BoxFuture<'a, Result<SwarmCounts>> {
        Box::pin(async move {
            let count = self.core.statement(queries::CountSwarm, Operation::ScrapeSwarm)?;
            let get_downloads = self.core.find(queries::GetDownloads);
            let swarm = arguments::Swarm { info_hash };
            with_retries!(&self.core, Operation::ScrapeSwarm, TxMode::Autocommit, |connection| {
                let row = count.first(connection, swarm).await?;
                let read = |column| row.as_ref().map_or(0, |row| count.read_count(row, column));
                let (seeders, leechers) = (read(0), read(1));
                let downloads = match get_downloads {
                    Some(get) => get.first(connection, swarm).await?.map_or(0, |row| get.read_count(&row, 0)),
                    None => 0,
                };
                Ok(SwarmCounts { seeders, leechers, downloads })
            })
        })
    }
}

impl PgStorage {
    /// The peers of a selection, the roles preferred first.
    async fn select(
        &self,
        announce: QueryStatement<'_, queries::SelectPeers>,
        connection: &mut PgConnection,
        selection: &PeerSelection,
    ) -> Result<Vec<Peer>, QueryError> {
        let PeerSelection { info_hash, num_want, family, exclude, .. } = selection;
        let mut peers = Vec::new();
        for role in selection.roles() {
            let wanted = num_want - peers.len();
            if wanted == 0 {
                break;
            }
            // One more than wanted, in case the one to leave out comes.
            let count = wanted.saturating_add(usize::from(exclude.is_some()));
            let (role, family, sample) = (*role, *family, random_sample());
            let wanted = arguments::SelectPeers { info_hash, role, family, count, sample };
            let found = self.peers_of(announce, connection, wanted).await?;
            if peers.is_empty() {
                peers = found;
                peers.retain(|peer| Some(*peer) != *exclude);
            } else {
                // One that moved between the two queries is in both answers.
                let known: HashSet<_> = peers.iter().copied().collect();
                peers.extend(
                    found.into_iter().filter(|peer| Some(*peer) != *exclude && !known.contains(peer)),
                );
            }
            peers.truncate(*num_want);
        }
        Ok(peers)
    }

    /// The peers in the rows of an announce; those that cannot be understood are passed over.
    pub(crate) async fn peers_of(
        &self,
        announce: QueryStatement<'_, queries::SelectPeers>,
        connection: &mut PgConnection,
        wanted: arguments::SelectPeers<'_>,
    ) -> Result<Vec<Peer>, QueryError> {
        let rows = announce.rows(connection, wanted).await?;
        let mut peers = Vec::with_capacity(rows.len());
        peers.extend(rows.iter().filter_map(|row| {
            let peer = read_peer(&announce, row)?;
            (peer.family() == wanted.family).then_some(peer)
        }));
        self.core.skipped(&announce, (rows.len() - peers.len()) as u64);
        Ok(peers)
    }
}

fn read_peer(announce: &Statement, row: &ResultRow) -> Option<Peer> {
    let id = PeerId::try_from(announce.read_bytes(row, 0)?).ok()?;
    let address = announce.read_address(row, 1)?;
    let port = u16::try_from(announce.read_integer(row, 2)?).ok()?;
    Some(Peer::new(id, address, port))
}

fn not_found() -> Error {
    Error::new(crate::NAME, Operation::DeletePeer, ErrorKind::NotFound)
}
