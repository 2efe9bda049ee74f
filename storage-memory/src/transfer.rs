//! Export in pages, import in batches.

use std::hash::Hash;

use async_trait::async_trait;
use storage_core::{
    Cursor, DataRecord, DownloadsRecord, ExportScope, Imported, InfoHash, Operation, Page, PeerRecord,
    Result, Transfer,
};

use crate::MemoryStorage;
use crate::shards::{Shards, WriteEntry};
use crate::swarm::TimedSwarm;

#[async_trait]
impl Transfer for MemoryStorage {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        let limit = limit.max(1);
        let from = from.and_then(Cursor::peer);
        let mut records = Vec::new();
        let mut start = match scope {
            ExportScope::All => from.map(|(info_hash, _)| info_hash),
            ExportScope::Swarm(info_hash) => Some(info_hash),
        };
        let mut shard = start.map_or(0, |info_hash| self.swarms.index(&info_hash));
        while shard < self.swarms.count() && records.len() < limit {
            for info_hash in keys_from(&self.swarms, shard, start.as_ref()) {
                if records.len() >= limit || matches!(scope, ExportScope::Swarm(only) if only != info_hash) {
                    break;
                }
                let after = from.filter(|(swarm, _)| *swarm == info_hash).map(|(_, peer)| peer);
                let mut peers = self.peers_of(info_hash);
                peers.retain(|record| after.is_none_or(|after| record.peer > after));
                peers.truncate(limit - records.len());
                records.extend(peers);
            }
            if matches!(scope, ExportScope::Swarm(_)) {
                break;
            }
            start = None;
            shard += 1;
            tokio::task::yield_now().await;
        }
        let next = records.last().map(|last| Cursor::after_peer(&last.info_hash, &last.peer));
        Ok(page(records, limit, next))
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        let limit = limit.max(1);
        let from = from.and_then(Cursor::swarm);
        let mut records = Vec::new();
        let first = from.map_or(0, |info_hash| self.downloads.index(&info_hash));
        for shard in first..self.downloads.count() {
            let start = from.as_ref().filter(|_| shard == first);
            let entries = entries_from(&self.downloads, shard, start);
            let entries = entries.filter(|(info_hash, _)| Some(*info_hash) != from);
            let entries = entries.map(|(info_hash, downloads)| DownloadsRecord { info_hash, downloads });
            records.extend(entries.take(limit - records.len()));
            if records.len() == limit {
                break;
            }
            tokio::task::yield_now().await;
        }
        let next = records.last().map(|last| Cursor::after_swarm(&last.info_hash));
        Ok(page(records, limit, next))
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        let limit = limit.max(1);
        let from = from.and_then(Cursor::data);
        let mut records = Vec::new();
        let start = from.as_ref().map(|(context, _)| context);
        let first = start.map_or(0, |context| self.data.index(context));
        for shard in first..self.data.count() {
            for (context, data) in entries_from(&self.data, shard, start.filter(|_| shard == first)) {
                let after = from.as_ref().filter(|(first, _)| *first == context).map(|(_, key)| key);
                let entries = data.into_iter().filter(|(key, _)| after.is_none_or(|after| key > after));
                let entries = entries.map(|(key, value)| DataRecord { context: context.clone(), key, value });
                records.extend(entries.take(limit - records.len()));
                if records.len() == limit {
                    break;
                }
            }
            if records.len() == limit {
                break;
            }
            tokio::task::yield_now().await;
        }
        let next = records.last().map(|last| Cursor::after_data(&last.context, &last.key));
        Ok(page(records, limit, next))
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        let mut imported = Imported::default();
        for record in records {
            let mut place = self.swarms.write(&record.info_hash);
            let PeerRecord { peer, role, announced, .. } = record;
            let put = |swarm: &mut TimedSwarm| swarm.put_newer(peer, *role, *announced);
            count(&mut imported, self.write(&mut place, Operation::ImportPeers, peer, put)?);
        }
        Ok(imported)
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        let mut imported = Imported::default();
        for record in records {
            let mut place = self.downloads.write(&record.info_hash);
            self.take_room_for_downloads(&place)?;
            let held = place.get_or_default();
            count(&mut imported, record.downloads > *held);
            *held = record.downloads.max(*held);
        }
        Ok(imported)
    }

    async fn replace_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        let mut imported = Imported::default();
        for DownloadsRecord { info_hash, downloads } in records {
            let mut place = self.downloads.write(info_hash);
            self.take_room_for_downloads(&place)?;
            let changed = place.get() != Some(downloads);
            *place.get_or_default() = *downloads;
            count(&mut imported, changed);
        }
        Ok(imported)
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        let mut imported = Imported::default();
        for DataRecord { context, key, value } in records {
            let mut place = self.data.write(context);
            let data = place.get_or_default();
            let absent = !data.contains_key(key);
            if absent {
                data.insert(key.clone(), value.clone());
            }
            count(&mut imported, absent);
        }
        Ok(imported)
    }
}

impl MemoryStorage {
    fn take_room_for_downloads(&self, place: &WriteEntry<'_, InfoHash, u64>) -> Result<()> {
        if place.get().is_some() || self.downloads_capacity.acquire() {
            return Ok(());
        }
        Err(self.full(Operation::ImportDownloads))
    }

    /// The peers of a swarm, in order.
    fn peers_of(&self, info_hash: InfoHash) -> Vec<PeerRecord> {
        let place = self.swarms.read(&info_hash);
        let peers = place.get().into_iter().flat_map(|swarm| swarm.iter());
        let mut records: Vec<_> =
            peers.map(|(peer, role, announced)| PeerRecord { info_hash, peer, role, announced }).collect();
        records.sort_unstable_by_key(|record| record.peer);
        records
    }
}

/// The keys of a shard from `start` on, in order.
fn keys_from<K: Hash + Eq + Ord + Clone, V>(
    shards: &Shards<K, V>,
    shard: usize,
    start: Option<&K>,
) -> Vec<K> {
    let shard = shards.read_at(shard);
    let mut keys: Vec<K> =
        shard.keys().filter(|key| start.is_none_or(|start| *key >= start)).cloned().collect();
    keys.sort_unstable();
    keys
}

/// The entries of a shard from `start` on, in order.
fn entries_from<K: Hash + Eq + Ord + Clone, V: Clone>(
    shards: &Shards<K, V>,
    shard: usize,
    start: Option<&K>,
) -> impl Iterator<Item = (K, V)> {
    keys_from(shards, shard, start).into_iter().filter_map(|key| {
        let value = shards.read(&key).get().cloned()?;
        Some((key, value))
    })
}

fn page<T>(records: Vec<T>, limit: usize, next: Option<Cursor>) -> Page<T> {
    let next = next.filter(|_| records.len() >= limit);
    Page { records, next, ..Page::default() }
}

fn count(imported: &mut Imported, written: bool) {
    if written {
        imported.written += 1;
    } else {
        imported.kept += 1;
    }
}
