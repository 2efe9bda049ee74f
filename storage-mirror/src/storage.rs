//! The storage and what is common to its parts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::timeout;

use super::maintenance::{self, Collections};
use super::replication_stats::{PendingWrite, ReplicationStats};
use super::secondary::Secondary;
use super::write_locks::WriteLocks;
use super::write_queue::{QueuedWrite, WriteQueue};
use super::{MirrorConfig, Missed, NAME, Suspended, diagnostics};
use storage_core::config::Problem;
use storage_core::layer::{time_left, with_time_left};
use storage_core::{
    Backend, ClockReading, Diagnostics, Error, ErrorKind, MissingCapabilities, NoObserver, Operation,
    PendingWrites, QueryCheck, Result, SharedObserver, Storage, Timestamp, Utilization,
};

/// How long the two storages may take to close, if nobody says how much time is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is kept of the time that is left, to close the two storages in.
const KEPT_FOR_CLOSING: Duration = Duration::from_millis(1_500);

/// Two storages as one: see the [module](super).
///
/// Timeouts, limits and an orderly close are layers: [`with_default_layers`](storage_core::with_default_layers), which [`Backends`](storage_core::Backends)
/// put around by themselves. The two storages should have such layers of their own.
pub struct MirrorStorage<S: ?Sized = dyn Storage> {
    pub(super) primary: Arc<S>,
    pub(super) secondary: Arc<Secondary<S>>,
    pub(super) locks: WriteLocks,
    pub(super) write_queue: WriteQueue<S>,
    pub(super) collections: Collections<S>,
    config: MirrorConfig,
    drained: OnceCell<()>,
}

/// How a mirror does; counts are since it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorStatus {
    /// When it was made.
    pub started: Timestamp,
    /// Writes that the secondary has.
    pub applied: u64,
    /// Writes that wait for it or are under way to it.
    pub queued: u64,
    /// Writes that it did not get, and never will without a migration.
    pub missed: Option<Missed>,
    /// Whether it gets none for now.
    pub suspended: Option<Suspended>,
}

impl<S: Backend + ?Sized + 'static> MirrorStorage<S> {
    /// A mirror of two open storages. It starts tasks, and so must be made within a tokio runtime.
    pub fn new(primary: Arc<S>, secondary: Arc<S>, config: MirrorConfig) -> Self {
        Self::with_observer(primary, secondary, config, Arc::new(NoObserver))
    }

    /// The same, with an observer for what befalls the secondary.
    pub fn with_observer(
        primary: Arc<S>,
        secondary: Arc<S>,
        config: MirrorConfig,
        observer: SharedObserver,
    ) -> Self {
        let secondary = Secondary::open(secondary, &config, ReplicationStats::new(observer));
        Self::of(primary, secondary, config)
    }

    pub(super) fn of(primary: Arc<S>, secondary: Secondary<S>, config: MirrorConfig) -> Self {
        let secondary = Arc::new(secondary);
        let write_queue = WriteQueue::start(&secondary, &config);
        write_queue.spawn(|tasks| Arc::clone(&secondary).supervise(tasks));
        // One under way, and one that waits.
        let (collections, asked_for) = mpsc::channel(1);
        write_queue
            .spawn(|tasks| maintenance::collect_on_secondary(Arc::clone(&secondary), asked_for, tasks));
        Self {
            primary,
            secondary,
            locks: WriteLocks::new(),
            write_queue,
            collections,
            config,
            drained: OnceCell::new(),
        }
    }

    /// How it does.
    pub fn status(&self) -> MirrorStatus {
        let stats = &self.secondary.stats;
        // The queue first: what leaves it afterwards is seen among the rest.
        let queued = stats.queued();
        MirrorStatus {
            started: stats.started,
            applied: stats.applied(),
            queued,
            missed: stats.missed(),
            suspended: self.secondary.suspended(),
        }
    }

    /// Makes a write on the primary. What it gives with the answer is to be written to the secondary, and
    /// missed if the call is given up or its outcome is in doubt.
    pub(super) async fn write<T>(
        &self,
        writes: usize,
        bytes: usize,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<(T, PendingWrite)> {
        let pending = self.pending_write(writes, bytes);
        match call.await {
            Ok(answer) => Ok((answer, pending)),
            Err(error) => {
                if !is_in_doubt(&error) {
                    pending.cancel();
                }
                Err(of_primary(error))
            }
        }
    }

    pub(super) fn pending_write(&self, writes: usize, bytes: usize) -> PendingWrite {
        self.secondary.stats.pending_write(writes as u64, bytes as u64)
    }

    /// Queues a write for the secondary.
    pub(super) fn pass_on<F>(
        &self,
        lane: usize,
        subject: Option<u64>,
        (operation, pending): (Operation, PendingWrite),
        apply: impl FnOnce(Arc<S>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        // While it is suspended, dropping what is pending counts it.
        if self.secondary.is_suspended() {
            return;
        }
        let apply = Box::new(move |secondary| Box::pin(apply(secondary)) as _);
        self.write_queue.push(lane, QueuedWrite { operation, subject, pending, apply });
    }
}

/// Whether a failed write may have taken effect, all or in part.
pub(super) fn is_in_doubt(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Uncertain | ErrorKind::Corrupt => true,
        ErrorKind::NotFound | ErrorKind::Closed | ErrorKind::Busy | ErrorKind::Unsupported(_) => false,
        // Of many entries some may have been written.
        _ => error.operation().is_long() || error.operation() == Operation::WritePeers,
    }
}

