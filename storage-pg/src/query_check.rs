//! Whether the server runs the queries: each is run once on rows of our own, in a transaction that is always rolled
//! back. Preparing and explaining a query shows what it needs itself; what its triggers need, only a run does.

use std::time::Duration;

use backon::Retryable;
use bytes::Bytes;
use sqlx::postgres::{PgConnection, PgDatabaseError};
use storage_core::config::{Problem, ProblemKind};
use storage_core::{
    AddressFamily, Context, ErrorKind, InfoHash, Peer, QueryCheck, Result, Role, SwarmOrder, Timestamp,
};
use tokio::time::{Instant, timeout_at};

use crate::arguments::{self, AddressArgument};
use crate::error::QueryError;
use crate::prepare::missing_rights;
use crate::query_scope::{long_ago, probe_peer, waits};
use crate::query_spec::{Effect, Query, queries};
use crate::statement::tell;
use crate::storage::{Core, PgStorage};

/// The longest that all queries together may take.
const LONGEST: Duration = Duration::from_secs(15);

/// Nobody waits long for a lock that one of them has, nor one of them for a lock. Deferred triggers run at once.
const BOUNDS: [&str; 3] =
    ["SET LOCAL lock_timeout = '1s'", "SET LOCAL statement_timeout = '2s'", "SET CONSTRAINTS ALL IMMEDIATE"];

impl PgStorage {
    /// Runs each query that is configured.
    pub(crate) async fn run_each_query(&self) -> Result<QueryCheck> {
        (|| self.run_each_query_once()).retry(waits()).when(|error| error.kind() == ErrorKind::Conflict).await
    }

    async fn run_each_query_once(&self) -> Result<QueryCheck> {
        let end = Instant::now() + LONGEST;
        let (mut found, mut tried) = (QueryCheck::default(), 0);
        let run = async |connection: &mut PgConnection| {
            let rows = CheckRows::new();
            let mut run = QueryCheckRun { core: &self.core, connection, rows, tried: &mut tried };
            timeout_at(end, run.all(&mut found)).await.ok().transpose()
        };
        if self.core.rolled_back(end, run).await?.is_none() {
            let message = format!("was not tested: the tests of all queries took longer than {LONGEST:?}");
            let untried = self.core.statements().get(tried..).unwrap_or_default();
            found.unknown.extend(untried.iter().map(|statement| problem(statement.query, message.clone())));
        }
        Ok(found)
    }
}

/// The queries under way.
struct QueryCheckRun<'a> {
    core: &'a Core,
    connection: &'a mut PgConnection,
    rows: CheckRows,
    /// How many have been tried.
    tried: &'a mut usize,
}

/// A part of it. The others do not depend on it.
enum QueryCheckStep {
    Set(&'static str),
    /// Puts rows for the other queries by this one.
    Prepare(Query),
    Try(Query),
}

/// What the queries are run on.
struct CheckRows {
    swarm: InfoHash,
    other_swarm: InfoHash,
    leecher: Peer,
    seeder: Peer,
    /// Is not there.
    absent: Peer,
    context: Option<Context>,
    key: Bytes,
}

impl CheckRows {
    fn new() -> Self {
        let run: u128 = rand::random();
        Self {
            swarm: InfoHash::V1(rand::random()),
            other_swarm: InfoHash::V1(rand::random()),
            leecher: probe_peer(1, 1),
            seeder: probe_peer(2, 1),
            absent: probe_peer(3, 1),
            context: Context::new(format!("check-{run:032x}")).ok(),
            key: Bytes::from_static(b"one"),
        }
    }
}

impl QueryCheckRun<'_> {
    async fn all(&mut self, found: &mut QueryCheck) -> Result<(), QueryError> {
        let there = [Query::PutPeer, Query::IncrementDownloads, Query::PutData];
        let before = BOUNDS.map(QueryCheckStep::Set).into_iter().chain(there.map(QueryCheckStep::Prepare));
        for step in before {
            // CockroachDB does not have all settings; a query that cannot be run leaves the others without its rows.
            let _ = self.take(step).await?;
        }
        for statement in self.core.statements() {
            let ran = self.take(QueryCheckStep::Try(statement.query)).await?;
            *self.tried += 1;
            if let Err(failure) = ran {
                self.note(statement.query, &failure, found).await;
            }
        }
        Ok(())
    }

    /// What fails, and every query that is tried, is taken back. The outer error is one of the connection or the
    /// transaction.
    async fn take(&mut self, step: QueryCheckStep) -> Result<Result<(), QueryError>, QueryError> {
        tell(self.connection, "SAVEPOINT tried").await?;
        let done = match step {
            QueryCheckStep::Set(setting) => tell(self.connection, setting).await,
            QueryCheckStep::Prepare(query) => self.prepare(query).await,
            QueryCheckStep::Try(query) => self.one(query).await,
        };
        match &done {
            Err(failure) if failure.leaves_no_connection() || failure.is_conflict() => return done.map(Ok),
            Ok(()) if !matches!(step, QueryCheckStep::Try(_)) => {}
            _ => tell(self.connection, "ROLLBACK TO SAVEPOINT tried").await?,
        }
        tell(self.connection, "RELEASE SAVEPOINT tried").await?;
        Ok(done)
    }

