//! Writes and reads for many: on one server a script a swarm; on a cluster, steps.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use redis::{Cmd, Value};
use storage_core::{
    AddressFamily, BulkPeerStorage, Error, ErrorKind, InfoHash, Operation, Peer, PeerChange, PeerRecord,
    PeerWrite, Result, Role, SwarmCounts, SwarmSnapshot, Transfer, Written, failed_for_each, write_rounds,
};

use crate::NAME;
use crate::connection::{CLUSTER_WIDTH, Call, command, read};
use crate::layout::{DOWNLOADS, SwarmKey, peer_key, read_peer_key, read_time};
use crate::peers::{MOST_WANTED, standing};
use crate::scripts;
use crate::storage::{RedisStorage, keys_about, keys_of};

/// Writes that one script makes: others wait for it meanwhile.
const WRITES: usize = 200;

/// Scripts and reads under way at once.
const CONCURRENCY: usize = 128;

/// How often a write on a cluster is retried after a conflict.
const MAX_ROUNDS: usize = 20;

/// A peer and its time, as they are stored.
type PeerTime = (Vec<u8>, Vec<u8>);

#[async_trait]
impl BulkPeerStorage for RedisStorage {
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let mut results: Vec<_> = writes.iter().map(|_| Ok(Written::Unchanged)).collect();
        // No script has a peer twice: made again, it could not tell its own effect.
        for round in write_rounds(writes) {
            let same = |one: &usize, other: &usize| writes[*one].info_hash == writes[*other].info_hash;
            let groups: Vec<&[usize]> = if self.connections.is_cluster() {
                round.chunks(1).collect()
            } else {
                round.chunk_by(same).flat_map(|of_swarm| of_swarm.chunks(WRITES)).collect()
            };
            for groups in groups.chunks(self.width()) {
                let done = join_all(groups.iter().map(|group| self.write_group(writes, group))).await;
                for (place, written) in groups.iter().copied().flatten().zip(done.into_iter().flatten()) {
                    results[*place] = written;
                }
            }
        }
        results
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        let call = Call::repeatable(Operation::FindPeer);
        let swarm = SwarmKey::new(*info_hash, peer.family());
        let times = self.times_of(call, &swarm, &peer_key(peer)).await?;
        let Some((role, time)) = standing(&times) else { return Ok(None) };
        let announced = time.ok_or_else(|| {
            let error = Error::new(NAME, call.operation, ErrorKind::Corrupt);
            error.with_message("the stored time of the peer is not a number")
        })?;
        Ok(Some(PeerRecord { info_hash: *info_hash, peer: *peer, role, announced }))
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        self.connections.check_open(Operation::ReadSwarms)?;
        let mut snapshots = Vec::with_capacity(info_hashes.len());
        for info_hashes in info_hashes.chunks(self.width()) {
            let reads = info_hashes.iter().map(|info_hash| self.read_swarm(*info_hash, limit));
            snapshots.append(&mut try_join_all(reads).await?);
        }
        Ok(snapshots)
    }
}

impl RedisStorage {
    /// How many scripts or steps are under way at once.
    fn width(&self) -> usize {
        if self.connections.is_cluster() { CLUSTER_WIDTH } else { CONCURRENCY }
    }

    /// Makes the writes at these places: of different peers of one swarm.
    async fn write_group(&self, writes: &[PeerWrite], places: &[usize]) -> Vec<Result<Written>> {
        if self.connections.is_cluster() {
            let mut written = Vec::with_capacity(places.len());
            for place in places {
                written.push(self.write_on_cluster(&writes[*place]).await);
            }
            return written;
        }
        match self.write_by_script(writes, places).await {
            Ok(written) => written,
            Err(error) => failed_for_each(&error, places.len()),
        }
    }

