//! `gc`: one garbage collection, now.

use serde::Serialize;
use storage_core::{Capability, Collected, Collection, Opened, Schedule};

use crate::arguments::GcArguments;
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::open::WorkError;
use crate::output::note;
use crate::progress::with_progress;

#[derive(Serialize)]
struct GcReport {
    cutoff: String,
    removed: u64,
    unreadable: u64,
    withheld: u64,
}

/// Removes stale peers and prints how many.
pub(crate) async fn run(context: &mut CommandContext, arguments: &GcArguments) -> CommandResult {
    let file = arguments.storage.config.display();
    let gc = context.with_storage(&arguments.storage, async |Opened { storage, schedule, .. }, output| {
        let gc_max_share = if arguments.force { 1.0 } else { schedule.gc_max_share };
        if gc_max_share < 1.0
            && let Some(reason) = storage.missing_capabilities().reason(Capability::Statistics)
        {
            let why = format!("{file}: cannot count the peers, so --force is needed: {reason}");
            return Err(CommandError::finding(ErrorCode::PeersUncounted, why).into());
        }
        let schedule = Schedule { gc_max_share, ..*schedule };
        let collecting = schedule.collect(&**storage);
        let collected = with_progress(collecting, |took| format!("collecting garbage: {took:.0?}")).await?;
        let Collection { cutoff, collected, peers } = collected;
        let Collected { removed, unreadable, withheld, .. } = collected;
        if arguments.json {
            let code = (withheld > 0).then_some(ErrorCode::CollectionWithheld);
            let report = GcReport { cutoff: cutoff.to_string(), removed, unreadable, withheld };
            output.json_with_code(&report, code)?;
        } else {
            output.line(format_args!("removed {removed} peers that last announced at or before {cutoff}"))?;
        }
        if unreadable > 0 {
            note(format_args!("{unreadable} unreadable entries were kept"));
        }
        if withheld == 0 {
            return Ok(Exit::Success);
        }
        let peers = peers.unwrap_or(0);
        let message = format!(
            "{file}: at least {withheld} of {peers} peers are stale, more than `gc_max_share` ({gc_max_share}) allows \
             to remove; if the clocks are right and there was no outage, --force removes them"
        );
        Err(WorkError::from(CommandError::finding(ErrorCode::CollectionWithheld, message)))
    });
    gc.await
}
