//! One reader and several writers: pages of the source, batches at the target.

use std::iter::zip;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::lookup::downloads_of;
use super::rate_limit::RateLimiter;
use super::retry::with_retries;
use super::run::MigrationInner;
use super::{DownloadsRule, MigrationError, RecordKind, Side};
use storage_core::{Cursor, DownloadsRecord, ExportScope, Page, PeerRecord, Result, Storage, Timestamp};

/// How records of one kind are moved.
pub(super) trait Movement: Send + Sync + 'static {
    const KIND: RecordKind;
    type Record: Send + 'static;

    fn page(
        storage: &dyn Storage,
        from: Option<&Cursor>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Self::Record>>> + Send;

    /// Takes out what is not to be moved, and counts it.
    fn select(&self, shared: &MigrationInner, records: &mut Vec<Self::Record>);

    fn write(
        &self,
        shared: &MigrationInner,
        records: Vec<Self::Record>,
    ) -> impl Future<Output = Result<(), MigrationError>> + Send;
}

/// Moves all records of a kind; false if it was stopped before the end.
pub(super) async fn run<M: Movement>(
    shared: &Arc<MigrationInner>,
    movement: M,
    rate_limit: &mut RateLimiter,
) -> Result<bool, MigrationError> {
    let movement = Arc::new(movement);
    let counts = shared.progress.of(M::KIND);
    let limit = rate_limit.page_size(shared.options.batch);
    let mut writers = JoinSet::new();
    let mut from = None;
    let is_complete = loop {
        if shared.stop.is_stopped() {
            break false;
        }
        let read = || M::page(&*shared.from, from.as_ref(), limit);
        let mut page = with_retries(Side::Source, &shared.stop, read).await?;
        counts.add_page(&page);
        rate_limit.wait(page.records.len(), &shared.stop).await;
        movement.select(shared, &mut page.records);
        if !page.records.is_empty() && !shared.options.dry_run {
            while writers.len() >= shared.options.parallel.max(1) {
                finish(writers.join_next().await)?;
            }
            let (shared, movement) = (Arc::clone(shared), Arc::clone(&movement));
            writers.spawn(async move { movement.write(&shared, page.records).await });
        }
        match page.next {
            Some(next) => from = Some(next),
            None => break true,
        }
    };
    while let Some(written) = writers.join_next().await {
        finish(Some(written))?;
    }
    Ok(is_complete)
}

fn finish(written: Option<Result<Result<(), MigrationError>, JoinError>>) -> Result<(), MigrationError> {
    match written {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Writers are cancelled together with the one who waits for them.
            Err(_) => Ok(()),
        },
    }
}

/// Peers: the later announce wins.
pub(super) struct Peers {
    /// Peers last announced at or before this are stale.
    pub(super) stale_at: Option<Timestamp>,
    /// Peers last announced at or before this are past their lifetime, which is counted.
    pub(super) old_at: Option<Timestamp>,
    /// What was announced before this is at the target already.
    pub(super) since: Option<Timestamp>,
}

impl Movement for Peers {
    const KIND: RecordKind = RecordKind::Peers;
    type Record = PeerRecord;

    async fn page(storage: &dyn Storage, from: Option<&Cursor>, limit: usize) -> Result<Page<PeerRecord>> {
        storage.export_peers(ExportScope::All, from, limit).await
    }

    fn select(&self, shared: &MigrationInner, records: &mut Vec<PeerRecord>) {
        let counts = shared.progress.of(RecordKind::Peers);
        if let Some(stale_at) = self.stale_at {
            let before = records.len();
            records.retain(|record| record.announced > stale_at);
            counts.add_stale(before - records.len());
        }
        if let Some(old_at) = self.old_at {
            let old = records.iter().filter(|record| record.announced <= old_at).count();
            counts.add_past_lifetime(old);
        }
        if let Some(since) = self.since {
            let before = records.len();
            records.retain(|record| record.announced >= since);
            counts.add_kept(before - records.len());
        }
    }

    async fn write(
        &self,
        shared: &MigrationInner,
        mut records: Vec<PeerRecord>,
    ) -> Result<(), MigrationError> {
        records.sort_unstable_by_key(|record| (record.info_hash, record.peer));
        let import = || shared.to.import_peers(&records);
        let imported = with_retries(Side::Target, &shared.stop, import).await?;
        shared.progress.of(RecordKind::Peers).add_imported(imported);
        Ok(())
    }
}

/// Downloads: the greater number wins, or the source's.
pub(super) struct Downloads;

impl Movement for Downloads {
    const KIND: RecordKind = RecordKind::Downloads;
    type Record = DownloadsRecord;

    async fn page(
        storage: &dyn Storage,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<DownloadsRecord>> {
        storage.export_downloads(from, limit).await
    }

    fn select(&self, _shared: &MigrationInner, _records: &mut Vec<DownloadsRecord>) {}

    async fn write(
        &self,
        shared: &MigrationInner,
        records: Vec<DownloadsRecord>,
    ) -> Result<(), MigrationError> {
        let counts = shared.progress.of(RecordKind::Downloads);
        if shared.options.downloads == DownloadsRule::Max {
            let import = || shared.to.import_downloads(&records);
            counts.add_imported(with_retries(Side::Target, &shared.stop, import).await?);
            return Ok(());
        }
        let found = downloads_of(Side::Target, &*shared.to, &shared.stop, &records).await?;
        let is_different = |(record, found): &(DownloadsRecord, u64)| record.downloads != *found;
        let count = records.len();
        let different: Vec<_> = zip(records, found).filter(is_different).map(|(record, _)| record).collect();
        counts.add_kept(count - different.len());
        let replace = || shared.to.replace_downloads(&different);
        counts.add_imported(with_retries(Side::Target, &shared.stop, replace).await?);
        Ok(())
    }
}
