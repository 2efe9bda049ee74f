//! The storage and what is common to its parts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{
    Backend, Context, Diagnostics, Error, ErrorKind, InfoHash, MissingCapabilities, Operation, Result,
};

use crate::MemoryConfig;
use crate::shards::Shards;
use crate::swarm::TimedSwarm;

/// A storage in the memory of the process. Timeouts, limits and an orderly close are layers:
/// [`storage_core::with_default_layers`].
pub struct MemoryStorage {
    pub(crate) swarms: Shards<InfoHash, TimedSwarm>,
    pub(crate) downloads: Shards<InfoHash, u64>,
    pub(crate) data: Shards<Context, BTreeMap<Bytes, Bytes>>,
    /// For peers.
    pub(crate) capacity: Capacity,
    /// For swarms whose downloads are counted, which outlive their peers.
    pub(crate) downloads_capacity: Capacity,
}

impl MemoryStorage {
    pub(crate) const NAME: &'static str = "memory";

    /// An empty storage.
    pub fn new(config: MemoryConfig) -> Self {
        let MemoryConfig { shard_count, max_peers } = config;
        Self {
            swarms: Shards::new(shard_count),
            downloads: Shards::new(shard_count),
            data: Shards::new(shard_count),
            capacity: Capacity::new(max_peers),
            downloads_capacity: Capacity::new(max_peers),
        }
    }

    pub(crate) fn full(&self, operation: Operation) -> Error {
        let message = format!("the limit of {} peers (`max_peers`) is reached", self.capacity.limit());
        Error::new(Self::NAME, operation, ErrorKind::Full).with_message(message)
    }

    pub(crate) fn not_found() -> Error {
        Error::new(Self::NAME, Operation::DeletePeer, ErrorKind::NotFound)
    }
}

#[async_trait]
impl Backend for MemoryStorage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn durable(&self) -> bool {
        false
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        MissingCapabilities::none()
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        let peers = format!("{} of at most {}", self.capacity.used(), self.capacity.limit());
        Ok(Diagnostics::new(concat!("embedded, version ", env!("CARGO_PKG_VERSION")))
            .with_finding("shards", self.swarms.count().to_string())
            .with_finding("peers", peers))
    }

    async fn close(&self) -> Result<()> {
        for index in 0..self.swarms.count() {
            let mut swarms = self.swarms.write_at(index);
            self.capacity.release(swarms.values().map(|swarm| swarm.len()).sum());
            swarms.clear();
            let mut downloads = self.downloads.write_at(index);
            self.downloads_capacity.release(downloads.len());
            downloads.clear();
            self.data.write_at(index).clear();
        }
        Ok(())
    }
}

/// Counts entries up to a limit.
pub(crate) struct Capacity {
    used: AtomicUsize,
    limit: usize,
}

impl Capacity {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Counts a new entry; false if the limit is reached.
    pub(crate) fn acquire(&self) -> bool {
        let one_more = |used| (used < self.limit).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts this many entries no longer.
    pub(crate) fn release(&self, entries: usize) {
        if entries > 0 {
            self.used.fetch_sub(entries, Ordering::Relaxed);
        }
    }
}
