//! `import`: records from lines of JSON.

mod lines;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use storage_core::{
    DataRecord, DownloadsRecord, Imported, Opened, PeerRecord, Record, Result as StorageResult, Storage,
};
use storage_migration::RecordKind;

use crate::arguments::ImportArguments;
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::interrupt::Interrupt;
use crate::open::WorkError;
use crate::output::{Output, note, note_code};
use crate::progress::{counted, with_progress};
use lines::ImportLine;

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct ImportCounts {
    peers: ImportCount,
    downloads: ImportCount,
    data: ImportCount,
    unreadable_lines: u64,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
struct ImportCount {
    written: u64,
    kept: u64,
}

/// Records that wait to be taken in together.
#[derive(Default)]
struct PendingRecords {
    peers: Vec<PeerRecord>,
    downloads: Vec<DownloadsRecord>,
    data: Vec<DataRecord>,
}

/// Imports readable lines and reports the others.
pub(crate) async fn run(context: &mut CommandContext, arguments: &ImportArguments) -> CommandResult {
    let import = context.with_storage(&arguments.storage, async |Opened { storage, .. }, output| {
        let interrupt = Interrupt::listen();
        let mut import = Import {
            storage: &**storage,
            batch: usize::try_from(arguments.batch).unwrap_or(usize::MAX),
            waiting: PendingRecords::default(),
            counts: ImportCounts::default(),
        };
        let lines = AtomicU64::new(0);
        let describe = |took: Duration| format!("{} lines imported in {took:.0?}", counted(&lines));
        let read = with_progress(import.lines(arguments, &interrupt, &lines), describe).await;
        print(&import.counts, arguments, output)?;
        read?;
        Ok(match import.counts.unreadable_lines {
            _ if interrupt.is_set() => Exit::Interrupted,
            0 => Exit::Success,
            _ => {
                note_code(ErrorCode::UnreadableRecords);
                Exit::Finding
            }
        })
    });
    import.await
}

struct Import<'a> {
    storage: &'a dyn Storage,
    batch: usize,
    waiting: PendingRecords,
    counts: ImportCounts,
}

impl Import<'_> {
    async fn lines(
        &mut self,
        arguments: &ImportArguments,
        interrupt: &Interrupt,
        done: &AtomicU64,
    ) -> Result<(), WorkError> {
        let mut lines = lines::read();
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                () = interrupt.clone().wait() => break,
            };
            let Some(ImportLine { number, record }) = line else { break };
            done.fetch_add(1, Relaxed);
            match record {
                Ok(record) => self.take(record).await?,
                Err(reason) => {
                    self.counts.unreadable_lines += 1;
                    note(format_args!("line {number}: {reason}"));
                    if arguments.stop_on_error {
                        break;
                    }
                }
            }
        }
        for kind in RecordKind::ALL {
            self.write(kind).await?;
        }
        Ok(())
    }

    async fn take(&mut self, record: Record) -> Result<(), WorkError> {
        let PendingRecords { peers, downloads, data } = &mut self.waiting;
        let (kind, waiting) = match record {
            Record::Peer(record) => (RecordKind::Peers, push(peers, record)),
            Record::Downloads(record) => (RecordKind::Downloads, push(downloads, record)),
            Record::Data(record) => (RecordKind::Data, push(data, record)),
        };
        if waiting >= self.batch { self.write(kind).await } else { Ok(()) }
    }

    async fn write(&mut self, kind: RecordKind) -> Result<(), WorkError> {
        let PendingRecords { peers, downloads, data } = &mut self.waiting;
        let (count, imported): (_, StorageResult<Imported>) = match kind {
            RecordKind::Peers if !peers.is_empty() => {
                (&mut self.counts.peers, self.storage.import_peers(&std::mem::take(peers)).await)
            }
            RecordKind::Downloads if !downloads.is_empty() => {
                (&mut self.counts.downloads, self.storage.import_downloads(&std::mem::take(downloads)).await)
            }
            RecordKind::Data if !data.is_empty() => {
                (&mut self.counts.data, self.storage.import_data(&std::mem::take(data)).await)
            }
            _ => return Ok(()),
        };
        let imported =
            imported.map_err(|error| match self.storage.missing_capabilities().reason(kind.import()) {
                Some(reason) => {
                    let message = format!("cannot import {}: {reason}", kind.name());
                    CommandError::finding(ErrorCode::CapabilityMissing, message).into()
                }
                None => WorkError::Storage(error),
            })?;
        count.written += imported.written;
        count.kept += imported.kept;
        Ok(())
    }
}

/// Adds a record, and returns how many wait.
fn push<T>(waiting: &mut Vec<T>, record: T) -> usize {
    waiting.push(record);
    waiting.len()
}

fn print(counts: &ImportCounts, arguments: &ImportArguments, output: &mut Output) -> io::Result<()> {
    if arguments.json {
        let code = (counts.unreadable_lines > 0).then_some(ErrorCode::UnreadableRecords);
        return output.json_with_code(counts, code);
    }
    let kinds = [("peers", counts.peers), ("downloads", counts.downloads), ("data", counts.data)];
    for (kind, ImportCount { written, kept }) in kinds {
        output.line(format_args!(
            "{kind}: {written} written, {kept} kept (already newer, larger or present)"
        ))?;
    }
    if counts.unreadable_lines > 0 {
        output.line(format_args!("{} lines are unreadable", counts.unreadable_lines))?;
    }
    Ok(())
}
