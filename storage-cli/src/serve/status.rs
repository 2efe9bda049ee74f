//! An observer that remembers what its operator wants to see: the last statistics, the last garbage
//! collection and the next, the last failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{
    Histogram, IntGauge, Registry, exponential_buckets, register_histogram_with_registry,
    register_int_gauge_with_registry,
};
use storage_core::{Collected, EndedCall, Event, Observer, Statistics};

use super::health::Health;

/// Isolated failures are logged no more often than this.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// How long it takes at most to detect an outage.
const OUTAGE_DETECTION: Duration = Duration::from_secs(25);

/// Records the status of a storage.
pub(crate) struct Status {
    pub(crate) health: Arc<Health>,
    last: Mutex<StatusSnapshot>,
    warnings: Mutex<FailureWarnings>,
    failures: AtomicU64,
    mochi: Option<MochiMetrics>,
}

/// The last statistics, collections and failure.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatusSnapshot {
    /// Counts of all swarms, and when they were taken.
    pub(crate) statistics: Option<(Instant, Statistics)>,
    pub(crate) collection: Option<CollectionRecord>,
    /// When garbage is next collected, at the earliest.
    pub(crate) next_collection: Option<Instant>,
    /// A call that failed: when, and how.
    pub(crate) failure: Option<(Instant, String)>,
    /// Whether the secondary of a mirror is suspended.
    pub(crate) is_mirror_suspended: bool,
    /// Writes that it did not get.
    pub(crate) mirror_missed_writes: u64,
}

/// Which failures are still to be logged.
#[derive(Default)]
struct FailureWarnings {
    last: Option<tokio::time::Instant>,
    first_failure: Option<(tokio::time::Instant, String)>,
    failures: u64,
}

/// A garbage collection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CollectionRecord {
    pub(crate) ended: Instant,
    pub(crate) took: Duration,
    pub(crate) collected: Collected,
}

impl Status {
    /// Nothing yet. What is seen is also offered under MoChi's names, if there is a registry for them.
    pub(crate) fn new(health: Arc<Health>, mochi: Option<&Registry>) -> prometheus::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            health,
            last: Mutex::default(),
            warnings: Mutex::default(),
            failures: AtomicU64::new(0),
            mochi: mochi.map(MochiMetrics::register).transpose()?,
        }))
    }

    pub(crate) fn last(&self) -> StatusSnapshot {
        self.last.lock().clone()
    }

    /// Calls that failed, other than by finding nothing.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn failed(&self, error: &storage_core::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let text = format!("{error:?}");
        let mut warnings = self.warnings.lock();
        warnings.failures += 1;
        warnings.first_failure.get_or_insert_with(|| (tokio::time::Instant::now(), text.clone()));
        drop(warnings);
        self.last.lock().failure = Some((Instant::now(), text));
    }

    /// Logs failures outside of outages, which are logged on their own.
    pub(crate) fn log_isolated_failures(&self) {
        if let Some((failures, first)) = self.isolated_failures() {
            tracing::warn!(failures, first, "storage calls failed");
        }
    }

    /// Their number and the first of them, once it is time to log them.
    fn isolated_failures(&self) -> Option<(u64, String)> {
        let mut warnings = self.warnings.lock();
        let (since, _) = warnings.first_failure.as_ref()?;
        if self.health.was_unhealthy_since(*since) {
            *warnings = FailureWarnings { last: warnings.last, ..FailureWarnings::default() };
            return None;
        }
        let is_too_soon = warnings.last.is_some_and(|last| last.elapsed() < WARNING_INTERVAL);
        if since.elapsed() < OUTAGE_DETECTION || is_too_soon {
            return None;
        }
        let FailureWarnings { first_failure, failures, .. } = std::mem::take(&mut *warnings);
        warnings.last = Some(tokio::time::Instant::now());
        first_failure.map(|(_, first)| (failures, first))
    }
}

