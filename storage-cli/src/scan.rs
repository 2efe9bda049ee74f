//! Reading all records of a kind, page by page, whatever their number.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use storage_core::{
    Cursor, DownloadsRecord, ExportScope, Page, PeerRecord, Result as StorageResult, Storage,
};

use crate::interrupt::Interrupt;
use crate::open::WorkError;
use crate::output::note;
use crate::progress::{counted, with_progress};

/// How many records are read at a time.
pub(crate) const PAGE: usize = 1_000;

/// Reads pages until the last one, or until Ctrl-C.
pub(crate) struct PageScan(Interrupt);

impl PageScan {
    pub(crate) fn new() -> Self {
        Self(Interrupt::listen())
    }

    /// Hands the pages that `read` gives to `each`, until `each` breaks.
    ///
    /// # Errors
    /// Those of `read` and `each`, and [`WorkError::Interrupted`].
    pub(crate) async fn pages<T>(
        &self,
        read: impl AsyncFn(Option<&Cursor>) -> StorageResult<Page<T>>,
        mut each: impl AsyncFnMut(Page<T>) -> Result<ControlFlow<()>, WorkError>,
    ) -> Result<(), WorkError> {
        let mut from = None;
        loop {
            let mut page = tokio::select! {
                biased;
                page = read(from.as_ref()) => page?,
                () = self.0.clone().wait() => return Err(WorkError::Interrupted),
            };
            from = page.next.take();
            if each(page).await?.is_break() || from.is_none() {
                return Ok(());
            }
            if self.0.is_set() {
                return Err(WorkError::Interrupted);
            }
        }
    }

    /// Hands the peers of all swarms to `each`, and shows how many were read.
    pub(crate) async fn peers(
        &self,
        storage: &dyn Storage,
        each: impl AsyncFnMut(Vec<PeerRecord>) -> StorageResult<()>,
    ) -> Result<(), WorkError> {
        let read = async |from: Option<&Cursor>| storage.export_peers(ExportScope::All, from, PAGE).await;
        self.all("peers", read, each).await
    }

    /// Hands the downloads of all swarms to `each`, and shows how many were read.
    pub(crate) async fn downloads(
        &self,
        storage: &dyn Storage,
        each: impl AsyncFnMut(Vec<DownloadsRecord>) -> StorageResult<()>,
    ) -> Result<(), WorkError> {
        let read = async |from: Option<&Cursor>| storage.export_downloads(from, PAGE).await;
        self.all("downloads of swarms", read, each).await
    }

    /// The same as [`pages`](Self::pages), and shows how many records were read.
    pub(crate) async fn pages_with_progress<T>(
        &self,
        what: &str,
        read: impl AsyncFn(Option<&Cursor>) -> StorageResult<Page<T>>,
        mut each: impl AsyncFnMut(Page<T>) -> Result<ControlFlow<()>, WorkError>,
    ) -> Result<(), WorkError> {
        let count = AtomicU64::new(0);
        let pages = self.pages(read, async |page: Page<T>| {
            count.fetch_add(page.records.len() as u64, Relaxed);
            each(page).await
        });
        with_progress(pages, |took| format!("{} {what} read in {took:.0?}", counted(&count))).await
    }

    async fn all<T>(
        &self,
        what: &str,
        read: impl AsyncFn(Option<&Cursor>) -> StorageResult<Page<T>>,
        mut each: impl AsyncFnMut(Vec<T>) -> StorageResult<()>,
    ) -> Result<(), WorkError> {
        let mut unreadable = 0;
        let pages = self.pages_with_progress(what, read, async |page: Page<T>| {
            unreadable += page.unreadable;
            each(page.records).await?;
            Ok(ControlFlow::Continue(()))
        });
        let scanned = pages.await;
        note_unreadable(unreadable, what);
        scanned
    }
}

/// Says how many entries were left out.
pub(crate) fn note_unreadable(count: u64, what: &str) {
    if count > 0 {
        note(format_args!("{count} unreadable {what} were skipped"));
    }
}
