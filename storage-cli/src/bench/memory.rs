//! What a peer takes, for storages that keep it in this process.

use std::fs;

use storage_core::{Result, Transfer};

use super::dataset::Dataset;
use super::load::records;

/// Peers by which the process grows.
const PEERS: u64 = 250_000;
/// Peers taken in at once.
const BATCH: u64 = 1_000;

/// By how many bytes a peer the resident set grows while a storage takes in 250,000 of them, in swarms of
/// so many; `None` where the system does not tell. Rough: it has what the allocator keeps back, and a
/// storage that was filled before in the same process makes it too low.
pub(crate) async fn bytes_per_peer(storage: &(impl Transfer + ?Sized), peers: u64) -> Result<Option<u64>> {
    let dataset = Dataset::even(PEERS.div_ceil(peers), peers);
    let Some(before) = resident_bytes() else { return Ok(None) };
    for first in (0..dataset.peers()).step_by(BATCH as usize) {
        storage.import_peers(&records(&dataset, first..(first + BATCH).min(dataset.peers()))).await?;
    }
    let grown = resident_bytes().map(|after| after.saturating_sub(before));
    Ok(grown.map(|grown| grown / dataset.peers()))
}

/// What this process has in memory, as Linux tells it.
fn resident_bytes() -> Option<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
