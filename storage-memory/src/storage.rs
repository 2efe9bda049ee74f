//! The storage and what is common to its parts.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use storage_core::{Backend, Context, Error, ErrorKind, InfoHash, Inspection, Lacking, Operation, Result};

use crate::MemoryConfig;
use crate::shards::Shards;
use crate::swarm::Swarm;

/// A storage in the memory of the process. Timeouts, limits and an orderly close are layers:
/// [`storage_core::guarded`].
pub struct MemoryStorage {
    pub(crate) swarms: Shards<InfoHash, Swarm>,
    pub(crate) downloads: Shards<InfoHash, u64>,
    pub(crate) data: Shards<Context, BTreeMap<Bytes, Bytes>>,
}

impl MemoryStorage {
    pub(crate) const NAME: &'static str = "memory";

    /// An empty storage.
    pub fn new(config: MemoryConfig) -> Self {
        let MemoryConfig { shard_count } = config;
        Self {
            swarms: Shards::new(shard_count),
            downloads: Shards::new(shard_count),
            data: Shards::new(shard_count),
        }
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

    fn lacking(&self) -> Lacking {
        Lacking::nothing()
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn inspect(&self) -> Result<Inspection> {
        Ok(Inspection {
            server: format!("embedded, version {}", env!("CARGO_PKG_VERSION")),
            findings: vec![("shards".into(), self.swarms.count().to_string())],
            warnings: Vec::new(),
        })
    }

    async fn close(&self) -> Result<()> {
        for index in 0..self.swarms.count() {
            self.swarms.write_at(index).clear();
            self.downloads.write_at(index).clear();
            self.data.write_at(index).clear();
        }
        Ok(())
    }
}
