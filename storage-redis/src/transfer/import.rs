//! Taking records in: what is there is read, the rules of transfer decide here, and what is to be
//! written is written only if nothing has changed since; else it is decided again.

use std::collections::{BTreeMap, HashSet};

use redis::Cmd;
use storage_core::{DataRecord, DownloadsRecord, ErrorKind, Imported, InfoHash, Operation, Result};

use crate::connection::{Call, command, read};
use crate::layout::{DOWNLOADS, context_key, read_decimal};
use crate::scripts;
use crate::storage::RedisStorage;

/// Records that one script writes.
pub(super) const BATCH: usize = 250;
/// How often a decision is made again before giving up.
pub(super) const ROUNDS: usize = 20;

/// Imports downloads.
pub(super) async fn downloads(storage: &RedisStorage, records: &[DownloadsRecord]) -> Result<Imported> {
    let call = Call::repeatable(Operation::ImportDownloads);
    storage.connections.check_open(call.operation)?;
    let mut greatest: BTreeMap<InfoHash, i64> = BTreeMap::new();
    let mut imported = Imported::default();
    for record in records {
        let downloads = i64::try_from(record.downloads).map_err(|_| {
            let message = format!("downloads of {} are more than Redis can count", record.info_hash);
            call.error(ErrorKind::Rejected).with_message(message)
        })?;
        if let Some(known) = greatest.insert(record.info_hash, downloads) {
            imported.kept += 1;
            greatest.insert(record.info_hash, downloads.max(known));
        }
    }
    let greatest: Vec<_> = greatest.into_iter().collect();
    for batch in greatest.chunks(BATCH) {
        let mut open = batch.to_vec();
        for _ in 0..ROUNDS {
            open = import_batch(storage, call, open, &mut imported).await?;
            if open.is_empty() {
                break;
            }
        }
        check_done(call, open.is_empty())?;
    }
    Ok(imported)
}

async fn import_batch(
    storage: &RedisStorage,
    call: Call,
    batch: Vec<(InfoHash, i64)>,
    imported: &mut Imported,
) -> Result<Vec<(InfoHash, i64)>> {
    let mut ask = command("HMGET", DOWNLOADS);
    for (info_hash, _) in &batch {
        ask.arg(info_hash.as_bytes());
    }
    let found: Vec<Option<Vec<u8>>> = storage.connections.query(call, ask).await?;
    let (mut set, mut puts) = (scripts::SET_UNCHANGED.call(&[DOWNLOADS]), Vec::new());
    for ((info_hash, downloads), found) in batch.into_iter().zip(found) {
        let known: Option<i64> = found.as_deref().and_then(read_decimal);
        if known.is_some_and(|known| known >= downloads) {
            imported.kept += 1;
            continue;
        }
        set.arg(info_hash.as_bytes()).arg(found.unwrap_or_default()).arg(downloads);
        puts.push((info_hash, downloads));
    }
    if puts.is_empty() {
        return Ok(puts);
    }
    let done: Vec<bool> = storage.connections.query(call, set).await?;
    imported.written += done.iter().filter(|done| **done).count() as u64;
    Ok(puts.into_iter().zip(done).filter(|(_, done)| !done).map(|(put, _)| put).collect())
}

/// Imports data.
pub(super) async fn data(storage: &RedisStorage, records: &[DataRecord]) -> Result<Imported> {
    let call = Call::repeatable(Operation::ImportData);
    storage.connections.check_open(call.operation)?;
    let mut imported = Imported::default();
    let mut seen = HashSet::new();
    let first = records.iter().filter(|record| seen.insert((&record.context, &record.key)));
    let first: Vec<_> = first.collect();
    imported.kept += (records.len() - first.len()) as u64;
    for batch in first.chunks(BATCH) {
        let puts = batch.iter().map(|record| {
            let mut put: Cmd = command("HSETNX", &context_key(record.context.as_str()));
            put.arg(record.key.as_ref()).arg(record.value.as_ref());
            put
        });
        for answer in storage.connections.many(call, puts.collect()).await? {
            match read(call, answer?)? {
                true => imported.written += 1,
                false => imported.kept += 1,
            }
        }
    }
    Ok(imported)
}

/// Other writes must not have got in the way in every round.
pub(super) fn check_done(call: Call, is_done: bool) -> Result<()> {
    if is_done { Ok(()) } else { Err(call.error(ErrorKind::Conflict)) }
}