    async fn note(&mut self, query: Query, failure: &QueryError, found: &mut QueryCheck) {
        let code = failure.code().unwrap_or_default();
        if code == QUERY_CANCELED && query.spec().effect == Effect::Reads {
            // It was at work, so it may be run.
            return;
        }
        let mut message =
            format!("the server refuses to run the query: {} (SQLSTATE {code})", failure.message());
        let refusal = failure.refusal();
        let context = refusal.and_then(PgDatabaseError::r#where).and_then(|context| context.lines().last());
        if let Some(context) = context {
            message.push_str(&format!("; context: {context}"));
        }
        if is_of_rows(&code) {
            found.unknown.push(problem(query, message));
            return;
        }
        if code == INSUFFICIENT_PRIVILEGE
            && let Some(missing) =
                missing_rights(self.connection, failure.message(), query.spec().effect).await
        {
            message.push_str(&format!("; {missing}"));
        }
        found.refused.push(problem(query, message));
    }

    async fn prepare(&mut self, query: Query) -> Result<(), QueryError> {
        let Self { core, connection, rows, .. } = self;
        let (announced, _) = long_ago();
        match query {
            Query::PutPeer => {
                let Some(put) = core.find(queries::PutPeer) else { return Ok(()) };
                for (peer, role) in [(&rows.leecher, Role::Leecher), (&rows.seeder, Role::Seeder)] {
                    let info_hash = &rows.swarm;
                    let peer = arguments::PutPeer { info_hash, peer, role, announced, expires: None };
                    put.execute(connection, peer).await?;
                }
            }
            Query::IncrementDownloads => {
                let Some(increment) = core.find(queries::IncrementDownloads) else { return Ok(()) };
                increment.execute(connection, arguments::Swarm { info_hash: &rows.swarm }).await?;
            }
            _ => {
                let Some(put) = core.find(queries::PutData) else { return Ok(()) };
                let Some(context) = &rows.context else { return Ok(()) };
                let entry = arguments::PutData { context, key: &rows.key, value: b"value", expires: None };
                put.execute(connection, entry).await?;
            }
        }
        Ok(())
    }

    /// Runs one query, on a row that is there and, if it may put one, on one that is not.
    async fn one(&mut self, query: Query) -> Result<(), QueryError> {
        use arguments::Nothing;

        let Self { core, connection, rows, .. } = self;
        let connection: &mut PgConnection = connection;
        let CheckRows { swarm, other_swarm, leecher, seeder, absent, context, key } = &*rows;
        let Some(context) = context else { return Ok(()) };
        let (info_hash, key, absent_key) = (swarm, &key[..], b"two".as_slice());
        let (expires, value, announced) = (None, b"value".as_slice(), Timestamp::now());
        let ((_, cutoff), keys) = (long_ago(), [rows.key.clone()]);
        let (role, family, count, limit, sample, request) =
            (Role::Leecher, AddressFamily::V4, 1, 1, 0, [0, 1]);
        let both = [(request[0], leecher), (request[1], absent)];

        macro_rules! run {
            ($query:ident, each $arguments:expr) => {
                if let Some(statement) = core.find(queries::$query) {
                    for arguments in $arguments {
                        statement.execute(connection, arguments).await?;
                    }
                }
            };
            ($query:ident, batch $arguments:expr) => {
                if let Some(statement) = core.find(queries::$query) {
                    statement.execute_batch(connection, &$arguments).await?;
                }
            };
        }
        let change =
            |(request, peer)| arguments::ChangePeerBatch { request, info_hash, peer, announced, expires };
        let put = |(_, peer)| arguments::PutPeer { info_hash, peer, role: Role::Seeder, announced, expires };
        let import = |(_, peer)| arguments::ImportPeer { info_hash, peer, role, announced };
        let swarms = [swarm, other_swarm].map(|info_hash| arguments::Swarm { info_hash });
        let [this_swarm, _] = swarms;
        let downloads =
            [swarm, other_swarm].map(|info_hash| arguments::ImportDownloads { info_hash, downloads: 9 });
        let data = [key, absent_key].map(|key| arguments::ImportData { context, key, value });
        match query {
            Query::SelectPeers => {
                run!(SelectPeers, each[arguments::SelectPeers { info_hash, role, family, count, sample }]);
            }
            Query::PutPeer => run!(PutPeer, each both.map(put)),
            Query::PutPeerBatch => run!(PutPeerBatch, batch both.map(put)),
            Query::DeletePeer => {
                run!(
                    DeletePeer,
                    each[arguments::DeletePeer { info_hash, peer: seeder, role: Role::Seeder, expires }]
                );
            }
            Query::DeletePeerBatch => {
                let request = request[0];
                let (peer, role) = (seeder, Role::Seeder);
                run!(
                    DeletePeerBatch,
                    batch[arguments::DeletePeerBatch { request, info_hash, peer, role, expires }]
                );
            }
            Query::GraduatePeer => {
                run!(GraduatePeer, each[arguments::GraduatePeer { info_hash, peer: leecher, announced }]);
            }
            Query::GraduatePeerBatch => run!(GraduatePeerBatch, batch both.map(change)),
            Query::CountPeers => run!(CountPeers, each[Nothing {}]),
            Query::CountSwarm => run!(CountSwarm, each[this_swarm]),
            Query::NewestPeer => run!(NewestPeer, each[Nothing {}]),
            Query::ListSwarms => {
                let (info_hash, count) = (&[][..], i64::MAX);
                let list = |order: SwarmOrder| {
                    let order = order.name().as_bytes();
                    arguments::ListSwarms { info_hash, count, limit, order }
                };
                run!(ListSwarms, each SwarmOrder::ALL.iter().copied().map(list));
            }
            Query::ForgetPeers => run!(ForgetPeers, each[this_swarm]),
            Query::GetDownloads => run!(GetDownloads, each[this_swarm]),
            Query::IncrementDownloads => run!(IncrementDownloads, each swarms),
            Query::DeleteDownloads => run!(DeleteDownloads, each[this_swarm]),
            Query::ForgetPeersBatch => run!(ForgetPeersBatch, batch swarms),
            Query::DeleteDownloadsBatch => run!(DeleteDownloadsBatch, batch swarms),
            Query::Ping => run!(Ping, each[Nothing {}]),
            Query::CollectGarbage => {
                run!(CollectGarbage, each[arguments::CollectGarbage { cutoff, limit: 9 }]);
            }
            Query::CountStale => run!(CountStale, each[arguments::CountStale { cutoff }]),
            Query::MergeCounts => run!(MergeCounts, each[Nothing {}]),
            Query::CheckCounts => run!(CheckCounts, each[arguments::CheckCounts { info_hash, limit }]),
            Query::CountInfoHashes => run!(CountInfoHashes, each[Nothing {}]),
            Query::PutData => {
                run!(PutData, each [key, absent_key].map(|key| arguments::PutData { context, key, value, expires }));
            }
            Query::DeleteData => {
                run!(DeleteData, each[arguments::DeleteData { context, keys: &keys, expires }])
            }
            Query::GetData => run!(GetData, each[arguments::GetData { context, key }]),
            Query::ContainsDataBatch => {
                let request = request[0];
                run!(ContainsDataBatch, batch[arguments::ContainsDataBatch { request, context, key }]);
            }
            Query::ExportPeers => {
                let (info_hash, peer_id, address, port) =
                    (info_hash.as_bytes(), &[][..], AddressArgument::Lowest, 0);
                run!(ExportPeers, each[arguments::ExportPeers { info_hash, peer_id, address, port, count }]);
            }
            Query::ExportDownloads => {
                run!(
                    ExportDownloads,
                    each[arguments::ExportDownloads { info_hash: swarm.as_bytes(), count }]
                );
            }
            Query::ExportData => {
                let context = context.as_str();
                run!(ExportData, each[arguments::ExportData { context, key, count }]);
            }
            Query::ImportPeers => run!(ImportPeers, each both.map(import)),
            Query::ImportPeersBatch => run!(ImportPeersBatch, batch both.map(import)),
            Query::ImportDownloads => run!(ImportDownloads, each downloads),
            Query::ImportDownloadsBatch => run!(ImportDownloadsBatch, batch downloads),
            Query::ImportData => run!(ImportData, each data),
            Query::ImportDataBatch => run!(ImportDataBatch, batch data),
            Query::SelectPeersBatch => {
                let (request, for_seeder) = (request[0], false);
                let announce =
                    arguments::SelectPeersBatch { request, info_hash, for_seeder, family, sample, limit };
                run!(SelectPeersBatch, batch[announce]);
            }
            Query::BulkPut => {
                let put = |(request, peer)| arguments::BulkPut {
                    request,
                    info_hash,
                    peer,
                    role,
                    announced,
                    expires,
                };
                run!(BulkPut, batch both.map(put));
            }
            Query::BulkTouch => run!(BulkTouch, batch both.map(change)),
            Query::BulkDelete => run!(BulkDelete, batch both.map(change)),
            Query::BulkGraduate => run!(BulkGraduate, batch both.map(change)),
            Query::BulkRead => {
                let request = request[0];
                run!(
                    BulkRead,
                    batch[arguments::BulkRead { request, info_hash, role, family, sample, limit }]
                );
            }
            Query::CountSwarmBatch => {
                let request = request[0];
                run!(CountSwarmBatch, batch[arguments::CountSwarmBatch { request, info_hash }]);
            }
        }
        Ok(())
    }
}

fn problem(query: Query, message: String) -> Problem {
    Problem::new(query.key(), message).of_kind(ProblemKind::Query)
}

pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";

const QUERY_CANCELED: &str = "57014";

/// Whether a refusal may be on account of our rows, or of what others do: query_canceled, lock_not_available,
/// integrity constraints, and what functions raise by themselves.
fn is_of_rows(code: &str) -> bool {
    matches!(code, QUERY_CANCELED | "55P03") || code.starts_with("23") || code.starts_with("P0")
}
