//! Maintenance: garbage collection, statistics, forgetting a swarm.

mod collect;
mod forget;
mod statistics;

use async_trait::async_trait;
use storage_core::{Collected, Forgotten, InfoHash, Maintenance, Result, Statistics, Timestamp};

use crate::storage::RedisStorage;

#[async_trait]
impl Maintenance for RedisStorage {
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        collect::CollectionRun::new(self, cutoff, most).run().await
    }

    async fn statistics(&self) -> Result<Statistics> {
        statistics::count(self).await
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        let peers = if self.connections.is_cluster() {
            self.forget_on_cluster(info_hash).await?
        } else {
            self.forget_by_script(info_hash).await?
        };
        Ok(Forgotten { peers, downloads: true })
    }
}
