//! What calls and workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use storage_core::{
    Backend, CacheStatus, Error, ErrorKind, InfoHash, Operation, PendingWrites, SharedObserver,
};
use tokio::time::Instant;

use crate::NAME;
use crate::backend_state::BackendState;
use crate::config::{Acknowledge, CachedConfig};
use crate::data_cache::DataCache;
use crate::shard::{Counters, Millis};
use crate::shards::{Budget, SwarmShards};
use crate::swarm::Rules;
use crate::worker::{WORKERS, Worker};

/// The most peers of a swarm in memory: one that is larger is looked through too slowly.
const MAX_SWARM: usize = 100_000;

/// The part of memory that one swarm may take up, as a divisor.
const SWARM_SHARE: usize = 16;

/// About the bytes of a peer.
const PEER_BYTES: usize = 64;

/// The storage inside, and what is in memory.
pub(crate) struct Shared<S: ?Sized> {
    pub(crate) backend: Arc<S>,
    pub(crate) config: CachedConfig,
    pub(crate) observer: SharedObserver,
    pub(crate) state: BackendState,
    pub(crate) budget: Arc<Budget>,
    pub(crate) shards: SwarmShards,
    pub(crate) data: DataCache,
    pub(crate) workers: [Worker; WORKERS],
    /// Since when the oldest change of each worker waits.
    pub(crate) oldest: [AtomicU32; WORKERS],
    /// Swarms that were read for the first time while memory was short.
    pub(crate) first_sights: Mutex<Vec<InfoHash>>,
    pub(crate) max_peers: usize,
    /// A stored time may be so many seconds older than the last announce.
    pub(crate) stored_age: u32,
    opened: Instant,
}

impl<S: Backend + ?Sized> Shared<S> {
    pub(crate) fn new(backend: Arc<S>, config: &CachedConfig, observer: SharedObserver) -> Self {
        let budget = Arc::new(Budget::new(config.max_memory));
        let max_peers = (config.max_memory / SWARM_SHARE / PEER_BYTES).min(MAX_SWARM);
        let stored_age = u32::try_from(config.peer_lifetime.as_secs() / 2).unwrap_or(u32::MAX);
        let rules = Rules { stored_age, collected: None, max_peers };
        Self {
            backend,
            config: config.clone(),
            observer: Arc::clone(&observer),
            state: BackendState::new(observer),
            shards: SwarmShards::new(Arc::clone(&budget), rules),
            data: DataCache::new(Arc::clone(&budget), config.data_staleness),
            budget,
            workers: Default::default(),
            oldest: std::array::from_fn(|_| AtomicU32::new(Millis::MAX)),
            first_sights: Mutex::default(),
            max_peers,
            stored_age,
            opened: Instant::now(),
        }
    }

    /// Whether a write is acknowledged when the storage inside has it.
    pub(crate) fn acknowledges_when_stored(&self) -> bool {
        self.config.acknowledge == Acknowledge::Storage
    }

    /// Milliseconds since the storage was opened.
    pub(crate) fn now(&self) -> Millis {
        Millis::try_from(self.opened.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Tells the worker of a swarm that there is something to do.
    pub(crate) fn wake(&self, hash: u64) {
        self.worker(hash).wake();
    }

    pub(crate) fn worker(&self, hash: u64) -> &Worker {
        &self.workers[self.worker_index(hash)]
    }

    /// The worker of swarms with this hash.
    pub(crate) fn worker_index(&self, hash: u64) -> usize {
        self.shards.index(hash) % WORKERS
    }

    /// The worker of a swarm.
    pub(crate) fn worker_of(&self, info_hash: &InfoHash) -> usize {
        self.worker_index(self.shards.hash(info_hash))
    }

    /// Whether changes have waited for so long that further ones should not be taken.
    pub(crate) fn is_behind(&self, hash: u64) -> bool {
        let oldest = self.oldest[self.worker_index(hash)].load(Ordering::Relaxed);
        if oldest == Millis::MAX || !self.state.is_waited_for() {
            return false;
        }
        let most = self.config.flush_interval.saturating_mul(2).max(Duration::from_secs(1));
        u128::from(self.now().saturating_sub(oldest)) > most.as_millis()
    }

    /// The failure of a call that a backend that is away would have to answer.
    pub(crate) fn away(&self, operation: Operation) -> Error {
        let error = Error::new(NAME, operation, ErrorKind::Unavailable);
        match self.state.outage() {
            Some(outage) => {
                error.with_message(format!("the backend does not respond since {}", outage.since))
            }
            None => error.with_message("the backend does not respond"),
        }
    }

    /// Notes how a call of the backend ended, and gives the result as one of the cache.
    pub(crate) fn noted<T>(&self, result: storage_core::Result<T>) -> storage_core::Result<T> {
        result.map_err(|error| {
            self.state.failed(&error);
            of_backend(error)
        })
    }

    /// Changes and completions that wait.
    pub(crate) fn pending(&self) -> PendingWrites {
        let (mut count, mut oldest) = (0, None::<Millis>);
        for index in 0..self.shards.count() {
            let mut shard = self.shards.lock_at(index);
            count += shard.waiting();
            oldest = [oldest, shard.oldest_due(), shard.oldest_completion()].into_iter().flatten().min();
        }
        let age = |since| Duration::from_millis(u64::from(self.now().saturating_sub(since)));
        PendingWrites::new(count, oldest.map(age))
    }

    pub(crate) fn status(&self) -> CacheStatus {
        let (mut swarms, mut counters) = (0, Counters::default());
        for index in 0..self.shards.count() {
            let shard = self.shards.lock_at(index);
            swarms += shard.swarms() as u64;
            let Counters { hits, misses, evicted, rejected, not_kept } = shard.counters;
            counters.hits += hits;
            counters.misses += misses;
            counters.evicted += evicted;
            counters.rejected += rejected;
            counters.not_kept += not_kept;
        }
        let pending = self.pending();
        CacheStatus {
            swarms,
            bytes: self.budget.used() as u64,
            max_bytes: self.budget.limit() as u64,
            waiting: pending.count,
            oldest: pending.oldest,
            hits: counters.hits,
            misses: counters.misses,
            evicted: counters.evicted,
            rejected: counters.rejected,
            not_kept: counters.not_kept,
            data_hits: self.data.hits(),
            data_misses: self.data.misses(),
            away_since: self.state.outage().map(|outage| outage.since),
        }
    }
}

/// An error of the storage inside as one of the cache.
pub(crate) fn of_backend(error: Error) -> Error {
    let own = Error::new(NAME, error.operation(), error.kind());
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Closed => own,
        _ => own.with_message("in `storage`").with_source(error),
    }
}
