//! `stats`: counts of a storage and its maintenance settings.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use storage_core::{Capability, Opened, PeerRecord, Schedule, Statistics, Storage, Timestamp};

use crate::arguments::StatsArguments;
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::open::WorkError;
use crate::output::note;
use crate::progress::with_progress;
use crate::scan::PageScan;

/// The counts of a mirror are those of the process.
const OF_THIS_PROCESS: &str = "note: queued, applied and missed writes are counted per process, and this command \
                               writes nothing; see the metrics of the running tracker \
                               (tracker_storage_mirror_missed_writes_total must not have risen on any node \
                               since the last migrate began)";

#[derive(Serialize)]
struct StatsReport {
    info_hashes: u64,
    seeders: u64,
    leechers: u64,
    /// Of all swarms; `None` if the storage cannot count them.
    downloads: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<PeerBreakdown>,
    maintenance: MaintenanceSettings,
}

/// All peers, by address family and age.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct PeerBreakdown {
    ipv4: u64,
    ipv6: u64,
    /// Past `peer_lifetime`.
    stale: u64,
}

/// When a tracker with this configuration maintains the storage.
#[derive(Serialize)]
struct MaintenanceSettings {
    enabled: bool,
    gc_interval_seconds: f64,
    peer_lifetime_seconds: f64,
    /// 0: no statistics are taken.
    reporting_interval_seconds: f64,
}

/// Counts and prints.
pub(crate) async fn run(context: &mut CommandContext, arguments: &StatsArguments) -> CommandResult {
    let stats = context.with_storage(&arguments.storage, async |Opened { storage, schedule, .. }, output| {
        let missing = storage.missing_capabilities();
        if arguments.peers
            && let Some(reason) = missing.reason(Capability::ExportPeers)
        {
            let message = format!("cannot count peers by address family and age: {reason}");
            return Err(CommandError::finding(ErrorCode::CapabilityMissing, message).into());
        }
        let without_downloads = [Capability::Downloads, Capability::ExportDownloads]
            .iter()
            .find_map(|capability| missing.reason(*capability));
        let counts = count(&**storage, schedule, without_downloads.is_none(), arguments.peers).await?;
        if arguments.json {
            output.json(&counts)?;
            return Ok(Exit::Success);
        }
        let mut rows = rows(&counts, without_downloads, schedule);
        if storage.name() == storage_mirror::NAME {
            // They show whether the operator may switch to the secondary.
            let findings = storage.diagnostics().await?.findings;
            rows.extend(findings.into_iter().map(|(item, finding)| [item, finding]));
            note(OF_THIS_PROCESS);
        }
        output.table(rows)?;
        Ok(Exit::Success)
    });
    stats.await
}

async fn count(
    storage: &dyn Storage,
    schedule: &Schedule,
    with_downloads: bool,
    with_peers: bool,
) -> Result<StatsReport, WorkError> {
    let counting = with_progress(storage.statistics(), |took| format!("counting peers: {took:.0?}"));
    let Statistics { info_hashes, seeders, leechers, .. } = counting.await?;
    let scan = PageScan::new();
    let mut downloads = 0_u64;
    if with_downloads {
        let scanned = scan.downloads(storage, async |records| {
            downloads = records.iter().fold(downloads, |sum, record| sum.saturating_add(record.downloads));
            Ok(())
        });
        scanned.await?;
    }
    let mut peers = PeerBreakdown::default();
    if with_peers {
        let stale_at = storage.now().before(schedule.peer_lifetime);
        let scanned = scan.peers(storage, async |records| {
            peers.add(&records, stale_at);
            Ok(())
        });
        scanned.await?;
    }
    let downloads = with_downloads.then_some(downloads);
    let peers = with_peers.then_some(peers);
    let maintenance = MaintenanceSettings {
        enabled: schedule.enabled,
        gc_interval_seconds: schedule.gc_interval.as_secs_f64(),
        peer_lifetime_seconds: schedule.peer_lifetime.as_secs_f64(),
        reporting_interval_seconds: schedule.reporting_interval.as_secs_f64(),
    };
    Ok(StatsReport { info_hashes, seeders, leechers, downloads, peers, maintenance })
}

impl PeerBreakdown {
    fn add(&mut self, records: &[PeerRecord], stale_at: Timestamp) {
        for record in records {
            match record.peer.address() {
                IpAddr::V4(_) => self.ipv4 += 1,
                IpAddr::V6(_) => self.ipv6 += 1,
            }
            self.stale += u64::from(record.announced <= stale_at);
        }
    }
}

fn rows(counts: &StatsReport, without_downloads: Option<&str>, schedule: &Schedule) -> Vec<[String; 2]> {
    let StatsReport { info_hashes, seeders, leechers, downloads, peers, .. } = counts;
    let downloads = match downloads {
        Some(downloads) => downloads.to_string(),
        None => format!("unknown: {}", without_downloads.unwrap_or_default()),
    };
    let mut rows = vec![
        ("info hashes", info_hashes.to_string()),
        ("seeders", seeders.to_string()),
        ("leechers", leechers.to_string()),
        ("downloads", downloads),
    ];
    if let Some(PeerBreakdown { ipv4, ipv6, stale }) = peers {
        rows.extend([
            ("IPv4 peers", ipv4.to_string()),
            ("IPv6 peers", ipv6.to_string()),
            ("stale peers", stale.to_string()),
        ]);
    }
    let Schedule { gc_interval, peer_lifetime, reporting_interval, enabled, .. } = schedule;
    let every = |interval: &Duration| match (enabled, interval.is_zero()) {
        (false, _) => "off: `maintenance` is false".to_owned(),
        (true, true) => "off".to_owned(),
        (true, false) => format!("every {interval:?}"),
    };
    rows.extend([
        ("peer lifetime", format!("{peer_lifetime:?}")),
        ("garbage collection", every(gc_interval)),
        ("statistics", every(reporting_interval)),
    ]);
    rows.into_iter().map(|(item, value)| [item.to_owned(), value]).collect()
}