    async fn write_by_script(&self, writes: &[PeerWrite], places: &[usize]) -> Result<Vec<Result<Written>>> {
        let completes = places.iter().any(|place| writes[*place].change == PeerChange::Graduate);
        let call = Call::repeatable(Operation::WritePeers).with_download(completes);
        let Some(first) = places.first() else { return Ok(Vec::new()) };
        let info_hash = &writes[*first].info_hash;
        let mut command = scripts::WRITE_PEERS.call(&keys_about(info_hash));
        command.arg(info_hash.as_bytes());
        for place in places {
            let PeerWrite { peer, change, announced, .. } = &writes[*place];
            command.arg(name(*change)).arg(peer_key(peer)).arg(announced.nanoseconds());
        }
        let (results, may_have_committed): (Vec<Value>, _) =
            self.connections.write_again(call, command).await?;
        if results.len() != places.len() {
            return Err(Error::new(NAME, call.operation, ErrorKind::Corrupt)
                .with_message("the script did not return a result for each write"));
        }
        let written = places.iter().zip(results).map(|(place, result)| {
            let outcome = read::<u8>(call, refusal_in(result)).map_err(|error| of_swarm(error, info_hash))?;
            Ok(match outcome {
                0 => Written::Unchanged,
                // One that took effect, and was repeated because its answer was lost, finds a seeder.
                1 if !may_have_committed || writes[*place].change != PeerChange::Graduate => Written::Applied,
                _ => Written::Download,
            })
        });
        Ok(written.collect())
    }

    /// What is stored is read, and changed if it is still the same then.
    async fn write_on_cluster(&self, write: &PeerWrite) -> Result<Written> {
        let call = Call::repeatable(Operation::WritePeers);
        let PeerWrite { info_hash, peer, change, announced } = write;
        if let PeerChange::Put(_) = change {
            let imported = self.import_peers(&[write.record()]).await;
            let written = imported.map_err(|error| error.of(call.operation))?.written > 0;
            return Ok(if written { Written::Applied } else { Written::Unchanged });
        }
        let swarm = SwarmKey::new(*info_hash, peer.family());
        for _ in 0..MAX_ROUNDS {
            let times = self.times_of(call, &swarm, &peer_key(peer)).await?;
            let stored = standing(&times);
            let is_done = match (change, stored) {
                (PeerChange::Graduate, None) => return self.graduate_at(write).await,
                (_, None) => return Ok(Written::Unchanged),
                (PeerChange::Graduate, Some((Role::Leecher, time))) if time <= Some(*announced) => {
                    return self.graduate_at(write).await;
                }
                (PeerChange::Graduate, Some((Role::Leecher, _))) => return Ok(Written::Unchanged),
                (PeerChange::Delete, Some((_, time))) if time > Some(*announced) => {
                    return Ok(Written::Unchanged);
                }
                (PeerChange::Delete, Some(_)) => self.remove_unchanged(call, &swarm, write, &times).await?,
                (_, Some((_, time))) if time >= Some(*announced) => true,
                (_, Some((role, _))) => self.set_unchanged(call, &swarm, write, (role, &times)).await?,
            };
            if is_done {
                return Ok(Written::Applied);
            }
        }
        let error = Error::new(NAME, call.operation, ErrorKind::Conflict);
        Err(error.with_message("the peer changed whenever it was read"))
    }

    async fn graduate_at(&self, write: &PeerWrite) -> Result<Written> {
        let peers = std::slice::from_ref(&write.peer);
        let graduated = self.graduate_on_cluster(&write.info_hash, peers, write.announced).await;
        let is_download = graduated.map_err(|error| error.of(Operation::WritePeers))?;
        Ok(if is_download { Written::Download } else { Written::Applied })
    }

    /// Sets the time of a peer in its role; false if it changed meanwhile.
    async fn set_unchanged(
        &self,
        call: Call,
        swarm: &SwarmKey,
        write: &PeerWrite,
        (role, times): (Role, &[Option<Vec<u8>>; 2]),
    ) -> Result<bool> {
        let [seeder, leecher] = times;
        let found = if role.is_seeder() { seeder } else { leecher };
        let mut set = scripts::SET_UNCHANGED.call(&[&swarm.key(role)]);
        set.arg(peer_key(&write.peer)).arg(found.as_deref().unwrap_or_default());
        set.arg(write.announced.nanoseconds());
        let done: Vec<bool> = self.connections.query(call, set).await?;
        Ok(done.first() == Some(&true))
    }

