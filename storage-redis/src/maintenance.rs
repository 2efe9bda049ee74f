//! Maintenance: garbage collection, statistics, forgetting a swarm.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::future::try_join_all;
use futures::{TryStreamExt, stream};
use redis::Cmd;
use storage_core::{
    AddressFamily, Collected, Forgotten, InfoHash, Maintenance, Operation, Result, Role, Statistics,
    Timestamp,
};

use crate::connection::{CLUSTER_WIDTH, Call, command, read};
use crate::layout::{DOWNLOADS, SWARM_PATTERN, SWARMS, SwarmKey, counter, read_peer_key, read_time};
use crate::scan::{Scan, hash_step};
use crate::scripts;
use crate::storage::{RedisStorage, keys_about, keys_of};

#[async_trait]
impl Maintenance for RedisStorage {
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        CollectionRun::new(self, cutoff, most).run().await
    }

    async fn statistics(&self) -> Result<Statistics> {
        count(self).await
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

/// Swarms read at once.
const CONCURRENCY: usize = 32;
/// Peers that one script removes.
const REMOVALS: usize = 250;
/// Stale peers and empty keys that are remembered until all are counted (some 40 MB); if there are more, all is read
/// again.
const HELD: usize = 250_000;

/// Keys of another type that one run names.
const NAMED: usize = 5;

/// One run of garbage collection, in steps that don't hold up the server: what is stale is found by reading, and
/// removed only if it has not changed since.
struct CollectionRun<'a> {
    storage: &'a RedisStorage,
    call: Call,
    cutoff: Timestamp,
    collected: Collected,
    /// Keys of another type.
    wrong_type: u64,
    first_of_wrong_type: Vec<Vec<u8>>,
    /// What is to be removed if that is not too much in the end; `None`: it is removed when it is found.
    held: Option<Held>,
}

/// What was found and not removed yet.
struct Held {
    most: u64,
    stale: u64,
    finds: Vec<Find>,
    /// How many peers and keys `finds` would have with all that was found.
    size: usize,
}

impl Held {
    fn are_too_many(&self) -> bool {
        self.stale > self.most
    }

    fn are_complete(&self) -> bool {
        self.size <= HELD
    }

    fn take(&mut self, finds: Vec<Find>) {
        let stale: usize = finds.iter().map(|find| find.stale.len()).sum();
        self.stale += stale as u64;
        self.size += finds.len() + stale;
        if self.are_complete() {
            self.finds.extend(finds);
        }
    }
}

type StaleEntry = (Vec<u8>, Vec<u8>);

/// A key on its way through the collection.
struct Visit {
    swarm: SwarmKey,
    role: Role,
    key: Vec<u8>,
    cursor: u64,
    /// Nothing was found in it so far.
    is_empty: bool,
}

/// What one step found in a key.
struct FoundStale {
    visit: Visit,
    stale: Vec<StaleEntry>,
    is_last: bool,
}

/// What is to be removed of a key.
struct Find {
    role: Role,
    key: Vec<u8>,
    stale: Vec<StaleEntry>,
    /// The whole key turned out to have nothing in it.
    is_empty: bool,
}

impl<'a> CollectionRun<'a> {
    /// Removes none if that would be more than `most`.
    fn new(storage: &'a RedisStorage, cutoff: Timestamp, most: u64) -> Self {
        let call = Call::repeatable(Operation::CollectGarbage);
        let held = (most < u64::MAX).then_some(Held { most, stale: 0, finds: Vec::new(), size: 0 });
        Self {
            storage,
            call,
            cutoff,
            collected: Collected::default(),
            wrong_type: 0,
            first_of_wrong_type: Vec::new(),
            held,
        }
    }

    async fn run(mut self) -> Result<Collected> {
        self.all_swarms().await?;
        if let Some(held) = self.held.take() {
            if held.are_too_many() {
                self.collected.withheld = held.stale;
                return Ok(self.collected);
            }
            for finds in held.finds.chunks(CONCURRENCY) {
                self.remove(finds).await?;
            }
            if !held.are_complete() {
                (self.collected.unreadable, self.wrong_type) = (0, 0);
                self.first_of_wrong_type.clear();
                self.all_swarms().await?;
            }
        }
        self.storage.connections.note_wrong_type(&self.first_of_wrong_type, self.wrong_type);
        self.storage.connections.note_unreadable("peers", self.collected.unreadable);
        Ok(self.collected)
    }

    /// Whether it is clear by now that none is to be removed.
    fn is_refused(&self) -> bool {
        self.held.as_ref().is_some_and(Held::are_too_many)
    }

    async fn all_swarms(&mut self) -> Result<()> {
        self.known_swarms().await?;
        self.lost_swarms().await
    }

    /// Collects the swarms that the set names.
    async fn known_swarms(&mut self) -> Result<()> {
        let storage = self.storage;
        let mut scan = Scan::swarms(&storage.connections, self.call);
        while let Some(members) = scan.next::<Vec<u8>>().await? {
            self.visit(members).await?;
            if self.is_refused() {
                break;
            }
        }
        Ok(())
    }

