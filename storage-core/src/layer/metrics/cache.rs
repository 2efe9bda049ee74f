//! Metrics of a cache in front of a storage.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};

use super::{add, counters, float_gauges, gauges, set};
use crate::CacheStatus;

/// What is in memory, what waits, and what became of it.
pub(super) struct CacheMetrics {
    away: IntGaugeVec,
    swarms: IntGaugeVec,
    bytes: IntGaugeVec,
    max_bytes: IntGaugeVec,
    waiting: IntGaugeVec,
    oldest: GaugeVec,
    lookups: IntCounterVec,
    evicted: IntCounterVec,
    rejected: IntCounterVec,
    not_kept: IntCounterVec,
}

impl CacheMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let backend = ["backend"];
        Ok(Self {
            away: add(
                registry,
                gauges(
                    "cache_backend_away",
                    "1 if the storage inside a cache does not respond, otherwise 0",
                    &backend,
                ),
            )?,
            swarms: add(registry, gauges("cache_swarms", "Swarms in memory", &backend))?,
            bytes: add(registry, gauges("cache_bytes", "Bytes of memory in use", &backend))?,
            max_bytes: add(
                registry,
                gauges("cache_max_bytes", "Bytes of memory that may be in use", &backend),
            )?,
            waiting: add(
                registry,
                gauges("cache_waiting_changes", "Changes in memory that wait to be stored", &backend),
            )?,
            oldest: add(
                registry,
                float_gauges(
                    "cache_oldest_waiting_seconds",
                    "Age of the oldest change that waits to be stored",
                ),
            )?,
            lookups: add(
                registry,
                counters(
                    "cache_lookups_total",
                    "Look-ups that memory answered (hit) or that were read from the storage (miss)",
                    &["backend", "kind", "result"],
                ),
            )?,
            evicted: add(
                registry,
                counters("cache_evicted_swarms_total", "Swarms evicted from memory", &backend),
            )?,
            rejected: add(
                registry,
                counters(
                    "cache_rejected_changes_total",
                    "Changes that the storage refused for good",
                    &backend,
                ),
            )?,
            not_kept: add(
                registry,
                counters(
                    "cache_not_kept_peers_total",
                    "New peers not kept because memory was full while the storage did not respond",
                    &backend,
                ),
            )?,
        })
    }

    pub(super) fn away(&self, backend: &'static str, away: bool) {
        self.away.with_label_values(&[backend]).set(away.into());
    }

    pub(super) fn measured(&self, backend: &'static str, status: &CacheStatus) {
        self.away(backend, status.away_since.is_some());
        set(&self.swarms, backend, status.swarms);
        set(&self.bytes, backend, status.bytes);
        set(&self.max_bytes, backend, status.max_bytes);
        set(&self.waiting, backend, status.waiting);
        let oldest = status.oldest.map_or(0.0, |oldest| oldest.as_secs_f64());
        self.oldest.with_label_values(&[backend]).set(oldest);
        let raise = |counters: &IntCounterVec, labels: &[&str], total: u64| {
            let counter = counters.with_label_values(labels);
            counter.inc_by(total.saturating_sub(counter.get()));
        };
        raise(&self.lookups, &[backend, "swarm", "hit"], status.hits);
        raise(&self.lookups, &[backend, "swarm", "miss"], status.misses);
        raise(&self.lookups, &[backend, "data", "hit"], status.data_hits);
        raise(&self.lookups, &[backend, "data", "miss"], status.data_misses);
        raise(&self.evicted, &[backend], status.evicted);
        raise(&self.rejected, &[backend], status.rejected);
        raise(&self.not_kept, &[backend], status.not_kept);
    }
}
