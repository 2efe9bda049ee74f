//! The last two minutes, second by second.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use crate::serve::metrics::{BUCKETS, FrontMetrics, Totals};

/// Seconds that are remembered.
const SECONDS: usize = 120;

/// How far back the rate reaches.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// How far back latencies reach.
const LATENCY_WINDOW: Duration = Duration::from_secs(60);

/// Totals as they were.
#[derive(Clone)]
struct HistorySample {
    at: Instant,
    totals: Totals,
}

/// Samples of the front end's totals.
pub(crate) struct History {
    metrics: Arc<FrontMetrics>,
    samples: Mutex<VecDeque<HistorySample>>,
}

/// What the samples say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Recent {
    /// Announces a second over the last ten seconds.
    pub(crate) announces_per_second: f64,
    /// The same of those that the storage answered, by address family.
    pub(crate) ipv4_per_second: f64,
    pub(crate) ipv6_per_second: f64,
    /// Seconds that half of the announces of the last minute took at most; nothing without announces.
    pub(crate) p50: Option<f64>,
    /// The same of 99 in 100.
    pub(crate) p99: Option<f64>,
    /// Announces in each second, the last one last.
    pub(crate) announces: Vec<u64>,
}

impl History {
    /// Begins with the totals of now.
    pub(crate) fn new(metrics: Arc<FrontMetrics>) -> Self {
        let first = HistorySample { at: Instant::now(), totals: metrics.totals() };
        Self { metrics, samples: Mutex::new(VecDeque::from([first])) }
    }

    /// Takes a sample a second.
    pub(crate) async fn record(self: Arc<Self>) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sample();
        }
    }

    fn sample(&self) {
        let sample = HistorySample { at: Instant::now(), totals: self.metrics.totals() };
        let mut samples = self.samples.lock();
        samples.push_back(sample);
        let too_many = samples.len().saturating_sub(SECONDS + 1);
        samples.drain(..too_many);
    }

    /// What the samples and the totals of now say.
    pub(crate) fn recent(&self) -> Recent {
        let samples = self.samples.lock().clone();
        recent(samples.as_slices(), &HistorySample { at: Instant::now(), totals: self.metrics.totals() })
    }
}

fn recent((older, newer): (&[HistorySample], &[HistorySample]), now: &HistorySample) -> Recent {
    let samples = || older.iter().chain(newer);
    let since = |duration: Duration| {
        let within = samples().find(|sample| now.at.duration_since(sample.at) <= duration);
        within.or_else(|| samples().last()).unwrap_or(now)
    };
    let first = since(RATE_WINDOW);
    let seconds = now.at.duration_since(first.at).as_secs_f64();
    let rate = |total: fn(&Totals) -> u64| {
        let count = total(&now.totals).saturating_sub(total(&first.totals));
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    };
    let within = differences(&since(LATENCY_WINDOW).totals.announces_within, &now.totals.announces_within);
    let each = samples().zip(samples().skip(1));
    Recent {
        announces_per_second: rate(|totals| totals.announces),
        ipv4_per_second: rate(|totals| totals.ipv4),
        ipv6_per_second: rate(|totals| totals.ipv6),
        p50: quantile(0.5, &within),
        p99: quantile(0.99, &within),
        announces: each.map(|(a, b)| b.totals.announces.saturating_sub(a.totals.announces)).collect(),
    }
}

fn differences(before: &[u64], after: &[u64]) -> Vec<u64> {
    after.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).collect()
}

/// The duration, in seconds, that this share of all took at most, from how many took no longer than each
/// bound; between two bounds they are taken to lie evenly.
fn quantile(share: f64, within: &[u64]) -> Option<f64> {
    let all = *within.last().filter(|all| **all > 0)?;
    let rank = share * all as f64;
    let index = within.iter().position(|count| *count as f64 >= rank)?;
    let Some(upper) = BUCKETS.get(index) else { return BUCKETS.last().copied() };
    let (lower, below) = match index.checked_sub(1) {
        Some(before) => (BUCKETS[before], within[before]),
        None => (0.0, 0),
    };
    let inside = (within[index] - below) as f64;
    Some(lower + (upper - lower) * (rank - below as f64) / inside.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(begun: Instant, second: u64, announces: u64) -> HistorySample {
        let (announces_within, ipv6) = (vec![announces; 32], announces / 5);
        let totals = Totals { announces, announces_within, ipv6, ..Totals::default() };
        HistorySample { at: begun + Duration::from_secs(second), totals }
    }

    #[test]
    fn the_rate_is_of_the_last_ten_seconds() {
        let begun = Instant::now();
        let samples: Vec<_> = (0..=20).map(|second| sample(begun, second, 5 * second)).collect();
        let recent = recent((&samples, &[]), &sample(begun, 20, 100));
        assert_eq!(recent.announces_per_second, 5.0);
        assert_eq!((recent.ipv4_per_second, recent.ipv6_per_second), (0.0, 1.0));
        assert_eq!(recent.announces, [5; 20]);
    }

    #[test]
    fn without_announces_there_is_no_latency() {
        let begun = Instant::now();
        let recent = recent((&[sample(begun, 0, 7)], &[]), &sample(begun, 3, 7));
        assert_eq!(recent, Recent::default());
    }

    #[test]
    fn quantiles_lie_between_the_bounds_of_their_bucket() {
        let bounds = BUCKETS;
        let mut within = vec![0; bounds.len() + 1];
        within[10..].fill(100);
        let median = quantile(0.5, &within).unwrap();
        assert!(bounds[9] < median && median < bounds[10], "{median}");
        assert!(median < quantile(0.99, &within).unwrap());
        let mut beyond = vec![0; bounds.len() + 1];
        beyond[bounds.len()] = 1;
        assert_eq!(quantile(0.5, &beyond), bounds.last().copied());
    }
}
