//! The front end's metrics: requests by protocol, action and outcome, and how long they took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{
    Histogram, IntCounter, IntGauge, Registry, register_histogram_vec_with_registry,
    register_int_counter_vec_with_registry, register_int_counter_with_registry,
    register_int_gauge_with_registry,
};
use serde::Serialize;
use storage_core::{AddressFamily, Announce};

use super::tracker::Refusal;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackerProtocol {
    Http,
    Udp,
}

/// What it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServedAction {
    Connect,
    Announce,
    Scrape,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Ok,
    Malformed,
    /// The torrent is not served.
    Denied,
    /// The address had sent too many.
    Limited,
    /// The storage takes no further peers.
    Full,
    /// The storage could not answer.
    Failed,
    /// Too many were under way.
    Dropped,
}

impl RequestOutcome {
    pub(crate) fn of<T>(result: &Result<T, Refusal>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(Refusal::Malformed(_)) => Self::Malformed,
            Err(Refusal::NotApproved) => Self::Denied,
            Err(Refusal::TooMany) => Self::Limited,
            Err(Refusal::Full) => Self::Full,
            Err(Refusal::Unavailable) => Self::Failed,
        }
    }
}

impl TrackerProtocol {
    /// Its name in URLs and labels.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Udp => "udp",
        }
    }
}

const PROTOCOLS: [TrackerProtocol; 2] = [TrackerProtocol::Http, TrackerProtocol::Udp];

const ACTIONS: [(ServedAction, &str); 3] = [
    (ServedAction::Connect, "connect"),
    (ServedAction::Announce, "announce"),
    (ServedAction::Scrape, "scrape"),
];

const OUTCOMES: [(RequestOutcome, &str); 7] = [
    (RequestOutcome::Ok, "ok"),
    (RequestOutcome::Malformed, "malformed"),
    (RequestOutcome::Denied, "denied"),
    (RequestOutcome::Limited, "limited"),
    (RequestOutcome::Full, "full"),
    (RequestOutcome::Failed, "failed"),
    (RequestOutcome::Dropped, "dropped"),
];

/// Upper bounds of durations in seconds, ascending: from 10 µs to 10 s, five a decade.
pub(crate) const BUCKETS: [f64; 31] = [
    1e-5, 1.6e-5, 2.5e-5, 4e-5, 6.3e-5, 1e-4, 1.6e-4, 2.5e-4, 4e-4, 6.3e-4, 1e-3, 1.6e-3, 2.5e-3, 4e-3,
    6.3e-3, 1e-2, 1.6e-2, 2.5e-2, 4e-2, 6.3e-2, 0.1, 0.16, 0.25, 0.4, 0.63, 1.0, 1.6, 2.5, 4.0, 6.3, 10.0,
];

/// One action of one protocol.
struct Series {
    seconds: Histogram,
    outcomes: [IntCounter; OUTCOMES.len()],
}

/// The metrics of all front ends; all names begin with `tracker_`.
///
/// | name | labels | what |
/// | --- | --- | --- |
/// | `requests_total` | protocol, action, outcome | counter: requests |
/// | `request_seconds` | protocol, action | histogram: from the request read to the answer made |
/// | `http_connections` | | gauge: connections of clients |
/// | `http_connections_refused_total` | | counter: connections refused, since their address had too many |
/// | `healthy` | | gauge: 1, or 0 while clients are not served, as `/health` says |
///
/// `outcome` is `ok`, `malformed`, `denied` (not approved), `limited` (the address had sent too many), `full` (the
/// storage takes no further peers), `failed` (the storage did not answer) or `dropped` (too many under way).
pub(crate) struct FrontMetrics {
    series: [[Series; ACTIONS.len()]; PROTOCOLS.len()],
    pub(crate) connections: IntGauge,
    pub(crate) refused_connections: IntCounter,
    pub(crate) healthy: IntGauge,
    pub(crate) by_family: Arc<AnnouncesByFamily>,
}

/// Announces that the storage answered, by the family of the client's address; one with an address of each family
/// counts for both.
#[derive(Debug, Default)]
pub(crate) struct AnnouncesByFamily {
    ipv4: AtomicU64,
    ipv6: AtomicU64,
}

