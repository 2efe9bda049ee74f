//! Query scopes: queries that delete or change rows are tried on probe rows of our own, in a
//! transaction that is always rolled back, and must touch no other row.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use storage_core::{
    Context, ErrorKind, InfoHash, Operation, Peer, PeerId, QueryScopeReport, Result, Role, Timestamp,
};

use tokio::time::{Instant, timeout, timeout_at};

use crate::arguments;
use crate::error::QueryError;
use crate::query_spec::{Batch, Query, queries};
use crate::storage::{Core, PgStorage, not_connected};

/// A query that runs longer than this touches more than a few probe rows.
const LONGEST: Duration = Duration::from_secs(20);

/// How often a check is retried after a write conflict.
const CONFLICTS: usize = 16;

/// More rows than there are probes.
const MANY: u64 = 1_000;

/// How many neighbours share a swarm.
const IN_THE_SWARM: u64 = 6;

/// The queries that are checked, each for the operation that needs it.
const CHECKED: &[(Operation, Query)] = &[
    (Operation::DeletePeer, Query::DeletePeer),
    (Operation::DeletePeer, Query::DeletePeerBatch),
    (Operation::GraduatePeers, Query::GraduatePeer),
    (Operation::GraduatePeers, Query::GraduatePeerBatch),
    (Operation::GraduatePeers, Query::IncrementDownloads),
    (Operation::WritePeers, Query::BulkTouch),
    (Operation::WritePeers, Query::BulkDelete),
    (Operation::WritePeers, Query::BulkGraduate),
    (Operation::CollectGarbage, Query::CollectGarbage),
    (Operation::DeleteData, Query::DeleteData),
    (Operation::ForgetSwarm, Query::ForgetPeers),
    (Operation::ForgetSwarm, Query::DeleteDownloads),
    (Operation::ForgetSwarm, Query::ForgetPeersBatch),
    (Operation::ForgetSwarm, Query::DeleteDownloadsBatch),
];

/// Probe rows and what a query did to them.
struct ScopeProbe<'a> {
    core: &'a Core,
    connection: &'a mut PgConnection,
    swarm: InfoHash,
    other_swarm: InfoHash,
}

impl PgStorage {
    pub(crate) async fn check_all_scopes(&self) -> Result<Vec<QueryScopeReport>> {
        let mut reports = Vec::new();
        for (operation, query) in CHECKED.iter().copied() {
            if self.core.has(query) {
                // What others are writing may be in the way.
                let excess_rows = (|| self.check_scope(query))
                    .retry(waits())
                    .when(|error| error.kind() == ErrorKind::Conflict)
                    .await?;
                reports.push(QueryScopeReport { operation, key: query.key(), excess_rows });
            }
        }
        Ok(reports)
    }

    async fn check_scope(&self, query: Query) -> Result<Option<String>> {
        let run = async |connection: &mut PgConnection| {
            let (swarm, other_swarm) = (InfoHash::V1(rand::random()), InfoHash::V2(rand::random()));
            let mut probe = ScopeProbe { core: &self.core, connection, swarm, other_swarm };
            Ok(timeout(LONGEST, probe.run(query)).await.ok())
        };
        match self.core.rolled_back(Instant::now() + LONGEST + LONGEST / 4, run).await? {
            Some(excess_rows) => {
                excess_rows.map_err(|error| error.into_error(Operation::CheckQueryScope, true))
            }
            None => Ok(Some(format!("took longer than {LONGEST:?} on a few test rows"))),
        }
    }
}

impl Core {
    /// Runs statements in a transaction that is rolled back. `None`: they ran out of time. The lease is then dropped
    /// in the middle of a query: its connection ends and with it the transaction.
    pub(crate) async fn rolled_back<T>(
        &self,
        end: Instant,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<Option<T>, QueryError>,
    ) -> Result<Option<T>> {
        let operation = Operation::CheckQueryScope;
        let mut lease = self.lease(end, true).await.map_err(|error| not_connected(operation, error))?;
        let ran = async {
            let connection = lease.connection().ok_or_else(QueryError::out_of_time)?;
            let mut transaction = timeout_at(end, connection.begin()).await??;
            let ran = run(&mut transaction).await?;
            if ran.is_some() {
                timeout_at(end, transaction.rollback()).await??;
            }
            Ok(ran)
        };
        let ran = ran.await.map_err(|error: QueryError| error.into_error(operation, true))?;
        if ran.is_some() {
            lease.release();
        }
        Ok(ran)
    }
}

