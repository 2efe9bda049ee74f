//! `export`: all records of a storage as lines of JSON.

use std::io::{self, IsTerminal};

use serde::{Deserialize, Serialize};
use storage_core::{Cursor, ExportScope, Opened, Page, Record, Result as StorageResult};
use storage_migration::RecordKind;

use crate::arguments::ExportArguments;
use crate::commands::CommandContext;
use crate::endpoints::kinds;
use crate::error_code::ErrorCode;
use crate::exit_code::{CodedMessage, CommandError, CommandResult, Exit};
use crate::open::WorkError;
use crate::output::{Output, note};
use crate::scan::{PAGE, PageScan, note_unreadable};

/// The first line, with the version of the format.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "export")]
pub(crate) struct ExportHeader {
    /// The version of the format.
    pub(crate) version: u32,
    /// The program that has written it.
    program: String,
}

impl ExportHeader {
    /// The version of the format that this program writes, and the newest that it reads.
    pub(crate) const VERSION: u32 = 1;

    pub(crate) fn new() -> Self {
        Self {
            version: Self::VERSION,
            program: concat!("tracker-storage ", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    /// Why a newer format is not read.
    pub(crate) fn refusal(&self) -> String {
        format!(
            "version {} of the format, written by {}, is newer than this program's version {}: import it with a program \
             of that release or newer",
            self.version,
            self.program,
            Self::VERSION
        )
    }
}

/// Prints the records by kind, and their counts to the standard error.
pub(crate) async fn run(context: &mut CommandContext, arguments: &ExportArguments) -> CommandResult {
    let export = context.with_storage(&arguments.storage, async |Opened { storage, .. }, output| {
        let kinds = kinds(&arguments.only);
        let missing = storage.missing_capabilities();
        let refusals: Vec<_> = kinds
            .iter()
            .filter_map(|kind| {
                let reason = missing.reason(kind.export())?;
                let message = format!("cannot export {}: {reason}; leave them out with --only", kind.name());
                Some(CodedMessage::new(ErrorCode::CapabilityMissing, message))
            })
            .collect();
        if !refusals.is_empty() {
            return Err(CommandError::findings(refusals).into());
        }
        output.json(&ExportHeader::new())?;
        let scan = PageScan::new();
        for kind in kinds {
            match kind {
                RecordKind::Peers => {
                    let read = async |from: Option<&Cursor>| {
                        storage.export_peers(ExportScope::All, from, PAGE).await
                    };
                    export(&scan, kind, read, Record::Peer, output).await?;
                }
                RecordKind::Downloads => {
                    let read = async |from: Option<&Cursor>| storage.export_downloads(from, PAGE).await;
                    export(&scan, kind, read, Record::Downloads, output).await?;
                }
                RecordKind::Data => {
                    let read = async |from: Option<&Cursor>| storage.export_data(from, PAGE).await;
                    export(&scan, kind, read, Record::Data, output).await?;
                }
            }
        }
        Ok(Exit::Success)
    });
    export.await
}

async fn export<T>(
    scan: &PageScan,
    kind: RecordKind,
    read: impl AsyncFn(Option<&Cursor>) -> StorageResult<Page<T>>,
    record: fn(T) -> Record,
    output: &mut Output,
) -> Result<(), WorkError> {
    let (mut exported, mut unreadable) = (0, 0);
    let each = async |page: Page<T>| {
        exported += page.records.len();
        unreadable += page.unreadable;
        output.json_lines(page.records.into_iter().map(record))?;
        Ok(output.flow())
    };
    // At a terminal the records themselves show the progress.
    let result = if io::stdout().is_terminal() {
        scan.pages(read, each).await
    } else {
        scan.pages_with_progress(kind.name(), read, each).await
    };
    note(format_args!("exported {exported} {}", kind.name()));
    note_unreadable(unreadable, kind.name());
    result
}
