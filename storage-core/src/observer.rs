//! What a backend tells of its inner life, for metrics and logs.

use std::sync::Arc;
use std::time::Duration;

/// Something that happened inside a backend and that the result of no call shows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An attempt failed and is made again; the reason is one of few words (`serialization`).
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
    Gathered {
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
    /// How much waits for the secondary of a mirror; told every second at most.
    MirrorQueued {
        /// Writes.
        writes: u64,
    },
}

/// Takes the events of a backend. Called on hot paths: it must be quick and must not block.
pub trait Observer: Send + Sync {
    /// An event happened on the backend of that name.
    fn observe(&self, backend: &'static str, event: Event);
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _backend: &'static str, _event: Event) {}
}

/// An observer as backends keep it.
pub type SharedObserver = Arc<dyn Observer>;
