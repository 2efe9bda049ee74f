//! Export in pages, import in batches.

use std::ops::Bound::{Excluded, Included, Unbounded};

use async_trait::async_trait;
use storage_core::{
    BulkPeerStorage, Cursor, DataRecord, DownloadsRecord, ExportScope, Imported, Operation, Page, PeerRecord,
    Result, Transfer,
};

use crate::ExampleStorage;
use crate::storage::{Presence, first_peer};

#[async_trait]
impl Transfer for ExampleStorage {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        let start = match (from.and_then(Cursor::peer), scope) {
            (Some(last), _) => Excluded(last),
            (None, ExportScope::Swarm(info_hash)) => Included((info_hash, first_peer())),
            (None, ExportScope::All) => Unbounded,
        };
        let contents = self.lock();
        let peers = contents.peers.range((start, Unbounded));
        let in_scope = peers.take_while(|((info_hash, _), _)| match scope {
            ExportScope::All => true,
            ExportScope::Swarm(only) => *info_hash == only,
        });
        let records = in_scope.map(|((info_hash, peer), Presence { announced, role })| PeerRecord {
            info_hash: *info_hash,
            peer: *peer,
            role: *role,
            announced: *announced,
        });
        Ok(page(records, limit, |last| Cursor::after_peer(&last.info_hash, &last.peer)))
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        let start = from.and_then(Cursor::swarm).map_or(Unbounded, Excluded);
        let contents = self.lock();
        let downloads = contents.downloads.range((start, Unbounded));
        let records = downloads
            .map(|(info_hash, downloads)| DownloadsRecord { info_hash: *info_hash, downloads: *downloads });
        Ok(page(records, limit, |last| Cursor::after_swarm(&last.info_hash)))
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        let start = from.and_then(Cursor::data).map_or(Unbounded, Excluded);
        let contents = self.lock();
        let data = contents.data.range((start, Unbounded));
        let records = data.map(|((context, key), value)| DataRecord {
            context: context.clone(),
            key: key.clone(),
            value: value.clone(),
        });
        Ok(page(records, limit, |last| Cursor::after_data(&last.context, &last.key)))
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        let mut contents = self.lock();
        let mut imported = Imported::default();
        for PeerRecord { info_hash, peer, role, announced } in records {
            let presence = Presence { announced: *announced, role: *role };
            let is_newer = contents.peers.get(&(*info_hash, *peer)).is_none_or(|held| presence > *held);
            if is_newer {
                // Records before one that is refused stay: importing them again changes nothing.
                self.put(&mut contents, Operation::ImportPeers, (*info_hash, &[*peer]), presence)?;
            }
            count(&mut imported, is_newer);
        }
        Ok(imported)
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        let mut contents = self.lock();
        let mut imported = Imported::default();
        for DownloadsRecord { info_hash, downloads } in records {
            let held = contents.downloads.entry(*info_hash).or_default();
            count(&mut imported, downloads > held);
            *held = (*held).max(*downloads);
        }
        Ok(imported)
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        let mut contents = self.lock();
        let mut imported = Imported::default();
        for DataRecord { context, key, value } in records {
            let key = (context.clone(), key.clone());
            let is_absent = !contents.data.contains_key(&key);
            contents.data.entry(key).or_insert_with(|| value.clone());
            count(&mut imported, is_absent);
        }
        Ok(imported)
    }
}

/// By the calls for one: what every storage can do that exports and imports peers.
impl BulkPeerStorage for ExampleStorage {}

/// The first records as a page; a full one leads on from its last record.
fn page<T>(records: impl Iterator<Item = T>, limit: usize, after: impl Fn(&T) -> Cursor) -> Page<T> {
    let limit = limit.max(1);
    let records: Vec<_> = records.take(limit).collect();
    let next = records.last().filter(|_| records.len() == limit).map(after);
    Page { records, next, ..Page::default() }
}

fn count(imported: &mut Imported, is_written: bool) {
    if is_written {
        imported.written += 1;
    } else {
        imported.kept += 1;
    }
}
