//! Loads the peers of a run, and removes them; and how much memory peers take.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use rand::seq::SliceRandom;
use storage_core::{Capability, PeerRecord, Result, Storage, Timestamp, Transfer, When};

use super::dataset::{Dataset, Member};
use crate::interrupt::Interrupt;

/// Peers per batch.
const BATCH: u64 = 1_000;
/// Concurrent batches.
const BATCHES_AT_ONCE: usize = 4;

/// The numbers of all peers in random order.
pub(super) fn scattered(dataset: &Dataset) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..dataset.peers()).collect();
    numbers.shuffle(&mut rand::rng());
    numbers
}

/// Loads the peers that `record` gives for each number below `count`, until Ctrl-C; counts the numbers in `done`.
pub(super) async fn load(
    storage: &Arc<dyn Storage>,
    count: u64,
    record: &(dyn Fn(u64) -> Option<PeerRecord> + Sync),
    workers: usize,
    done: &AtomicU64,
    interrupt: &Interrupt,
) -> Result<()> {
    let imports = storage.missing_capabilities().has(Capability::ImportPeers);
    let batch = if imports { BATCH } else { 1 };
    let at_once = if imports { BATCHES_AT_ONCE } else { workers };
    let batches = stream::iter(0..count.div_ceil(batch)).take_until(interrupt.clone().wait());
    let loaded = batches.map(|index| {
        let numbers = index * batch..((index + 1) * batch).min(count);
        let counted = numbers.end - numbers.start;
        let records: Vec<_> = numbers.filter_map(record).collect();
        async move {
            if imports {
                storage.import_peers(&records).await?;
            } else {
                for PeerRecord { info_hash, peer, role, announced } in &records {
                    storage.put_peer(info_hash, peer, *role, When::At(*announced)).await?;
                }
            }
            done.fetch_add(counted, Ordering::Relaxed);
            Ok(())
        }
    });
    loaded.buffer_unordered(at_once).try_collect().await
}

/// The peer of the dataset with this number, announced now.
pub(super) fn record(dataset: &Dataset, number: u64) -> PeerRecord {
    let Member { info_hash, peer, role } = dataset.member(dataset.swarm_of(number), number);
    PeerRecord { info_hash, peer, role, announced: Timestamp::now() }
}

/// Swarms removed in one call; few, to show progress.
const SWARMS_PER_CALL: usize = 100;

/// Removes all swarms that may have peers; counts them in `done`. Goes on after a failure, and returns the
/// first one.
pub(super) async fn remove(
    storage: &Arc<dyn Storage>,
    dataset: &Dataset,
    workers: usize,
    done: &AtomicU64,
) -> Result<()> {
    let swarms = stream::iter(0..dataset.opened()).map(|swarm| dataset.info_hash(swarm));
    let swarms = swarms.chunks(SWARMS_PER_CALL).map(|swarms| async move {
        let forgotten = storage.forget_swarms(&swarms).await;
        done.fetch_add(swarms.len() as u64, Ordering::Relaxed);
        forgotten.map(drop)
    });
    let first_failure = |first: Result<()>, next| async { first.and(next) };
    swarms.buffer_unordered(workers).fold(Ok(()), first_failure).await
}

/// Peers to measure the memory of.
const MEASURED_PEERS: u64 = 250_000;
/// Bytes per peer by which the resident set grows while 250,000 peers are imported, in swarms of `peers`;
/// `None` on systems without it. A rough figure: it includes what the allocator keeps, and is too low if the
/// process has held another storage before.
pub(crate) async fn bytes_per_peer(storage: &(impl Transfer + ?Sized), peers: u64) -> Result<Option<u64>> {
    let dataset = Dataset::even(MEASURED_PEERS.div_ceil(peers), peers);
    let Some(before) = resident_bytes() else { return Ok(None) };
    for first in (0..dataset.peers()).step_by(BATCH as usize) {
        let numbers = first..(first + BATCH).min(dataset.peers());
        let records: Vec<_> = numbers.map(|number| record(&dataset, number)).collect();
        storage.import_peers(&records).await?;
    }
    let grown = resident_bytes().map(|after| after.saturating_sub(before));
    Ok(grown.map(|grown| grown / dataset.peers()))
}

/// The resident set of this process, on Linux.
fn resident_bytes() -> Option<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
