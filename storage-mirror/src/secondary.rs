//! The secondary: calls to it, its suspension, and the probes that end it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use super::replication_stats::ReplicationStats;
use super::write_queue::QueuedWrite;
use super::{MirrorConfig, NAME};
use storage_core::{Backend, Error, ErrorKind, Event, OpenError, Operation, TaskSpawner, Timestamp};

/// How much longer than others a call may take that writes many entries.
const LONG_CALLS: u32 = 10;

/// The longest between two reports of the queue's length.
const REPORTING: Duration = Duration::from_secs(1);

/// A secondary that is not served for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    /// Since when.
    pub since: Timestamp,
    /// What went wrong, in words.
    pub reason: String,
}

/// Opens a storage, as often as it is asked to.
pub(super) type Reopen<S> = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<S>, OpenError>> + Send + Sync>;

/// Failures in a row.
#[derive(Default)]
struct Failures {
    failures: u32,
    last_failure: Option<Instant>,
}

/// The secondary and its health.
pub(super) struct Secondary<S: ?Sized> {
    storage: OnceLock<Arc<S>>,
    reopen: Option<Reopen<S>>,
    timeout: Duration,
    suspend_after: u32,
    probe_interval: Duration,
    pub(super) stats: Arc<ReplicationStats>,
    failures: Mutex<Failures>,
    is_suspended: AtomicBool,
    suspended: Mutex<Option<Suspended>>,
}

impl<S: Backend + ?Sized> Secondary<S> {
    /// A secondary that is open.
    pub(super) fn open(storage: Arc<S>, config: &MirrorConfig, stats: ReplicationStats) -> Self {
        let this = Self::new(config, stats, None);
        let _ = this.storage.set(storage);
        this
    }

    /// A secondary that could not be opened, for this reason, and is opened by the probes.
    pub(super) fn out_of_reach(
        reason: &OpenError,
        reopen: Reopen<S>,
        config: &MirrorConfig,
        stats: ReplicationStats,
    ) -> Self {
        let this = Self::new(config, stats, Some(reopen));
        this.suspend(reason.to_string());
        this
    }

    fn new(config: &MirrorConfig, stats: ReplicationStats, reopen: Option<Reopen<S>>) -> Self {
        // Metrics exist before anything happens to them.
        stats.observe(Event::MirrorMissed { writes: 0 });
        stats.observe(Event::MirrorQueued { writes: 0 });
        stats.observe(Event::MirrorSuspended { suspended: false });
        Self {
            storage: OnceLock::new(),
            reopen,
            timeout: config.secondary_timeout,
            suspend_after: config.suspend_after,
            probe_interval: config.probe_interval,
            stats: Arc::new(stats),
            failures: Mutex::default(),
            is_suspended: AtomicBool::new(false),
            suspended: Mutex::default(),
        }
    }

    /// The storage, whether it is served or not; `None` until it could be opened.
    pub(super) fn storage(&self) -> Option<&Arc<S>> {
        self.storage.get()
    }

    /// The storage, unless it is suspended.
    pub(super) fn available(&self) -> Option<&Arc<S>> {
        if self.is_suspended() { None } else { self.storage.get() }
    }

