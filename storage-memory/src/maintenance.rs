//! Garbage collection, statistics, forgetting a swarm.

use async_trait::async_trait;
use storage_core::{
    Collected, Cursor, Forgotten, InfoHash, ListedSwarm, Maintenance, Result, Role, Statistics, SwarmCounts,
    SwarmOrder, SwarmPage, SwarmPageBuilder, Timestamp,
};

use crate::MemoryStorage;
use crate::swarm::TimedSwarm;

#[async_trait]
impl Maintenance for MemoryStorage {
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        if most < u64::MAX {
            let withheld = self.count_stale(cutoff).await;
            if withheld > most {
                return Ok(Collected::withheld(withheld));
            }
        }
        let mut removed = 0;
        for index in 0..self.swarms.count() {
            removed += self.remove_stale(index, cutoff);
            // A storage may have many shards: other tasks want to run too.
            tokio::task::yield_now().await;
        }
        Ok(Collected::removed(removed))
    }

    async fn statistics(&self) -> Result<Statistics> {
        let mut statistics = Statistics::default();
        for index in 0..self.swarms.count() {
            self.count_shard(index, &mut statistics);
            tokio::task::yield_now().await;
        }
        Ok(statistics)
    }

    async fn list_swarms(&self, order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Result<SwarmPage> {
        let as_of = Timestamp::now();
        let mut page = SwarmPageBuilder::new(order, from, limit);
        for index in 0..self.swarms.count() {
            match order {
                SwarmOrder::Downloads => self.offer_downloaded(index, &mut page),
                _ => self.offer_swarms(index, &mut page),
            }
            tokio::task::yield_now().await;
        }
        Ok(page.finish(as_of))
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        let peers = self.swarms.write(info_hash).remove().map_or(0, |swarm| swarm.len());
        self.capacity.release(peers);
        let downloads = self.downloads.write(info_hash).remove();
        self.downloads_capacity.release(downloads.iter().count());
        Ok(Forgotten { peers: peers as u64, downloads: true })
    }
}

impl MemoryStorage {
    /// Offers the swarms of a shard that have peers.
    fn offer_swarms(&self, shard: usize, page: &mut SwarmPageBuilder) {
        for (info_hash, swarm) in self.swarms.read_at(shard).iter() {
            let downloads = self.downloads_of(info_hash);
            page.offer(listed(info_hash, Some(swarm), downloads));
        }
    }

    /// Offers the swarms of a shard that have downloads.
    fn offer_downloaded(&self, shard: usize, page: &mut SwarmPageBuilder) {
        // A graduation has the swarm locked when it counts the download: the other order could lock both out.
        let downloads: Vec<_> = self
            .downloads
            .read_at(shard)
            .iter()
            .map(|(info_hash, downloads)| (*info_hash, *downloads))
            .collect();
        for (info_hash, downloads) in downloads {
            page.offer(listed(&info_hash, self.swarms.read(&info_hash).get(), downloads));
        }
    }

    fn count_shard(&self, shard: usize, statistics: &mut Statistics) {
        let shard = self.swarms.read_at(shard);
        statistics.info_hashes += shard.len() as u64;
        for swarm in shard.values() {
            statistics.seeders += swarm.count(Role::Seeder) as u64;
            statistics.leechers += swarm.count(Role::Leecher) as u64;
        }
    }

    async fn count_stale(&self, cutoff: Timestamp) -> u64 {
        let mut stale = 0;
        for index in 0..self.swarms.count() {
            stale += self.swarms.read_at(index).values().map(|swarm| swarm.stale(cutoff)).sum::<u64>();
            tokio::task::yield_now().await;
        }
        stale
    }

    fn remove_stale(&self, shard: usize, cutoff: Timestamp) -> u64 {
        let mut removed = 0;
        self.swarms.write_at(shard).retain(|swarm| {
            removed += swarm.remove_stale(cutoff);
            !swarm.is_empty()
        });
        self.capacity.release(removed);
        removed as u64
    }
}

fn listed(info_hash: &InfoHash, swarm: Option<&TimedSwarm>, downloads: u64) -> ListedSwarm {
    let count = |role| swarm.map_or(0, |swarm| swarm.count(role) as u64);
    let counts = SwarmCounts { seeders: count(Role::Seeder), leechers: count(Role::Leecher), downloads };
    ListedSwarm { info_hash: *info_hash, counts }
}
