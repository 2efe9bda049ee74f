//! Migration: everything from one storage to another, and the comparison of both.
//!
//! Peers keep role, family and time of last announce; on conflict the later announce and the larger count win, and existing data stays.
//! Nothing is ever deleted at the source. What is under way is bounded by the size of a batch and the
//! number of writers, however large the source. Imports may be repeated, so a migration that was
//! interrupted in whatever way is simply started again.
//!
//! ```
//! use std::sync::Arc;
//! use storage_core::Storage;
//! use storage_migration::{Migration, Options, Verification, VerifyOptions};
//!
//! # async fn run(from: Arc<dyn Storage>, to: Arc<dyn Storage>) -> Result<(), Box<dyn std::error::Error>> {
//! let migration = Migration::new(from.clone(), to.clone(), Options::default());
//! let moved = migration.run().await?;
//! let options = VerifyOptions { copied_at: Some(moved.began), ..VerifyOptions::default() };
//! let compared = Verification::new(from, to, options).run().await?;
//! assert!(compared.is_equal());
//! # Ok(()) }
//! ```

mod data;
mod lookup;
mod options;
mod pipeline;
mod progress;
mod rate_limit;
mod retry;
mod run;
mod verify;
mod written_keys;

use std::fmt;
use std::io;

pub use options::{DataRule, DownloadsRule, Follow, Options, RecordKind};
pub use progress::{Progress, RecordCounts, RecordProgress};
pub use run::{Migration, Summary};
pub use verify::{Comparison, Differences, Finding, Verification, VerifyOptions};

use storage_core::Error;
use tokio_util::sync::CancellationToken;

/// One of the two storages of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The storage that is read.
    Source,
    /// The storage that is written.
    Target,
}

/// Why a migration or a comparison ended early.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrationError {
    /// A storage failed, and went on failing when it was tried again.
    Storage(Side, Error),
    /// The file with the names of the data that was written cannot be kept.
    WrittenKeys(io::Error),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(side, error) => write!(f, "{side}: {error}"),
            Self::WrittenKeys(error) => write!(f, "cannot write a temporary file: {error}"),
        }
    }
}

impl std::error::Error for MigrationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(_, error) => Some(error),
            Self::WrittenKeys(error) => Some(error),
        }
    }
}

/// Ends a migration or a comparison between two batches. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Asks for the end.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether the end has been asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Ends when the end is asked for.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }
}
