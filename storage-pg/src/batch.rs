//! The calls that are batched where a query for many is configured.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use storage_core::batcher::{BatchCall, BatchOp, Batcher, Bounds, Unanswered};
use storage_core::layer::{deadline, with_time_left};
use storage_core::{
    Context, Error, ErrorKind, Event, InfoHash, Operation, Peer, PeerRecord, PeerSelection, Result, Role,
    ServerClock, SwarmCounts, Timestamp,
};
use tokio::time::Instant;

use crate::announces::Announces;
use crate::arguments::Argument;
use crate::arguments::{self, random_sample};
use crate::config::PgConfig;
use crate::query_spec::{Batch, Query, queries};
use crate::retry::{Attempt, TxMode, with_retries};
use crate::statement::{ResultRow, Statement};
use crate::storage::Core;

/// A kind of calls that can be answered together.
pub(crate) trait BatchKind: Send + Sync + 'static {
    type Request: Send + Sync + 'static;
    type Answer: Send + 'static;

    /// The queries that answer them.
    const QUERIES: &'static [Query];
    const OPERATION: Operation;
    /// The first query's configuration key.
    const KEY: &'static str = Self::QUERIES[0].key();

    /// Answers them all, each in its place.
    fn answer(
        core: &Core,
        calls: &[BatchCall<Self::Request>],
    ) -> impl Future<Output = Vec<Result<Self::Answer>>> + Send;
}

/// Batchers the calls of one kind, where their queries are configured.
pub(crate) struct PgBatcher<K: BatchKind>(Option<Batcher<PgBatch<K>>>);

impl<K: BatchKind> PgBatcher<K> {
    fn new(core: &Arc<Core>, bounds: Bounds) -> Self {
        let is_configured = K::QUERIES.iter().all(|query| core.has(*query));
        let batch = || PgBatch { core: Arc::clone(core), kind: PhantomData };
        Self(is_configured.then(|| Batcher::new(batch(), bounds)))
    }

    async fn close(&self, at_most: Duration) {
        if let Some(batcher) = &self.0 {
            batcher.close(at_most).await;
        }
    }

    /// Makes a call: by `alone` while few are in flight, or else together with others.
    pub(crate) async fn call<'a, R: Into<K::Request>>(
        &self,
        request: R,
        alone: impl FnOnce(R) -> BoxFuture<'a, Result<K::Answer>>,
    ) -> Result<K::Answer> {
        match &self.0 {
            Some(batcher) => batcher.call(request, deadline(K::OPERATION), alone).await,
            None => alone(request).await,
        }
    }
}

struct PgBatch<K> {
    core: Arc<Core>,
    kind: PhantomData<fn() -> K>,
}

impl<K: BatchKind> BatchOp for PgBatch<K> {
    type Request = K::Request;
    type Answer = Result<K::Answer>;

    async fn run(&self, calls: Vec<BatchCall<K::Request>>) -> Vec<Result<K::Answer>> {
        let last = calls.iter().map(|call| call.deadline).max();
        let left = last.map(|last| last.saturating_duration_since(Instant::now()));
        with_time_left(left, K::answer(&self.core, &calls)).await
    }

    fn unanswered(&self, reason: Unanswered) -> Result<K::Answer> {
        let (kind, message) = match reason {
            Unanswered::NotSent => (ErrorKind::Timeout, "no batch became free in time"),
            Unanswered::Sent if K::OPERATION.is_write() => {
                (ErrorKind::Uncertain, "its batch was not answered")
            }
            Unanswered::Sent => (ErrorKind::Timeout, "its batch was not answered"),
            Unanswered::Closed => (ErrorKind::Closed, "not sent"),
        };
        Err(Error::new(crate::NAME, K::OPERATION, kind).with_message(format!("`{}`: {message}", K::KEY)))
    }

