//! The storage and what is common to its parts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use storage_core::layer::{time_left, with_time_left};
use storage_core::{
    Backend, CacheStatus, ClockReading, Diagnostics, Error, ErrorKind, Event, ExportScope,
    MissingCapabilities, NoObserver, Operation, PendingWrites, QueryCheck, Result, SharedObserver, Storage,
    Tasks, Timestamp, Utilization,
};
use tokio::sync::OnceCell;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::shared::{Shared, of_backend};
use crate::worker::WORKERS;
use crate::{CachedConfig, NAME, diagnostics};

/// How long closing may take if nobody says how much time is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(9);

/// What is kept of the time that is left, to close the storage inside.
const KEPT_FOR_CLOSING: Duration = Duration::from_millis(1_500);

/// The time between two probes of a backend that is away, and between two reports to the observer.
const SUPERVISION_INTERVAL: Duration = Duration::from_secs(1);

/// The longest that a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A storage behind memory: see the [crate](crate).
///
/// Timeouts, limits and an orderly close are layers: [`with_default_layers`](storage_core::with_default_layers), which
/// [`Backends`](storage_core::Backends) put around by themselves. The storage inside should have such layers of its
/// own.
pub struct CachedStorage<S: ?Sized = dyn Storage> {
    pub(crate) shared: Arc<Shared<S>>,
    tasks: Tasks,
    closed: OnceCell<()>,
}

impl<S: Storage + ?Sized + 'static> CachedStorage<S> {
    /// Memory in front of an open storage. It starts tasks, and so must be made within a tokio runtime.
    pub fn new(backend: Arc<S>, config: &CachedConfig) -> Self {
        Self::with_observer(backend, config, Arc::new(NoObserver))
    }

    /// The same, with an observer that learns what becomes of the cache.
    pub fn with_observer(backend: Arc<S>, config: &CachedConfig, observer: SharedObserver) -> Self {
        let shared = Arc::new(Shared::new(backend, config, observer));
        let tasks = Tasks::default();
        let spawner = tasks.spawner();
        for index in 0..WORKERS {
            spawner.spawn(Arc::clone(&shared).work(index, spawner.clone()));
        }
        spawner.spawn_until_stopped(supervise(Arc::clone(&shared)));
        if config.preload {
            spawner.spawn_until_stopped(preload(Arc::clone(&shared)));
        }
        Self { shared, tasks, closed: OnceCell::new() }
    }
}

impl<S: Backend + ?Sized + 'static> CachedStorage<S> {
    /// The data part alone.
    pub(crate) fn of_data(backend: Arc<S>, config: &CachedConfig, observer: SharedObserver) -> Self {
        let shared = Arc::new(Shared::new(backend, config, observer));
        let tasks = Tasks::default();
        tasks.spawner().spawn_until_stopped(supervise_data(Arc::clone(&shared)));
        Self { shared, tasks, closed: OnceCell::new() }
    }

    /// What is in memory, what waits, and how often memory had what was asked for.
    pub fn status(&self) -> CacheStatus {
        self.shared.status()
    }
}

/// Probes a backend that is away, and tells the observer every second how the cache does. Ends when it is cancelled.
async fn supervise<S: Storage + ?Sized + 'static>(shared: Arc<Shared<S>>) {
    let mut ticks = interval(SUPERVISION_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.drop_first_sights();
        if probe_if_away(&shared).await {
            shared.begin_again();
        }
        shared.observer.observe(NAME, Event::CacheMeasured(shared.status()));
    }
}

/// The same for data alone.
async fn supervise_data<S: Backend + ?Sized + 'static>(shared: Arc<Shared<S>>) {
    let mut ticks = interval(SUPERVISION_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        probe_if_away(&shared).await;
    }
}

/// Whether the backend was away, and is there again.
pub(crate) async fn probe_if_away<S: Backend + ?Sized>(shared: &Shared<S>) -> bool {
    shared.state.is_away()
        && matches!(timeout(PROBE_TIMEOUT, shared.backend.probe()).await, Ok(Ok(())))
        && shared.state.is_back()
}

impl<S: Storage + ?Sized + 'static> Shared<S> {
    /// The backend is there again: what was not read is read, what waits is written.
    fn begin_again(&self) {
        for index in 0..self.shards.count() {
            let mut shard = self.shards.lock_at(index);
            if self.config.restore_lost {
                shard.outdate_all();
            }
            shard.load_unread();
        }
        self.workers.iter().for_each(crate::worker::Worker::wake);
    }
}

/// Swarms that wait to be read in the background.
const PRELOADED_AT_ONCE: usize = 1_024;

/// Peers of a page that is read to learn which swarms there are.
const PRELOAD_PAGE: usize = 5_000;