impl Observer for Status {
    fn observe(&self, _backend: &'static str, event: Event) {
        match event {
            Event::CollectionScheduled { after } => {
                self.last.lock().next_collection = Instant::now().checked_add(after);
            }
            Event::MirrorSuspended { suspended } => self.last.lock().is_mirror_suspended = suspended,
            Event::MirrorMissed { writes } => self.last.lock().mirror_missed_writes += writes,
            _ => {}
        }
    }

    fn call_ended(&self, call: &EndedCall<'_>) {
        if let Some(error) = call.error.filter(|error| !error.is_not_found()) {
            self.failed(error);
        }
    }

    fn counted(&self, _backend: &'static str, statistics: &Statistics) {
        self.last.lock().statistics = Some((Instant::now(), *statistics));
        if let Some(mochi) = &self.mochi {
            mochi.counted(statistics);
        }
    }

    fn collected(&self, _backend: &'static str, collected: &Collected, took: Duration) {
        let collection = CollectionRecord { ended: Instant::now(), took, collected: *collected };
        self.last.lock().collection = Some(collection);
        if let Some(mochi) = &self.mochi {
            mochi.gc_milliseconds.observe(took.as_secs_f64() * 1e3);
        }
    }
}

/// The metrics of MoChi's storages.
struct MochiMetrics {
    gc_milliseconds: Histogram,
    info_hashes: IntGauge,
    seeders: IntGauge,
    leechers: IntGauge,
}

impl MochiMetrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |what: &str, help| {
            register_int_gauge_with_registry!(format!("mochi_storage_{what}_count"), help, registry)
        };
        let gc_milliseconds = register_histogram_with_registry!(
            "mochi_storage_gc_duration_milliseconds",
            "Duration of garbage collections in milliseconds",
            exponential_buckets(9.375, 2.0, 10)?,
            registry
        )?;
        Ok(Self {
            gc_milliseconds,
            info_hashes: gauge("infohashes", "Info hashes that have peers")?,
            seeders: gauge("seeders", "Seeders of all swarms")?,
            leechers: gauge("leechers", "Leechers of all swarms")?,
        })
    }

    fn counted(&self, statistics: &Statistics) {
        let set = |gauge: &IntGauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.info_hashes, statistics.info_hashes);
        set(&self.seeders, statistics.seeders);
        set(&self.leechers, statistics.leechers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_core::{Error, ErrorKind, Operation};
    use tokio::time::advance;

    fn status() -> Arc<Status> {
        let health = Health::new(IntGauge::new("healthy", "healthy").unwrap());
        Status::new(health, None).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn isolated_failures_are_logged_once_a_minute_and_those_of_an_outage_are_not() {
        let status = status();
        let error = Error::new("x", Operation::Announce, ErrorKind::Busy);
        status.failed(&error);
        status.failed(&error);
        assert_eq!(status.isolated_failures(), None, "it may be the beginning of an outage");
        advance(OUTAGE_DETECTION).await;
        assert_eq!(status.isolated_failures().map(|(failures, _)| failures), Some(2));
        status.failed(&error);
        advance(WARNING_INTERVAL - Duration::from_secs(1)).await;
        assert_eq!(status.isolated_failures(), None);
        advance(Duration::from_secs(1)).await;
        assert_eq!(status.isolated_failures().map(|(failures, _)| failures), Some(1));

        for _ in 0..20 {
            status.failed(&error);
            status.health.announced(Some(&Error::new("x", Operation::Announce, ErrorKind::Busy)));
        }
        advance(WARNING_INTERVAL).await;
        assert_eq!(status.isolated_failures(), None);
    }

    #[test]
    fn failures_are_remembered_and_finding_nothing_is_none() {
        let status = status();
        for kind in [ErrorKind::NotFound, ErrorKind::Busy, ErrorKind::Unavailable] {
            let error = Error::new("x", Operation::Announce, kind);
            let (operation, took) = (Operation::Announce, Duration::ZERO);
            status.call_ended(&EndedCall::new("x", operation, Some(&error), took));
        }
        assert_eq!(status.failures(), 2);
        let (_, text) = status.last().failure.unwrap();
        assert_eq!(text, "x announce: the server is not available");
    }
}
