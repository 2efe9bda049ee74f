//! `ping`: checks that the server responds.

use std::time::Instant;

use storage_core::Opened;

use crate::arguments::StorageArguments;
use crate::commands::CommandContext;
use crate::exit_code::{CommandResult, Exit};

/// Opens the storage, checks that its server responds, and prints how long that took.
pub(crate) async fn run(context: &mut CommandContext, arguments: &StorageArguments) -> CommandResult {
    let ping = context.with_storage(arguments, async |Opened { storage, .. }, output| {
        let begun = Instant::now();
        storage.ping().await?;
        output.line(format_args!("ok: {} responds in {:.1?}", storage.name(), begun.elapsed()))?;
        Ok(Exit::Success)
    });
    ping.await
}
