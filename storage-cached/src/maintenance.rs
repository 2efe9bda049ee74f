//! Maintenance: what waits is written first, so that the storage inside knows what memory knows.

use async_trait::async_trait;
use storage_core::{
    Collected, CountCheck, Cursor, Forgotten, InfoHash, Maintenance, Operation, QueryScopeReport, Result,
    Statistics, Storage, SwarmOrder, SwarmPage, Timestamp,
};
use tokio::task::yield_now;

use crate::CachedStorage;
use crate::cached_peer::seconds;
use crate::shared::{Shared, of_backend};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Storage + ?Sized + 'static> Maintenance for CachedStorage<S> {
    async fn collect_garbage(&self, cutoff: Timestamp) -> Result<Collected> {
        self.collect_at_most(cutoff, u64::MAX).await
    }

    /// The storage inside learns of those that announced since before it collects, and memory collects after it.
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        let Self { shared, .. } = self;
        let cutoff_seconds = seconds(cutoff);
        for index in 0..shared.shards.count() {
            shared.shards.lock_at(index).begin_collection(cutoff_seconds, shared.now());
            yield_now().await;
        }
        shared.flush_all(Operation::CollectGarbage).await?;
        let collected = shared.noted(shared.backend.collect_at_most(cutoff, most).await)?;
        if collected.withheld == 0 {
            for index in 0..shared.shards.count() {
                shared.shards.lock_at(index).collect(cutoff, shared.now());
                yield_now().await;
            }
        }
        Ok(collected)
    }

    async fn statistics(&self) -> Result<Statistics> {
        self.shared.flush_all(Operation::Statistics).await?;
        self.shared.noted(self.shared.backend.statistics().await)
    }

    async fn list_swarms(&self, order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Result<SwarmPage> {
        self.shared.flush_all(Operation::ListSwarms).await?;
        self.shared.noted(self.shared.backend.list_swarms(order, from, limit).await)
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        self.forget_swarms(std::slice::from_ref(info_hash)).await
    }

    async fn forget_swarms(&self, info_hashes: &[InfoHash]) -> Result<Forgotten> {
        let mut all = Forgotten { peers: 0, downloads: true };
        for part in self.shared.by_worker(info_hashes) {
            let Forgotten { peers, downloads } = self.shared.forget(&part).await?;
            all.peers += peers;
            all.downloads &= downloads;
        }
        Ok(all)
    }

    async fn check_counts(&self) -> Result<Option<CountCheck>> {
        self.shared.backend.check_counts().await.map_err(of_backend)
    }

    async fn check_query_scope(&self) -> Result<Vec<QueryScopeReport>> {
        self.shared.backend.check_query_scope().await.map_err(of_backend)
    }
}

impl<S: Storage + ?Sized + 'static> Shared<S> {
    /// Forgets swarms of one worker. Peers that announce meanwhile are new.
    async fn forget(&self, info_hashes: &[InfoHash]) -> Result<Forgotten> {
        let _lock = self.lock_after_flushes(Operation::ForgetSwarm, info_hashes).await?;
        let forgotten = self.noted(self.backend.forget_swarms(info_hashes).await);
        for info_hash in info_hashes {
            let hash = self.shards.hash(info_hash);
            let mut shard = self.shards.lock(hash);
            shard.outdate(hash, info_hash);
            if let Ok(forgotten) = &forgotten {
                shard.forget(hash, info_hash, forgotten.downloads, self.now());
            }
        }
        forgotten
    }
}
