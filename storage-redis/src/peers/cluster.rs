//! Calls in steps, for a cluster: each key is changed by itself, the new role before the old one.

use std::collections::HashMap;

use futures::future::{join, join_all, try_join, try_join_all};
use redis::Value;
use storage_core::{
    Announce, AnnounceAnswer, Error, InfoHash, Operation, Peer, PeerSelection, Result, Role, SwarmCounts,
    Timestamp, write_announce,
};

use super::MOST_WANTED;
use super::scripted::excluded;
use crate::connection::{Call, command};
use crate::layout::{
    DOWNLOADS, SWARMS, SwarmKey, counter, peer_key, peer_key_length, read_peer_key, read_time,
};
use crate::storage::{RedisStorage, keys_of};

impl RedisStorage {
    /// Puts a peer; whether it was added to the role, and whether it was removed from the other.
    pub(super) async fn put_on_cluster(
        &self,
        put_call: Call,
        swarm: SwarmKey,
        peer: &Peer,
        role: Role,
        announced: Timestamp,
    ) -> Result<(bool, bool)> {
        let call = put_call.as_repeatable();
        let (key, peer) = (swarm.key(role), peer_key(peer));
        let put = command("HSET", &key).arg(&peer).arg(announced.nanoseconds()).take();
        let added: i64 = self.connections.query(put_call, put).await?;

        // Only a swarm that is there may join the set: garbage collection relies on that order.
        let join = command("SADD", SWARMS).arg(&key).take();
        let leave = command("HDEL", &swarm.key(role.other())).arg(&peer).take();
        let (_, removed) =
            try_join(self.connections.query::<i64>(call, join), self.connections.query::<i64>(call, leave))
                .await?;
        self.count(call, role, added).await;
        self.count(call, role.other(), -removed).await;
        Ok((added > 0, removed > 0))
    }

    pub(super) async fn delete_on_cluster(&self, swarm: SwarmKey, peer: &Peer, role: Role) -> Result<bool> {
        let delete = command("HDEL", &swarm.key(role)).arg(peer_key(peer)).take();
        let removed: i64 = self.connections.query(Call::once(Operation::DeletePeer), delete).await?;
        self.count(Call::repeatable(Operation::DeletePeer), role, -removed).await;
        Ok(removed > 0)
    }

    pub(super) async fn remove_on_cluster(&self, swarm: SwarmKey, peer: &Peer) -> Result<()> {
        let call = Call::repeatable(Operation::RemovePeer);
        for role in Role::BOTH {
            let delete = command("HDEL", &swarm.key(role)).arg(peer_key(peer)).take();
            let removed: i64 = self.connections.query(call, delete).await?;
            self.count(call, role, -removed).await;
        }
        Ok(())
    }

    /// The download comes last, and is sent once: where that or an answer before it fails it may be missing. Of
    /// graduations of the same client at the same time the one counts that made its first address a seeder, unless
    /// their clocks differ.
    pub(crate) async fn graduate_on_cluster(
        &self,
        info_hash: &InfoHash,
        peers: &[Peer],
        announced: Timestamp,
    ) -> Result<bool> {
        let download_call = Call::once(Operation::GraduatePeers);
        let put_once = download_call.of_peers();
        let call = put_once.as_repeatable();
        let swarm = |peer: &Peer| SwarmKey::new(*info_hash, peer.family());
        let mut peers = peers.to_vec();
        peers.sort_unstable();
        let keys: Vec<_> = peers.iter().map(|peer| (swarm(peer), peer_key(peer))).collect();
        let times = keys.iter().map(|(swarm, key)| self.times_of(call, swarm, key));
        let times = try_join_all(times).await?;
        let was_seeder = |times| standing(times).is_some_and(|(role, _)| role.is_seeder());
        let mut is_download = !times.iter().any(was_seeder);
        for (place, peer) in peers.iter().enumerate() {
            // Not retried: a second HSET would find the peer there already.
            let call = if place == 0 && is_download { put_once } else { call };
            let put = self.put_on_cluster(call, swarm(peer), peer, Role::Seeder, announced).await?;
            if place == 0 {
                // One that was in both roles, and a leecher by its times, is in that of the seeders already.
                let [seeder, _] = &times[0];
                let (is_added, is_moved) = put;
                is_download &= if seeder.is_none() { is_added } else { is_moved };
            }
        }
        if is_download {
            let download = command("HINCRBY", DOWNLOADS).arg(info_hash.as_bytes()).arg(1).take();
            self.connections.query::<i64>(download_call, download).await?;
        }
        Ok(is_download)
    }