    /// Takes a peer out of both roles; false if it changed meanwhile.
    async fn remove_unchanged(
        &self,
        call: Call,
        swarm: &SwarmKey,
        write: &PeerWrite,
        times: &[Option<Vec<u8>>; 2],
    ) -> Result<bool> {
        let mut is_done = true;
        for (role, time) in Role::BOTH.into_iter().zip(times) {
            let (key, Some(time)) = (swarm.key(role), time) else { continue };
            let remove = scripts::REMOVE_UNCHANGED.call(&[&key]).arg(peer_key(&write.peer)).arg(time).take();
            let removed: i64 = self.connections.query(call, remove).await?;
            is_done &= removed > 0;
            self.settle(call, &key).await?;
            self.count(call, role, -removed).await;
        }
        Ok(is_done)
    }

    async fn read_swarm(&self, info_hash: InfoHash, limit: usize) -> Result<SwarmSnapshot> {
        let call = Call::repeatable(Operation::ReadSwarms);
        let limit = limit.min(MOST_WANTED);
        let mut answer = if self.connections.is_cluster() {
            self.read_on_cluster(call, &info_hash, limit).await?
        } else {
            let command =
                scripts::READ_SWARM.call(&keys_about(&info_hash)).arg(info_hash.as_bytes()).arg(limit).take();
            self.connections.query::<Vec<Value>>(call, command).await?
        }
        .into_iter();
        let mut next = || answer.next().unwrap_or(Value::Nil);
        let mut sizes = [0; 2];
        let (mut newest, mut unreadable) = (HashMap::new(), 0);
        for (size, role) in sizes.iter_mut().zip(Role::BOTH) {
            for family in AddressFamily::BOTH {
                *size += read::<u64>(call, next())?;
                for (peer, time) in read::<Vec<PeerTime>>(call, next())? {
                    let (Some(peer), Some(announced)) = (read_peer_key(&peer, family), read_time(&time))
                    else {
                        unreadable += 1;
                        continue;
                    };
                    let record = PeerRecord { info_hash, peer, role, announced };
                    let known = newest.entry(peer).or_insert(record);
                    *known = known.newer(record);
                }
            }
        }
        self.connections.note_unreadable("peers", unreadable);
        let counts = SwarmCounts {
            seeders: sizes[0],
            leechers: sizes[1],
            downloads: self.read_downloads(call, next())?,
        };
        let is_complete = counts.seeders + counts.leechers <= limit as u64 && unreadable == 0;
        Ok(SwarmSnapshot { info_hash, peers: newest.into_values().collect(), counts, is_complete })
    }

    /// As the script answers, each key by itself: of a sample, a peer that is in both roles may have come by either.
    async fn read_on_cluster(&self, call: Call, info_hash: &InfoHash, limit: usize) -> Result<Vec<Value>> {
        let keys = keys_of(info_hash);
        let reads = keys.iter().flat_map(|key| {
            let sample = command("HRANDFIELD", key).arg(limit).arg("WITHVALUES").take();
            [command("HLEN", key), sample]
        });
        let downloads = command("HGET", DOWNLOADS).arg(info_hash.as_bytes()).take();
        let commands: Vec<Cmd> = reads.chain([downloads]).collect();
        try_join_all(commands.into_iter().map(|command| self.connections.query(call, command))).await
    }
}

/// Names the swarm that has a key of another type.
fn of_swarm(error: Error, info_hash: &InfoHash) -> Error {
    if error.kind() != ErrorKind::Corrupt {
        return error;
    }
    let message = format!("swarm {info_hash}: {}", error.message());
    error.with_message(message)
}

/// A refusal that a script caught and gave as text.
fn refusal_in(answer: Value) -> Value {
    let Value::BulkString(text) = &answer else { return answer };
    let line: Vec<u8> = text.iter().copied().take_while(|byte| !b"\r\n".contains(byte)).collect();
    redis::parse_redis_value(&[b"-", line.as_slice(), b"\r\n"].concat()).unwrap_or(answer)
}

fn name(change: PeerChange) -> &'static str {
    match change {
        PeerChange::Put(Role::Seeder) => "seeder",
        PeerChange::Put(Role::Leecher) => "leecher",
        PeerChange::Touch => "touch",
        PeerChange::Delete => "delete",
        PeerChange::Graduate => "graduate",
    }
}
