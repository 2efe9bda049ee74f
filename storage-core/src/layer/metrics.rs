//! Metrics in a Prometheus registry that the caller hands in.

mod cache;
mod queries;

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts,
    Registry, core::Collector,
};

use cache::CacheMetrics;
use queries::QueryMetrics;

use crate::{
    Backend, Collected, CountCheck, EndedCall, Event, Observer, Operation, SharedObserver, Statistics,
    Timestamp,
};

/// The metrics of all storages of a program; all names begin with `tracker_storage_`.
///
/// | name | labels | what |
/// | --- | --- | --- |
/// | `operation_seconds` | backend, operation, outcome | histogram: how long calls took |
/// | `operations_total` | backend, operation, outcome | counter: calls |
/// | `info_hashes`, `seeders`, `leechers` | backend | gauges: the last statistics |
/// | `statistics_timestamp_seconds` | backend | gauge: when these were taken; their age is `time()` less this |
/// | `count_check_swarms`, `count_check_wrong_swarms` | backend | gauges: how many swarms the last check of counts compared, and whose counts were wrong |
/// | `count_check_timestamp_seconds` | backend | gauge: when that was |
/// | `repeated_completions_total` | backend | counter: clients that told again that they have everything |
/// | `gc_seconds` | backend | gauge: how long the last garbage collection took |
/// | `gc_removed_peers_total` | backend | counter: peers removed |
/// | `gc_last_success_timestamp_seconds` | backend | gauge: when one last succeeded |
/// | `gc_next_timestamp_seconds` | backend | gauge: when the next is due on this node, at the earliest; there is none where `maintenance` is false |
/// | `gc_withheld_peers` | backend | gauge: stale peers that the last one left, since they are more than `gc_max_share` |
/// | `retries_total` | backend, reason | counter: attempts made again |
/// | `reconnects_total` | backend | counter: connections replaced |
/// | `skipped_rows_total` | backend, what | counter: entries passed over as unreadable |
/// | `query_seconds` | backend, key | histogram: how long queries took, by configuration key |
/// | `batch_calls` | backend, key | histogram: how many calls were sent together |
/// | `batch_wait_seconds` | backend, key | histogram: how long the oldest of them had waited |
/// | `batch_queue` | backend, key | gauge: calls that waited when a batch was last taken |
/// | `pool_wait_seconds` | backend | histogram: how long calls waited for a connection |
/// | `pool_connections` | backend | gauge: connections of the pool |
/// | `clock_ahead_seconds` | backend | gauge: by how much the server's clock is ahead of this machine's |
/// | `mirror_missed_writes_total` | backend | counter: writes that a mirror's secondary did not get |
/// | `mirror_suspended` | backend | gauge: 1 while a mirror's secondary is suspended |
/// | `mirror_queued_writes` | backend | gauge: writes that wait for a mirror's secondary |
/// | `info` | backend, version, server | 1 |
///
/// `outcome` is `ok` or the [name](crate::ErrorKind::name) of an error's kind.
pub struct Metrics {
    seconds: HistogramVec,
    operations: IntCounterVec,
    info_hashes: IntGaugeVec,
    seeders: IntGaugeVec,
    leechers: IntGaugeVec,
    statistics_timestamp: GaugeVec,
    count_check_swarms: IntGaugeVec,
    count_check_wrong: IntGaugeVec,
    count_check_timestamp: GaugeVec,
    repeated_completions: IntCounterVec,
    gc_seconds: GaugeVec,
    gc_removed: IntCounterVec,
    gc_last_success: GaugeVec,
    gc_next: GaugeVec,
    gc_withheld: IntGaugeVec,
    retries: IntCounterVec,
    reconnects: IntCounterVec,
    skipped: IntCounterVec,
    clock_ahead: GaugeVec,
    mirror_missed: IntCounterVec,
    mirror_suspended: IntGaugeVec,
    mirror_queued: IntGaugeVec,
    info: IntGaugeVec,
    queries: QueryMetrics,
    cache: CacheMetrics,
}