    /// The times of a peer as a seeder and as a leecher.
    pub(crate) async fn times_of(
        &self,
        call: Call,
        swarm: &SwarmKey,
        peer: &[u8],
    ) -> Result<[Option<Vec<u8>>; 2]> {
        let time = |role: Role| {
            let get = command("HGET", &swarm.key(role)).arg(peer).take();
            self.connections.query(call, get)
        };
        let (seeder, leecher) = try_join(time(Role::Seeder), time(Role::Leecher)).await?;
        Ok([seeder, leecher])
    }

    pub(super) async fn scrape_on_cluster(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let call = Call::repeatable(Operation::ScrapeSwarm);
        let keys = keys_of(info_hash);
        let sizes = try_join_all(keys.iter().map(|key| self.size(call, key)));
        let (sizes, downloads) = try_join(sizes, self.downloads(call, info_hash)).await?;
        Ok(counts(&sizes, downloads))
    }

    async fn size(&self, call: Call, key: &[u8]) -> Result<u64> {
        self.connections.query(call, command("HLEN", key)).await
    }

    async fn downloads(&self, call: Call, info_hash: &InfoHash) -> Result<u64> {
        let get = command("HGET", DOWNLOADS).arg(info_hash.as_bytes()).take();
        let value = self.connections.query::<Value>(call, get).await?;
        self.read_downloads(call, value)
    }

    /// After the write the hashes are counted, then peers are read from those that have any.
    pub(super) async fn announce_on_cluster(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        let is_download = write_announce(self, announce).await?;
        let call = Call::repeatable(Operation::ScrapeSwarm);
        let keys = keys_of(&announce.info_hash);
        let sizes = join_all(keys.iter().map(|key| self.size(call, key)));
        let (sizes, downloads) = join(sizes, self.downloads(call, &announce.info_hash)).await;
        let peers = self.peers_on_cluster(announce, &sizes).await;
        let sizes: Result<Vec<_>> = sizes.into_iter().collect();
        let counts = sizes.and_then(|sizes| Ok(counts(&sizes, downloads?)));
        Ok(AnnounceAnswer::after_write(is_download, peers, counts))
    }

    /// The peers of an announce from hashes of these sizes, in the order of [`keys_of`]. A hash that could not be
    /// counted matters only if it is needed.
    async fn peers_on_cluster(&self, announce: &Announce, sizes: &[Result<u64>]) -> Result<Vec<Peer>> {
        let mut peers = Vec::new();
        for mut selection in announce.selections() {
            if peers.len() >= announce.num_want {
                break;
            }
            selection.num_want = (selection.num_want - peers.len()).min(MOST_WANTED);
            let place = usize::from(selection.family.is_v6());
            let size = |place: usize| sizes[place].as_ref().copied().map_err(Error::copy);
            let sizes = [size(place)?, size(2 + place)?];
            announce.fill(&mut peers, self.select_on_cluster(&selection, sizes).await?);
        }
        Ok(peers)
    }

    /// The peers of a selection from hashes of these sizes, seeders first. A hash without peers is not read, and one
    /// that has no more than are wanted is read as a whole.
    pub(super) async fn select_on_cluster(
        &self,
        selection: &PeerSelection,
        sizes: [u64; 2],
    ) -> Result<Vec<Peer>> {
        let swarm = SwarmKey::new(selection.info_hash, selection.family);
        let mut hashes = Hashes { swarm, excluded: excluded(selection), read: [None, None] };
        // Seeders are read for a seeder only to tell who is no leecher any more.
        if selection.for_seeder && sizes[1] == 0 {
            return Ok(Vec::new());
        }
        let most = hashes.to_ask_for(selection.num_want) as u64;
        let read = Role::BOTH.into_iter().zip(sizes).map(|(role, size)| {
            let key = swarm.key(role);
            async move {
                match size {
                    0 => Ok(Some(HashMap::new())),
                    size if size <= most => self.read_all(&key).await.map(Some),
                    _ => Ok(None),
                }
            }
        });
        let read = try_join_all(read).await?;
        hashes.read = <[_; 2]>::try_from(read).unwrap_or_default();

        let mut found = Vec::new();
        for role in selection.roles() {
            let missing = selection.num_want - found.len();
            if missing > 0 {
                found.extend(self.select(&hashes, *role, missing).await?);
            }
        }
        let peers: Vec<_> = found.iter().filter_map(|key| read_peer_key(key, selection.family)).collect();
        self.connections.note_unreadable("peers", (found.len() - peers.len()) as u64);
        Ok(peers)
    }

