//! A layer that remembers what its operator wants to see: the last statistics, the last garbage
//! collection, the last failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, IntGauge, Registry, exponential_buckets};
use storage_core::layer::Layer;
use storage_core::{Collected, Operation, Result, Statistics};

/// A failing storage is told of no more often than this.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// What was last seen of a storage.
#[derive(Default)]
pub(crate) struct Seen {
    last: Mutex<Last>,
    failures: AtomicU64,
    mochi: Option<MochiMetrics>,
}

/// The last of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Last {
    /// Counts of all swarms.
    pub(crate) statistics: Option<Statistics>,
    /// A garbage collection.
    pub(crate) collection: Option<Collection>,
    /// A call that failed: when, and how.
    pub(crate) failure: Option<(Instant, String)>,
    warned: Option<Instant>,
}

/// A garbage collection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Collection {
    /// When it ended.
    pub(crate) ended: Instant,
    /// How long it took.
    pub(crate) took: Duration,
    /// What it did.
    pub(crate) collected: Collected,
}

impl Seen {
    /// Nothing yet; what is seen is also offered under MoChi's names, if there is a registry for them.
    pub(crate) fn new(mochi: Option<&Registry>) -> prometheus::Result<Arc<Self>> {
        let mochi = mochi.map(MochiMetrics::register).transpose()?;
        Ok(Arc::new(Self { mochi, ..Self::default() }))
    }

    /// The last of each.
    pub(crate) fn last(&self) -> Last {
        self.last.lock().clone()
    }

    /// Calls that failed, other than by finding nothing.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn failed(&self, error: &storage_core::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut last = self.last.lock();
        last.failure = Some((now, format!("{error:?}")));
        if last.warned.is_none_or(|warned| now - warned >= BETWEEN_WARNINGS) {
            last.warned = Some(now);
            tracing::warn!(?error, failures = self.failures(), "calls of the storage fail");
        }
    }
}

/// Sees the calls of a storage.
pub(crate) struct Watch(pub(crate) Arc<Seen>);

impl Layer for Watch {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _backend: &'static str,
        _operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let result = call.await;
        if let Err(error) = &result
            && !error.is_not_found()
        {
            self.0.failed(error);
        }
        result
    }

    fn counted(&self, _backend: &'static str, statistics: &Statistics) {
        self.0.last.lock().statistics = Some(*statistics);
        if let Some(mochi) = &self.0.mochi {
            mochi.counted(statistics);
        }
    }

    fn collected(&self, _backend: &'static str, collected: &Collected, took: Duration) {
        let collection = Collection { ended: Instant::now(), took, collected: *collected };
        self.0.last.lock().collection = Some(collection);
        if let Some(mochi) = &self.0.mochi {
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
            let gauge = IntGauge::new(format!("mochi_storage_{what}_count"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let help = "Duration of garbage collections in milliseconds";
        let gc = HistogramOpts::new("mochi_storage_gc_duration_milliseconds", help)
            .buckets(exponential_buckets(9.375, 2.0, 10)?);
        let gc_milliseconds = Histogram::with_opts(gc)?;
        registry.register(Box::new(gc_milliseconds.clone()))?;
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
    use storage_core::{Error, ErrorKind};

    #[tokio::test]
    async fn failures_are_remembered_and_finding_nothing_is_none() {
        let watch = Watch(Seen::new(None).unwrap());
        for kind in [ErrorKind::NotFound, ErrorKind::Busy, ErrorKind::Unavailable] {
            let call = async { Result::<()>::Err(Error::new("x", Operation::Announce, kind)) };
            watch.around("x", Operation::Announce, call).await.unwrap_err();
        }
        assert_eq!(watch.0.failures(), 2);
        let (_, text) = watch.0.last().failure.unwrap();
        assert_eq!(text, "x announce: the server is not available");
    }
}
