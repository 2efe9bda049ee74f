//! `/stats`: the state of the tracker for programs, and for the page.

use std::time::Instant;

use serde::Serialize;
use storage_core::{CallUtilization, PendingWrites, PoolUtilization, Utilization};

use super::AdminService;
use crate::output::rounded;
use crate::serve::metrics::Totals;
use crate::serve::status::StatusSnapshot;

/// The state of a tracker. What is not known (yet) is null.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    pub(super) backend: &'static str,
    /// Product and version of its server.
    pub(super) server: Option<String>,
    /// By how much the server's clock is ahead of this machine's.
    pub(super) clock_ahead_seconds: Option<f64>,
    /// Whether clients are served, as `/health` says.
    pub(super) healthy: bool,
    pub(super) storage: StorageState,
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
    pub(super) announces_by_family: ByFamily,
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

/// The storage at this moment.
#[derive(Debug, Serialize)]
pub(super) struct StorageState {
    calls: Option<CallUtilization>,
    pool: Option<PoolUtilization>,
    pending_writes: PendingStats,
    mirror: Option<Mirror>,
    missing_capabilities: Vec<MissingFeature>,
}

/// Acknowledged writes that have not reached every place where they are to be stored.
#[derive(Debug, Serialize)]
struct PendingStats {
    count: u64,
    oldest_seconds: Option<f64>,
}

/// The secondary of a mirror.
#[derive(Debug, Serialize)]
struct Mirror {
    suspended: bool,
    /// Since the start.
    missed_writes: u64,
}

#[derive(Debug, Serialize)]
struct MissingFeature {
    capability: &'static str,
    reason: String,
}

/// Announces that the storage answered, by the family of the client's address.
#[derive(Debug, Serialize)]
pub(super) struct ByFamily {
    ipv4: Family,
    ipv6: Family,
}

#[derive(Debug, Serialize)]
struct Family {
    /// Since the start.
    total: u64,
    /// Over the last ten seconds.
    per_second: f64,
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
        let (storage, totals) = (self.storage_state(&last), self.metrics.totals());
        let milliseconds = |seconds: f64| rounded(seconds * 1e3);
        let family = |total, per_second| Family { total, per_second: rounded(per_second) };
        Stats {
            backend: self.storage.name(),
            server: self.storage.server(),
            clock_ahead_seconds: self.storage.clock().map(|clock| rounded(clock.ahead_seconds)),
            healthy: self.health().is_healthy(),
            storage,
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.begun.elapsed().as_secs(),
            swarms: last.statistics.map(|(_, counts)| counts.info_hashes),
            seeders: last.statistics.map(|(_, counts)| counts.seeders),
            leechers: last.statistics.map(|(_, counts)| counts.leechers),
            statistics_seconds_ago: last.statistics.map(|(taken, _)| ago(taken)),
            announces_per_second: rounded(recent.announces_per_second),
            announces_by_family: ByFamily {
                ipv4: family(totals.ipv4, recent.ipv4_per_second),
                ipv6: family(totals.ipv6, recent.ipv6_per_second),
            },
            latency_milliseconds: Latency {
                p50: recent.p50.map(milliseconds),
                p99: recent.p99.map(milliseconds),
            },
            requests: totals,
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

    fn storage_state(&self, last: &StatusSnapshot) -> StorageState {
        let Utilization { calls, pool, .. } = self.storage.utilization();
        let PendingWrites { count, oldest, .. } = self.storage.pending_writes();
        let missing = self.storage.missing_capabilities();
        let is_mirror = self.storage.name() == storage_mirror::NAME;
        StorageState {
            calls,
            pool,
            pending_writes: PendingStats {
                count,
                oldest_seconds: oldest.map(|oldest| rounded(oldest.as_secs_f64())),
            },
            mirror: is_mirror.then_some(Mirror {
                suspended: last.is_mirror_suspended,
                missed_writes: last.mirror_missed_writes,
            }),
            missing_capabilities: missing
                .iter()
                .map(|(capability, reason)| MissingFeature {
                    capability: capability.name(),
                    reason: reason.to_owned(),
                })
                .collect(),
        }
    }
}

fn ago(at: Instant) -> u64 {
    at.elapsed().as_secs()
}
