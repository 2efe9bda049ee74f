//! Calls in steps, for a cluster: each key is changed by itself, the new role before the old one.

use futures::future::{try_join, try_join_all};
use redis::Value;
use storage_core::{InfoHash, Operation, Peer, PeerSelection, Result, Role, SwarmCounts, Timestamp};

use super::whole::excluded;
use crate::connection::{Call, command};
use crate::layout::{DOWNLOADS, SWARMS, Swarm, counter, peer_key, peer_key_length, read_time};
use crate::storage::{RedisStorage, keys_of};

impl RedisStorage {
    /// Puts a peer; whether it was added to the role, and whether it was removed from the other.
    pub(super) async fn put_stepwise(
        &self,
        put_call: Call,
        swarm: Swarm,
        peer: &Peer,
        role: Role,
        announced: Timestamp,
    ) -> Result<(bool, bool)> {
        let call = Call::repeatable(put_call.operation);
        let (key, peer) = (swarm.key(role), peer_key(peer));
        let mut put = command("HSET", &key);
        put.arg(&peer).arg(announced.nanoseconds());
        let added: i64 = self.connections.query(put_call, put).await?;

        // Only a swarm that is there may join the set: garbage collection relies on that order.
        let mut join = command("SADD", SWARMS);
        join.arg(&key);
        let mut leave = command("HDEL", &swarm.key(role.other()));
        leave.arg(&peer);
        let (_, removed) =
            try_join(self.connections.query::<i64>(call, join), self.connections.query::<i64>(call, leave))
                .await?;
        self.count(call, role, added).await;
        self.count(call, role.other(), -removed).await;
        Ok((added > 0, removed > 0))
    }

    pub(super) async fn delete_stepwise(&self, swarm: Swarm, peer: &Peer, role: Role) -> Result<bool> {
        let mut delete = command("HDEL", &swarm.key(role));
        delete.arg(peer_key(peer));
        let removed: i64 = self.connections.query(Call::once(Operation::DeletePeer), delete).await?;
        self.count(Call::repeatable(Operation::DeletePeer), role, -removed).await;
        Ok(removed > 0)
    }

    pub(super) async fn remove_stepwise(&self, swarm: Swarm, peer: &Peer) -> Result<()> {
        let call = Call::repeatable(Operation::RemovePeer);
        for role in Role::BOTH {
            let mut delete = command("HDEL", &swarm.key(role));
            delete.arg(peer_key(peer));
            let removed: i64 = self.connections.query(call, delete).await?;
            self.count(call, role, -removed).await;
        }
        Ok(())
    }

    /// The download comes last, and is sent once: where that or an answer before it fails it may be missing. Of
    /// graduations of the same client at the same time the one counts that made its first address a seeder, unless
    /// their clocks differ.
    pub(crate) async fn graduate_stepwise(
        &self,
        info_hash: &InfoHash,
        peers: &[Peer],
        announced: Timestamp,
    ) -> Result<bool> {
        let (operation, call) = (Operation::GraduatePeers, Call::repeatable(Operation::GraduatePeers));
        let swarm = |peer: &Peer| Swarm::new(*info_hash, peer.family());
        let mut peers = peers.to_vec();
        peers.sort_unstable();
        let keys: Vec<_> = peers.iter().map(|peer| (swarm(peer), peer_key(peer))).collect();
        let times = keys.iter().map(|(swarm, key)| self.times_of(call, swarm, key));
        let times = try_join_all(times).await?;
        let was_seeder = |times| standing(times).is_some_and(|(role, _)| role.is_seeder());
        let mut is_download = !times.iter().any(was_seeder);
        for (place, peer) in peers.iter().enumerate() {
            // Not retried: a second HSET would find the peer there already.
            let call = if place == 0 && is_download { Call::once(operation) } else { call };
            let put = self.put_stepwise(call, swarm(peer), peer, Role::Seeder, announced).await?;
            if place == 0 {
                // One that was in both roles, and a leecher by its times, is in that of the seeders already.
                let [seeder, _] = &times[0];
                let (is_added, is_moved) = put;
                is_download &= if seeder.is_none() { is_added } else { is_moved };
            }
        }
        if is_download {
            let mut download = command("HINCRBY", DOWNLOADS);
            download.arg(info_hash.as_bytes()).arg(1);
            self.connections.query::<i64>(Call::once(Operation::GraduatePeers), download).await?;
        }
        Ok(is_download)
    }