/// Reads all swarms, until memory is nearly full.
async fn preload<S: Storage + ?Sized + 'static>(shared: Arc<Shared<S>>) {
    let mut from = None;
    while !shared.budget.is_tight() {
        let page = match shared.backend.export_peers(ExportScope::All, from.as_ref(), PRELOAD_PAGE).await {
            Ok(page) => page,
            Err(error) if error.is_retryable() => {
                sleep(SUPERVISION_INTERVAL).await;
                continue;
            }
            Err(error) => return tracing::warn!(backend = NAME, ?error, "swarms are not read in advance"),
        };
        let mut info_hashes: Vec<_> = page.records.iter().map(|record| record.info_hash).collect();
        info_hashes.sort_unstable();
        info_hashes.dedup();
        for some in info_hashes.chunks(PRELOADED_AT_ONCE) {
            let mut loads = Vec::new();
            for info_hash in some {
                let hash = shared.shards.hash(info_hash);
                loads.extend(shared.shards.lock(hash).preload(hash, info_hash));
                shared.wake(hash);
            }
            for load in loads {
                let _ = load.await;
            }
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    let CacheStatus { swarms, bytes, .. } = shared.status();
    tracing::info!(backend = NAME, swarms, bytes, "swarms were read in advance");
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Backend + ?Sized + 'static> Backend for CachedStorage<S> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn durable(&self) -> bool {
        self.shared.backend.durable()
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        self.shared.backend.missing_capabilities()
    }

    fn configuration_key(&self, operation: Operation) -> Option<&'static str> {
        self.shared.backend.configuration_key(operation)
    }

    fn server(&self) -> Option<String> {
        self.shared.backend.server()
    }

    /// No other node may use the storage inside: this one would not see what it writes.
    fn visible_within(&self) -> Duration {
        Duration::MAX
    }

    fn now(&self) -> Timestamp {
        self.shared.backend.now()
    }

    fn clock(&self) -> Option<ClockReading> {
        self.shared.backend.clock()
    }

    /// Changes in memory that wait to be stored. Times alone that are not due yet are not among them.
    fn pending_writes(&self) -> PendingWrites {
        let (own, inside) = (self.shared.pending(), self.shared.backend.pending_writes());
        PendingWrites::new(own.count + inside.count, own.oldest.max(inside.oldest))
    }

    fn utilization(&self) -> Utilization {
        self.shared.backend.utilization()
    }

    async fn ping(&self) -> Result<()> {
        self.shared.backend.ping().await.map_err(of_backend)
    }

    /// While memory takes announces for a storage that is away, they are accepted.
    async fn probe(&self) -> Result<()> {
        if self.shared.state.is_away() {
            return if self.shared.acknowledges_when_stored() {
                Err(self.shared.away(Operation::Probe))
            } else {
                Ok(())
            };
        }
        match self.shared.noted(self.shared.backend.probe().await) {
            Err(_) if self.shared.state.is_away() && !self.shared.acknowledges_when_stored() => Ok(()),
            probed => probed,
        }
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        let inside = self.shared.backend.diagnostics().await.map_err(of_backend)?;
        let name = self.shared.backend.name();
        let is_durable = self.shared.backend.durable();
        let waits_for_storage = self.shared.acknowledges_when_stored();
        Ok(diagnostics::diagnostics(name, inside, is_durable, waits_for_storage, &self.status()))
    }

    async fn check_queries(&self) -> Result<QueryCheck> {
        self.shared.backend.check_queries().await.map_err(of_backend)
    }

    async fn close(&self) -> Result<()> {
        self.closed.get_or_init(|| self.drain()).await;
        let at_most = time_left().unwrap_or(CLOSE_TIMEOUT);
        let close = with_time_left(Some(at_most), self.shared.backend.close());
        let closed = timeout(at_most, close).await.unwrap_or_else(|_| {
            let error = Error::new(NAME, Operation::Close, ErrorKind::Timeout);
            Err(error.with_message(format!("the storage inside did not close within {at_most:?}")))
        });
        closed.map_err(of_backend)
    }
}

impl<S: Backend + ?Sized + 'static> CachedStorage<S> {
    /// Writes what waits, as long as there is time.
    async fn drain(&self) {
        let at_most = time_left().unwrap_or(CLOSE_TIMEOUT).saturating_sub(KEPT_FOR_CLOSING);
        self.tasks.stop(at_most).await;
        let PendingWrites { count, oldest, .. } = self.shared.pending();
        if count > 0 {
            tracing::error!(backend = NAME, count, ?oldest, after = ?at_most, "changes were not stored before closing");
        }
        self.shared.data.forget_all();
    }
}