    /// Collects the swarms that MoChi has lost from the set, and puts those back that are still there.
    async fn lost_swarms(&mut self) -> Result<()> {
        let storage = self.storage;
        for node in storage.connections.nodes(self.call).await? {
            let mut scan = Scan::keys(&storage.connections, self.call, node, SWARM_PATTERN);
            while let Some(keys) = scan.next::<Vec<u8>>().await? {
                let lost = self.missing_members(keys).await?;
                self.visit(lost.clone()).await?;
                self.rejoin(lost).await?;
            }
        }
        Ok(())
    }

    async fn missing_members(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        if keys.is_empty() {
            return Ok(keys);
        }
        let ask = command("SMISMEMBER", SWARMS).arg(&keys).take();
        let known: Vec<bool> = self.storage.connections.query(self.call, ask).await?;
        let keys = keys.into_iter().zip(known).filter(|(_, known)| !known).map(|(key, _)| key);
        Ok(keys.filter(|key| SwarmKey::read_key(key).is_some()).collect())
    }

    async fn rejoin(&self, keys: Vec<Vec<u8>>) -> Result<()> {
        let joins = keys.iter().map(|key| {
            if self.storage.connections.is_cluster() {
                return command("SADD", SWARMS).arg(key).take();
            }
            scripts::JOIN.call(&[key.as_slice(), SWARMS])
        });
        for answer in self.storage.connections.many(self.call, joins.collect()).await? {
            read::<i64>(self.call, answer?)?;
        }
        self.settle(keys.iter().map(Vec::as_slice)).await
    }

    async fn visit(&mut self, keys: Vec<Vec<u8>>) -> Result<()> {
        let mut waiting: Vec<Visit> = Vec::with_capacity(keys.len());
        for key in keys {
            match SwarmKey::read_key(&key) {
                Some((swarm, role)) => waiting.push(Visit { swarm, role, key, cursor: 0, is_empty: true }),
                None => self.collected.unreadable += 1,
            }
        }
        while !waiting.is_empty() && !self.is_refused() {
            let visits = waiting.split_off(waiting.len().saturating_sub(CONCURRENCY));
            let mut finds = Vec::new();
            for FoundStale { visit, stale, is_last } in self.look(visits).await? {
                let is_empty = is_last && visit.is_empty;
                if is_empty || !stale.is_empty() {
                    finds.push(Find { role: visit.role, key: visit.key.clone(), stale, is_empty });
                }
                if !is_last {
                    waiting.push(visit);
                }
            }
            match &mut self.held {
                Some(held) => held.take(finds),
                None => self.remove(&finds).await?,
            }
        }
        Ok(())
    }

    /// Takes one step in each key.
    async fn look(&mut self, visits: Vec<Visit>) -> Result<Vec<FoundStale>> {
        let steps = visits.iter().map(|visit| hash_step(&visit.key, visit.cursor)).collect();
        let answers = self.storage.connections.many(self.call, steps).await?;
        let mut found = Vec::with_capacity(visits.len());
        for (mut visit, answer) in visits.into_iter().zip(answers) {
            let Ok(answer) = answer else {
                self.collected.unreadable += 1;
                self.wrong_type += 1;
                if self.first_of_wrong_type.len() < NAMED {
                    self.first_of_wrong_type.push(visit.key);
                }
                continue;
            };
            let (cursor, entries): (u64, Vec<StaleEntry>) = read(self.call, answer)?;
            visit.cursor = cursor;
            visit.is_empty &= entries.is_empty();
            let stale = entries.into_iter().filter(|entry| self.is_stale(&visit.swarm, entry)).collect();
            found.push(FoundStale { visit, stale, is_last: cursor == 0 });
        }
        Ok(found)
    }

    fn is_stale(&mut self, swarm: &SwarmKey, (peer, time): &StaleEntry) -> bool {
        match (read_peer_key(peer, swarm.family), read_time(time)) {
            (Some(_), Some(time)) => time <= self.cutoff,
            _ => {
                self.collected.unreadable += 1;
                false
            }
        }
    }

    /// Removes what is still as it was found, and empty keys from the set of swarms.
    async fn remove(&mut self, finds: &[Find]) -> Result<()> {
        let connections = &self.storage.connections;
        let (mut removals, mut roles) = (Vec::new(), Vec::new());
        for find in finds {
            for stale in find.stale.chunks(REMOVALS) {
                removals.push(self.removal(find, stale));
                roles.push(find.role);
            }
            if find.is_empty && !connections.is_cluster() {
                removals.push(self.removal(find, &[]));
                roles.push(find.role);
            }
        }
        let answers = connections.many(self.call, removals).await?;
        for (role, answer) in roles.into_iter().zip(answers) {
            let removed: u32 = read(self.call, answer?)?;
            self.collected.removed += u64::from(removed);
            if connections.is_cluster() {
                self.storage.count(self.call, role, -i64::from(removed)).await;
            }
        }
        self.settle(finds.iter().map(|find| find.key.as_slice())).await
    }

