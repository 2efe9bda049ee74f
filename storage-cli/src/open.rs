//! From a configuration file to a storage.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage_core::config::{ConfigFile, LoadError, StorageConfig, Value, variables};
use storage_core::{Backend, Backends, DataStorage, Driver, Error, OpenError, Opened, Review, Storage};

use crate::error_code::ErrorCode;
use crate::exit_code::{CodedMessage, CommandError, CommandResult, Exit};
use crate::output::note;

/// The backend without a file.
const DEFAULT_BACKEND: &str = "memory";

/// Why work on a storage ended early.
pub(crate) enum WorkError {
    /// Ctrl-C.
    Interrupted,
    /// A call failed.
    Storage(Error),
    /// Anything else.
    Command(CommandError),
}

/// How work on a storage ended.
pub(crate) type WorkResult = Result<Exit, WorkError>;

impl From<Error> for WorkError {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl From<CommandError> for WorkError {
    fn from(failure: CommandError) -> Self {
        Self::Command(failure)
    }
}

impl From<io::Error> for WorkError {
    fn from(error: io::Error) -> Self {
        Self::Command(error.into())
    }
}

/// A storage as a file describes it, to be opened any number of times.
pub(crate) struct ConfiguredStorage {
    backends: Backends,
    config: StorageConfig,
    file: PathBuf,
}

impl ConfiguredStorage {
    /// Reads the file, of which there is more than the storage.
    pub(crate) fn read(
        backends: Backends,
        file: &Path,
        at: &str,
    ) -> Result<(Self, ConfigFile), CommandError> {
        let read = ConfigFile::read(file, variables()).map_err(|error| unreadable(&error))?;
        let config = read.storage(at).map_err(|error| unreadable(&error))?;
        Ok((Self { backends, config, file: file.to_owned() }, read))
    }

    /// Reads the file, or else the environment; the backend is the default where neither names a storage.
    pub(crate) fn read_or_default(
        backends: Backends,
        file: Option<&Path>,
        at: &str,
    ) -> Result<(Self, ConfigFile), CommandError> {
        if let Some(file) = file {
            return Self::read(backends, file, at);
        }
        let read = ConfigFile::from_variables(variables()).map_err(|error| unreadable(&error))?;
        let config = if read.section().has(at) {
            read.storage(at).map_err(|error| unreadable(&error))?
        } else {
            StorageConfig { name: DEFAULT_BACKEND.to_owned(), config: Value::Null }
        };
        Ok((Self { backends, config, file: read.name().to_owned() }, read))
    }

    pub(crate) fn driver(&self) -> Result<&dyn Driver, CommandError> {
        let found = self.backends.driver(&self.config.name);
        found.map_err(|unknown| self.refused(&OpenError::UnknownBackend(unknown)))
    }

    /// Opens the storage, and prints the warnings about its configuration.
    pub(crate) async fn open(&self) -> Result<Opened<dyn Storage>, CommandError> {
        let opened = self.try_open().await.map_err(|error| self.refused(&error))?;
        self.note_warnings(&opened);
        Ok(opened)
    }

    /// Closes a storage, unless its server failed just now: then closing would only add a wait.
    pub(crate) async fn finish(
        &self,
        worked: WorkResult,
        storage: &(impl Backend + ?Sized),
    ) -> CommandResult {
        let exit = match worked {
            Err(WorkError::Storage(error)) => return Err(self.failed(&error)),
            Err(WorkError::Command(failure)) => Err(failure),
            Err(WorkError::Interrupted) => Ok(Exit::Interrupted),
            Ok(exit) => Ok(exit),
        };
        let closed = storage.close().await.map_err(|error| self.failed(&error));
        exit.and_then(|exit| closed.map(|()| exit))
    }

    /// Opens the data part alone, and prints the warnings about its configuration.
    pub(crate) async fn open_data(&self) -> Result<Opened<dyn DataStorage>, CommandError> {
        let opened = self.backends.open_data(self.config.clone()).await;
        let opened = opened.map_err(|error| self.refused(&error))?;
        self.note_warnings(&opened);
        Ok(opened)
    }