    fn batch_sent(&self, calls: usize, waited: Duration, left: usize) {
        for query in K::QUERIES {
            let (key, calls, left) = (query.key(), calls as u64, left as u64);
            self.core.observe(Event::BatchSent { key, calls, waited, left });
        }
    }
}

/// The batchers of a storage.
pub(crate) struct Batchers {
    pub(crate) puts: PgBatcher<Puts>,
    pub(crate) deletions: PgBatcher<Deletions>,
    pub(crate) graduations: PgBatcher<Graduations>,
    pub(crate) selections: PgBatcher<Selections>,
    pub(crate) announces: PgBatcher<Announces>,
    pub(crate) scrapes: PgBatcher<Scrapes>,
    pub(crate) lookups: PgBatcher<Lookups>,
}

impl Batchers {
    pub(crate) fn new(core: &Arc<Core>, config: &PgConfig) -> Self {
        let bounds = Bounds {
            size: config.batch_size,
            in_flight: config.batches_in_flight,
            queue: config.batch_queue,
            queue_when_idle: config.batch_when_idle,
            flush_when_full: false,
        };
        Self {
            puts: PgBatcher::new(core, bounds),
            deletions: PgBatcher::new(core, bounds),
            // One alone takes its locks in another order: it and a batch might wait for each other.
            graduations: PgBatcher::new(core, Bounds { queue_when_idle: true, ..bounds }),
            selections: PgBatcher::new(core, bounds),
            announces: PgBatcher::new(core, bounds),
            scrapes: PgBatcher::new(core, bounds),
            lookups: PgBatcher::new(core, bounds),
        }
    }

    /// Waits until all calls are answered, no longer than this.
    pub(crate) async fn close(&self, at_most: Duration) {
        tokio::join!(
            self.puts.close(at_most),
            self.deletions.close(at_most),
            self.graduations.close(at_most),
            self.selections.close(at_most),
            self.announces.close(at_most),
            self.scrapes.close(at_most),
            self.lookups.close(at_most),
        );
    }
}

/// The calls of a batch in the order of their keys, so that no two batches wait for each other; those of the same key
/// in the order in which they came.
fn in_order<'a, R, K: Ord>(calls: &'a [BatchCall<R>], key: impl Fn(&'a R) -> K) -> Vec<usize> {
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|call| key(&calls[*call].request));
    order
}

/// Calls in the order of their peers, a slice for each peer.
fn by_peer<'o>(calls: &[BatchCall<PeerRecord>], order: &'o [usize]) -> impl Iterator<Item = &'o [usize]> {
    order.chunk_by(|one, other| peer_of(&calls[*one].request) == peer_of(&calls[*other].request))
}

fn peer_of(record: &PeerRecord) -> (&InfoHash, &Peer) {
    (&record.info_hash, &record.peer)
}

/// The row for calls of the same peer: the last of them counts, and it is written for all of them.
fn row_of<'a>(calls: &'a [BatchCall<PeerRecord>], same: &[usize]) -> BatchCall<&'a PeerRecord> {
    let deadline = same.iter().map(|call| calls[*call].deadline).min();
    BatchCall {
        request: &calls[same[same.len() - 1]].request,
        deadline: deadline.unwrap_or_else(Instant::now),
    }
}

/// Peers that announce.
pub(crate) struct Puts;

impl BatchKind for Puts {
    type Request = PeerRecord;
    type Answer = ();

    const QUERIES: &'static [Query] = &[Query::PutPeerBatch];
    const OPERATION: Operation = Operation::PutPeer;