    /// On a cluster, where no script can, takes keys that are gone out of the set of swarms.
    async fn settle(&self, keys: impl Iterator<Item = &[u8]>) -> Result<()> {
        if !self.storage.connections.is_cluster() {
            return Ok(());
        }
        let settling = stream::iter(keys.map(Ok));
        settling.try_for_each_concurrent(CLUSTER_WIDTH, |key| self.storage.settle(self.call, key)).await
    }

    fn removal(&self, find: &Find, stale: &[StaleEntry]) -> Cmd {
        let mut removal = if self.storage.connections.is_cluster() {
            scripts::REMOVE_UNCHANGED.call(&[&find.key])
        } else {
            scripts::REMOVE_UNCHANGED.call(&[find.key.as_slice(), SWARMS, counter(find.role)])
        };
        for (peer, time) in stale {
            removal.arg(peer).arg(time);
        }
        removal
    }
}

impl RedisStorage {
    async fn forget_by_script(&self, info_hash: &InfoHash) -> Result<u64> {
        let command = scripts::FORGET.call(&keys_about(info_hash)).arg(info_hash.as_bytes()).take();
        self.connections.query(Call::repeatable(Operation::ForgetSwarm), command).await
    }

    async fn forget_on_cluster(&self, info_hash: &InfoHash) -> Result<u64> {
        let call = Call::repeatable(Operation::ForgetSwarm);
        let keys = keys_of(info_hash);
        let lengths = keys.iter().map(|key| self.connections.query::<u64>(call, command("HLEN", key)));
        let lengths = try_join_all(lengths).await?;
        let forget = command("HDEL", DOWNLOADS).arg(info_hash.as_bytes()).take();
        self.connections.query::<u64>(call, forget).await?;
        for key in &keys {
            self.connections.query::<u64>(call, command("UNLINK", key)).await?;
            self.settle(call, key).await?;
        }
        let (seeders, leechers): (u64, u64) = (lengths[..2].iter().sum(), lengths[2..].iter().sum());
        self.count(call, Role::Seeder, -i64::try_from(seeders).unwrap_or(i64::MAX)).await;
        self.count(call, Role::Leecher, -i64::try_from(leechers).unwrap_or(i64::MAX)).await;
        Ok(seeders + leechers)
    }

    /// Takes a key that is gone out of the set of swarms, on a cluster. A peer put meanwhile brings it
    /// back: it is looked for again afterwards.
    pub(crate) async fn settle(&self, call: Call, key: &[u8]) -> Result<()> {
        let is_there = || self.connections.query::<bool>(call, command("EXISTS", key));
        if is_there().await? {
            return Ok(());
        }
        let leave = command("SREM", SWARMS).arg(key).take();
        self.connections.query::<u64>(call, leave).await?;
        if is_there().await? {
            let join = command("SADD", SWARMS).arg(key).take();
            self.connections.query::<u64>(call, join).await?;
        }
        Ok(())
    }
}

/// Counts by the data, the lengths of all hashes that the set of swarms names, not by MoChi's counters. It costs one HLEN a key, whatever the number of peers,
/// and some 50 bytes of memory an info hash while it runs.
async fn count(storage: &RedisStorage) -> Result<Statistics> {
    let call = Call::repeatable(Operation::Statistics);
    let mut statistics = Statistics::default();
    let mut seen: HashMap<InfoHash, u8> = HashMap::new();
    let mut scan = Scan::swarms(&storage.connections, call);
    while let Some(members) = scan.next::<Vec<u8>>().await? {
        let keys: Vec<_> = members.iter().filter_map(|member| SwarmKey::read_key(member)).collect();
        let lengths = keys.iter().map(|(swarm, role)| command("HLEN", &swarm.key(*role)));
        let lengths = storage.connections.many(call, lengths.collect()).await?;
        for ((swarm, role), length) in keys.into_iter().zip(lengths) {
            // Of another type; garbage collection names such keys.
            let Ok(length) = length else { continue };
            let length: u64 = read(call, length)?;
            if length == 0 || !first_time(&mut seen, &swarm, role) {
                continue;
            }
            match role {
                Role::Seeder => statistics.seeders += length,
                Role::Leecher => statistics.leechers += length,
            }
        }
    }
    statistics.info_hashes = seen.len() as u64;
    Ok(statistics)
}

/// Whether a key has not come before: a walk over a set that shrinks may repeat members.
fn first_time(seen: &mut HashMap<InfoHash, u8>, swarm: &SwarmKey, role: Role) -> bool {
    let bit = match (role, swarm.family) {
        (Role::Seeder, AddressFamily::V4) => 1,
        (Role::Seeder, AddressFamily::V6) => 2,
        (Role::Leecher, AddressFamily::V4) => 4,
        (Role::Leecher, AddressFamily::V6) => 8,
    };
    let keys = seen.entry(swarm.info_hash).or_default();
    let is_first = *keys & bit == 0;
    *keys |= bit;
    is_first
}
