//! `swarm`: swarms listed, and one of them looked at or removed by hand.

mod list;

use std::time::Duration;

use serde::Serialize;
use storage_core::{
    Capability, InfoHash, Opened, PeerRecord, Record, Registry, Scope, Storage, SwarmCounts, Timestamp,
};

use crate::arguments::{RemoveArguments, ShowArguments, SwarmAction, SwarmArguments};
use crate::confirm::confirm;
use crate::exit_code::{CommandError, Exit};
use crate::interrupt::Interrupt;
use crate::open::ConfiguredStorage;
use crate::output::{Output, note};

/// How many peers are read at a time.
const PAGE: usize = 1_000;

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

    fn is_nothing(&self) -> bool {
        (self.seeders, self.leechers, self.downloads) == (0, 0, 0)
    }
}

/// Does what is asked for.
pub(crate) async fn run(
    registry: &Registry,
    arguments: &SwarmArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    match &arguments.action {
        SwarmAction::List(arguments) => list::run(registry, arguments, output).await,
        SwarmAction::Show(arguments) => show(registry, arguments, output).await,
        SwarmAction::Remove(arguments) => remove(registry, arguments, output).await,
    }
}

async fn show(
    registry: &Registry,
    arguments: &ShowArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let configured = ConfiguredStorage::read(registry.clone(), &arguments.storage)?;
    let Opened { storage, schedule, .. } = configured.open().await?;
    let counts = counts(&*storage, &configured, arguments.info_hash).await?;
    if arguments.json {
        output.json(&counts)?;
    } else {
        let NamedCounts { info_hash, seeders, leechers, downloads } = &counts;
        output.line(format_args!(
            "{info_hash}: seeders {seeders}, leechers {leechers}, downloads {downloads}"
        ))?;
    }
    let is_unknown = counts.is_nothing();
    let mut exit = show_peers(&*storage, schedule.peer_lifetime, &configured, arguments, output).await?;
    if is_unknown && exit == Exit::Success {
        note(format_args!(
            "{}: no peers and no downloads: the storage does not know this swarm",
            arguments.info_hash
        ));
        exit = Exit::Finding;
    }
    storage.close().await.map_err(|error| configured.failed(&error))?;
    Ok(exit)
}

async fn counts(
    storage: &dyn Storage,
    configured: &ConfiguredStorage,
    info_hash: InfoHash,
) -> Result<NamedCounts, CommandError> {
    let counted = storage.scrape_swarm(&info_hash).await.map_err(|error| configured.failed(&error))?;
    Ok(NamedCounts::new(info_hash, counted))
}

async fn show_peers(
    storage: &dyn Storage,
    lifetime: Duration,
    configured: &ConfiguredStorage,
    arguments: &ShowArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    if let Some(reason) = storage.missing_capabilities().reason(Capability::ExportPeers) {
        note(format_args!("the peers cannot be shown: {reason}"));
        return Ok(Exit::Finding);
    }
    let interrupt = Interrupt::listen();
    let (mut from, mut unreadable, mut is_first) = (None, 0, true);
    loop {
        let page = storage.export_peers(Scope::Swarm(arguments.info_hash), from.as_ref(), PAGE).await;
        let page = page.map_err(|error| configured.failed(&error))?;
        unreadable += page.unreadable;
        if arguments.json {
            output.json_lines(page.records.into_iter().map(Record::Peer))?;
        } else if !page.records.is_empty() {
            let header = std::mem::take(&mut is_first).then(header);
            let (now, stale_at) = (storage.now(), storage.now().before(lifetime));
            output.table(
                header.into_iter().chain(page.records.iter().map(|record| row(record, now, stale_at))),
            )?;
        }
        from = page.next;
        if from.is_none() || output.is_closed() {
            break;
        }
        if interrupt.is_set() {
            return Ok(Exit::Interrupted);
        }
    }
    if unreadable > 0 {
        note(format_args!("{unreadable} peers cannot be understood and are left out"));
    }
    Ok(Exit::Success)
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

async fn remove(
    registry: &Registry,
    arguments: &RemoveArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let configured = ConfiguredStorage::read(registry.clone(), &arguments.storage)?;
    let storage = configured.open().await?.storage;
    let NamedCounts { info_hash, seeders, leechers, downloads } =
        counts(&*storage, &configured, arguments.info_hash).await?;
    let question = format!(
        "{info_hash}: seeders {seeders}, leechers {leechers}, downloads {downloads}. Remove the swarm?"
    );
    if !arguments.yes && !confirm(question)? {
        return Err(CommandError::usage("nothing was removed"));
    }
    let forgotten = storage.forget_swarm(&info_hash).await.map_err(|error| configured.failed(&error))?;
    let of_downloads = match storage.missing_capabilities().reason(Capability::ForgetDownloads) {
        _ if forgotten.downloads => " and the downloads".to_owned(),
        Some(reason) => format!("; the downloads stay: {reason}"),
        None => String::new(),
    };
    storage.close().await.map_err(|error| configured.failed(&error))?;
    output.line(format_args!("removed {} peers{of_downloads}", forgotten.peers))?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_words() {
        let now = Timestamp::from_seconds(1_795_000_000);
        let ago = |seconds| age(now.before(Duration::from_secs(seconds)), now);
        assert_eq!([ago(0), ago(59), ago(61), ago(7_260)], ["0s", "59s", "1m 01s", "2h 01m"]);
        assert_eq!(age(now.after(Duration::from_secs(1)), now), "in future");
    }
}