impl AnnouncesByFamily {
    pub(crate) fn count(&self, announce: &Announce) {
        for peer in announce.peers() {
            let count = match peer.family() {
                AddressFamily::V4 => &self.ipv4,
                AddressFamily::V6 => &self.ipv6,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Totals since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Totals {
    /// Announces, however they ended.
    pub(crate) announces: u64,
    pub(crate) malformed: u64,
    /// Requests for torrents that are not served.
    pub(crate) denied: u64,
    /// Requests that were too many of their address.
    pub(crate) limited: u64,
    /// Announces of new peers that the storage has no room for.
    pub(crate) full: u64,
    /// Requests that the storage did not answer, or that were too many.
    pub(crate) failed: u64,
    /// Announces that took no longer than each bound of [`BUCKETS`], and all of them.
    #[serde(skip)]
    pub(crate) announces_within: Vec<u64>,
    /// [`AnnouncesByFamily`].
    #[serde(skip)]
    pub(crate) ipv4: u64,
    #[serde(skip)]
    pub(crate) ipv6: u64,
}

impl FrontMetrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = register_int_counter_vec_with_registry!(
            "tracker_requests_total",
            "Client requests",
            &["protocol", "action", "outcome"],
            registry
        )?;
        let seconds = register_histogram_vec_with_registry!(
            "tracker_request_seconds",
            "Time from request to response in seconds",
            &["protocol", "action"],
            BUCKETS.to_vec(),
            registry
        )?;
        let connections = register_int_gauge_with_registry!(
            "tracker_http_connections",
            "Open client connections over HTTP",
            registry
        )?;
        let refused_connections = register_int_counter_with_registry!(
            "tracker_http_connections_refused_total",
            "HTTP connections refused by the limit for each address",
            registry
        )?;
        let healthy = register_int_gauge_with_registry!(
            "tracker_healthy",
            "1 if clients are served, otherwise 0",
            registry
        )?;
        let series = PROTOCOLS.map(|protocol| {
            ACTIONS.map(|(_, action)| Series {
                seconds: seconds.with_label_values(&[protocol.name(), action]),
                outcomes: OUTCOMES
                    .map(|(_, outcome)| requests.with_label_values(&[protocol.name(), action, outcome])),
            })
        });
        Ok(Self { series, connections, refused_connections, healthy, by_family: Arc::default() })
    }

    pub(crate) fn record(
        &self,
        protocol: TrackerProtocol,
        action: ServedAction,
        outcome: RequestOutcome,
        took: Duration,
    ) {
        let series = &self.series[protocol as usize][action as usize];
        series.seconds.observe(took.as_secs_f64());
        series.outcomes[outcome as usize].inc();
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            announces_within: vec![0; BUCKETS.len() + 1],
            ipv4: self.by_family.ipv4.load(Ordering::Relaxed),
            ipv6: self.by_family.ipv6.load(Ordering::Relaxed),
            ..Totals::default()
        };
        for series in self.series.iter().flatten() {
            let count = |outcome: RequestOutcome| series.outcomes[outcome as usize].get();
            totals.failed += count(RequestOutcome::Failed) + count(RequestOutcome::Dropped);
            totals.malformed += count(RequestOutcome::Malformed);
            totals.denied += count(RequestOutcome::Denied);
            totals.limited += count(RequestOutcome::Limited);
            totals.full += count(RequestOutcome::Full);
        }
        for protocol in &self.series {
            let announces = &protocol[ServedAction::Announce as usize];
            totals.announces += announces.outcomes.iter().map(IntCounter::get).sum::<u64>();
            add_buckets(&mut totals.announces_within, &announces.seconds);
        }
        totals
    }
}

fn add_buckets(within: &mut [u64], histogram: &Histogram) {
    use prometheus::core::Metric;
    let metric = histogram.metric();
    let found = metric.get_histogram();
    let cumulative = found.get_bucket().iter().map(|bucket| bucket.cumulative_count());
    for (sum, count) in within.iter_mut().zip(cumulative.chain([found.get_sample_count()])) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_has_its_own_series() {
        let in_order = PROTOCOLS.iter().enumerate().all(|(index, protocol)| *protocol as usize == index)
            && ACTIONS.iter().enumerate().all(|(index, (action, _))| *action as usize == index)
            && OUTCOMES.iter().enumerate().all(|(index, (outcome, _))| *outcome as usize == index);
        assert!(in_order);
    }

    #[test]
    fn totals_are_of_both_protocols() {
        let metrics = FrontMetrics::register(&Registry::new()).unwrap();
        let quick = Duration::from_micros(30);
        metrics.record(TrackerProtocol::Http, ServedAction::Announce, RequestOutcome::Ok, quick);
        metrics.record(
            TrackerProtocol::Udp,
            ServedAction::Announce,
            RequestOutcome::Failed,
            Duration::from_secs(60),
        );
        metrics.record(TrackerProtocol::Udp, ServedAction::Connect, RequestOutcome::Ok, quick);
        metrics.record(TrackerProtocol::Udp, ServedAction::Scrape, RequestOutcome::Malformed, quick);
        let totals = metrics.totals();
        assert_eq!((totals.announces, totals.failed, totals.malformed, totals.denied), (2, 1, 1, 0));
        assert_eq!(totals.announces_within[2], 0);
        assert_eq!(totals.announces_within[3], 1);
        assert_eq!(totals.announces_within.last(), Some(&2));
    }
}
