//! Loads the peers of a run, and removes them; and how much memory peers take.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use rand::seq::SliceRandom;
use storage_core::{Capability, PeerRecord, Result, Storage, Timestamp, Transfer, When};

use super::dataset::Dataset;
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

/// Loads all peers of the dataset, swarm by swarm or in this order, until Ctrl-C; counts them in `done`.
pub(super) async fn load(
    storage: &Arc<dyn Storage>,
    dataset: &Dataset,
    order: Option<&[u64]>,
    workers: usize,
    done: &AtomicU64,
    interrupt: &Interrupt,
) -> Result<()> {
    let imports = storage.missing_capabilities().has(Capability::ImportPeers);
    let batch = if imports { BATCH } else { 1 };
    let at_once = if imports { BATCHES_AT_ONCE } else { workers };
    let batches = stream::iter(0..dataset.peers().div_ceil(batch)).take_until(interrupt.clone().wait());
    let loaded = batches.map(|index| {
        let first = index * batch;
        let turns = first..(first + batch).min(dataset.peers());
        let records =
            records(dataset, turns.map(|turn| order.map_or(turn, |numbers| numbers[turn as usize])));
        async move {
            if imports {
                storage.import_peers(&records).await?;
            } else {
                for PeerRecord { info_hash, peer, role, announced } in &records {
                    storage.put_peer(info_hash, peer, *role, When::At(*announced)).await?;
                }
            }
            done.fetch_add(records.len() as u64, Ordering::Relaxed);
            Ok(())
        }
    });
    loaded.buffer_unordered(at_once).try_collect().await
}

/// The peers with these numbers, announced now.
fn records(dataset: &Dataset, numbers: impl Iterator<Item = u64>) -> Vec<PeerRecord> {
    let announced = Timestamp::now();
    let record = |number| {
        let member = dataset.member(dataset.swarm_of(number), number);
        PeerRecord { info_hash: member.info_hash, peer: member.peer, role: member.role, announced }
    };
    numbers.map(record).collect()
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
        storage.import_peers(&records(&dataset, first..(first + BATCH).min(dataset.peers()))).await?;
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
