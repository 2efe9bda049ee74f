//! Export in pages, import in batches.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{
    Context, Cursor, DataRecord, DownloadsRecord, ExportScope, Imported, InfoHash, Operation, Page, Peer,
    PeerId, PeerRecord, Result, Role, Transfer,
};

use crate::arguments::{self, AddressArgument};
use crate::pg_type::decode_integer;
use crate::query_spec::{Batch, Single, queries};
use crate::retry::{TxMode, with_retries};
use crate::statement::{QueryStatement, ResultRow, Statement};
use crate::storage::PgStorage;

#[async_trait]
impl Transfer for PgStorage {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        let export = self.core.statement(queries::ExportPeers, Operation::ExportPeers)?;
        let count = limit.max(1);
        let before = |info_hash| arguments::ExportPeers {
            info_hash,
            peer_id: &[],
            address: AddressArgument::Lowest,
            port: 0,
            count,
        };
        let after = match (from.and_then(split), &scope) {
            (Some([info_hash, peer_id, address, port]), _) => {
                let (address, port) = (AddressArgument::Raw(address), decode_integer(port).unwrap_or(0));
                arguments::ExportPeers { info_hash, peer_id, address, port, count }
            }
            (None, ExportScope::All) => before(&[]),
            (None, ExportScope::Swarm(info_hash)) => before(info_hash.as_bytes()),
        };
        let page =
            self.export(Operation::ExportPeers, export, after, count, read_peer, &[0, 1, 2, 3]).await?;
        Ok(match scope {
            ExportScope::All => page,
            ExportScope::Swarm(info_hash) => only(page, &info_hash),
        })
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        let export = self.core.statement(queries::ExportDownloads, Operation::ExportDownloads)?;
        let count = limit.max(1);
        let [info_hash] = from.and_then(split).unwrap_or_default();
        let after = arguments::ExportDownloads { info_hash, count };
        self.export(Operation::ExportDownloads, export, after, count, read_downloads, &[0]).await
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        let export = self.core.statement(queries::ExportData, Operation::ExportData)?;
        let count = limit.max(1);
        let [context, key] = from.and_then(split).unwrap_or_default();
        let context = std::str::from_utf8(context).unwrap_or_default();
        let after = arguments::ExportData { context, key, count };
        let mut page = self.export(Operation::ExportData, export, after, count, read_data, &[0, 1]).await?;
        if from.is_none() {
            page.records.splice(0..0, self.lowest_data().await?);
        }
        Ok(page)
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        let mut newest = BTreeMap::new();
        for record in records {
            let key = (record.info_hash, record.peer);
            newest
                .entry(key)
                .and_modify(|held: &mut PeerRecord| *held = held.newer(*record))
                .or_insert(*record);
        }
        let peers = newest.values().map(|PeerRecord { info_hash, peer, role, announced }| {
            arguments::ImportPeer { info_hash, peer, role: *role, announced: *announced }
        });
        let (batch, single) = (queries::ImportPeersBatch, queries::ImportPeers);
        self.import(Operation::ImportPeers, batch, single, peers.collect(), records.len()).await
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        let mut greatest = BTreeMap::new();
        for DownloadsRecord { info_hash, downloads } in records {
            let held = greatest.entry(*info_hash).or_insert(*downloads);
            *held = (*held).max(*downloads);
        }
        let downloads = greatest
            .iter()
            .map(|(info_hash, downloads)| arguments::ImportDownloads { info_hash, downloads: *downloads });
        let (batch, single) = (queries::ImportDownloadsBatch, queries::ImportDownloads);
        self.import(Operation::ImportDownloads, batch, single, downloads.collect(), records.len()).await
    }

    async fn replace_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        let forget = self.core.statement(queries::DeleteDownloads, Operation::ImportDownloads)?;
        let import = self.core.statement(queries::ImportDownloads, Operation::ImportDownloads)?;
        let last: BTreeMap<_, _> =
            records.iter().map(|record| (record.info_hash, record.downloads)).collect();
        with_retries!(&self.core, Operation::ImportDownloads, TxMode::Transaction, |connection| {
            for (info_hash, downloads) in &last {
                forget.execute(connection, arguments::Swarm { info_hash }).await?;
                let downloads = arguments::ImportDownloads { info_hash, downloads: *downloads };
                import.execute(connection, downloads).await?;
            }
            Ok(())
        })?;
        Ok(Imported { written: records.len() as u64, kept: 0 })
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        let mut first = BTreeMap::new();
        for DataRecord { context, key, value } in records {
            first.entry((context, key)).or_insert(value);
        }
        let data = first.iter().map(|((context, key), value)| arguments::ImportData { context, key, value });
        let (batch, single) = (queries::ImportDataBatch, queries::ImportData);
        self.import(Operation::ImportData, batch, single, data.collect(), records.len()).await
    }
}

