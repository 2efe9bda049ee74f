//! Writes and reads for many: by the queries of the section `bulk`, where they are configured.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::future::try_join_all;
use storage_core::batcher::BatchCall;
use storage_core::layer::deadline;
use storage_core::{
    AddressFamily, BulkPeerStorage, Error, ErrorKind, InfoHash, Operation, Peer, PeerChange, PeerId,
    PeerRecord, PeerWrite, Result, Role, SwarmSnapshot, Timestamp, Written, failed_for_each,
    read_swarm_in_pages, write_peers_one_by_one, write_rounds,
};

use tokio::time::Instant;

use crate::arguments::{self, AddressArgument, random_sample};
use crate::batch::{self, answers, in_pieces, may_have_expired};
use crate::query_spec::{Batch, Query, queries};
use crate::retry::{TxMode, with_retries};
use crate::statement::{ResultRow, Statement};
use crate::storage::PgStorage;
use crate::transfer;

/// Rows that one statement writes: others may wait for them meanwhile.
const WRITES: usize = 1_000;

/// Swarms that one statement reads.
const SWARMS: usize = 64;

/// Swarms that are read in pages at once.
const PAGED_AT_ONCE: usize = 8;

#[async_trait]
impl BulkPeerStorage for PgStorage {
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let late = not_sent();
        let mut results = failed_for_each(&late, writes.len());
        let deadline = deadline(Operation::WritePeers);
        for round in write_rounds(writes) {
            for (query, places) in by_query(writes, round) {
                for places in places.chunks(WRITES) {
                    if Instant::now() >= deadline {
                        return results;
                    }
                    let part: Vec<_> = places.iter().map(|place| writes[*place]).collect();
                    for (place, written) in places.iter().zip(self.write_alike(query, &part).await) {
                        results[*place] = written;
                    }
                }
            }
        }
        results
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        let export = self.core.statement(queries::ExportPeers, Operation::FindPeer)?;
        // The page that begins with it, if it is there.
        let before = arguments::ExportPeers {
            info_hash: info_hash.as_bytes(),
            peer_id: peer.id().as_bytes(),
            address: AddressArgument::Of(peer.address()),
            port: i64::from(peer.port()) - 1,
            count: 1,
        };
        let row = with_retries!(&self.core, Operation::FindPeer, TxMode::Autocommit, |connection| {
            export.first(connection, before).await
        })?;
        let record = row.and_then(|row| transfer::read_peer(&export, &row));
        Ok(record.filter(|record| record.info_hash == *info_hash && record.peer == *peer))
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        let mut snapshots = Vec::with_capacity(info_hashes.len());
        if !self.core.has(Query::BulkRead) {
            for info_hashes in info_hashes.chunks(PAGED_AT_ONCE) {
                let reads = info_hashes.iter().map(|info_hash| read_swarm_in_pages(self, *info_hash, limit));
                snapshots.append(&mut try_join_all(reads).await?);
            }
            return Ok(snapshots);
        }
        for info_hashes in info_hashes.chunks(SWARMS) {
            snapshots.append(&mut self.read_together(info_hashes, limit).await?);
        }
        Ok(snapshots)
    }
}

/// These writes by the query that makes them.
fn by_query(writes: &[PeerWrite], places: Vec<usize>) -> HashMap<Query, Vec<usize>> {
    let mut of_query: HashMap<_, Vec<_>> = HashMap::new();
    for place in places {
        let query = match writes[place].change {
            PeerChange::Put(_) => Query::BulkPut,
            PeerChange::Touch => Query::BulkTouch,
            PeerChange::Delete => Query::BulkDelete,
            PeerChange::Graduate => Query::BulkGraduate,
        };
        of_query.entry(query).or_default().push(place);
    }
    of_query
}

impl PgStorage {
    /// Makes writes of different peers that one query makes.
    async fn write_alike(&self, query: Query, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        if !self.core.has(query) {
            return write_peers_one_by_one(self, writes).await;
        }
        match query {
            Query::BulkPut => self.write_together(queries::BulkPut, writes, put).await,
            Query::BulkTouch => self.write_together(queries::BulkTouch, writes, change).await,
            Query::BulkDelete => self.write_together(queries::BulkDelete, writes, change).await,
            _ => self.graduate_together(writes).await,
        }
    }

    /// What became of each: those that have a row in the result took effect.
    async fn write_together<'a, Q: Batch>(
        &self,
        query: Q,
        writes: &'a [PeerWrite],
        arguments: impl Fn(u32, &'a PeerWrite, Timestamp) -> Q::Arguments<'a>,
    ) -> Vec<Result<Written>> {
        let (operation, key) = (Operation::WritePeers, Q::QUERY.key());
        let deadline = deadline(operation);
        let rows: Vec<_> = writes.iter().map(|write| BatchCall { request: write, deadline }).collect();
        let mut written = vec![Written::Unchanged; rows.len()];
        let mut expired = vec![false; rows.len()];
        let is_graduation = Q::QUERY == Query::BulkGraduate;
        let done = in_pieces(&self.core, operation, query, &rows, arguments, |ran, piece| {
            for row in piece.clone() {
                expired[row] = ran.may_have_expired(deadline);
            }
            for (request, row) in ran.by_request(piece) {
                // What took effect, and was repeated because its answer was lost, finds a seeder.
                let is_download = is_graduation
                    && (ran.attempt.may_have_committed
                        || ran.statement.read_boolean(row, 1).unwrap_or(false));
                written[request] = if is_download { Written::Download } else { Written::Applied };
            }
        })
        .await;
        let result = |(row, done): (usize, Result<()>)| match done {
            Ok(()) if written[row] == Written::Unchanged && expired[row] => {
                Err(may_have_expired(operation, key))
            }
            done => done.map(|()| written[row]),
        };
        done.into_iter().enumerate().map(result).collect()
    }