    /// Of a peer put twice the last is written.
    async fn answer(core: &Core, calls: &[BatchCall<PeerRecord>]) -> Vec<Result<()>> {
        let order = in_order(calls, peer_of);
        let mut place = vec![0; calls.len()];
        let mut rows = Vec::with_capacity(calls.len());
        for same in by_peer(calls, &order) {
            same.iter().for_each(|call| place[*call] = rows.len());
            rows.push(row_of(calls, same));
        }
        let mut expired = vec![false; rows.len()];
        let written = in_pieces(
            core,
            Self::OPERATION,
            queries::PutPeerBatch,
            &rows,
            |_, record, expires| arguments::PutPeer {
                info_hash: &record.info_hash,
                peer: &record.peer,
                role: record.role,
                announced: record.announced,
                expires: Some(expires),
            },
            |ran, piece| {
                if ran.affected < piece.len() as u64 {
                    for row in piece.clone() {
                        expired[row] = ran.may_have_expired(rows[row].deadline);
                    }
                }
            },
        )
        .await;
        let result = |row: usize| match &written[row] {
            Ok(()) if expired[row] => Err(may_have_expired(Self::OPERATION, Self::KEY)),
            written => written.as_ref().map_err(Error::copy).copied(),
        };
        place.into_iter().map(result).collect()
    }
}

/// A peer that is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deletion {
    pub(crate) info_hash: InfoHash,
    pub(crate) peer: Peer,
    /// None if it is to be deleted in whichever role it is.
    pub(crate) role: Option<Role>,
}

impl Deletion {
    /// The roles in which it is looked for. One that graduates meanwhile goes from the first to the second.
    pub(crate) fn roles(&self) -> &'static [Role] {
        match self.role {
            Some(Role::Leecher) => &[Role::Leecher],
            Some(Role::Seeder) => &[Role::Seeder],
            None => &[Role::Leecher, Role::Seeder],
        }
    }
}

/// Peers that leave.
pub(crate) struct Deletions;

impl BatchKind for Deletions {
    type Request = Deletion;
    type Answer = ();

    const QUERIES: &'static [Query] = &[Query::DeletePeerBatch];
    const OPERATION: Operation = Operation::DeletePeer;

    /// Of those who delete the same peer one has found it. A peer whose role does not matter has a row for
    /// each.
    async fn answer(core: &Core, calls: &[BatchCall<Deletion>]) -> Vec<Result<()>> {
        let mut rows = Vec::with_capacity(calls.len());
        for call in in_order(calls, |deletion| deletion) {
            let BatchCall { request, deadline } = &calls[call];
            rows.extend(
                request.roles().iter().map(|role| BatchCall { request: (call, *role), deadline: *deadline }),
            );
        }
        let (mut found, mut expired) = (vec![false; rows.len()], vec![false; rows.len()]);
        let done = in_pieces(
            core,
            Self::OPERATION,
            queries::DeletePeerBatch,
            &rows,
            |request, (call, role), expires| {
                let Deletion { info_hash, peer, .. } = &calls[call].request;
                arguments::DeletePeerBatch { request, info_hash, peer, role, expires: Some(expires) }
            },
            |ran, piece| {
                for row in piece.clone() {
                    // What took effect, and was repeated because its answer was lost, finds nothing.
                    found[row] = ran.attempt.may_have_committed;
                    expired[row] = ran.may_have_expired(rows[row].deadline);
                }
                ran.by_request(piece).for_each(|(request, _)| found[request] = true);
            },
        )
        .await;
        let not_found = || Err(Error::new(crate::NAME, Self::OPERATION, ErrorKind::NotFound));
        let mut results: Vec<Result<()>> = calls.iter().map(|_| not_found()).collect();
        for (row, done) in done.into_iter().enumerate() {
            let (call, _) = rows[row].request;
            match done {
                Ok(()) if found[row] => results[call] = Ok(()),
                _ if results[call].is_ok() => {}
                Ok(()) if expired[row] => results[call] = Err(may_have_expired(Self::OPERATION, Self::KEY)),
                Ok(()) => {}
                failed => results[call] = failed,
            }
        }
        results
    }
}

/// Clients of one address that have everything now.
pub(crate) struct Graduations;

impl BatchKind for Graduations {
    type Request = PeerRecord;
    /// Whether it is a download; `None` if it was not done.
    type Answer = Option<bool>;

    const QUERIES: &'static [Query] = &[Query::GraduatePeerBatch];
    const OPERATION: Operation = Operation::GraduatePeers;

