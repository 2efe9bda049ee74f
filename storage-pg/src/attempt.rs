//! Attempts: running statements on a leased connection, again where others got in the way or the
//! connection was lost.

use std::ops::ControlFlow;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use sqlx::Executor;
use storage_core::layer::time_left;
use storage_core::{Error, ErrorKind, Event, Operation, Result};
use tokio::time::{Instant, sleep};

use crate::connection::{Commit, ConnectError, Lease};
use crate::core::Core;
use crate::failure::Failure;
use crate::gate::{Gate, Pass};
use crate::storage::not_connected;

/// How the statements of an attempt belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Together {
    /// One statement, or several that need not see the same state.
    No,
    /// All of them take effect, or none.
    AllOrNothing,
}

/// The attempts of one call.
pub(crate) struct Attempts<'a> {
    storage: &'a Core,
    operation: Operation,
    /// What begins a transaction, where one is needed.
    begin: Option<&'static str>,
    waits: ExponentialBackoff,
    /// `None`: never.
    give_up: Option<Instant>,
    /// Whether an earlier attempt may have taken effect though its answer was lost.
    after_loss: bool,
    moves_left: u8,
    conflicts: u32,
    pass: Option<Pass<'a>>,
}

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// How often a call moves on from a connection that ends under it: the next one may be as bad.
const MOVES: u8 = 5;

/// The part of the time for a call in which new attempts begin.
const TRIED_FOR: f32 = 0.8;

impl<'a> Attempts<'a> {
    pub(crate) fn new(storage: &'a Core, operation: Operation, together: Together) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(2))
            .with_max_delay(LONGEST_WAIT)
            .without_max_times()
            .with_jitter();
        Self {
            storage,
            operation,
            begin: begin(storage, operation, together),
            waits: waits.build(),
            give_up: Instant::now().checked_add(time_to_try(storage)),
            after_loss: false,
            moves_left: MOVES,
            conflicts: 0,
            pass: None,
        }
    }

    /// Whether an earlier attempt may have taken effect though its answer was lost.
    pub(crate) fn after_loss(&self) -> bool {
        self.after_loss
    }

    /// A connection for the next attempt, in a transaction where one is needed.
    pub(crate) async fn begin(&mut self) -> Result<Lease> {
        loop {
            let mut lease = match self.storage.pool.lease().await {
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
            self.pass = self.pass_gate().await;
            let Some(begin) = self.begin else { return Ok(lease) };
            match lease.execute(begin).await {
                Ok(_) => return Ok(lease),
                Err(error) => {
                    let failure = Failure::of("", error);
                    self.pass = None;
                    // Nothing has been written yet: any lost connection may be replaced.
                    if !(failure.is_lost() || failure.is_gone()) || !self.again("connection").await {
                        return Err(failure.into_error(self.operation, !self.after_loss));
                    }
                }
            }
        }
    }

    /// Ends an attempt: the call's result, or another attempt.
    pub(crate) async fn end<T>(
        &mut self,
        mut lease: Lease,
        result: Result<T, Failure>,
    ) -> ControlFlow<Result<T>> {
        // Without a COMMIT sent, a transaction comes to nothing.
        let may_count = result.is_ok() || self.begin.is_none();
        let result = match result {
            Ok(value) if self.begin.is_some() => {
                lease.execute("COMMIT").await.map(|_| value).map_err(|error| Failure::of("", error))
            }
            Err(failure) if self.begin.is_some() && !failure.is_lost() => {
                // A connection that cannot roll back is not given back.
                if lease.execute("ROLLBACK").await.is_err() {
                    drop(lease);
                    return self.decide(Err(failure), may_count).await;
                }
                Err(failure)
            }
            other => other,
        };
        match &result {
            Err(failure) if failure.is_lost() || failure.is_gone() => drop(lease),
            _ => lease.release(),
        }
        self.decide(result, may_count).await
    }

    /// `may_count` is whether an attempt whose answer was lost may have taken effect.
    async fn decide<T>(&mut self, result: Result<T, Failure>, may_count: bool) -> ControlFlow<Result<T>> {
        self.pass = None;
        let failure = match result {
            Ok(value) => return ControlFlow::Break(Ok(value)),
            Err(failure) => failure,
        };
        if failure.is_conflict() {
            self.conflicts += 1;
            if self.again("conflict").await {
                return ControlFlow::Continue(());
            }
        }
        let is_unknown = failure.is_lost() && may_count;
        self.after_loss |= is_unknown;
        let may_move = failure.is_gone() || failure.is_lost() && (self.is_repeatable() || !is_unknown);
        if may_move && self.moves_left > 0 && self.again("connection").await {
            self.moves_left -= 1;
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Err(failure.into_error(self.operation, !self.after_loss)))
    }

    /// Whether doing it twice is as good as doing it once. A graduation counts a download each time.
    fn is_repeatable(&self) -> bool {
        self.operation != Operation::GraduatePeer
    }

    /// Whether it is a write that may have taken effect, for all we know.
    fn is_doubtful(&self) -> bool {
        self.after_loss && self.operation.is_write()
    }

    /// Waits for the next attempt's turn.
    async fn pass_gate(&self) -> Option<Pass<'a>> {
        if !Gate::is_passed_by(self.operation) {
            return None;
        }
        self.storage.gate.pass(self.conflicts, self.give_up).await
    }