    /// The times of a peer as a seeder and as a leecher.
    pub(crate) async fn times_of(
        &self,
        call: Call,
        swarm: &Swarm,
        peer: &[u8],
    ) -> Result<[Option<Vec<u8>>; 2]> {
        let time = |role: Role| {
            let mut get = command("HGET", &swarm.key(role));
            get.arg(peer);
            self.connections.query(call, get)
        };
        let (seeder, leecher) = try_join(time(Role::Seeder), time(Role::Leecher)).await?;
        Ok([seeder, leecher])
    }

    pub(super) async fn scrape_stepwise(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let call = Call::repeatable(Operation::ScrapeSwarm);
        let keys = keys_of(info_hash);
        let lengths =
            try_join_all(keys.iter().map(|key| self.connections.query::<u64>(call, command("HLEN", key))));
        let mut get = command("HGET", DOWNLOADS);
        get.arg(info_hash.as_bytes());
        let (lengths, downloads) = try_join(lengths, self.connections.query::<Value>(call, get)).await?;
        Ok(SwarmCounts {
            seeders: lengths[..2].iter().sum(),
            leechers: lengths[2..].iter().sum(),
            downloads: self.read_downloads(call, downloads)?,
        })
    }

    pub(super) async fn announce_stepwise(&self, selection: &PeerSelection) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for role in selection.roles() {
            let missing = selection.num_want - found.len();
            if missing > 0 {
                found.extend(self.sample(selection, *role, missing).await?);
            }
        }
        Ok(found)
    }

    /// Up to `count` peers that have this role, at random.
    async fn sample(&self, selection: &PeerSelection, role: Role, count: usize) -> Result<Vec<Vec<u8>>> {
        let call = Call::repeatable(Operation::AnnouncePeers);
        let swarm = Swarm::new(selection.info_hash, selection.family);
        let (length, excluded) = (peer_key_length(selection.family), excluded(selection));
        let mut ask = count + usize::from(!excluded.is_empty());
        loop {
            let mut some = command("HRANDFIELD", &swarm.key(role));
            some.arg(ask).arg("WITHVALUES");
            let peers: Vec<(Vec<u8>, Vec<u8>)> = self.connections.query(call, some).await?;
            let seen = peers.len();
            let mut kept = self.only_of(call, &swarm, role, peers).await?;
            kept.retain(|peer| peer.len() == length && *peer != excluded);
            if kept.len() >= count || seen < ask {
                // A small hash gives its sample in a fixed order.
                let first = rand::random_range(0..kept.len().max(1));
                kept.rotate_left(first);
                kept.truncate(count);
                return Ok(kept);
            }
            ask *= 2;
        }
    }

    /// Those peers, found in a role, that are not in the other one with a later time.
    async fn only_of(
        &self,
        call: Call,
        swarm: &Swarm,
        role: Role,
        peers: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Vec<Vec<u8>>> {
        if peers.is_empty() {
            return Ok(Vec::new());
        }
        let mut times = command("HMGET", &swarm.key(role.other()));
        for (peer, _) in &peers {
            times.arg(peer);
        }
        let others: Vec<Option<Vec<u8>>> = self.connections.query(call, times).await?;
        let standing = |time: &[u8], role: Role| read_time(time).map(|time| (time, role));
        let of_role = peers.into_iter().zip(others).filter(|((_, time), other)| {
            let Some(other) = other else { return true };
            let (here, there) = (standing(time, role), standing(other, role.other()));
            here > there || (here.is_none() && there.is_none() && role.is_seeder())
        });
        Ok(of_role.map(|((peer, _), _)| peer).collect())
    }

    /// Adjusts the counter that MoChi reads; that it fails is no failure of the call.
    pub(crate) async fn count(&self, call: Call, role: Role, difference: i64) {
        if difference == 0 {
            return;
        }
        let mut adjust = command("INCRBY", counter(role));
        adjust.arg(difference);
        if let Err(error) = self.connections.query::<i64>(call, adjust).await {
            tracing::debug!(backend = crate::NAME, ?error, "could not adjust MoChi's counter");
        }
    }
}

/// The role that counts and its time, `None` where it cannot be read, of a peer with these times as a seeder and as
/// a leecher.
pub(crate) fn standing([seeder, leecher]: &[Option<Vec<u8>>; 2]) -> Option<(Role, Option<Timestamp>)> {
    let read = |time: &Option<Vec<u8>>| time.as_deref().and_then(read_time);
    match (seeder, leecher) {
        (None, None) => None,
        (Some(_), None) => Some((Role::Seeder, read(seeder))),
        (None, Some(_)) => Some((Role::Leecher, read(leecher))),
        (Some(_), Some(_)) if read(seeder) >= read(leecher) => Some((Role::Seeder, read(seeder))),
        (Some(_), Some(_)) => Some((Role::Leecher, read(leecher))),
    }
}
