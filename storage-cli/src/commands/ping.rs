//! `ping`: checks that the server responds.

use std::time::Instant;

use storage_core::{Backends, Opened};

use crate::arguments::StorageArguments;
use crate::exit_code::{CommandError, Exit};
use crate::open::ConfiguredStorage;
use crate::output::Output;

/// Opens the storage, checks that its server responds, and prints how long that took.
pub(crate) async fn run(
    backends: &Backends,
    arguments: &StorageArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let configured = ConfiguredStorage::read(backends.clone(), arguments)?;
    let ping = configured.with_storage(async |Opened { storage, .. }| {
        let begun = Instant::now();
        storage.ping().await?;
        output.line(format_args!("ok: {} responds in {:.1?}", storage.name(), begun.elapsed()))?;
        Ok(Exit::Success)
    });
    ping.await
}