    /// Waits before the next attempt; false if it is too late for one.
    async fn again(&mut self, reason: &'static str) -> bool {
        let wait = self.waits.next().unwrap_or_default();
        if self.give_up.is_some_and(|give_up| Instant::now() + wait >= give_up) {
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

/// How long a call may be tried again: an error must reach the caller before the time for the whole call
/// has passed, since after that nobody would know what came of it.
fn time_to_try(storage: &Core) -> Duration {
    match time_left() {
        Some(left) => storage.retry_timeout.min(left.mul_f32(TRIED_FOR)),
        None => storage.retry_timeout,
    }
}

/// What begins the transaction of a call. A session commits as the writes of peers are to; what must not be
/// lost waits as long as the server has it by default.
fn begin(storage: &Core, operation: Operation, together: Together) -> Option<&'static str> {
    use Operation::{CollectGarbage, DeletePeer, PutPeer};
    let is_needed = together == Together::AllOrNothing || storage.pooler_mode();
    let commit = storage.settings.session.commit.filter(|_| operation.is_write());
    let is_of_peers = matches!(operation, PutPeer | DeletePeer | CollectGarbage);
    match commit {
        Some(commit) if is_of_peers && storage.pooler_mode() => Some(commit.begin()),
        Some(_) if !is_of_peers => Some(Commit::BEGIN_WITH_DEFAULT),
        _ => is_needed.then_some("BEGIN"),
    }
}

/// Runs statements on a connection, again as [`Attempts`] decides. The body sees the connection and
/// uses `?` on [`Failure`]s.
macro_rules! attempt {
    ($storage:expr, $operation:expr, $together:expr, |$connection:ident| $body:expr) => {
        $crate::attempt::attempt!($storage, $operation, $together, |$connection, _after_loss| $body)
    };
    ($storage:expr, $operation:expr, $together:expr, |$connection:ident, $after_loss:ident| $body:expr) => {{
        let mut attempts = $crate::attempt::Attempts::new($storage, $operation, $together);
        loop {
            let mut lease = attempts.begin().await?;
            let $after_loss = attempts.after_loss();
            let result: ::std::result::Result<_, $crate::failure::Failure> = async {
                let $connection: &mut ::sqlx::postgres::PgConnection = &mut lease;
                $body
            }
            .await;
            if let ::std::ops::ControlFlow::Break(result) = attempts.end(lease, result).await {
                break result;
            }
        }
    }};
}

pub(crate) use attempt;
