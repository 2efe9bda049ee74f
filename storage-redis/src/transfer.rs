//! Transfer: everything out and in again.
//!
//! SCAN returns every entry that exists during the whole scan at least once, unordered, possibly repeated. An
//! export therefore reads names in order, one sorted page at a time: the smallest names after the cursor that fit
//! into a fixed amount of memory, found by one scan. No entry is exported twice, none that exists the whole time is
//! missed, and the cursor is just the last name. Sorted pages are kept from one call to the next to save scans.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{
    Cursor, DataRecord, DownloadsRecord, ErrorKind, ExportScope, Imported, Operation, Page, PeerRecord,
    Result, Transfer,
};

use self::sorted_page::{SmallestNames, SortedPage};
use crate::connection::{Call, command};
use crate::layout::DOWNLOADS;
use crate::scan::Scan;
use crate::storage::RedisStorage;

mod export;
mod import;
mod sorted_page;

pub(crate) use self::sorted_page::SortedPages;

/// The most records of a page.
const LARGEST_PAGE: usize = 100_000;
/// Entries that one command reads.
const READ_AT_ONCE: usize = 500;

#[async_trait]
impl Transfer for RedisStorage {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        let export = self.begin(Operation::ExportPeers, from, limit)?;
        let page = export::PeerExport::new(export, scope).run().await?;
        self.connections.note_unreadable("peers", page.unreadable);
        Ok(page)
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        let export = self.begin(Operation::ExportDownloads, from, limit)?;
        let page = export::export_downloads(export).await?;
        self.connections.note_unreadable("downloads", page.unreadable);
        Ok(page)
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        let export = self.begin(Operation::ExportData, from, limit)?;
        let page = export::export_data(export).await?;
        self.connections.note_unreadable("data", page.unreadable);
        Ok(page)
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        import::import_peers(self, records).await
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        import::import_downloads(self, records).await
    }

    async fn replace_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        let call = Call::repeatable(Operation::ImportDownloads);
        self.connections.check_open(call.operation)?;
        let mut set = command("HSET", DOWNLOADS);
        for record in records {
            set.arg(record.info_hash.as_bytes()).arg(record.downloads);
        }
        if !records.is_empty() {
            self.connections.query::<i64>(call, set).await?;
        }
        Ok(Imported { written: records.len() as u64, kept: 0 })
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        import::import_data(self, records).await
    }
}

/// A page being made.
struct Export<'a, T> {
    storage: &'a RedisStorage,
    call: Call,
    position: Position,
    limit: usize,
    records: Vec<T>,
    unreadable: u64,
    unreadable_names: Vec<Bytes>,
    in_both_roles: u64,
}

impl RedisStorage {
    fn begin<T>(&self, operation: Operation, from: Option<&Cursor>, limit: usize) -> Result<Export<'_, T>> {
        self.connections.check_open(operation)?;
        let call = Call::repeatable(operation);
        let position = match from {
            None => Position::beginning(),
            Some(cursor) => Position::read(cursor).ok_or_else(|| {
                call.error(ErrorKind::Rejected).with_message("the cursor does not belong to this storage")
            })?,
        };
        let limit = limit.clamp(1, LARGEST_PAGE);
        Ok(Export {
            storage: self,
            call,
            position,
            limit,
            records: Vec::new(),
            unreadable: 0,
            unreadable_names: Vec::new(),
            in_both_roles: 0,
        })
    }
}

