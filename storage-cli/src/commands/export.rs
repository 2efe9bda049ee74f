//! `export`: everything a storage holds, as lines of JSON.

use serde::{Deserialize, Serialize};
use storage_core::{Capability, Cursor, Page, Record, Registry, Result as StorageResult, Scope, Storage};

use crate::arguments::{ExportArguments, Kind};
use crate::exit_code::{CommandError, Exit};
use crate::interrupt::Interrupt;
use crate::open::ConfiguredStorage;
use crate::output::{Output, note};

/// How many records are read at a time.
const PAGE: usize = 1_000;

/// The first line: in which format the others are.
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
            "version {} of the format, written by {}, is newer than this program's, {}: import it by a program of that \
             release, or newer",
            self.version,
            self.program,
            Self::VERSION
        )
    }
}

/// Prints the records, kind by kind, and counts them on the standard error.
pub(crate) async fn run(
    registry: &Registry,
    arguments: &ExportArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let configured = ConfiguredStorage::read(registry.clone(), &arguments.storage)?;
    let storage = configured.open().await?.storage;
    let kinds = kinds(arguments);
    reject_missing_capabilities(&*storage, &kinds)?;
    let mut export = ExportRun { output, interrupt: Interrupt::listen(), exit: Exit::Success };
    export.output.json(&ExportHeader::new())?;
    for kind in kinds {
        let exported = export.kind(&*storage, kind).await;
        exported?.map_err(|error| configured.failed(&error))?;
    }
    let exit = export.exit;
    storage.close().await.map_err(|error| configured.failed(&error))?;
    Ok(exit)
}

fn kinds(arguments: &ExportArguments) -> Vec<Kind> {
    if arguments.only.is_empty() { Kind::ALL.to_vec() } else { arguments.only.clone() }
}

fn reject_missing_capabilities(storage: &dyn Storage, kinds: &[Kind]) -> Result<(), CommandError> {
    let missing = storage.missing_capabilities();
    let refusals: Vec<_> = kinds
        .iter()
        .filter_map(|kind| {
            let reason = missing.reason(kind.capability())?;
            Some(format!("cannot export {}: {reason}; leave them out with --only", kind.name()))
        })
        .collect();
    if refusals.is_empty() { Ok(()) } else { Err(CommandError::finding(refusals.join("\n"))) }
}

struct ExportRun<'a> {
    output: &'a mut Output,
    interrupt: Interrupt,
    exit: Exit,
}

/// The outer error is one of printing, the inner one of the storage.
type Exported = Result<StorageResult<()>, CommandError>;

impl ExportRun<'_> {
    async fn kind(&mut self, storage: &dyn Storage, kind: Kind) -> Exported {
        match kind {
            Kind::Peers => {
                let page =
                    async |from: Option<Cursor>| storage.export_peers(Scope::All, from.as_ref(), PAGE).await;
                self.pages(kind, page, Record::Peer).await
            }
            Kind::Downloads => {
                let page = async |from: Option<Cursor>| storage.export_downloads(from.as_ref(), PAGE).await;
                self.pages(kind, page, Record::Downloads).await
            }
            Kind::Data => {
                let page = async |from: Option<Cursor>| storage.export_data(from.as_ref(), PAGE).await;
                self.pages(kind, page, Record::Data).await
            }
        }
    }

    async fn pages<T>(
        &mut self,
        kind: Kind,
        page: impl AsyncFn(Option<Cursor>) -> StorageResult<Page<T>>,
        record: fn(T) -> Record,
    ) -> Exported {
        let (mut from, mut exported, mut unreadable) = (None, 0, 0);
        loop {
            if self.interrupt.is_set() {
                self.exit = Exit::Interrupted;
                break;
            }
            let page = match page(from).await {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            exported += page.records.len();
            unreadable += page.unreadable;
            self.output.json_lines(page.records.into_iter().map(record))?;
            from = page.next;
            if from.is_none() || self.output.is_closed() {
                break;
            }
        }
        let name = kind.name();
        match unreadable {
            0 => note(format_args!("exported {exported} {name}")),
            _ => note(format_args!(
                "exported {exported} {name}; {unreadable} cannot be understood and are left out"
            )),
        }
        Ok(Ok(()))
    }
}

impl Kind {
    const ALL: [Self; 3] = [Self::Peers, Self::Downloads, Self::Data];

    fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Downloads => "downloads",
            Self::Data => "data",
        }
    }

    fn capability(self) -> Capability {
        match self {
            Self::Peers => Capability::ExportPeers,
            Self::Downloads => Capability::ExportDownloads,
            Self::Data => Capability::ExportData,
        }
    }
}
