//! Running statements on a leased connection, and retrying them after a write conflict or a lost connection.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};
use storage_core::layer::deadline;
use storage_core::{Error, ErrorKind, Event, Operation, Result, ServerClock, Timestamp};
use tokio::time::{Instant, sleep, timeout_at};

use crate::arguments::Argument;
use crate::connection::{Lease, SynchronousCommit};
use crate::contention_limiter::{ContentionLimiter, Permit};
use crate::error::ConnectError;
use crate::error::QueryError;
use crate::server::ask_server;
use crate::statement::Statement;
use crate::storage::Core;
use crate::storage::not_connected;

/// Whether the statements of an attempt run in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TxMode {
    /// One statement, or several that need not see the same state.
    Autocommit,
    /// All of them take effect, or none.
    Transaction,
}

/// The attempts of one call, and when the next one runs.
pub(crate) struct RetryLoop<'a> {
    storage: &'a Core,
    operation: Operation,
    /// What begins a transaction, where one is needed.
    begin_sql: Option<Cow<'static, str>>,
    waits: ExponentialBackoff,
    /// When the call must have ended.
    deadline: Instant,
    /// After this no further attempt begins.
    retry_until: Instant,
    /// Whether an earlier attempt may have taken effect though its answer was lost.
    may_have_committed: bool,
    reconnects_left: u8,
    refreshes_left: u8,
    conflicts: u32,
    permit: Option<Permit<'a>>,
}

/// What an attempt knows of its circumstances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Whether an earlier attempt may have taken effect though its answer was lost.
    pub(crate) may_have_committed: bool,
    /// The clock of the server that it runs on.
    pub(crate) clock: ServerClock,
    /// When the call must have ended.
    pub(crate) deadline: Instant,
}

impl Attempt {
    /// The time by the server's clock from which on a write of this call must not take effect.
    pub(crate) fn expiry(&self) -> Timestamp {
        self.clock.time_at(self.deadline)
    }

    /// Whether the server may have come to a statement of this call too late.
    pub(crate) fn may_have_expired(&self, statement: &Statement) -> bool {
        statement.uses(Argument::Expires) && self.clock.may_have_passed(self.deadline)
    }

    /// Makes sure that a write that affected so few rows did not expire.
    pub(crate) async fn check_expiry(
        &self,
        statement: &Statement,
        connection: &mut PgConnection,
        (affected, expected): (u64, usize),
    ) -> Result<(), QueryError> {
        if affected >= expected as u64 || !statement.uses(Argument::Expires) {
            return Ok(());
        }
        let key = statement.query.key();
        let clock = ask_server(connection).await.map_err(|error| QueryError::of(key, error))?.clock;
        if self.clock.was_set_before(&clock) {
            return Err(QueryError::clock_was_set(key));
        }
        // Rows of other callers in the same batch may have more time.
        if expected == 1 && clock.time_at(Instant::now()) >= self.expiry() {
            return Err(QueryError::expired(key));
        }
        Ok(())
    }
}

/// The longest that each part of the diagnostics may take, and a check of counts.
const DIAGNOSTICS_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// How often a call moves on from a connection that ends under it: the next one may be as bad.
const MAX_RECONNECTS: u8 = 5;

/// How often a call prepares its statements again: a script may change a table several times.
const MAX_REFRESHES: u8 = 3;

/// The part of the time for a call in which new attempts begin.
const RETRY_SHARE: f32 = 0.8;

impl<'a> RetryLoop<'a> {
    pub(crate) fn new(storage: &'a Core, operation: Operation, mode: TxMode) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(2))
            .with_max_delay(LONGEST_WAIT)
            .without_max_times()
            .with_jitter();
        let (now, mut deadline) = (Instant::now(), deadline(operation));
        if matches!(operation, Operation::Diagnostics | Operation::CheckCounts) {
            deadline = deadline.min(now + DIAGNOSTICS_TIMEOUT);
        }
        let time_to_try = storage.retry_timeout.min((deadline - now).mul_f32(RETRY_SHARE));
        Self {
            storage,
            operation,
            begin_sql: begin_sql(storage, operation, mode),
            waits: waits.build(),
            deadline,
            retry_until: now + time_to_try,
            may_have_committed: false,
            reconnects_left: MAX_RECONNECTS,
            refreshes_left: MAX_REFRESHES,
            conflicts: 0,
            permit: None,
        }
    }

