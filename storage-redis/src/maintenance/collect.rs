//! Garbage collection, in steps that don't hold up the server: what is stale is found by reading, and
//! removed only if it has not changed since.

use futures::{TryStreamExt, stream};
use redis::Cmd;
use storage_core::{Collected, Operation, Result, Role, Timestamp};

use crate::connection::{CLUSTER_WIDTH, Call, command, read};
use crate::layout::{SWARM_PATTERN, SWARMS, SwarmKey, counter, read_peer_key, read_time};
use crate::scan::{Scan, hash_step};
use crate::scripts;
use crate::storage::RedisStorage;

/// Swarms read at once.
const WIDTH: usize = 32;
/// Peers that one script removes.
const REMOVALS: usize = 250;
/// Stale peers and empty keys that are remembered until all are counted (some 40 MB); if there are more, all is read
/// again.
const HELD: usize = 250_000;

/// Keys of another type that one run names.
const NAMED: usize = 5;

/// One run.
pub(super) struct CollectionRun<'a> {
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
    pub(super) fn new(storage: &'a RedisStorage, cutoff: Timestamp, most: u64) -> Self {
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

    pub(super) async fn run(mut self) -> Result<Collected> {
        self.all_swarms().await?;
        if let Some(held) = self.held.take() {
            if held.are_too_many() {
                return Ok(Collected { withheld: held.stale, ..self.collected });
            }
            for finds in held.finds.chunks(WIDTH) {
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
        let mut ask = command("SMISMEMBER", SWARMS);
        for key in &keys {
            ask.arg(key);
        }
        let known: Vec<bool> = self.storage.connections.query(self.call, ask).await?;
        let keys = keys.into_iter().zip(known).filter(|(_, known)| !known).map(|(key, _)| key);
        Ok(keys.filter(|key| SwarmKey::read_key(key).is_some()).collect())
    }

    async fn rejoin(&self, keys: Vec<Vec<u8>>) -> Result<()> {
        let joins = keys.iter().map(|key| {
            if self.storage.connections.is_cluster() {
                let mut join = command("SADD", SWARMS);
                join.arg(key);
                return join;
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
            let visits = waiting.split_off(waiting.len().saturating_sub(WIDTH));
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
