//! `gc`: garbage collection by hand.

use serde::Serialize;
use storage_core::{Capability, Collection, Registry, Schedule};

use crate::arguments::GcArguments;
use crate::exit_code::{CommandError, Exit};
use crate::open::ConfiguredStorage;
use crate::output::{Output, note};

#[derive(Serialize)]
struct GcReport {
    cutoff: String,
    removed: u64,
    unreadable: u64,
    withheld: u64,
}

/// Collects, and says what went.
pub(crate) async fn run(
    registry: &Registry,
    arguments: &GcArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let configured = ConfiguredStorage::read(registry.clone(), &arguments.storage)?;
    let opened = configured.open().await?;
    let (storage, schedule) = (opened.storage, opened.schedule);
    let failed = |error| configured.failed(&error);
    let gc_max_share = if arguments.force { 1.0 } else { schedule.gc_max_share };
    if gc_max_share < 1.0
        && let Some(reason) = storage.missing_capabilities().reason(Capability::Statistics)
    {
        let why = format!("--force is needed, since the peers cannot be counted: {reason}");
        return Err(CommandError::finding(format!("{}: {why}", configured.file().display())));
    }
    let schedule = Schedule { gc_max_share, ..schedule };
    let Collection { cutoff, collected, peers } = schedule.collect(&*storage).await.map_err(failed)?;
    storage.close().await.map_err(failed)?;
    let (removed, unreadable, withheld) = (collected.removed, collected.unreadable, collected.withheld);
    if arguments.json {
        output.json(&GcReport { cutoff: cutoff.to_string(), removed, unreadable, withheld })?;
    } else {
        output.line(format_args!("{removed} peers removed that last announced at or before {cutoff}"))?;
    }
    if unreadable > 0 {
        note(format_args!("{unreadable} entries cannot be understood and were left"));
    }
    if withheld == 0 {
        return Ok(Exit::Success);
    }
    Err(CommandError::finding(format!(
        "{}: at least {withheld} of {} peers are stale, more than `gc_max_share` ({gc_max_share}) allows to remove; \
         if clocks are right and there was no outage, --force removes them",
        configured.file().display(),
        peers.unwrap_or(0),
    )))
}