    /// Of those without a row in the result some became leechers meanwhile: the next statement sees them. What has
    /// none then announced later.
    async fn graduate_together(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let mut results = self.write_together(queries::BulkGraduate, writes, change).await;
        let is_left = |place: &usize| matches!(results[*place], Ok(Written::Unchanged));
        let left: Vec<_> = (0..writes.len()).filter(is_left).collect();
        if !left.is_empty() {
            let again: Vec<_> = left.iter().map(|place| writes[*place]).collect();
            let written = self.write_together(queries::BulkGraduate, &again, change).await;
            left.into_iter().zip(written).for_each(|(place, written)| results[place] = written);
        }
        results
    }

    async fn read_together(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        let operation = Operation::ReadSwarms;
        let deadline = deadline(operation);
        let groups: Vec<_> = info_hashes
            .iter()
            .flat_map(|info_hash| GROUPS.map(|(role, family)| (info_hash, role, family)))
            .collect();
        let rows: Vec<_> = groups.iter().map(|group| BatchCall { request: *group, deadline }).collect();
        let read =
            |statement: &Statement, row: &ResultRow, peers: &mut Vec<Option<PeerRecord>>, request: usize| {
                let (info_hash, role, _) = groups[request];
                let record = |(peer, announced)| PeerRecord { info_hash: *info_hash, peer, role, announced };
                let record = read_peer(statement, row).map(record);
                self.core.skipped(statement, u64::from(record.is_none()));
                peers.push(record);
            };
        let arguments = |request, (info_hash, role, family), _| arguments::BulkRead {
            request,
            info_hash,
            role,
            family,
            sample: random_sample(),
            // One more shows that there are more.
            limit: limit.saturating_add(1),
        };
        let found = answers(&self.core, operation, queries::BulkRead, &rows, arguments, read);
        let (found, counts) = futures::join!(found, self.count_each(info_hashes));
        let mut found = found.into_iter().collect::<Result<Vec<_>>>()?.into_iter();
        let mut snapshots = Vec::with_capacity(info_hashes.len());
        for (info_hash, counts) in info_hashes.iter().zip(counts?) {
            let mut groups: Vec<_> = found.by_ref().take(GROUPS.len()).collect();
            let are_all = groups.iter().map(Vec::len).sum::<usize>() <= limit;
            groups.iter_mut().for_each(|group| group.truncate(limit));
            let peers = groups.concat();
            let is_complete = are_all && peers.iter().all(Option::is_some);
            let peers = peers.into_iter().flatten().collect();
            snapshots.push(SwarmSnapshot { info_hash: *info_hash, peers, counts, is_complete });
        }
        Ok(snapshots)
    }

    async fn count_each(&self, info_hashes: &[InfoHash]) -> Result<Vec<storage_core::SwarmCounts>> {
        if self.core.has(Query::CountSwarmBatch) {
            return batch::count(&self.core, Operation::ReadSwarms, info_hashes).await.into_iter().collect();
        }
        storage_core::PeerStorage::scrape_swarms(self, info_hashes).await
    }
}

/// What is read apart of each swarm.
const GROUPS: [(Role, AddressFamily); 4] = [
    (Role::Seeder, AddressFamily::V4),
    (Role::Seeder, AddressFamily::V6),
    (Role::Leecher, AddressFamily::V4),
    (Role::Leecher, AddressFamily::V6),
];

fn not_sent() -> Error {
    let error = Error::new(crate::NAME, Operation::WritePeers, ErrorKind::Timeout);
    error.with_message("no time was left to send it")
}

fn put(request: u32, write: &PeerWrite, expires: Timestamp) -> arguments::BulkPut<'_> {
    let PeerWrite { info_hash, peer, announced, .. } = write;
    let (role, announced) = (write.record().role, *announced);
    arguments::BulkPut { request, info_hash, peer, role, announced, expires: Some(expires) }
}

fn change(request: u32, write: &PeerWrite, expires: Timestamp) -> arguments::ChangePeerBatch<'_> {
    let PeerWrite { info_hash, peer, announced, .. } = write;
    arguments::ChangePeerBatch { request, info_hash, peer, announced: *announced, expires: Some(expires) }
}

fn read_peer(read: &Statement, row: &ResultRow) -> Option<(Peer, Timestamp)> {
    let id = PeerId::try_from(read.read_bytes(row, 1)?).ok()?;
    let port = u16::try_from(read.read_integer(row, 3)?).ok()?;
    Some((Peer::new(id, read.read_address(row, 2)?, port), read.read_time(row, 4)?))
}
