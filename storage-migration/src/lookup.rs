//! What a side has of many records, in few calls.

use futures::{StreamExt, TryStreamExt, stream};

use super::retry::with_retries;
use super::{MigrationError, Side, Stop};
use bytes::Bytes;
use storage_core::{DataRecord, DownloadsRecord, ErrorKind, InfoHash, Storage};

/// Swarms scraped in one call: about as many as a client may ask for at once, so that the call is quick.
const SCRAPED_AT_ONCE: usize = 100;

/// Look-ups under way at once.
pub(super) const CONCURRENT_LOOKUPS: usize = 8;

/// The downloads that a side has of the swarms of these records, in their order. Those it has and cannot read are 0.
pub(super) async fn downloads_of(
    side: Side,
    storage: &dyn Storage,
    stop: &Stop,
    records: &[DownloadsRecord],
) -> Result<Vec<u64>, MigrationError> {
    let info_hashes: Vec<InfoHash> = records.iter().map(|record| record.info_hash).collect();
    let mut downloads = Vec::with_capacity(records.len());
    for info_hashes in info_hashes.chunks(SCRAPED_AT_ONCE) {
        match with_retries(side, stop, || storage.scrape_swarms(info_hashes)).await {
            Ok(counts) => downloads.extend(counts.iter().map(|counts| counts.downloads)),
            // One that cannot be read fails the call for all.
            Err(MigrationError::Storage(_, error)) if error.kind() == ErrorKind::Corrupt => {
                for info_hash in info_hashes {
                    let scrape = || storage.scrape_swarm(info_hash);
                    downloads.push(if_readable(with_retries(side, stop, scrape).await)?.downloads);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(downloads)
}

/// The values that a side has of the keys of these records, in their order. Those it has and cannot read are absent.
pub(super) async fn values_of(
    side: Side,
    storage: &dyn Storage,
    stop: &Stop,
    records: &[DataRecord],
) -> Result<Vec<Option<Bytes>>, MigrationError> {
    let load = |record: &DataRecord| {
        let DataRecord { context, key, .. } = record.clone();
        async move { if_readable(with_retries(side, stop, || storage.load_data(&context, &key)).await) }
    };
    // Collected first: a closure that borrows from the records cannot make futures that are `Send`.
    let loads: Vec<_> = records.iter().map(load).collect();
    stream::iter(loads).buffered(CONCURRENT_LOOKUPS).try_collect().await
}

/// What a side holds and nobody can understand is not there; the scan of that side counts it.
fn if_readable<T: Default>(answer: Result<T, MigrationError>) -> Result<T, MigrationError> {
    match answer {
        Err(MigrationError::Storage(_, error)) if error.kind() == ErrorKind::Corrupt => Ok(T::default()),
        answer => answer,
    }
}