    async fn read_all(&self, key: &[u8]) -> Result<Hash> {
        self.connections.query(Call::repeatable(Operation::AnnouncePeers), command("HGETALL", key)).await
    }

    /// Up to `count` peers that have this role, at random.
    async fn select(&self, hashes: &Hashes, role: Role, count: usize) -> Result<Vec<Vec<u8>>> {
        if let Some(hash) = hashes.read_of(role) {
            let peers = hash.iter().map(|(peer, time)| (peer.clone(), time.clone())).collect();
            return Ok(hashes.some(self.only_of(hashes, role, peers).await?, count));
        }
        let call = Call::repeatable(Operation::AnnouncePeers);
        let mut ask = hashes.to_ask_for(count);
        loop {
            let some = command("HRANDFIELD", &hashes.swarm.key(role)).arg(ask).arg("WITHVALUES").take();
            let peers: Vec<(Vec<u8>, Vec<u8>)> = self.connections.query(call, some).await?;
            let seen = peers.len();
            let found = hashes.some(self.only_of(hashes, role, peers).await?, count);
            if found.len() == count || seen < ask {
                return Ok(found);
            }
            ask *= 2;
        }
    }

    /// Those peers, found in a role, that are not in the other one with a later time.
    async fn only_of(
        &self,
        hashes: &Hashes,
        role: Role,
        peers: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Vec<Vec<u8>>> {
        if peers.is_empty() {
            return Ok(Vec::new());
        }
        let others: Vec<Option<Vec<u8>>> = match hashes.read_of(role.other()) {
            Some(hash) => peers.iter().map(|(peer, _)| hash.get(peer).cloned()).collect(),
            None => {
                let asked: Vec<_> = peers.iter().map(|(peer, _)| peer).collect();
                let times = command("HMGET", &hashes.swarm.key(role.other())).arg(asked).take();
                self.connections.query(Call::repeatable(Operation::AnnouncePeers), times).await?
            }
        };
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
        let adjust = command("INCRBY", counter(role)).arg(difference).take();
        if let Err(error) = self.connections.query::<i64>(call, adjust).await {
            tracing::debug!(backend = crate::NAME, ?error, "cannot adjust MoChi's counter");
        }
    }
}

/// Peers and their times.
type Hash = HashMap<Vec<u8>, Vec<u8>>;

/// The sizes of the hashes of seeders and leechers where nobody has asked for them: none is read as a whole.
pub(super) const SIZES_UNKNOWN: [u64; 2] = [u64::MAX; 2];

/// The hashes of seeders and leechers that peers are selected from.
struct Hashes {
    swarm: SwarmKey,
    /// The peer to leave out, or nothing.
    excluded: Vec<u8>,
    /// What is in them, of those that have been read as a whole.
    read: [Option<Hash>; 2],
}

impl Hashes {
    fn read_of(&self, role: Role) -> Option<&Hash> {
        let [seeders, leechers] = &self.read;
        if role.is_seeder() { seeders.as_ref() } else { leechers.as_ref() }
    }

    /// How many to ask for, for one may have to be left out.
    fn to_ask_for(&self, count: usize) -> usize {
        count + usize::from(!self.excluded.is_empty())
    }

    /// Up to `count` of these peers.
    fn some(&self, mut peers: Vec<Vec<u8>>, count: usize) -> Vec<Vec<u8>> {
        let length = peer_key_length(self.swarm.family);
        peers.retain(|peer| peer.len() == length && *peer != self.excluded);
        // A small hash gives its sample in a fixed order.
        let first = rand::random_range(0..peers.len().max(1));
        peers.rotate_left(first);
        peers.truncate(count);
        peers
    }
}

/// The counts of a swarm, from the sizes of its hashes in the order of [`keys_of`].
fn counts(sizes: &[u64], downloads: u64) -> SwarmCounts {
    SwarmCounts { seeders: sizes[..2].iter().sum(), leechers: sizes[2..].iter().sum(), downloads }
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