    /// When the call must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A connection for the next attempt, in a transaction where one is needed.
    pub(crate) async fn next_attempt(&mut self) -> Result<(Lease, Attempt)> {
        loop {
            let leased = self.storage.lease(self.deadline, self.operation.is_long()).await;
            let mut lease = match leased {
                Ok(lease) => lease,
                // What may have taken effect should not be left at that while there is time.
                Err(error)
                    if self.is_doubtful() && error.is_transient() && self.again("connection").await =>
                {
                    continue;
                }
                Err(error) => return Err(self.not_connected(error)),
            };
            // Not before there is a connection: nobody waits for those who wait for one.
            self.permit = self.acquire_permit().await;
            let begun = match &self.begin_sql {
                Some(begin) => {
                    lease.in_transaction();
                    self.execute(&mut lease, begin).await
                }
                None => Ok(()),
            };
            let Err(failure) = begun else {
                let Self { may_have_committed, deadline, .. } = *self;
                let attempt = Attempt { may_have_committed, clock: lease.clock(), deadline };
                return Ok((lease, attempt));
            };
            lease.give_up();
            self.permit = None;
            // Nothing has been written yet: any lost connection may be replaced.
            if !(failure.is_lost() || failure.is_gone()) || !self.again("connection").await {
                return Err(failure.into_error(self.operation, !self.may_have_committed));
            }
        }
    }

    /// Executes statements of our own, within the time for the call.
    async fn execute(&self, lease: &mut Lease, sql: &str) -> Result<(), QueryError> {
        let Some(connection) = lease.connection() else { return Err(QueryError::out_of_time()) };
        let executed = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        timeout_at(self.deadline, executed).await??;
        Ok(())
    }

    /// Commits, unless the time for the call has passed when the server comes to it.
    async fn commit(&self, lease: &mut Lease) -> Result<(), QueryError> {
        if !self.operation.is_write() {
            return self.execute(lease, "COMMIT").await;
        }
        // The division fails, and what follows it in the message is not executed.
        let expiry = lease.clock().time_at(self.deadline);
        let commit = format!("SELECT 1 / (clock_timestamp() < '{expiry}'::timestamptz)::int4; COMMIT");
        self.execute(lease, &commit).await.map_err(QueryError::or_expired)
    }

    /// Ends an attempt: the call's result, or another attempt.
    pub(crate) async fn end<T>(
        &mut self,
        mut lease: Lease,
        result: Result<T, QueryError>,
    ) -> ControlFlow<Result<T>> {
        // Without a COMMIT sent, a transaction comes to nothing.
        let may_count = result.is_ok() || self.begin_sql.is_none();
        let result = match result {
            Ok(value) if self.begin_sql.is_some() => self.commit(&mut lease).await.map(|()| value),
            other => other,
        };
        let mut is_useless = result.as_ref().err().is_some_and(QueryError::leaves_no_connection);
        if result.is_err() && self.begin_sql.is_some() && !is_useless {
            // A connection that cannot roll back is not given back.
            is_useless = self.execute(&mut lease, "ROLLBACK").await.is_err();
        }
        let outdated = result.as_ref().err().filter(|failure| failure.is_outdated());
        let mut is_refreshed = false;
        if let Some(failure) = outdated.filter(|_| !is_useless && self.refreshes_left > 0) {
            self.refreshes_left -= 1;
            match self.storage.refresh_statements(&mut lease, failure, self.deadline).await {
                Ok(refreshed) => is_refreshed = refreshed,
                Err(_) => is_useless = true,
            }
        }
        if is_useless {
            lease.give_up();
        } else {
            lease.release();
        }
        if is_refreshed {
            self.permit = None;
            self.may_have_committed |= may_count && result.is_err_and(|failure| failure.is_unknown());
            self.storage.observe(Event::Retried { reason: "statement" });
            return ControlFlow::Continue(());
        }
        self.decide(result, may_count).await
    }