    /// Of those who graduate the same peer the first makes it a download.
    async fn answer(core: &Core, calls: &[BatchCall<PeerRecord>]) -> Vec<Result<Option<bool>>> {
        let order = in_order(calls, peer_of);
        let rows: Vec<_> = by_peer(calls, &order).map(|same| row_of(calls, same)).collect();
        let (mut answers, mut expired) = (vec![None; rows.len()], vec![false; rows.len()]);
        let done = in_pieces(
            core,
            Self::OPERATION,
            queries::GraduatePeerBatch,
            &rows,
            |request, record, expires| arguments::ChangePeerBatch {
                request,
                info_hash: &record.info_hash,
                peer: &record.peer,
                announced: record.announced,
                expires: Some(expires),
            },
            |ran, piece| {
                for row in piece.clone() {
                    expired[row] = ran.may_have_expired(rows[row].deadline);
                }
                for (request, row) in ran.by_request(piece) {
                    // What took effect, and was repeated because its answer was lost, finds a seeder.
                    let is_download = ran.statement.read_boolean(row, 1).unwrap_or(false);
                    answers[request] = Some(is_download || ran.attempt.may_have_committed);
                }
            },
        )
        .await;
        let mut results: Vec<Result<Option<bool>>> = calls.iter().map(|_| Ok(None)).collect();
        for (row, (same, done)) in by_peer(calls, &order).zip(done).enumerate() {
            for (place, call) in same.iter().enumerate() {
                results[*call] = match &done {
                    Ok(()) if answers[row].is_none() && expired[row] => {
                        Err(may_have_expired(Self::OPERATION, Self::KEY))
                    }
                    Ok(()) => Ok(answers[row].map(|is_download| is_download && place == 0)),
                    Err(error) => Err(error.copy()),
                };
            }
        }
        results
    }
}

/// Peers for those who announce.
pub(crate) struct Selections;

impl BatchKind for Selections {
    type Request = PeerSelection;
    type Answer = Vec<Peer>;

    const QUERIES: &'static [Query] = &[Query::SelectPeersBatch];
    const OPERATION: Operation = Operation::AnnouncePeers;

    async fn answer(core: &Core, calls: &[BatchCall<PeerSelection>]) -> Vec<Result<Vec<Peer>>> {
        // One more than wanted, in case the one to leave out comes.
        let wanted = |call: &BatchCall<PeerSelection>| {
            call.request.num_want.saturating_add(usize::from(call.request.exclude.is_some()))
        };
        let limit = calls.iter().map(wanted).max().unwrap_or(0);
        let rows = calls.iter().map(|call| BatchCall { request: &call.request, deadline: call.deadline });
        let rows: Vec<_> = rows.collect();
        let read = |statement: &Statement, row: &ResultRow, answer: &mut Vec<Peer>, request: usize| {
            let selection = &calls[request].request;
            let (peers, unreadable) = statement.read_peers(row, [1, 2, 3], selection.family);
            core.skipped(statement, unreadable as u64);
            *answer = peers;
            answer.retain(|peer| Some(*peer) != selection.exclude);
            answer.truncate(selection.num_want);
        };
        answers(
            core,
            Self::OPERATION,
            queries::SelectPeersBatch,
            &rows,
            |request, selection, _| arguments::SelectPeersBatch {
                request,
                info_hash: &selection.info_hash,
                for_seeder: selection.for_seeder,
                family: selection.family,
                sample: random_sample(),
                limit,
            },
            read,
        )
        .await
    }
}

/// Counts of swarms.
pub(crate) struct Scrapes;

impl BatchKind for Scrapes {
    type Request = InfoHash;
    type Answer = SwarmCounts;

    const QUERIES: &'static [Query] = &[Query::CountSwarmBatch];
    const OPERATION: Operation = Operation::ScrapeSwarm;

