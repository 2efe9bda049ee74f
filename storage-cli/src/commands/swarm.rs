//! `swarm`: lists swarms, shows one or removes one.

mod list;

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use storage_core::{
    Capability, Cursor, ExportScope, InfoHash, Opened, Page, PeerRecord, Record, Storage, SwarmCounts,
    Timestamp,
};

use crate::arguments::{RemoveArguments, ShowArguments, SwarmAction};
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CodedMessage, CommandError, CommandResult, Exit};
use crate::open::WorkError;
use crate::output::{Output, confirm, note};
use crate::scan::{PAGE, PageScan, note_unreadable};

/// The counts of a swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct NamedCounts {
    info_hash: InfoHash,
    seeders: u64,
    leechers: u64,
    downloads: u64,
}

impl NamedCounts {
    fn new(info_hash: InfoHash, counts: SwarmCounts) -> Self {
        let SwarmCounts { seeders, leechers, downloads } = counts;
        Self { info_hash, seeders, leechers, downloads }
    }

    fn counts(&self) -> SwarmCounts {
        SwarmCounts { seeders: self.seeders, leechers: self.leechers, downloads: self.downloads }
    }
}

impl fmt::Display for NamedCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { info_hash, seeders, leechers, downloads } = self;
        write!(f, "{info_hash}: seeders {seeders}, leechers {leechers}, downloads {downloads}")
    }
}

/// Runs the subcommand.
pub(crate) async fn run(context: &mut CommandContext, action: &SwarmAction) -> CommandResult {
    match action {
        SwarmAction::List(arguments) => list::run(context, arguments).await,
        SwarmAction::Show(arguments) => show(context, arguments).await,
        SwarmAction::Remove(arguments) => remove(context, arguments).await,
    }
}

async fn show(context: &mut CommandContext, arguments: &ShowArguments) -> CommandResult {
    let show = context.with_storage(&arguments.storage, async |Opened { storage, schedule, .. }, output| {
        let info_hash = arguments.info_hash;
        let counts = NamedCounts::new(info_hash, storage.scrape_swarm(&info_hash).await?);
        if arguments.json {
            output.json(&counts)?;
        } else {
            output.line(&counts)?;
        }
        if let Some(reason) = storage.missing_capabilities().reason(Capability::ExportPeers) {
            note(CodedMessage::new(ErrorCode::CapabilityMissing, format!("cannot show the peers: {reason}")));
            return Ok(Exit::Finding);
        }
        show_peers(&**storage, schedule.peer_lifetime, arguments, output).await?;
        if (counts.seeders, counts.leechers, counts.downloads) == (0, 0, 0) {
            let message = format!("{info_hash}: unknown swarm: no peers, no downloads");
            note(CodedMessage::new(ErrorCode::NotFound, message));
            return Ok(Exit::Finding);
        }
        Ok(Exit::Success)
    });
    show.await
}

async fn show_peers(
    storage: &dyn Storage,
    lifetime: Duration,
    arguments: &ShowArguments,
    output: &mut Output,
) -> Result<(), WorkError> {
    let (mut unreadable, mut is_first) = (0, true);
    let scope = ExportScope::Swarm(arguments.info_hash);
    let read = async |from: Option<&Cursor>| storage.export_peers(scope, from, PAGE).await;
    let scan = PageScan::new();
    let pages = scan.pages(read, async |page: Page<PeerRecord>| {
        unreadable += page.unreadable;
        if arguments.json {
            output.json_lines(page.records.into_iter().map(Record::Peer))?;
        } else if !page.records.is_empty() {
            let header = std::mem::take(&mut is_first).then(header);
            let (now, stale_at) = (storage.now(), storage.now().before(lifetime));
            let rows = page.records.iter().map(|record| row(record, now, stale_at));
            output.table(header.into_iter().chain(rows))?;
        }
        Ok(output.flow())
    });
    pages.await?;
    note_unreadable(unreadable, "peers");
    Ok(())
}

fn header() -> [String; 6] {
    ["role", "peer id", "announced", "", "port", "address"].map(str::to_owned)
}

/// A peer, with what has no fixed width at the end, so that pages have the same columns.
fn row(record: &PeerRecord, now: Timestamp, stale_at: Timestamp) -> [String; 6] {
    let PeerRecord { peer, role, announced, .. } = record;
    [
        format!("{:<7}", role.to_string()),
        hex::encode(peer.id().as_bytes()),
        format!("{:>9}", age(*announced, now)),
        format!("{:<5}", if *announced <= stale_at { "stale" } else { "" }),
        format!("{:>5}", peer.port()),
        peer.address().to_string(),
    ]
}

/// How long ago, in words of at most nine letters.
fn age(announced: Timestamp, now: Timestamp) -> String {
    let Ok(nanoseconds) = u64::try_from(now.nanoseconds().saturating_sub(announced.nanoseconds())) else {
        return "in future".to_owned();
    };
    let seconds = Duration::from_nanos(nanoseconds).as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

async fn remove(context: &mut CommandContext, arguments: &RemoveArguments) -> CommandResult {
    let remove = context.with_storage(&arguments.storage, async |Opened { storage, .. }, output| {
        let info_hash = arguments.info_hash;
        let counts = NamedCounts::new(info_hash, storage.scrape_swarm(&info_hash).await?);
        if !arguments.yes && !confirm(format_args!("{counts}. Remove the swarm?"))? {
            return Err(CommandError::usage(ErrorCode::Declined, "nothing was removed").into());
        }
        let forgotten = storage.forget_swarm(&info_hash).await?;
        let of_downloads = match storage.missing_capabilities().reason(Capability::ForgetDownloads) {
            _ if forgotten.downloads => " and the downloads".to_owned(),
            Some(reason) => format!("; the downloads are kept: {reason}"),
            None => String::new(),
        };
        output.line(format_args!("removed {} peers{of_downloads}", forgotten.peers))?;
        Ok(Exit::Success)
    });
    remove.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        let now = Timestamp::from_seconds(1_795_000_000);
        let ago = |seconds| age(now.before(Duration::from_secs(seconds)), now);
        assert_eq!([ago(0), ago(59), ago(61), ago(7_260)], ["0s", "59s", "1m 01s", "2h 01m"]);
        assert_eq!(age(now.after(Duration::from_secs(1)), now), "in future");
    }
}