    /// `may_count` is whether an attempt whose answer was lost may have taken effect.
    async fn decide<T>(&mut self, result: Result<T, QueryError>, may_count: bool) -> ControlFlow<Result<T>> {
        self.permit = None;
        let failure = match result {
            Ok(value) => return ControlFlow::Break(Ok(value)),
            Err(failure) => failure,
        };
        let is_unknown = failure.is_unknown() && may_count;
        self.may_have_committed |= is_unknown;
        if failure.is_conflict() {
            self.conflicts += 1;
            if self.again("conflict").await {
                return ControlFlow::Continue(());
            }
        }
        if (failure.is_gone() || failure.is_lost())
            && self.reconnects_left > 0
            && self.again("connection").await
        {
            self.reconnects_left -= 1;
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Err(failure.into_error(self.operation, !self.may_have_committed)))
    }

    /// Whether it is a write that may have taken effect, for all we know.
    fn is_doubtful(&self) -> bool {
        self.may_have_committed && self.operation.is_write()
    }

    /// Waits for the permit of the next attempt.
    async fn acquire_permit(&self) -> Option<Permit<'a>> {
        if !ContentionLimiter::limits(self.operation) {
            return None;
        }
        self.storage.contention.acquire(self.conflicts, Some(self.retry_until)).await
    }

    /// Waits before the next attempt; false if it is too late for one.
    async fn again(&mut self, reason: &'static str) -> bool {
        let wait = self.waits.next().unwrap_or_default();
        if Instant::now() + wait >= self.retry_until {
            return false;
        }
        sleep(wait).await;
        self.storage.observe(Event::Retried { reason });
        true
    }

    fn not_connected(&self, error: ConnectError) -> Error {
        if self.is_doubtful() {
            let uncertain = Error::new(crate::NAME, self.operation, ErrorKind::Uncertain);
            return uncertain.with_message(error.to_string()).with_source(error);
        }
        not_connected(self.operation, error)
    }
}

/// What begins the transaction of a call. A session commits as the writes of peers are to; what must not be
/// lost waits as long as the server has it by default.
fn begin_sql(storage: &Core, operation: Operation, mode: TxMode) -> Option<Cow<'static, str>> {
    use Operation::{CollectGarbage, DeletePeer, PutPeer};
    let is_needed = mode == TxMode::Transaction || storage.pooler_mode();
    let commit = storage.settings.session.commit.filter(|_| operation.is_write());
    let is_of_peers = matches!(operation, PutPeer | DeletePeer | CollectGarbage);
    match commit {
        Some(commit) if is_of_peers && storage.pooler_mode() => Some(commit.begin().into()),
        Some(_) if !is_of_peers => Some(SynchronousCommit::BEGIN_WITH_DEFAULT.into()),
        _ => is_needed.then_some("BEGIN".into()),
    }
}

/// Runs statements on a connection, retries them as [`RetryLoop`] decides, and ends when the time for the call is
/// over. The body gets the connection, and the [`Attempt`] if it asks for it, and uses `?` on [`QueryError`]s.
macro_rules! with_retries {
    ($storage:expr, $operation:expr, $mode:expr, |$connection:ident| $body:expr) => {
        $crate::retry::with_retries!($storage, $operation, $mode, |$connection, _attempt| $body)
    };
    ($storage:expr, $operation:expr, $mode:expr, |$connection:ident, $attempt:ident| $body:expr) => {{
        let mut attempts = $crate::retry::RetryLoop::new($storage, $operation, $mode);
        loop {
            let (mut lease, $attempt) = attempts.next_attempt().await?;
            let run = async {
                let Some($connection) = lease.connection() else {
                    return Err($crate::error::QueryError::out_of_time());
                };
                $body
            };
            let result: ::std::result::Result<_, $crate::error::QueryError> =
                ::tokio::time::timeout_at(attempts.deadline(), run)
                    .await
                    .unwrap_or_else(|late| Err(late.into()));
            if let ::std::ops::ControlFlow::Break(result) = attempts.end(lease, result).await {
                break result;
            }
        }
    }};
}

pub(crate) use with_retries;
