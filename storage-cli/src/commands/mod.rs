//! The commands, a file each.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod conformance;
pub(crate) mod data;
pub(crate) mod example_config;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod import;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod ping;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod stats;
pub(crate) mod swarm;
pub(crate) mod verify;

use storage_core::{Backends, DataStorage, Opened, Storage};

use crate::arguments::{self, StorageArguments};
use crate::exit_code::{CommandError, CommandResult};
use crate::open::{ConfiguredStorage, WorkResult};
use crate::output::Output;

/// What every command works with.
pub(crate) struct CommandContext {
    pub(crate) backends: Backends,
    pub(crate) output: Output,
    /// The name of the program that runs.
    pub(crate) program: String,
}

impl CommandContext {
    /// The command line of this program.
    pub(crate) fn command_line(&self) -> clap::Command {
        arguments::command(&self.program, example_config::backends(&self.backends))
    }

    /// Reads the configuration of a storage.
    pub(crate) fn read(&self, arguments: &StorageArguments) -> Result<ConfiguredStorage, CommandError> {
        let StorageArguments { config, at } = arguments;
        ConfiguredStorage::read(self.backends.clone(), config, at).map(|(configured, _)| configured)
    }

    /// Opens a storage, works on it, and closes it.
    pub(crate) async fn with_storage(
        &mut self,
        arguments: &StorageArguments,
        work: impl AsyncFnOnce(&Opened<dyn Storage>, &mut Output) -> WorkResult,
    ) -> CommandResult {
        let configured = self.read(arguments)?;
        let opened = configured.open().await?;
        let worked = work(&opened, &mut self.output).await;
        configured.finish(worked, &*opened.storage).await
    }

    /// Opens the data part of a storage alone, works on it, and closes it.
    pub(crate) async fn with_data(
        &mut self,
        arguments: &StorageArguments,
        work: impl AsyncFnOnce(&dyn DataStorage, &mut Output) -> WorkResult,
    ) -> CommandResult {
        let configured = self.read(arguments)?;
        let storage = configured.open_data().await?.storage;
        let worked = work(&*storage, &mut self.output).await;
        configured.finish(worked, &*storage).await
    }
}