/// An error of the primary as one of the mirror.
pub(super) fn of_primary(error: Error) -> Error {
    let mirrored = Error::new(NAME, error.operation(), error.kind());
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Closed => mirrored,
        _ => mirrored.with_message("in `primary`").with_source(error),
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Backend + ?Sized + 'static> Backend for MirrorStorage<S> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn durable(&self) -> bool {
        self.primary.durable()
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        self.primary.missing_capabilities()
    }

    fn configuration_key(&self, operation: Operation) -> Option<&'static str> {
        self.primary.configuration_key(operation)
    }

    fn visible_within(&self) -> Duration {
        self.primary.visible_within()
    }

    fn now(&self) -> Timestamp {
        self.primary.now()
    }

    fn clock(&self) -> Option<ClockReading> {
        self.primary.clock()
    }

    fn server(&self) -> Option<String> {
        self.primary.server()
    }

    /// Those that wait for the secondary or are under way to it.
    fn pending_writes(&self) -> PendingWrites {
        let (own, primary) = (self.secondary.stats.pending(), self.primary.pending_writes());
        let secondary = self.secondary.storage().map(|storage| storage.pending_writes()).unwrap_or_default();
        let all = [own, primary, secondary];
        let count = all.iter().map(|pending| pending.count).sum();
        PendingWrites::new(count, all.iter().filter_map(|pending| pending.oldest).max())
    }

    /// Of the primary, which answers.
    fn utilization(&self) -> Utilization {
        self.primary.utilization()
    }

    async fn ping(&self) -> Result<()> {
        self.primary.ping().await.map_err(of_primary)
    }

    async fn probe(&self) -> Result<()> {
        self.primary.probe().await.map_err(of_primary)
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        let primary = self.primary.diagnostics().await.map_err(of_primary)?;
        let secondary = match self.secondary.available() {
            None => None,
            Some(storage) => {
                let limit = self.secondary.timeout(Operation::Ping);
                timeout(limit, storage.diagnostics()).await.ok().and_then(Result::ok)
            }
        };
        let lacking =
            self.secondary.storage().map(|storage| (storage.name(), storage.missing_capabilities()));
        Ok(diagnostics::diagnostics(self.primary.name(), primary, lacking, secondary, &self.status()))
    }

    /// Those of both sides, unless the secondary is suspended.
    async fn check_queries(&self) -> Result<QueryCheck> {
        let mut found = of_side("primary", self.primary.check_queries().await.map_err(of_primary)?);
        if let Some(secondary) = self.secondary.available() {
            match secondary.check_queries().await {
                Ok(check) => {
                    let check = of_side("secondary", check);
                    found.refused.extend(check.refused);
                    found.unknown.extend(check.unknown);
                }
                Err(error) => {
                    let message = format!("cannot test its queries: {error}");
                    found.unknown.push(Problem::new("secondary", message));
                }
            }
        }
        Ok(found)
    }

    async fn close(&self) -> Result<()> {
        self.drained.get_or_init(|| self.drain()).await;
        let at_most = time_left().unwrap_or(CLOSE_TIMEOUT);
        let (primary, ()) =
            tokio::join!(close_within(at_most, &*self.primary), self.close_secondary(at_most));
        primary.map_err(of_primary)
    }
}

impl<S: Backend + ?Sized + 'static> MirrorStorage<S> {
    async fn drain(&self) {
        let left = time_left().map(|left| left.saturating_sub(KEPT_FOR_CLOSING));
        let at_most = left.into_iter().chain([self.config.drain_timeout]).min().unwrap_or_default();
        self.secondary.stats.closing();
        self.write_queue.drain(at_most).await;
        let left = self.secondary.stats.pending().count;
        if left > 0 {
            tracing::warn!(backend = NAME, left, after = ?at_most, "the secondary missed the queued writes");
        }
    }

    async fn close_secondary(&self, at_most: Duration) {
        let Some(storage) = self.secondary.storage() else { return };
        if let Err(error) = close_within(at_most, &**storage).await {
            tracing::warn!(backend = NAME, ?error, "cannot close the secondary");
        }
    }
}

fn of_side(side: &str, check: QueryCheck) -> QueryCheck {
    let prefixed = |problems: Vec<Problem>| {
        let prefixed =
            |Problem { key, message, kind }| Problem { key: format!("{side}.config.{key}"), message, kind };
        problems.into_iter().map(prefixed).collect()
    };
    QueryCheck::new(prefixed(check.refused), prefixed(check.unknown))
}

async fn close_within<S: Backend + ?Sized>(at_most: Duration, storage: &S) -> Result<()> {
    let close = with_time_left(Some(at_most), storage.close());
    timeout(at_most, close).await.unwrap_or_else(|_| {
        let error = Error::new(storage.name(), Operation::Close, ErrorKind::Timeout);
        Err(error.with_message(format!("it did not close within {at_most:?}")))
    })
}
