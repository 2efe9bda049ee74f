//! Garbage collection, in steps that don't hold up the server: what is stale is found by reading, and
//! removed only if it has not changed since.

use futures::{TryStreamExt, stream};
use redis::Cmd;
use storage_core::{Collected, Operation, Result, Role, Timestamp};

use crate::connection::{CLUSTER_WIDTH, Call, command, read};
use crate::layout::{SWARM_PATTERN, SWARMS, Swarm, counter, read_peer_key, read_time};
use crate::scripts;
use crate::storage::RedisStorage;
use crate::walk::{Walk, hash_step};

/// Swarms read at once.
const WIDTH: usize = 32;
/// Peers that one script removes.
const REMOVALS: usize = 250;

/// One run.
pub(super) struct Collection<'a> {
    storage: &'a RedisStorage,
    call: Call,
    cutoff: Timestamp,
    collected: Collected,
    wrong_type: u64,
}

type Entry = (Vec<u8>, Vec<u8>);

/// A key on its way through the collection.
struct Visit {
    swarm: Swarm,
    role: Role,
    key: Vec<u8>,
    cursor: u64,
    /// Nothing was found in it so far.
    is_empty: bool,
}

/// What one step found in a key.
struct Found {
    visit: Visit,
    stale: Vec<Entry>,
    is_last: bool,
}

impl Found {
    /// Whether the whole key turned out to have nothing in it.
    fn is_empty(&self) -> bool {
        self.is_last && self.visit.is_empty
    }
}

impl<'a> Collection<'a> {
    pub(super) fn new(storage: &'a RedisStorage, cutoff: Timestamp) -> Self {
        let call = Call::repeatable(Operation::CollectGarbage);
        Self { storage, call, cutoff, collected: Collected::default(), wrong_type: 0 }
    }

    pub(super) async fn run(mut self) -> Result<Collected> {
        self.known_swarms().await?;
        self.lost_swarms().await?;
        if self.wrong_type > 0 {
            tracing::warn!(
                backend = crate::NAME,
                keys = self.wrong_type,
                "keys of swarms hold another type than MoChi's `redis` storage uses, probably that of its \
                 `keydb` storage: they are left alone"
            );
        }
        self.storage.connections.note_unreadable("peers", self.collected.unreadable);
        Ok(self.collected)
    }

    /// Collects the swarms that the set names.
    async fn known_swarms(&mut self) -> Result<()> {
        let storage = self.storage;
        let mut walk = Walk::swarms(&storage.connections, self.call);
        while let Some(members) = walk.next::<Vec<u8>>().await? {
            self.visit(members).await?;
        }
        Ok(())
    }

    /// Collects the swarms that MoChi has lost from the set, and puts those back that are still there.
    async fn lost_swarms(&mut self) -> Result<()> {
        let storage = self.storage;
        for node in storage.connections.nodes(self.call).await? {
            let mut walk = Walk::keys(&storage.connections, self.call, node, SWARM_PATTERN);
            while let Some(keys) = walk.next::<Vec<u8>>().await? {
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
        Ok(keys.filter(|key| Swarm::read_key(key).is_some()).collect())
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
            match Swarm::read_key(&key) {
                Some((swarm, role)) => waiting.push(Visit { swarm, role, key, cursor: 0, is_empty: true }),
                None => self.collected.unreadable += 1,
            }
        }
        while !waiting.is_empty() {
            let visits = waiting.split_off(waiting.len().saturating_sub(WIDTH));
            let found = self.look(visits).await?;
            self.remove(&found).await?;
            waiting.extend(found.into_iter().filter(|found| !found.is_last).map(|found| found.visit));
        }
        Ok(())
    }

    /// Takes one step in each key.
    async fn look(&mut self, visits: Vec<Visit>) -> Result<Vec<Found>> {
        let steps = visits.iter().map(|visit| hash_step(&visit.key, visit.cursor)).collect();
        let answers = self.storage.connections.many(self.call, steps).await?;
        let mut found = Vec::with_capacity(visits.len());
        for (mut visit, answer) in visits.into_iter().zip(answers) {
            let Ok(answer) = answer else {
                self.wrong_type += 1;
                continue;
            };
            let (cursor, entries): (u64, Vec<Entry>) = read(self.call, answer)?;
            visit.cursor = cursor;
            visit.is_empty &= entries.is_empty();
            let stale = entries.into_iter().filter(|entry| self.is_stale(&visit.swarm, entry)).collect();
            found.push(Found { visit, stale, is_last: cursor == 0 });
        }
        Ok(found)
    }

    fn is_stale(&mut self, swarm: &Swarm, (peer, time): &Entry) -> bool {
        match (read_peer_key(peer, swarm.family), read_time(time)) {
            (Some(_), Some(time)) => time <= self.cutoff,
            _ => {
                self.collected.unreadable += 1;
                false
            }
        }
    }

    /// Removes what is still as it was found, and empty keys from the set of swarms.
    async fn remove(&mut self, found: &[Found]) -> Result<()> {
        let connections = &self.storage.connections;
        let (mut removals, mut roles) = (Vec::new(), Vec::new());
        for found @ Found { visit, stale, .. } in found {
            for stale in stale.chunks(REMOVALS) {
                removals.push(self.removal(visit, stale));
                roles.push(visit.role);
            }
            if found.is_empty() && !connections.is_cluster() {
                removals.push(self.removal(visit, &[]));
                roles.push(visit.role);
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
        let emptied = found.iter().filter(|found| !found.stale.is_empty() || found.is_empty());
        self.settle(emptied.map(|found| found.visit.key.as_slice())).await
    }

    /// On a cluster, where no script can, takes keys that are gone out of the set of swarms.
    async fn settle(&self, keys: impl Iterator<Item = &[u8]>) -> Result<()> {
        if !self.storage.connections.is_cluster() {
            return Ok(());
        }
        let settling = stream::iter(keys.map(Ok));
        settling.try_for_each_concurrent(CLUSTER_WIDTH, |key| self.storage.settle(self.call, key)).await
    }

    fn removal(&self, visit: &Visit, stale: &[Entry]) -> Cmd {
        let mut removal = if self.storage.connections.is_cluster() {
            scripts::REMOVE_UNCHANGED.call(&[&visit.key])
        } else {
            scripts::REMOVE_UNCHANGED.call(&[visit.key.as_slice(), SWARMS, counter(visit.role)])
        };
        for (peer, time) in stale {
            removal.arg(peer).arg(time);
        }
        removal
    }
}