    async fn answer(core: &Core, calls: &[BatchCall<InfoHash>]) -> Vec<Result<SwarmCounts>> {
        let info_hashes: Vec<_> = calls.iter().map(|call| call.request).collect();
        count(core, Self::OPERATION, &info_hashes).await
    }
}

/// The counts of these swarms in their order. One that is asked for several times is counted once.
pub(crate) async fn count(
    core: &Core,
    operation: Operation,
    info_hashes: &[InfoHash],
) -> Vec<Result<SwarmCounts>> {
    let mut swarms = info_hashes.to_vec();
    swarms.sort_unstable();
    swarms.dedup();
    let deadline = deadline(operation);
    let rows: Vec<_> = swarms.iter().map(|info_hash| BatchCall { request: info_hash, deadline }).collect();
    let arguments = |request, info_hash, _| arguments::CountSwarmBatch { request, info_hash };
    let read = |statement: &Statement, row: &ResultRow, answer: &mut SwarmCounts, _| {
        let read = |column| statement.read_count(row, column);
        *answer = SwarmCounts { seeders: read(1), leechers: read(2), downloads: read(3) };
    };
    let counts = answers(core, operation, queries::CountSwarmBatch, &rows, arguments, read).await;
    let of = |info_hash| match swarms.binary_search(info_hash).map(|place| &counts[place]) {
        Ok(Ok(counts)) => Ok(*counts),
        Ok(Err(error)) => Err(error.copy()),
        Err(_) => Ok(SwarmCounts::default()),
    };
    info_hashes.iter().map(of).collect()
}

/// Keys of data that are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    pub(crate) context: Context,
    pub(crate) keys: Vec<Bytes>,
}

impl Lookup {
    /// Looks for them without others.
    pub(crate) async fn alone(self, core: &Core) -> Result<Vec<bool>> {
        let call = BatchCall { request: self, deadline: deadline(Lookups::OPERATION) };
        let mut found = Lookups::answer(core, &[call]).await;
        found.pop().unwrap_or(Ok(Vec::new()))
    }
}

/// Whether there is data.
pub(crate) struct Lookups;

impl BatchKind for Lookups {
    type Request = Lookup;
    type Answer = Vec<bool>;

    const QUERIES: &'static [Query] = &[Query::ContainsDataBatch];
    const OPERATION: Operation = Operation::ContainsData;

    async fn answer(core: &Core, calls: &[BatchCall<Lookup>]) -> Vec<Result<Vec<bool>>> {
        let rows = calls.iter().flat_map(|BatchCall { request: Lookup { context, keys }, deadline }| {
            keys.iter().map(move |key| BatchCall { request: (context, key), deadline: *deadline })
        });
        let rows: Vec<_> = rows.collect();
        let found = answers(
            core,
            Self::OPERATION,
            queries::ContainsDataBatch,
            &rows,
            |request, (context, key), _| arguments::ContainsDataBatch { request, context, key },
            |_, _, found, _| *found = true,
        );
        let mut found = found.await.into_iter();
        calls.iter().map(|call| found.by_ref().take(call.request.keys.len()).collect()).collect()
    }
}

/// Runs a query that returns a row for each call, with the call's number in its first column.
pub(crate) async fn answers<'a, Q: Batch, R: Copy, T: Default>(
    core: &Core,
    operation: Operation,
    query: Q,
    rows: &[BatchCall<R>],
    arguments: impl Fn(u32, R, Timestamp) -> Q::Arguments<'a>,
    read: impl Fn(&Statement, &ResultRow, &mut T, usize),
) -> Vec<Result<T>> {
    let mut answers: Vec<T> = rows.iter().map(|_| T::default()).collect();
    let done = in_pieces(core, operation, query, rows, arguments, |ran, piece| {
        for (request, row) in ran.by_request(piece) {
            read(ran.statement, row, &mut answers[request], request);
        }
    })
    .await;
    done.into_iter().zip(answers).map(|(done, answer)| done.map(|()| answer)).collect()
}