impl PgStorage {
    /// Imports records in the order of their keys, so that two batches cannot wait for each other, and
    /// each of them once: by the query for many, or else one by one. Of `given` records those that are
    /// not written were kept out by others.
    async fn import<'a, B: Batch, S: Single<Arguments<'a> = B::Arguments<'a>>>(
        &self,
        operation: Operation,
        batch: B,
        single: S,
        records: Vec<B::Arguments<'a>>,
        given: usize,
    ) -> Result<Imported> {
        let single = self.core.statement(single, operation)?;
        if records.is_empty() {
            return Ok(Imported::default());
        }
        let written = if let Some(batch) = self.core.find(batch) {
            with_retries!(&self.core, operation, TxMode::Autocommit, |connection| {
                batch.execute_batch(connection, &records).await
            })?
        } else {
            let together = if records.len() > 1 { TxMode::Transaction } else { TxMode::Autocommit };
            with_retries!(&self.core, operation, together, |connection| {
                let mut written = 0;
                for record in &records {
                    written += single.execute(connection, *record).await?.min(1);
                }
                Ok(written)
            })?
        };
        Ok(Imported { written, kept: (given as u64).saturating_sub(written) })
    }

    /// The entry with an empty context and an empty key, which comes after no other.
    async fn lowest_data(&self) -> Result<Option<DataRecord>> {
        let get = self.core.statement(queries::GetData, Operation::ExportData)?;
        let Ok(context) = Context::new("") else { return Ok(None) };
        let row = with_retries!(&self.core, Operation::ExportData, TxMode::Autocommit, |connection| {
            get.first(connection, arguments::GetData { context: &context, key: &[] }).await
        })?;
        let value = |row: ResultRow| Bytes::copy_from_slice(get.read_bytes(&row, 0).unwrap_or_default());
        Ok(row.map(value).map(|value| DataRecord { context, key: Bytes::new(), value }))
    }

    /// A page of an export of up to `limit` rows; `key` are the columns by which the next one finds its
    /// beginning, as the server sent them, since the last row may be one that cannot be understood.
    async fn export<T, Q: Single>(
        &self,
        operation: Operation,
        export: QueryStatement<'_, Q>,
        after: Q::Arguments<'_>,
        limit: usize,
        read: fn(&Statement, &ResultRow) -> Option<T>,
        key: &[usize],
    ) -> Result<Page<T>> {
        let rows = with_retries!(&self.core, operation, TxMode::Autocommit, |connection| {
            export.rows(connection, after).await
        })?;
        let key_of = |row| key.iter().map(move |column| export.read_bytes(row, *column).unwrap_or_default());
        let (mut records, mut unreadable_names) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match read(&export, row) {
                Some(record) => records.push(record),
                None if unreadable_names.len() < Page::<T>::UNREADABLE_NAMES => {
                    unreadable_names.push(Bytes::from(key_of(row).collect::<Vec<_>>().join(&b' ')));
                }
                None => {}
            }
        }
        let unreadable = (rows.len() - records.len()) as u64;
        self.core.skipped(&export, unreadable);
        let last = rows.last().filter(|_| rows.len() >= limit);
        let next = last.map(|row| join(key_of(row)));
        Ok(Page { records, next, unreadable, unreadable_names, ..Page::default() })
    }
}

/// A cursor of several values, each with its length before it.
pub(crate) fn join<'a>(values: impl Iterator<Item = &'a [u8]>) -> Cursor {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    Cursor::new(bytes)
}

/// The values of a cursor; `None` if it is not of so many.
pub(crate) fn split<const VALUES: usize>(cursor: &Cursor) -> Option<[&[u8]; VALUES]> {
    let mut rest = cursor.as_bytes();
    let mut values = [&[][..]; VALUES];
    for value in &mut values {
        let (length, after) = rest.split_first_chunk::<4>()?;
        (*value, rest) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    }
    rest.is_empty().then_some(values)
}

/// What a page has of one swarm; the swarm ends where another begins.
fn only(mut page: Page<PeerRecord>, info_hash: &InfoHash) -> Page<PeerRecord> {
    let before = page.records.len();
    page.records.retain(|record| record.info_hash == *info_hash);
    if page.records.len() < before {
        page.next = None;
    }
    page
}

pub(crate) fn read_peer(export: &Statement, row: &ResultRow) -> Option<PeerRecord> {
    let id = PeerId::try_from(export.read_bytes(row, 1)?).ok()?;
    let port = u16::try_from(export.read_integer(row, 3)?).ok()?;
    Some(PeerRecord {
        info_hash: InfoHash::try_from(export.read_bytes(row, 0)?).ok()?,
        peer: Peer::new(id, export.read_address(row, 2)?, port),
        role: Role::from_is_seeder(export.read_boolean(row, 4)?),
        announced: export.read_time(row, 5)?,
    })
}

fn read_downloads(export: &Statement, row: &ResultRow) -> Option<DownloadsRecord> {
    let downloads = u64::try_from(export.read_integer(row, 1)?).ok()?;
    Some(DownloadsRecord { info_hash: InfoHash::try_from(export.read_bytes(row, 0)?).ok()?, downloads })
}

fn read_data(export: &Statement, row: &ResultRow) -> Option<DataRecord> {
    Some(DataRecord {
        context: Context::new(export.read_text(row, 0)?).ok()?,
        key: Bytes::copy_from_slice(export.read_bytes(row, 1)?),
        value: Bytes::copy_from_slice(export.read_bytes(row, 2).unwrap_or_default()),
    })
}
