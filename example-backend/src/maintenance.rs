//! Garbage collection, statistics, forgetting a swarm.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use storage_core::{
    Collected, Cursor, Forgotten, InfoHash, ListedSwarm, Maintenance, Result, Role, Statistics, SwarmCounts,
    SwarmOrder, SwarmPage, SwarmPageBuilder, Timestamp,
};

use crate::ExampleStorage;

#[async_trait]
impl Maintenance for ExampleStorage {
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        let mut contents = self.lock();
        let stale = contents.peers.values().filter(|presence| presence.announced <= cutoff).count() as u64;
        if stale > most {
            return Ok(Collected::withheld(stale));
        }
        contents.peers.retain(|_, presence| presence.announced > cutoff);
        Ok(Collected::removed(stale))
    }

    async fn statistics(&self) -> Result<Statistics> {
        let contents = self.lock();
        let info_hashes: BTreeSet<_> = contents.peers.keys().map(|(info_hash, _)| info_hash).collect();
        let seeders = contents.peers.values().filter(|presence| presence.role.is_seeder()).count();
        let leechers = contents.peers.len() - seeders;
        Ok(Statistics::new(info_hashes.len() as u64, seeders as u64, leechers as u64))
    }

    async fn list_swarms(&self, order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Result<SwarmPage> {
        let contents = self.lock();
        let mut counted: BTreeMap<InfoHash, SwarmCounts> = BTreeMap::new();
        for ((info_hash, _), presence) in &contents.peers {
            let counts = counted.entry(*info_hash).or_default();
            match presence.role {
                Role::Seeder => counts.seeders += 1,
                Role::Leecher => counts.leechers += 1,
            }
        }
        for (info_hash, downloads) in &contents.downloads {
            counted.entry(*info_hash).or_default().downloads = *downloads;
        }
        let mut page = SwarmPageBuilder::new(order, from, limit);
        counted.into_iter().for_each(|(info_hash, counts)| page.offer(ListedSwarm { info_hash, counts }));
        Ok(page.finish(Timestamp::now()))
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        let mut contents = self.lock();
        let peers: Vec<_> = contents.swarm(*info_hash).map(|(peer, _)| peer).collect();
        for peer in &peers {
            contents.peers.remove(&(*info_hash, *peer));
        }
        contents.downloads.remove(info_hash);
        Ok(Forgotten { peers: peers.len() as u64, downloads: true })
    }
}
