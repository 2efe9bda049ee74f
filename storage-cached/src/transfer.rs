//! Export after what waits was written; imports go to the storage inside, and what they may have changed is read again.

use async_trait::async_trait;
use storage_core::{
    Cursor, DataRecord, DownloadsRecord, ExportScope, Imported, InfoHash, Operation, Page, PeerRecord,
    Result, Storage, Transfer,
};

use crate::CachedStorage;
use crate::shared::Shared;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Storage + ?Sized + 'static> Transfer for CachedStorage<S> {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        let Self { shared, .. } = self;
        if from.is_none() {
            shared.store_times(scope).await?;
        }
        shared.noted(shared.backend.export_peers(scope, from, limit).await)
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        if from.is_none() {
            self.shared.flush_all(Operation::ExportDownloads).await?;
        }
        self.shared.noted(self.shared.backend.export_downloads(from, limit).await)
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        self.shared.noted(self.shared.backend.export_data(from, limit).await)
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        let swarms = distinct(records.iter().map(|record| record.info_hash));
        let import = self.shared.backend.import_peers(records);
        self.shared.importing(Operation::ImportPeers, &swarms, import).await
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        let swarms = distinct(records.iter().map(|record| record.info_hash));
        let import = self.shared.backend.import_downloads(records);
        self.shared.importing(Operation::ImportDownloads, &swarms, import).await
    }

    async fn replace_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        let swarms = distinct(records.iter().map(|record| record.info_hash));
        let import = self.shared.backend.replace_downloads(records);
        self.shared.importing(Operation::ImportDownloads, &swarms, import).await
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        let import = self.shared.backend.import_data(records);
        let imported = self.shared.importing(Operation::ImportData, &[], import).await;
        self.shared.data.forget_all();
        imported
    }
}

impl<S: Storage + ?Sized + 'static> Shared<S> {
    /// Writes all that memory knows better, times that are not due among it.
    async fn store_times(&self, scope: ExportScope) -> Result<()> {
        match scope {
            ExportScope::All => {
                for index in 0..self.shards.count() {
                    self.shards.lock_at(index).mark_due(u32::MAX, self.now());
                    tokio::task::yield_now().await;
                }
                self.flush_all(Operation::ExportPeers).await
            }
            ExportScope::Swarm(info_hash) => {
                self.lock_after_flush(Operation::ExportPeers, &info_hash).await.map(drop)
            }
        }
    }

    /// Makes a call that may change these swarms at the storage inside.
    async fn importing(
        &self,
        operation: Operation,
        info_hashes: &[InfoHash],
        import: impl Future<Output = Result<Imported>>,
    ) -> Result<Imported> {
        if self.state.is_away() {
            return Err(self.away(operation));
        }
        // So that the storage inside can tell what is newer.
        let in_memory = info_hashes.iter().filter(|info_hash| {
            let hash = self.shards.hash(info_hash);
            self.shards.lock(hash).get(hash, info_hash).is_some()
        });
        for part in self.by_worker(&in_memory.copied().collect::<Vec<_>>()) {
            drop(self.lock_after_flushes(operation, &part).await?);
        }
        // What is being read meanwhile may be old, and so may be what is in memory if the call is given up.
        self.outdate(info_hashes);
        let imported = self.noted(import.await);
        self.outdate(info_hashes);
        imported
    }
}

fn distinct(info_hashes: impl Iterator<Item = InfoHash>) -> Vec<InfoHash> {
    let mut distinct: Vec<_> = info_hashes.collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}
