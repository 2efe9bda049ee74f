//! Metrics of queries, batches and connections.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntGaugeVec, Registry};

use super::{Metrics, add, gauges, opts};

/// Metrics of what a backend sends to its server.
pub(super) struct QueryMetrics {
    seconds: HistogramVec,
    batch_calls: HistogramVec,
    batch_wait: HistogramVec,
    batch_queue: IntGaugeVec,
    pool_wait: HistogramVec,
    pool_connections: IntGaugeVec,
}

impl QueryMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of_query = ["backend", "key"];
        let seconds = |name, help, labels: &[&str]| histogram(name, help, &Metrics::BUCKETS, labels);
        let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
        Ok(Self {
            seconds: add(registry, seconds("query_seconds", "Duration of queries in seconds", &of_query))?,
            batch_calls: add(
                registry,
                histogram("batch_calls", "Number of calls in a batch", &sizes, &of_query),
            )?,
            batch_wait: add(
                registry,
                seconds(
                    "batch_wait_seconds",
                    "Time that the oldest call of a batch waited, in seconds",
                    &of_query,
                ),
            )?,
            batch_queue: add(registry, gauges("batch_queue", "Calls waiting for a batch", &of_query))?,
            pool_wait: add(
                registry,
                seconds(
                    "pool_wait_seconds",
                    "Time that calls waited for a connection, in seconds",
                    &["backend"],
                ),
            )?,
            pool_connections: add(
                registry,
                gauges("pool_connections", "Connections in the pool", &["backend"]),
            )?,
        })
    }

    pub(super) fn ran(&self, backend: &str, key: &str, took: Duration) {
        self.seconds.with_label_values(&[backend, key]).observe(took.as_secs_f64());
    }

    pub(super) fn gathered(&self, backend: &str, key: &str, calls: u64, waited: Duration, left: u64) {
        let labels = [backend, key];
        self.batch_calls.with_label_values(&labels).observe(calls as f64);
        self.batch_wait.with_label_values(&labels).observe(waited.as_secs_f64());
        self.batch_queue.with_label_values(&labels).set(i64::try_from(left).unwrap_or(i64::MAX));
    }

    pub(super) fn leased(&self, backend: &str, waited: Duration, connections: u64) {
        self.pool_wait.with_label_values(&[backend]).observe(waited.as_secs_f64());
        let connections = i64::try_from(connections).unwrap_or(i64::MAX);
        self.pool_connections.with_label_values(&[backend]).set(connections);
    }
}

fn histogram(name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
    HistogramVec::new(options, labels)
}