    fn note_warnings<S: ?Sized>(&self, opened: &Opened<S>) {
        for warning in &opened.warnings {
            note(format_args!("warning: {}: {warning}", self.file.display()));
        }
    }

    /// Opens the storage.
    pub(crate) async fn try_open(&self) -> Result<Opened<dyn Storage>, OpenError> {
        self.backends.open(self.config.clone()).await
    }

    /// Opens the storage where unknown keys are problems.
    pub(crate) async fn open_all_strictly(&self) -> Result<Opened<dyn Storage>, CommandError> {
        let strict = self.backends.clone().strict();
        strict.open(self.config.clone()).await.map_err(|error| self.refused(&error))
    }

    /// Reads the configuration of the storage, or of its data part alone, and connects to nothing.
    pub(crate) fn review(&self, data_only: bool) -> Result<Review, CommandError> {
        let review = self.backends.review(self.config.clone(), data_only);
        review.map_err(|unknown| self.refused(&OpenError::UnknownBackend(unknown)))
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether another configuration is the same storage, judging by the files.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_private = self.driver().is_ok_and(|driver| driver.is_private());
        !is_private
            && self.config.name.eq_ignore_ascii_case(&other.config.name)
            && self.config.config == other.config.config
    }

    /// Opens the storage, or its data part alone, where unknown keys are problems.
    pub(crate) async fn open_strictly(&self, data_only: bool) -> Result<Opened<dyn Backend>, CommandError> {
        let strict = self.backends.clone().strict();
        let config = self.config.clone();
        let opened = if data_only {
            strict.open_data(config).await.map(|opened| opened.map(|storage| storage as Arc<dyn Backend>))
        } else {
            strict.open(config).await.map(|opened| opened.map(|storage| storage as Arc<dyn Backend>))
        };
        opened.map_err(|error| self.refused(&error))
    }

    /// Why the storage was not opened: a line a problem, each with the file.
    pub(crate) fn refused(&self, error: &OpenError) -> CommandError {
        let file = self.file.display();
        match error {
            OpenError::Configuration(problems) => CommandError::findings(
                problems.iter().map(|problem| CodedMessage::of_problem(&self.file, problem)),
            ),
            OpenError::Storage(error) => self.failed(error),
            other => CommandError::finding(ErrorCode::UnknownBackend, format!("{file}: {other}")),
        }
    }

    /// A failed call.
    pub(crate) fn failed(&self, error: &Error) -> CommandError {
        let message = format!("{}: {}", self.file.display(), with_cause(error));
        CommandError::finding(ErrorCode::of(error), message)
    }
}

/// A file that is no configuration is wrong usage; a problem at a key is a finding.
fn unreadable(error: &LoadError) -> CommandError {
    let is_usage = error.problems.iter().all(|problem| problem.key.is_empty());
    let exit = if is_usage { Exit::Usage } else { Exit::Finding };
    let messages = error.problems.iter().map(|problem| CodedMessage::of_problem(error.file(), problem));
    CommandError { exit, ..CommandError::findings(messages) }
}

/// An error with its cause, unless its message contains the cause already.
fn with_cause(error: &Error) -> String {
    let text = error.to_string();
    match error.source().map(ToString::to_string) {
        Some(cause) if !says(&text, &cause) => format!("{text}: {cause}"),
        _ => text,
    }
}

/// Whether a message contains its cause, to which libraries add a prefix: `error returned from database: …`.
fn says(text: &str, cause: &str) -> bool {
    text.contains(cause) || cause.split_once(": ").is_some_and(|(_, what)| text.contains(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_in_the_message_is_not_repeated() {
        let size = "index row size 2712 exceeds btree version 4 maximum 2704 for index \"mo_kv_pkey\"";
        let text = format!("pg: put_data: `data.add_query`: {size}");
        assert!(says(&text, &format!("error returned from database: {size}")));
        assert!(says(&text, size));
        assert!(!says(&text, "error returned from database: connection reset"));
        assert!(!says(&text, "connection reset"));
    }
}