/// A query that was run for a piece of a batch.
pub(crate) struct BatchRun<'a> {
    pub(crate) statement: &'a Statement,
    rows: Vec<ResultRow>,
    /// How many rows it affected.
    affected: u64,
    pub(crate) attempt: Attempt,
}

impl BatchRun<'_> {
    /// Its rows, each with the call that the first column names.
    pub(crate) fn by_request(&self, piece: &Range<usize>) -> impl Iterator<Item = (usize, &ResultRow)> {
        self.rows.iter().filter_map(|row| {
            let request = usize::try_from(self.statement.read_integer(row, 0)?).ok()?;
            piece.contains(&request).then_some((request, row))
        })
    }

    /// Whether the server may have come to a row with this deadline too late.
    pub(crate) fn may_have_expired(&self, deadline: Instant) -> bool {
        self.statement.uses(Argument::Expires) && self.attempt.clock.may_have_passed(deadline)
    }
}

/// Runs a query for all these rows, and where the server refuses, for either half of them, until those
/// that it refuses are alone: they fail, the others do not. The arguments of a row are made of its number,
/// of what it is of, and of the time by the server's clock at which its caller gives up.
pub(crate) async fn in_pieces<'a, Q: Batch, R: Copy>(
    core: &Core,
    operation: Operation,
    query: Q,
    rows: &[BatchCall<R>],
    arguments: impl Fn(u32, R, Timestamp) -> Q::Arguments<'a>,
    mut read: impl FnMut(&BatchRun<'_>, &Range<usize>),
) -> Vec<Result<()>> {
    let mut done: Vec<Result<()>> = rows.iter().map(|_| Ok(())).collect();
    let mut pieces = if rows.is_empty() { Vec::new() } else { vec![Range { start: 0, end: rows.len() }] };
    while let Some(piece) = pieces.pop() {
        let arguments = |clock: ServerClock| -> Vec<Q::Arguments<'a>> {
            let row = |row: usize| {
                let BatchCall { request, deadline } = rows[row];
                arguments(row as u32, request, clock.time_at(deadline))
            };
            piece.clone().map(row).collect()
        };
        match run(core, operation, query, arguments).await {
            Ok(ran) => read(&ran, &piece),
            Err(error) if error.kind() == ErrorKind::Rejected && piece.len() > 1 => {
                let middle = piece.start + piece.len() / 2;
                pieces.extend([middle..piece.end, piece.start..middle]);
            }
            Err(error) => done[piece].iter_mut().for_each(|done| *done = Err(error.copy())),
        }
    }
    done
}

async fn run<'s, 'a, Q: Batch>(
    core: &'s Core,
    operation: Operation,
    query: Q,
    arguments: impl Fn(ServerClock) -> Vec<Q::Arguments<'a>>,
) -> Result<BatchRun<'s>> {
    let typed = core.statement(query, operation)?;
    let statement = typed.untyped();
    with_retries!(core, operation, TxMode::Autocommit, |connection, attempt| {
        let batch = arguments(attempt.clock);
        if statement.has_result() {
            let rows = typed.rows_of_batch(connection, &batch).await?;
            // Of the other queries with a result a row is missing often.
            if operation == Operation::WritePeers {
                attempt.check_expiry(statement, connection, (rows.len() as u64, batch.len())).await?;
            }
            return Ok(BatchRun { statement, affected: rows.len() as u64, rows, attempt });
        }
        let affected = typed.execute_batch(connection, &batch).await?;
        attempt.check_expiry(statement, connection, (affected, batch.len())).await?;
        Ok(BatchRun { statement, affected, rows: Vec::new(), attempt })
    })
}

/// A write that the server may have come to too late.
pub(crate) fn may_have_expired(operation: Operation, key: &str) -> Error {
    let error = Error::new(crate::NAME, operation, ErrorKind::Uncertain);
    error.with_message(format!("`{key}`: the server may have received it after it had expired"))
}
