//! Observers: what happens to a storage and inside a backend, for metrics and logs.

use std::sync::Arc;
use std::time::Duration;

use crate::{Collected, CountCheck, Error, Operation, Statistics, Timestamp};

/// Something that happened inside a backend and that the result of no call shows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An attempt failed and is made again. `pg` has the reasons `conflict`, `connection` and `statement`; `redis` the
    /// classes of its errors, such as `timeout` and `unreachable`.
    Retried {
        /// Why.
        reason: &'static str,
    },
    /// A lost connection was replaced.
    Reconnected,
    /// Stored entries that cannot be understood were passed over.
    Skipped {
        /// What was read: a configuration key, or a kind of entry.
        what: &'static str,
        /// How many.
        count: u64,
    },
    /// Calls of several tasks were sent together.
    BatchSent {
        /// The configuration key of the query.
        key: &'static str,
        /// How many calls.
        calls: u64,
        /// How long the oldest of them waited.
        waited: Duration,
        /// How many calls still wait.
        left: u64,
    },
    /// A query was run; told for each.
    Ran {
        /// Its configuration key.
        key: &'static str,
        /// How long it took.
        took: Duration,
    },
    /// The server's clock was looked at.
    ClockLooked {
        /// By how many seconds it is ahead of this machine's; negative: behind.
        ahead_seconds: f64,
    },
    /// A connection was taken out of a pool.
    Leased {
        /// How long the call waited for it.
        waited: Duration,
        /// How many connections the pool has.
        connections: u64,
    },
    /// Garbage is collected again after this time, and not before; told when [maintenance](crate::MaintenanceScheduler)
    /// starts and after each run.
    CollectionScheduled {
        /// How long from now, what is left of [`gc_grace`](crate::Schedule::gc_grace) included.
        after: Duration,
    },
    /// The secondary of a mirror did not get writes that the primary has, or may have.
    MirrorMissed {
        /// How many.
        writes: u64,
    },
    /// The secondary of a mirror is suspended, or served again.
    MirrorSuspended {
        /// Whether it is suspended.
        suspended: bool,
    },
    /// The storage inside a cache no longer responds, or responds again.
    CacheBackendAway {
        /// Whether it does not respond.
        away: bool,
    },
    /// How a cache does; told every second.
    CacheMeasured(CacheStatus),
    /// How much waits for the secondary of a mirror; told every second at most.
    MirrorQueued {
        /// Writes.
        writes: u64,
    },
}

/// How a cache in front of a storage does. Counts are since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CacheStatus {
    /// Swarms in memory.
    pub swarms: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// The most bytes that may be in use.
    pub max_bytes: u64,
    /// Acknowledged changes that wait to be stored.
    pub waiting: u64,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// Calls for a swarm that memory answered.
    pub hits: u64,
    /// Swarms that were read from the storage.
    pub misses: u64,
    /// Swarms that memory let go of, to have room for others.
    pub evicted: u64,
    /// Changes that the storage refused for good.
    pub rejected: u64,
    /// New peers that were not kept, since memory was full while the storage did not respond.
    pub not_kept: u64,
    /// Look-ups of data that memory answered.
    pub data_hits: u64,
    /// Look-ups of data that the storage answered.
    pub data_misses: u64,
    /// Since when the storage does not respond.
    pub away_since: Option<Timestamp>,
}

/// Learns what happens. Called on hot paths: it must be quick and must not block.
pub trait Observer: Send + Sync {
    /// An event happened on the backend of that name.
    fn observe(&self, backend: &'static str, event: Event);

    /// A call ended, and took this long.
    fn call_ended(&self, _call: &EndedCall<'_>) {}

    /// A client told that it has everything; whether it was a download, or told again.
    fn completed(&self, _backend: &'static str, _is_download: bool) {}

    /// Statistics were taken.
    fn counted(&self, _backend: &'static str, _statistics: &Statistics) {}

    /// Kept counts were compared with the peers that are there.
    fn counts_checked(&self, _backend: &'static str, _check: &CountCheck) {}

    /// Garbage was collected, and it took this long.
    fn collected(&self, _backend: &'static str, _collected: &Collected, _took: Duration) {}
}

/// A call that ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct EndedCall<'a> {
    /// The backend.
    pub backend: &'static str,
    /// What was called.
    pub operation: Operation,
    /// How it failed; `None` if it did not.
    pub error: Option<&'a Error>,
    /// How long it took.
    pub took: Duration,
}

impl<'a> EndedCall<'a> {
    /// A call that ended, for tests of observers.
    pub fn new(
        backend: &'static str,
        operation: Operation,
        error: Option<&'a Error>,
        took: Duration,
    ) -> Self {
        Self { backend, operation, error, took }
    }
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _backend: &'static str, _event: Event) {}
}

/// An observer as backends keep it.
pub type SharedObserver = Arc<dyn Observer>;

/// Several observers as one.
pub(crate) struct Observers(pub(crate) Vec<SharedObserver>);

impl Observer for Observers {
    fn observe(&self, backend: &'static str, event: Event) {
        self.0.iter().for_each(|observer| observer.observe(backend, event.clone()));
    }

    fn call_ended(&self, call: &EndedCall<'_>) {
        self.0.iter().for_each(|observer| observer.call_ended(call));
    }

    fn completed(&self, backend: &'static str, is_download: bool) {
        self.0.iter().for_each(|observer| observer.completed(backend, is_download));
    }

    fn counted(&self, backend: &'static str, statistics: &Statistics) {
        self.0.iter().for_each(|observer| observer.counted(backend, statistics));
    }

    fn counts_checked(&self, backend: &'static str, check: &CountCheck) {
        self.0.iter().for_each(|observer| observer.counts_checked(backend, check));
    }

    fn collected(&self, backend: &'static str, collected: &Collected, took: Duration) {
        self.0.iter().for_each(|observer| observer.collected(backend, collected, took));
    }
}