pub(crate) fn waits() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(10))
        .with_max_delay(Duration::from_millis(500))
        .with_max_times(CONFLICTS)
        .with_jitter()
}

impl ScopeProbe<'_> {
    async fn run(&mut self, query: Query) -> Result<Option<String>, QueryError> {
        match query {
            Query::DeletePeer => self.delete_peer().await,
            Query::DeletePeerBatch => self.delete_peers().await,
            Query::GraduatePeer => self.graduate_peer().await,
            Query::GraduatePeerBatch => self.graduate_many(queries::GraduatePeerBatch).await,
            Query::BulkTouch => self.change(queries::BulkTouch, "expected to change one peer").await,
            Query::BulkDelete => self.change(queries::BulkDelete, "expected to delete one peer").await,
            Query::BulkGraduate => self.graduate_many(queries::BulkGraduate).await,
            Query::IncrementDownloads => self.increment_downloads().await,
            Query::CollectGarbage => self.collect_garbage().await,
            Query::DeleteData => self.delete_data().await,
            Query::ForgetPeers => self.forget_peers().await,
            Query::DeleteDownloads => self.delete_downloads().await,
            Query::ForgetPeersBatch => self.forget_peers_of_many().await,
            Query::DeleteDownloadsBatch => self.delete_downloads_of_many().await,
            _ => Ok(Some("is not tried on rows of its own: no trial is known for it".into())),
        }
    }

    async fn delete_peer(&mut self) -> Result<Option<String>, QueryError> {
        let Some(delete) = self.core.find(queries::DeletePeer) else { return Ok(None) };
        self.put_neighbours(Role::Seeder, Timestamp::now()).await?;
        let (info_hash, peer, role, expires) = (&self.swarm, &probe_peer(1, 1), Role::Seeder, None);
        let meant = arguments::DeletePeer { info_hash, peer, role, expires };
        let touched = delete.execute(self.connection, meant).await?;
        Ok(excess_rows(touched, 1, "expected to delete one peer"))
    }

    async fn delete_peers(&mut self) -> Result<Option<String>, QueryError> {
        let Some(delete) = self.core.find(queries::DeletePeerBatch) else { return Ok(None) };
        self.put_neighbours(Role::Seeder, Timestamp::now()).await?;
        let (meant, in_other_role) = (probe_peer(1, 1), probe_peer(3, 1));
        let (info_hash, role, expires) = (&self.swarm, Role::Seeder, None);
        let deletion = |request, peer| arguments::DeletePeerBatch { request, info_hash, peer, role, expires };
        let batch = [deletion(0, &meant), deletion(1, &in_other_role)];
        let touched = delete.execute_batch(self.connection, &batch).await?;
        Ok(excess_rows(touched, 1, "expected to delete one peer, and not the one in the other role"))
    }

    async fn graduate_peer(&mut self) -> Result<Option<String>, QueryError> {
        let Some(graduate) = self.core.find(queries::GraduatePeer) else { return Ok(None) };
        let (announced, cutoff) = long_ago();
        self.put_neighbours(Role::Leecher, announced).await?;
        let (info_hash, peer) = (&self.swarm, &probe_peer(1, 1));
        let meant = arguments::GraduatePeer { info_hash, peer, announced: Timestamp::now() };
        let touched = graduate.execute(self.connection, meant).await?;
        let Some(mut excess_rows) = excess_rows(touched, 1, "expected to graduate one leecher") else {
            return Ok(None);
        };
        // The cases that would show this are refused for such a query.
        if let Some(collect) = self.core.find(queries::CollectGarbage) {
            let stale = arguments::CollectGarbage { cutoff, limit: MANY };
            collect.execute(self.connection, stale).await?;
            let found = match self.core.find(queries::DeletePeer) {
                Some(delete) => {
                    let (role, expires) = (Role::Seeder, None);
                    let seeder = arguments::DeletePeer { info_hash, peer, role, expires };
                    delete.execute(self.connection, seeder).await?
                }
                None => 1,
            };
            if found == 0 {
                excess_rows.push_str("; nor did it set the time of the last announce");
            }
        }
        Ok(Some(excess_rows))
    }

    /// Of one peer and of one that is not there.
    async fn change<Q>(&mut self, query: Q, what: &str) -> Result<Option<String>, QueryError>
    where
        Q: for<'a> Batch<Arguments<'a> = arguments::ChangePeerBatch<'a>>,
    {
        let Some(change) = self.core.find(query) else { return Ok(None) };
        self.put_neighbours(Role::Seeder, Timestamp::now()).await?;
        let (meant, absent) = (probe_peer(1, 1), probe_peer(9, 9));
        let (info_hash, announced, expires) = (&self.swarm, Timestamp::now(), None);
        let of = |request, peer| arguments::ChangePeerBatch { request, info_hash, peer, announced, expires };
        let touched = change.execute_batch(self.connection, &[of(0, &meant), of(1, &absent)]).await?;
        Ok(excess_rows(touched, 1, &format!("{what} of two, of which one does not exist")))
    }

    async fn graduate_many<Q>(&mut self, query: Q) -> Result<Option<String>, QueryError>
    where
        Q: for<'a> Batch<Arguments<'a> = arguments::ChangePeerBatch<'a>>,
    {
        let Some(graduate) = self.core.find(query) else { return Ok(None) };
        self.put_neighbours(Role::Leecher, Timestamp::now()).await?;
        let before = self.leechers().await?;
        let (request, info_hash, peer) = (0, &self.swarm, &probe_peer(1, 1));
        let (announced, expires) = (Timestamp::now(), None);
        let meant = arguments::ChangePeerBatch { request, info_hash, peer, announced, expires };
        graduate.rows_of_batch(self.connection, &[meant]).await?;
        let touched = before.saturating_sub(self.leechers().await?);
        Ok(excess_rows(touched, 1, "expected to graduate one leecher"))
    }

    /// How many leechers there are in both swarms.
    async fn leechers(&mut self) -> Result<u64, QueryError> {
        let Some(count) = self.core.find(queries::CountSwarm) else { return Ok(0) };
        let mut leechers = 0;
        for info_hash in [&self.swarm, &self.other_swarm] {
            let row = count.first(self.connection, arguments::Swarm { info_hash }).await?;
            leechers += row.map_or(0, |row| count.read_count(&row, 1));
        }
        Ok(leechers)
    }

    async fn collect_garbage(&mut self) -> Result<Option<String>, QueryError> {
        let Some(collect) = self.core.find(queries::CollectGarbage) else { return Ok(None) };
        let (announced, cutoff) = long_ago();
        let swarm = self.swarm;
        for (number, role) in (1..).zip(Role::BOTH) {
            self.put(&swarm, &probe_peer(number, 1), role, announced).await?;
            self.put(&swarm, &probe_peer_v6(number), role, announced).await?;
        }
        self.put(&swarm, &probe_peer(9, 1), Role::Seeder, Timestamp::now()).await?;
        let stale = arguments::CollectGarbage { cutoff, limit: MANY };
        let touched = collect.execute(self.connection, stale).await?;
        Ok(excess_rows(touched, 4, "expected to remove 4 peers of the year 1990"))
    }

    async fn delete_data(&mut self) -> Result<Option<String>, QueryError> {
        let Some(delete) = self.core.find(queries::DeleteData) else { return Ok(None) };
        let Some(put) = self.core.find(queries::PutData) else { return Ok(None) };
        let run: u128 = rand::random();
        let name = |number: u8| Context::new(format!("rehearsal-{run:032x}-{number}"));
        let (Ok(context), Ok(other)) = (name(1), name(2)) else { return Ok(None) };
        let keys = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        for (context, key) in [(&context, &keys[0]), (&context, &keys[1]), (&other, &keys[0])] {
            let entry = arguments::PutData { context, key, value: b"probe", expires: None };
            put.execute(self.connection, entry).await?;
        }
        let meant = arguments::DeleteData { context: &context, keys: &keys[..1], expires: None };
        let touched = delete.execute(self.connection, meant).await?;
        Ok(excess_rows(touched, 1, "expected to delete one key"))
    }

    async fn forget_peers(&mut self) -> Result<Option<String>, QueryError> {
        let Some(forget) = self.core.find(queries::ForgetPeers) else { return Ok(None) };
        self.put_neighbours(Role::Seeder, Timestamp::now()).await?;
        let touched = forget.execute(self.connection, arguments::Swarm { info_hash: &self.swarm }).await?;
        Ok(excess_rows(touched, IN_THE_SWARM, "expected to delete the 6 peers of one swarm"))
    }

    async fn increment_downloads(&mut self) -> Result<Option<String>, QueryError> {
        let Some(increment) = self.core.find(queries::IncrementDownloads) else { return Ok(None) };
        self.raise_downloads().await?;
        let touched = increment.execute(self.connection, arguments::Swarm { info_hash: &self.swarm }).await?;
        Ok(excess_rows(touched, 1, "expected to raise the downloads of one swarm"))
    }

    /// Gives both swarms a download; false if no query does.
    async fn raise_downloads(&mut self) -> Result<bool, QueryError> {
        let Some(increment) = self.core.find(queries::IncrementDownloads) else { return Ok(false) };
        for info_hash in [&self.swarm, &self.other_swarm] {
            increment.execute(self.connection, arguments::Swarm { info_hash }).await?;
        }
        Ok(true)
    }

    async fn delete_downloads(&mut self) -> Result<Option<String>, QueryError> {
        let Some(delete) = self.core.find(queries::DeleteDownloads) else { return Ok(None) };
        if !self.raise_downloads().await? {
            return Ok(None);
        }
        let touched = delete.execute(self.connection, arguments::Swarm { info_hash: &self.swarm }).await?;
        Ok(excess_rows(touched, 1, "expected to delete the downloads of one swarm"))
    }

    /// Of one swarm and of one that is not there.
    async fn forget_peers_of_many(&mut self) -> Result<Option<String>, QueryError> {
        let Some(forget) = self.core.find(queries::ForgetPeersBatch) else { return Ok(None) };
        self.put_neighbours(Role::Seeder, Timestamp::now()).await?;
        let absent = InfoHash::V1(rand::random());
        let meant = [&self.swarm, &absent].map(|info_hash| arguments::Swarm { info_hash });
        let touched = forget.execute_batch(self.connection, &meant).await?;
        Ok(excess_rows(touched, IN_THE_SWARM, "expected to delete the 6 peers of one swarm"))
    }

    async fn delete_downloads_of_many(&mut self) -> Result<Option<String>, QueryError> {
        let Some(delete) = self.core.find(queries::DeleteDownloadsBatch) else { return Ok(None) };
        if !self.raise_downloads().await? {
            return Ok(None);
        }
        let absent = InfoHash::V1(rand::random());
        let meant = [&self.swarm, &absent].map(|info_hash| arguments::Swarm { info_hash });
        let touched = delete.execute_batch(self.connection, &meant).await?;
        Ok(excess_rows(touched, 1, "expected to delete the downloads of one swarm"))
    }

    /// The peer that is meant, and those that differ from it in one thing each: [`IN_THE_SWARM`] are in
    /// its swarm, one is in another.
    async fn put_neighbours(&mut self, role: Role, announced: Timestamp) -> Result<(), QueryError> {
        let (swarm, other_swarm) = (self.swarm, self.other_swarm);
        let meant = probe_peer(1, 1);
        let other_id = Peer::new(*probe_peer(2, 1).id(), meant.address(), meant.port());
        let other_address = Peer::new(*meant.id(), probe_peer(2, 1).address(), meant.port());
        for peer in [meant, other_id, other_address, probe_peer(1, 2)] {
            self.put(&swarm, &peer, role, announced).await?;
        }
        self.put(&swarm, &probe_peer_v6(1), role, announced).await?;
        self.put(&swarm, &probe_peer(3, 1), role.other(), announced).await?;
        self.put(&other_swarm, &meant, role, announced).await
    }

    async fn put(
        &mut self,
        info_hash: &InfoHash,
        peer: &Peer,
        role: Role,
        announced: Timestamp,
    ) -> Result<(), QueryError> {
        let Some(put) = self.core.find(queries::PutPeer) else { return Ok(()) };
        let peer = arguments::PutPeer { info_hash, peer, role, announced, expires: None };
        put.execute(self.connection, peer).await.map(drop)
    }
}

fn excess_rows(touched: u64, meant: u64, what: &str) -> Option<String> {
    (touched > meant).then(|| format!("{what}, but changed {touched} rows"))
}

/// A time of announce in 1990 and a cutoff in 1991: no real peer is that old.
pub(crate) fn long_ago() -> (Timestamp, Timestamp) {
    (Timestamp::from_seconds(631_152_000), Timestamp::from_seconds(662_688_000))
}

fn probe_id(number: u8) -> PeerId {
    let mut id = *b"-TR4040-rehearsal--.";
    id[19] = number;
    PeerId(id)
}

/// At an address for documentation (RFC 5737).
pub(crate) fn probe_peer(number: u8, port: u16) -> Peer {
    Peer::new(probe_id(number), IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)), port)
}

/// At an address for documentation (RFC 3849).
fn probe_peer_v6(number: u8) -> Peer {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into());
    Peer::new(probe_id(number), IpAddr::V6(address), 1)
}