impl Metrics {
    const BUCKETS: [f64; 14] =
        [5e-6, 2e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5, 10.0];

    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry has metrics of these names already: one `Metrics` serves all storages.
    pub fn register(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let operation = ["backend", "operation", "outcome"];
        let seconds = HistogramOpts::from(opts("operation_seconds", "Duration of storage calls in seconds"))
            .buckets(Self::BUCKETS.to_vec());
        let metrics = Self {
            seconds: add(registry, HistogramVec::new(seconds, &operation))?,
            operations: add(registry, counters("operations_total", "Storage calls", &operation))?,
            info_hashes: add(registry, gauges("info_hashes", "Info hashes that have peers", &["backend"]))?,
            seeders: add(registry, gauges("seeders", "Seeders of all swarms", &["backend"]))?,
            leechers: add(registry, gauges("leechers", "Leechers of all swarms", &["backend"]))?,
            statistics_timestamp: add(
                registry,
                float_gauges("statistics_timestamp_seconds", "Unix time of the last statistics"),
            )?,
            count_check_swarms: add(
                registry,
                gauges("count_check_swarms", "Swarms compared by the last check of counts", &["backend"]),
            )?,
            count_check_wrong: add(
                registry,
                gauges(
                    "count_check_wrong_swarms",
                    "Swarms with wrong counts in the last check of counts",
                    &["backend"],
                ),
            )?,
            count_check_timestamp: add(
                registry,
                float_gauges("count_check_timestamp_seconds", "Unix time of the last check of counts"),
            )?,
            repeated_completions: add(
                registry,
                counters(
                    "repeated_completions_total",
                    "Repeated completed announces, not counted as downloads",
                    &["backend"],
                ),
            )?,
            gc_seconds: add(
                registry,
                float_gauges("gc_seconds", "Duration of the last garbage collection in seconds"),
            )?,
            gc_removed: add(
                registry,
                counters("gc_removed_peers_total", "Peers removed by garbage collection", &["backend"]),
            )?,
            gc_last_success: add(
                registry,
                float_gauges(
                    "gc_last_success_timestamp_seconds",
                    "Unix time of the last successful garbage collection",
                ),
            )?,
            gc_next: add(
                registry,
                float_gauges(
                    "gc_next_timestamp_seconds",
                    "Earliest Unix time of the next garbage collection",
                ),
            )?,
            gc_withheld: add(
                registry,
                gauges(
                    "gc_withheld_peers",
                    "Stale peers that were not removed because of gc_max_share",
                    &["backend"],
                ),
            )?,
            retries: add(registry, counters("retries_total", "Retried attempts", &["backend", "reason"]))?,
            reconnects: add(registry, counters("reconnects_total", "Connections replaced", &["backend"]))?,
            skipped: add(
                registry,
                counters("skipped_rows_total", "Unreadable entries that were skipped", &["backend", "what"]),
            )?,
            clock_ahead: add(
                registry,
                float_gauges(
                    "clock_ahead_seconds",
                    "Seconds by which the server's clock is ahead of this machine's",
                ),
            )?,
            mirror_missed: add(
                registry,
                counters(
                    "mirror_missed_writes_total",
                    "Writes that the secondary of a mirror missed",
                    &["backend"],
                ),
            )?,
            mirror_suspended: add(
                registry,
                gauges(
                    "mirror_suspended",
                    "1 if the secondary of a mirror is suspended, otherwise 0",
                    &["backend"],
                ),
            )?,
            mirror_queued: add(
                registry,
                gauges("mirror_queued_writes", "Writes queued for the secondary of a mirror", &["backend"]),
            )?,
            info: add(
                registry,
                gauges(
                    "info",
                    "Versions of the backend and its server; always 1",
                    &["backend", "version", "server"],
                ),
            )?,
            queries: QueryMetrics::register(registry)?,
            cache: CacheMetrics::register(registry)?,
        };
        Ok(Arc::new(metrics))
    }

    /// What counts and times the calls of one storage with these metrics.
    pub fn meter(self: &Arc<Self>) -> SharedObserver {
        Arc::new(Meter {
            metrics: Arc::clone(self),
            series: [const { std::sync::OnceLock::new() }; Operation::ALL.len()],
        })
    }

    /// Sets the `info` metric of a storage; its server is `unknown` where [`Backend::server`] gives none.
    pub fn describe<B: Backend + ?Sized>(&self, storage: &B) {
        let server = storage.server().unwrap_or_else(|| "unknown".into());
        self.info.with_label_values(&[storage.name(), env!("CARGO_PKG_VERSION"), &server]).set(1);
    }
}

