//! Data: what is at the target stays, or gives way; and what disappears from the source meanwhile is
//! not left behind.

use std::collections::BTreeMap;
use std::iter::zip;

use bytes::Bytes;

use super::lookup::values_of;
use super::pipeline::Movement;
use super::retry::with_retries;
use super::run::MigrationInner;
use super::written_keys::WrittenEntry;
use super::{DataRule, MigrationError, RecordKind, Side};
use storage_core::{Context, Cursor, DataRecord, Imported, Page, Result, Storage};

/// Keys that are looked for at once: few enough for a call that has to be quick.
const KEYS_AT_ONCE: usize = 200;

pub(super) struct Data;

impl Movement for Data {
    const KIND: RecordKind = RecordKind::Data;
    type Record = DataRecord;

    async fn page(storage: &dyn Storage, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        storage.export_data(from, limit).await
    }

    fn select(&self, shared: &MigrationInner, records: &mut Vec<DataRecord>) {
        let contexts = &shared.options.contexts;
        records.retain(|record| contexts.is_empty() || contexts.contains(&record.context));
    }

    async fn write(&self, shared: &MigrationInner, records: Vec<DataRecord>) -> Result<(), MigrationError> {
        let mut contexts: BTreeMap<Context, Vec<DataRecord>> = BTreeMap::new();
        for record in records {
            contexts.entry(record.context.clone()).or_default().push(record);
        }
        for (context, records) in contexts {
            for records in records.chunks(KEYS_AT_ONCE) {
                write_some(shared, &context, records).await?;
            }
        }
        Ok(())
    }
}

async fn write_some(
    shared: &MigrationInner,
    context: &Context,
    records: &[DataRecord],
) -> Result<(), MigrationError> {
    let new = match shared.options.data {
        DataRule::Keep => absent(shared, context, records).await?,
        DataRule::Replace => different(shared, records).await?,
    };
    let counts = shared.progress.of(RecordKind::Data);
    counts.add_kept(records.len() - new.len());
    if new.is_empty() {
        return Ok(());
    }
    let entries: Vec<_> = new.iter().map(WrittenEntry::of).collect();
    // Before they are written: so none is written without being noted, whatever comes between.
    shared.written_keys().note(&entries).map_err(MigrationError::WrittenKeys)?;
    counts.add_imported(put(shared, context, &new).await?);
    remove_gone(shared, context, &entries).await
}

async fn put(
    shared: &MigrationInner,
    context: &Context,
    records: &[DataRecord],
) -> Result<Imported, MigrationError> {
    if shared.options.data == DataRule::Keep {
        return with_retries(Side::Target, &shared.stop, || shared.to.import_data(records)).await;
    }
    let entries: Vec<_> = records.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
    with_retries(Side::Target, &shared.stop, || shared.to.put_data(context, &entries)).await?;
    Ok(Imported { written: records.len() as u64, kept: 0 })
}

/// The records whose keys the target does not have.
async fn absent(
    shared: &MigrationInner,
    context: &Context,
    records: &[DataRecord],
) -> Result<Vec<DataRecord>, MigrationError> {
    let keys: Vec<_> = records.iter().map(|record| record.key.clone()).collect();
    let there = with_retries(Side::Target, &shared.stop, || shared.to.contains_data(context, &keys)).await?;
    Ok(zip(records, there).filter(|(_, there)| !there).map(|(record, _)| record.clone()).collect())
}

/// The records whose values the target does not have.
async fn different(
    shared: &MigrationInner,
    records: &[DataRecord],
) -> Result<Vec<DataRecord>, MigrationError> {
    let found = values_of(Side::Target, &*shared.to, &shared.stop, records).await?;
    let is_different = |(record, found): &(&DataRecord, Option<Bytes>)| found.as_ref() != Some(&record.value);
    Ok(zip(records, found).filter(is_different).map(|(record, _)| record.clone()).collect())
}

/// Looks at all that was written whether the source still has it.
pub(super) async fn remove_all_gone(shared: &MigrationInner) -> Result<(), MigrationError> {
    let mut from = 0;
    loop {
        let (entries, next) =
            shared.written_keys().read(from, KEYS_AT_ONCE).map_err(MigrationError::WrittenKeys)?;
        if entries.is_empty() || shared.stop.is_stopped() {
            return Ok(());
        }
        let mut contexts: BTreeMap<Context, Vec<WrittenEntry>> = BTreeMap::new();
        for entry in entries {
            contexts.entry(entry.context.clone()).or_default().push(entry);
        }
        for (context, entries) in contexts {
            remove_gone(shared, &context, &entries).await?;
        }
        from = next;
    }
}

/// Removes from the target what was written and is not at the source any more, unless somebody else has
/// changed it since. What came back to the source meanwhile may have come to the target before it was
/// removed there: it is put again.
async fn remove_gone(
    shared: &MigrationInner,
    context: &Context,
    entries: &[WrittenEntry],
) -> Result<(), MigrationError> {
    let keys: Vec<Bytes> = entries.iter().map(|entry| entry.key.clone()).collect();
    let there =
        with_retries(Side::Source, &shared.stop, || shared.from.contains_data(context, &keys)).await?;
    let mut gone = Vec::new();
    for (entry, _) in zip(entries, there).filter(|(_, there)| !there) {
        let found =
            with_retries(Side::Target, &shared.stop, || shared.to.load_data(context, &entry.key)).await?;
        if found.is_some_and(|value| entry.is_of(&value)) {
            gone.push(entry.key.clone());
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    with_retries(Side::Target, &shared.stop, || shared.to.delete_data(context, &gone)).await?;
    shared.progress.of(RecordKind::Data).add_gone(gone.len());
    put_again(shared, context, &gone).await
}

async fn put_again(shared: &MigrationInner, context: &Context, keys: &[Bytes]) -> Result<(), MigrationError> {
    let there = with_retries(Side::Source, &shared.stop, || shared.from.contains_data(context, keys)).await?;
    for (key, _) in zip(keys, there).filter(|(_, there)| *there) {
        let load = || shared.from.load_data(context, key);
        if let Some(value) = with_retries(Side::Source, &shared.stop, load).await? {
            let record = [DataRecord { context: context.clone(), key: key.clone(), value }];
            shared
                .written_keys()
                .note(&record.each_ref().map(WrittenEntry::of))
                .map_err(MigrationError::WrittenKeys)?;
            with_retries(Side::Target, &shared.stop, || shared.to.import_data(&record)).await?;
        }
    }
    Ok(())
}