impl<T> Export<'_, T> {
    fn is_full(&self) -> bool {
        self.records.len() >= self.limit
    }

    /// How many entries to read next.
    fn room(&self) -> usize {
        (self.limit - self.records.len().min(self.limit)).clamp(1, READ_AT_ONCE)
    }

    /// The page, with more to come.
    fn page(self) -> Page<T> {
        let next = Some(self.position.write());
        self.ending_at(next)
    }

    /// The last page.
    fn last_page(self) -> Page<T> {
        self.storage.sorted_pages.forget(self.position.export);
        self.ending_at(None)
    }

    fn ending_at(self, next: Option<Cursor>) -> Page<T> {
        let Self { records, unreadable, unreadable_names, in_both_roles, .. } = self;
        Page { records, next, unreadable, unreadable_names, in_both_roles }
    }

    /// Leaves an entry out that cannot be understood.
    fn pass_over(&mut self, name: &[u8]) {
        self.unreadable += 1;
        if self.unreadable_names.len() < Page::<T>::UNREADABLE_NAMES {
            self.unreadable_names.push(Bytes::copy_from_slice(name));
        }
    }

    /// Leaves a key out that has another type than it should.
    fn pass_over_key(&mut self, key: &[u8]) {
        self.pass_over(key);
        // A page counts them all, and names the first.
        if self.unreadable_names.last().is_some_and(|name| name == key) {
            self.storage.connections.note_wrong_type(&[key.to_vec()], 1);
        }
    }

    /// The fields of some hashes after the inner position. Of several, those of another type have none; a single
    /// one of another type is [`Corrupt`](ErrorKind::Corrupt).
    async fn fields(&self, keys: &[Vec<u8>]) -> Result<Arc<SortedPage>> {
        let (subject, after) = (keys.concat(), self.position.inner.as_deref());
        if let Some(sorted) = self.storage.sorted_pages.find(self.position.export, &subject, after) {
            return Ok(sorted);
        }
        let mut gatherer = SmallestNames::after(after);
        for key in keys {
            let mut scan = Scan::hash(&self.storage.connections, self.call, key.clone());
            loop {
                match scan.next::<(Vec<u8>, redis::Value)>().await {
                    Ok(Some(entries)) => entries.into_iter().for_each(|(field, _)| gatherer.offer(field)),
                    Ok(None) => break,
                    Err(error) if error.kind() == ErrorKind::Corrupt && keys.len() > 1 => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.storage.sorted_pages.keep(self.position.export, subject, gatherer))
    }

    /// The names that the keys of a pattern have, after the outer position.
    async fn names(
        &self,
        pattern: &'static str,
        mut name: impl FnMut(Vec<u8>) -> Option<Vec<u8>>,
    ) -> Result<Arc<SortedPage>> {
        let (subject, after) = (pattern.as_bytes(), self.position.outer.as_deref());
        if let Some(sorted) = self.storage.sorted_pages.find(self.position.export, subject, after) {
            return Ok(sorted);
        }
        let mut gatherer = SmallestNames::after(after);
        let connections = &self.storage.connections;
        for node in connections.nodes(self.call).await? {
            let mut scan = Scan::keys(connections, self.call, node, pattern);
            while let Some(keys) = scan.next::<Vec<u8>>().await? {
                keys.into_iter().filter_map(&mut name).for_each(|name| gatherer.offer(name));
            }
        }
        Ok(self.storage.sorted_pages.keep(self.position.export, subject.to_vec(), gatherer))
    }
}

/// Where an export is: the last that has been exported. A cursor is: 8 bytes, the export's number; 1 byte, how many names
/// follow; 4 bytes, the length of the outer name; the outer name; the inner name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// A number that tells the sorted pages of different exports apart.
    pub(super) export: u64,
    /// The swarm, info hash or context; it is done unless there is an inner name.
    pub(super) outer: Option<Vec<u8>>,
    /// The peer or key in it.
    pub(super) inner: Option<Vec<u8>>,
}

impl Position {
    /// The beginning of a new export.
    pub(super) fn beginning() -> Self {
        Self { export: rand::random(), outer: None, inner: None }
    }

    pub(super) fn write(&self) -> Cursor {
        let (outer, inner) = (self.outer.as_deref(), self.inner.as_deref());
        let names = u8::from(outer.is_some()) + u8::from(outer.is_some() && inner.is_some());
        let outer = outer.unwrap_or_default();
        let length = u32::try_from(outer.len()).unwrap_or(u32::MAX);
        let mut bytes = self.export.to_be_bytes().to_vec();
        bytes.push(names);
        bytes.extend(length.to_be_bytes());
        bytes.extend(outer);
        bytes.extend(inner.unwrap_or_default());
        Cursor::new(bytes)
    }

    /// Reads what [`write`](Self::write) gave.
    pub(super) fn read(cursor: &Cursor) -> Option<Self> {
        let (export, rest) = cursor.as_bytes().split_first_chunk::<8>()?;
        let (names, rest) = rest.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (outer, inner) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (outer, inner) = match names {
            0 if rest.is_empty() => (None, None),
            1 if inner.is_empty() => (Some(outer.to_vec()), None),
            2 => (Some(outer.to_vec()), Some(inner.to_vec())),
            _ => return None,
        };
        Some(Self { export: u64::from_be_bytes(*export), outer, inner })
    }

    /// All of the outer name is done.
    pub(super) fn finish(&mut self, outer: Vec<u8>) {
        self.outer = Some(outer);
        self.inner = None;
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_is_read_back(
            export: u64,
            names in prop::option::of((prop::collection::vec(any::<u8>(), 0..40), any::<Option<Vec<u8>>>())),
        ) {
            let (outer, inner) = names.map_or((None, None), |(outer, inner)| (Some(outer), inner));
            let position = Position { export, outer, inner };
            prop_assert_eq!(Position::read(&position.write()), Some(position));
        }

        #[test]
        fn any_bytes_are_a_position_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let cursor = Cursor::new(bytes);
            if let Some(position) = Position::read(&cursor) {
                prop_assert_eq!(position.write(), cursor);
            }
        }
    }
}