impl Metrics {
    fn observe(&self, backend: &'static str, event: Event) {
        match event {
            Event::Retried { reason } => self.retries.with_label_values(&[backend, reason]).inc(),
            Event::Reconnected => self.reconnects.with_label_values(&[backend]).inc(),
            Event::Skipped { what, count } => self.skipped.with_label_values(&[backend, what]).inc_by(count),
            Event::BatchSent { key, calls, waited, left } => {
                self.queries.gathered(backend, key, calls, waited, left);
            }
            Event::Ran { key, took } => self.queries.ran(backend, key, took),
            Event::Leased { waited, connections } => self.queries.leased(backend, waited, connections),
            Event::ClockLooked { ahead_seconds } => {
                self.clock_ahead.with_label_values(&[backend]).set(ahead_seconds);
            }
            Event::CollectionScheduled { after } => {
                let due = Timestamp::now().after(after).nanoseconds() as f64 / 1e9;
                self.gc_next.with_label_values(&[backend]).set(due);
            }
            Event::CacheBackendAway { away } => self.cache.away(backend, away),
            Event::CacheMeasured(status) => self.cache.measured(backend, &status),
            Event::MirrorMissed { writes } => {
                self.mirror_missed.with_label_values(&[backend]).inc_by(writes);
            }
            Event::MirrorSuspended { suspended } => {
                self.mirror_suspended.with_label_values(&[backend]).set(suspended.into());
            }
            Event::MirrorQueued { writes } => {
                set(&self.mirror_queued, backend, writes);
            }
        }
    }
}

/// Counts and times every call of one storage.
struct Meter {
    metrics: Arc<Metrics>,
    series: [std::sync::OnceLock<(Histogram, IntCounter)>; Operation::ALL.len()],
}

impl Meter {
    fn record(&self, backend: &'static str, operation: Operation, outcome: &'static str, took: Duration) {
        let make = || {
            let labels = [backend, operation.name(), outcome];
            let Metrics { seconds, operations, .. } = &*self.metrics;
            (seconds.with_label_values(&labels), operations.with_label_values(&labels))
        };
        if outcome == "ok" {
            let (seconds, operations) = self.series[operation as usize].get_or_init(make);
            seconds.observe(took.as_secs_f64());
            operations.inc();
        } else {
            let (seconds, operations) = make();
            seconds.observe(took.as_secs_f64());
            operations.inc();
        }
    }
}

impl Observer for Meter {
    fn observe(&self, backend: &'static str, event: Event) {
        self.metrics.observe(backend, event);
    }

    fn call_ended(&self, call: &EndedCall<'_>) {
        let EndedCall { backend, operation, error, took } = *call;
        self.record(backend, operation, error.map_or("ok", |error| error.kind().name()), took);
    }

    fn completed(&self, backend: &'static str, is_download: bool) {
        if !is_download {
            self.metrics.repeated_completions.with_label_values(&[backend]).inc();
        }
    }

    fn counted(&self, backend: &'static str, statistics: &Statistics) {
        set(&self.metrics.info_hashes, backend, statistics.info_hashes);
        set(&self.metrics.seeders, backend, statistics.seeders);
        set(&self.metrics.leechers, backend, statistics.leechers);
        let taken = Timestamp::now().nanoseconds() as f64 / 1e9;
        self.metrics.statistics_timestamp.with_label_values(&[backend]).set(taken);
    }

    fn counts_checked(&self, backend: &'static str, check: &CountCheck) {
        set(&self.metrics.count_check_swarms, backend, check.compared);
        set(&self.metrics.count_check_wrong, backend, check.wrong.len() as u64);
        let checked = Timestamp::now().nanoseconds() as f64 / 1e9;
        self.metrics.count_check_timestamp.with_label_values(&[backend]).set(checked);
    }

    fn collected(&self, backend: &'static str, collected: &Collected, took: Duration) {
        let gauge = |gauges: &GaugeVec| -> Gauge { gauges.with_label_values(&[backend]) };
        gauge(&self.metrics.gc_seconds).set(took.as_secs_f64());
        set(&self.metrics.gc_withheld, backend, collected.withheld);
        if collected.withheld == 0 {
            gauge(&self.metrics.gc_last_success).set(Timestamp::now().nanoseconds() as f64 / 1e9);
        }
        self.metrics.gc_removed.with_label_values(&[backend]).inc_by(collected.removed);
    }
}

fn set(gauges: &IntGaugeVec, backend: &str, value: u64) {
    gauges.with_label_values(&[backend]).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("tracker_storage")
}

fn counters(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(opts(name, help), labels)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(opts(name, help), labels)
}

fn float_gauges(name: &str, help: &str) -> prometheus::Result<GaugeVec> {
    GaugeVec::new(opts(name, help), &["backend"])
}

fn add<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