    /// Whether it is suspended.
    pub(super) fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::SeqCst)
    }

    /// Why and since when it is suspended.
    pub(super) fn suspended(&self) -> Option<Suspended> {
        self.suspension().clone()
    }

    /// The longest a call may take.
    pub(super) fn timeout(&self, operation: Operation) -> Duration {
        if operation.is_long() { self.timeout * LONG_CALLS } else { self.timeout }
    }

    /// Makes a write, or misses it.
    pub(super) async fn apply(&self, write: QueuedWrite<S>) {
        let QueuedWrite { operation, pending, apply, .. } = write;
        let Some(storage) = self.available() else { return };
        let (begun, limit) = (Instant::now(), self.timeout(operation));
        let failure = match timeout(limit, apply(Arc::clone(storage))).await {
            Ok(Ok(())) => {
                pending.applied();
                return self.failures().failures = 0;
            }
            // It is gone, as it should be.
            Ok(Err(error)) if error.is_not_found() => {
                pending.applied();
                return self.failures().failures = 0;
            }
            Ok(Err(error)) => error,
            Err(_) => Error::new(storage.name(), operation, ErrorKind::Timeout)
                .with_message(format!("not answered within {limit:?} (`secondary_timeout`)")),
        };
        drop(pending);
        tracing::debug!(backend = NAME, error = ?failure, "the secondary missed a write");
        if counts_as_failure(failure.kind()) && self.is_one_too_many(begun) {
            self.suspend(failure.to_string());
        }
    }

    /// Counts the failure of a call that began at this time. Calls that fail together are one failure:
    /// each that counts began after the one before it had failed.
    fn is_one_too_many(&self, begun: Instant) -> bool {
        let mut failures = self.failures();
        if failures.last_failure.is_none_or(|last| last <= begun) {
            failures.failures += 1;
            failures.last_failure = Some(Instant::now());
        }
        failures.failures >= self.suspend_after
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspend(&self, reason: String) {
        let mut suspension = self.suspension();
        if suspension.is_some() {
            return;
        }
        tracing::warn!(backend = NAME, reason, "the secondary is suspended: it misses all writes");
        *suspension = Some(Suspended { since: Timestamp::now(), reason });
        self.is_suspended.store(true, Ordering::SeqCst);
        drop(suspension);
        self.stats.observe(Event::MirrorSuspended { suspended: true });
    }

    fn resume(&self) {
        let mut suspension = self.suspension();
        self.failures().failures = 0;
        self.is_suspended.store(false, Ordering::SeqCst);
        *suspension = None;
        drop(suspension);
        tracing::warn!(
            backend = NAME,
            "the secondary receives writes again: run `migrate` again before switching to it"
        );
        self.stats.observe(Event::MirrorSuspended { suspended: false });
    }

    fn suspension(&self) -> MutexGuard<'_, Option<Suspended>> {
        self.suspended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Probes while it is suspended, and reports the queue, until told to stop.
    pub(super) async fn supervise(self: Arc<Self>, tasks: TaskSpawner) {
        let (mut probed, mut reported) = (Instant::now(), 0);
        loop {
            tokio::select! {
                () = tasks.stopped() => return,
                () = sleep(self.probe_interval.min(REPORTING)) => {}
            }
            let queued = self.stats.queued();
            if queued != reported {
                self.stats.observe(Event::MirrorQueued { writes: queued });
                reported = queued;
            }
            let is_due = probed.elapsed() >= self.probe_interval;
            if !self.is_suspended() || !is_due {
                continue;
            }
            tokio::select! {
                () = tasks.stopped() => return,
                answered = self.probe() => if answered { self.resume() },
            }
            probed = Instant::now();
        }
    }

    /// Whether it answers; opens it first, if that has not been possible yet.
    async fn probe(&self) -> bool {
        let storage = match (self.storage.get(), &self.reopen) {
            (Some(storage), _) => storage,
            (None, Some(reopen)) => match reopen().await {
                Ok(storage) => self.storage.get_or_init(|| storage),
                Err(error) => {
                    tracing::warn!(backend = NAME, "the secondary could not be opened: {error}");
                    if let Some(suspended) = &mut *self.suspension() {
                        suspended.reason = error.to_string();
                    }
                    return false;
                }
            },
            (None, None) => return false,
        };
        matches!(timeout(self.timeout, storage.ping()).await, Ok(Ok(())))
    }
}

/// Whether a failure says something about the secondary, rather than about this one write.
fn counts_as_failure(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::Rejected
            | ErrorKind::Full
            | ErrorKind::Corrupt
            | ErrorKind::Unsupported(_)
    )
}
