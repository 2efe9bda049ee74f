//! `/stats`: the state of the tracker for programs, and for the page.

use std::time::Instant;

use super::AdminService;
use crate::output::rounded;
use crate::serve::metrics::Totals;
use serde::Serialize;

/// The state of a tracker. What is not known (yet) is null.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    pub(super) backend: &'static str,
    /// Product and version of its server.
    pub(super) server: Option<String>,
    /// By how much the server's clock is ahead of this machine's.
    pub(super) clock_ahead_seconds: Option<f64>,
    pub(super) version: &'static str,
    pub(super) uptime_seconds: u64,
    /// Swarms that have peers, by the last statistics.
    pub(super) swarms: Option<u64>,
    pub(super) seeders: Option<u64>,
    pub(super) leechers: Option<u64>,
    /// The age of these statistics.
    pub(super) statistics_seconds_ago: Option<u64>,
    /// Over the last ten seconds.
    pub(super) announces_per_second: f64,
    pub(super) latency_milliseconds: Latency,
    /// Since the start.
    pub(super) requests: Totals,
    /// Connections of clients over HTTP.
    pub(super) http_connections: i64,
    /// Calls of the storage that failed, since the start.
    pub(super) errors: u64,
    pub(super) last_error: Option<LastError>,
    pub(super) last_garbage_collection: Option<LastCollection>,
    /// How long until the next, at the earliest; null where none is scheduled on this node.
    pub(super) next_garbage_collection_seconds: Option<u64>,
    /// Announces in each of the last seconds, the last one last.
    pub(super) announces_by_second: Vec<u64>,
}

/// Of announces over the last minute.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct LastError {
    seconds_ago: u64,
    message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct LastCollection {
    seconds_ago: u64,
    took_milliseconds: f64,
    removed_peers: u64,
    withheld_peers: u64,
}

impl AdminService {
    /// The state of now.
    pub(super) fn stats(&self) -> Stats {
        let (last, recent) = (self.status.last(), self.history.recent());
        let milliseconds = |seconds: f64| rounded(seconds * 1e3);
        Stats {
            backend: self.storage.name(),
            server: self.storage.server(),
            clock_ahead_seconds: self.storage.clock().map(|clock| rounded(clock.ahead_seconds)),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.begun.elapsed().as_secs(),
            swarms: last.statistics.map(|(_, counts)| counts.info_hashes),
            seeders: last.statistics.map(|(_, counts)| counts.seeders),
            leechers: last.statistics.map(|(_, counts)| counts.leechers),
            statistics_seconds_ago: last.statistics.map(|(taken, _)| ago(taken)),
            announces_per_second: rounded(recent.announces_per_second),
            latency_milliseconds: Latency {
                p50: recent.p50.map(milliseconds),
                p99: recent.p99.map(milliseconds),
            },
            requests: self.metrics.totals(),
            http_connections: self.metrics.connections.get(),
            errors: self.status.failures(),
            last_error: last.failure.map(|(at, message)| LastError { seconds_ago: ago(at), message }),
            last_garbage_collection: last.collection.map(|collection| LastCollection {
                seconds_ago: ago(collection.ended),
                took_milliseconds: milliseconds(collection.took.as_secs_f64()),
                removed_peers: collection.collected.removed,
                withheld_peers: collection.collected.withheld,
            }),
            next_garbage_collection_seconds: last
                .next_collection
                .map(|due| due.saturating_duration_since(Instant::now()).as_secs()),
            announces_by_second: recent.announces,
        }
    }
}

fn ago(at: Instant) -> u64 {
    at.elapsed().as_secs()
}
