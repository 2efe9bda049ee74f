//! `ping`: whether the server answers.

use std::time::Instant;

use storage_core::Registry;

use crate::arguments::StorageArguments;
use crate::exit_code::{CommandError, Exit};
use crate::open::ConfiguredStorage;
use crate::output::Output;

/// Opens the storage, checks that its server responds, and prints how long that took.
pub(crate) async fn run(
    registry: &Registry,
    arguments: &StorageArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let configured = ConfiguredStorage::read(registry.clone(), arguments)?;
    let storage = configured.open().await?.storage;
    let begun = Instant::now();
    storage.ping().await.map_err(|error| configured.failed(&error))?;
    let took = begun.elapsed();
    output.line(format_args!("ok: {} answers in {took:.1?}", storage.name()))?;
    storage.close().await.map_err(|error| configured.failed(&error))?;
    Ok(Exit::Success)
}
