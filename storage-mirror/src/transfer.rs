//! Transfer: out of the primary, into both.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::MirrorStorage;
use super::data::ENTRY_BYTES;
use super::peers::PEER_BYTES;
use super::replication_stats::PendingWrite;
use super::storage::of_primary;
use storage_core::{
    Backend, Cursor, DataRecord, DownloadsRecord, ExportScope, Imported, InfoHash, Operation, Page,
    PeerRecord, Result, Transfer,
};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Transfer + ?Sized + 'static> Transfer for MirrorStorage<S> {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        self.primary.export_peers(scope, from, limit).await.map_err(of_primary)
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        self.primary.export_downloads(from, limit).await.map_err(of_primary)
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        self.primary.export_data(from, limit).await.map_err(of_primary)
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        self.import_on_both(
            (Operation::ImportPeers, records, |record| &record.info_hash),
            self.primary.import_peers(records),
            |secondary, records| async move { secondary.import_peers(&records).await.map(drop) },
        )
        .await
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        self.import_on_both(
            (Operation::ImportDownloads, records, |record| &record.info_hash),
            self.primary.import_downloads(records),
            |secondary, records| async move { secondary.import_downloads(&records).await.map(drop) },
        )
        .await
    }

    async fn replace_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        self.import_on_both(
            (Operation::ImportDownloads, records, |record| &record.info_hash),
            self.primary.replace_downloads(records),
            |secondary, records| async move { secondary.replace_downloads(&records).await.map(drop) },
        )
        .await
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        let entries = records.iter().map(|record| (&record.context, &*record.key));
        let _locks = self.locks.of_data(entries).await;
        let (imported, pending) = self.write(records.len(), 0, self.primary.import_data(records)).await?;
        let bytes = |record: &DataRecord| record.key.len() + record.value.len() + ENTRY_BYTES;
        let lane = |record: &DataRecord| self.lane_of(&record.context);
        self.pass_on_records(
            Operation::ImportData,
            pending,
            records,
            lane,
            bytes,
            |secondary, records| async move { secondary.import_data(&records).await.map(drop) },
        );
        Ok(imported)
    }
}

impl<S: Backend + ?Sized + 'static> MirrorStorage<S> {
    pub(super) fn lane_of_swarm(&self, info_hash: &InfoHash) -> usize {
        self.write_queue.lane(self.locks.hash(info_hash))
    }

    /// Takes records of swarms in on the primary, and queues them for the secondary.
    async fn import_on_both<T: Clone + Send + Sync + 'static, F>(
        &self,
        (operation, records, info_hash): (Operation, &[T], fn(&T) -> &InfoHash),
        call: impl Future<Output = Result<Imported>> + Send,
        apply: impl FnOnce(Arc<S>, Vec<T>) -> F + Clone + Send + 'static,
    ) -> Result<Imported>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let _locks = self.locks.of_swarms(records.iter().map(info_hash)).await;
        let (imported, pending) = self.write(records.len(), 0, call).await?;
        let lane = |record: &T| self.lane_of_swarm(info_hash(record));
        self.pass_on_records(operation, pending, records, lane, |_| PEER_BYTES, apply);
        Ok(imported)
    }

    /// Queues records for the secondary, each in its lane.
    pub(super) fn pass_on_records<T: Clone + Send + 'static, F>(
        &self,
        operation: Operation,
        pending: PendingWrite,
        records: &[T],
        lane: impl Fn(&T) -> usize,
        bytes: impl Fn(&T) -> usize,
        apply: impl FnOnce(Arc<S>, Vec<T>) -> F + Clone + Send + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut lanes: BTreeMap<usize, Vec<T>> = BTreeMap::new();
        for record in records {
            lanes.entry(lane(record)).or_default().push(record.clone());
        }
        pending.cancel();
        for (lane, records) in lanes {
            let (pending, apply) =
                (self.pending_write(records.len(), records.iter().map(&bytes).sum()), apply.clone());
            self.pass_on(lane, None, (operation, pending), move |secondary| apply(secondary, records));
        }
    }
}
