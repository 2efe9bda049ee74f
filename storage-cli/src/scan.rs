//! Reading all records of a kind, page by page, whatever their number.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use storage_core::{Cursor, DownloadsRecord, Page, PeerRecord, Result, Scope, Storage};

use crate::interrupt::Interrupt;
use crate::output::note;
use crate::progress::{counted, with_progress};

/// How many records are read at a time.
const PAGE: usize = 1_000;

/// Reads everything of a storage; shows on the standard error how many records it has read, and stops
/// after a page at Ctrl-C.
pub(crate) struct PageScan<'a> {
    storage: &'a dyn Storage,
    interrupt: Interrupt,
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanEnd {
    /// All records were read.
    Whole,
    /// Ctrl-C came before the last page.
    Interrupted,
}

impl<'a> PageScan<'a> {
    /// Of this storage.
    pub(crate) fn new(storage: &'a dyn Storage) -> Self {
        Self { storage, interrupt: Interrupt::listen() }
    }

    /// Hands the peers of all swarms to `each`, page by page.
    pub(crate) async fn peers(
        &self,
        each: impl AsyncFnMut(Vec<PeerRecord>) -> Result<()>,
    ) -> Result<ScanEnd> {
        let page = async |from: Option<&Cursor>| self.storage.export_peers(Scope::All, from, PAGE).await;
        self.pages("peers", page, each).await
    }

    /// Hands the downloads of all swarms to `each`, page by page.
    pub(crate) async fn downloads(
        &self,
        each: impl AsyncFnMut(Vec<DownloadsRecord>) -> Result<()>,
    ) -> Result<ScanEnd> {
        let page = async |from: Option<&Cursor>| self.storage.export_downloads(from, PAGE).await;
        self.pages("downloads of swarms", page, each).await
    }

    async fn pages<T>(
        &self,
        what: &str,
        page: impl AsyncFn(Option<&Cursor>) -> Result<Page<T>>,
        mut each: impl AsyncFnMut(Vec<T>) -> Result<()>,
    ) -> Result<ScanEnd> {
        let (read, mut unreadable) = (AtomicU64::new(0), 0);
        let pages = async {
            let mut from = None;
            loop {
                let Page { records, next, unreadable: passed_over, .. } = page(from.as_ref()).await?;
                read.fetch_add(records.len() as u64, Relaxed);
                unreadable += passed_over;
                each(records).await?;
                from = next;
                if from.is_none() {
                    return Ok(ScanEnd::Whole);
                }
                if self.interrupt.is_set() {
                    return Ok(ScanEnd::Interrupted);
                }
            }
        };
        let scanned =
            with_progress(pages, |took| format!("{} {what} read in {took:.0?}", counted(&read))).await;
        if unreadable > 0 {
            note(format_args!("{unreadable} {what} cannot be understood and are left out"));
        }
        scanned
    }
}
