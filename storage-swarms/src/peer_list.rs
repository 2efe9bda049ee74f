//! The peers of one swarm and one address family.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};
use rand::RngExt;
use storage_core::{Role, Timestamp};

use crate::compact_map::push;

/// From this many peers on, they are found by a table of hashes rather than by looking at each.
const INDEX_FROM: usize = 24;

/// What a peer needs to be kept in a peer list.
pub(crate) trait PeerKey: Copy + Eq + Hash {}

impl<T: Copy + Eq + Hash> PeerKey for T {}

/// The time is kept as bytes so that an entry needs no padding.
#[derive(Clone, Copy)]
struct PeerEntry<P> {
    peer: P,
    nanoseconds: [u8; 8],
}

impl<P> PeerEntry<P> {
    fn new(peer: P, announced: Timestamp) -> Self {
        Self { peer, nanoseconds: announced.nanoseconds().to_ne_bytes() }
    }

    fn announced(&self) -> Timestamp {
        Timestamp::from_nanoseconds(i64::from_ne_bytes(self.nanoseconds))
    }
}

/// Peers in one list, the seeders before the leechers: counts are lengths, a sample is a choice of
/// positions, and a change of role is a swap at the border.
pub(crate) struct PeerList<P> {
    entries: Vec<PeerEntry<P>>,
    seeders: u32,
    positions: Option<Box<PositionIndex>>,
}

#[derive(Default)]
struct PositionIndex {
    table: HashTable<u32>,
    hashes: DefaultHashBuilder,
}

impl<P: PeerKey> Default for PeerList<P> {
    fn default() -> Self {
        Self { entries: Vec::new(), seeders: 0, positions: None }
    }
}

impl<P: PeerKey> PeerList<P> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn count(&self, role: Role) -> usize {
        self.range(role).len()
    }

    /// Puts a peer in or updates it.
    pub(crate) fn put(&mut self, peer: P, role: Role, announced: Timestamp) {
        match self.find(&peer) {
            Some(position) => {
                self.entries[position] = PeerEntry::new(peer, announced);
                self.assign(position, role);
            }
            None => self.insert(peer, role, announced),
        }
    }

    /// Puts a peer in unless it is there with a later time, or with the same time and no lesser
    /// role; whether it did.
    pub(crate) fn put_newer(&mut self, peer: P, role: Role, announced: Timestamp) -> bool {
        let newer = self.get(&peer).is_none_or(|(held_role, held)| (announced, role) > (held, held_role));
        if newer {
            self.put(peer, role, announced);
        }
        newer
    }

    /// Takes a peer out if it is there in that role; whether it was.
    pub(crate) fn remove(&mut self, peer: &P, role: Role) -> bool {
        let position = self.find(peer).filter(|position| self.range(role).contains(position));
        if let Some(position) = position {
            self.remove_at(position);
            self.shrink();
        }
        position.is_some()
    }

    /// Takes out all that last announced at or before the cutoff; how many.
    pub(crate) fn remove_stale(&mut self, cutoff: Timestamp) -> usize {
        let before = self.len();
        for position in (0..before).rev() {
            if self.entries[position].announced() <= cutoff {
                self.remove_at(position);
            }
        }
        self.shrink();
        before - self.len()
    }

    /// How many last announced at or before the cutoff.
    pub(crate) fn stale(&self, cutoff: Timestamp) -> usize {
        self.entries.iter().filter(|entry| entry.announced() <= cutoff).count()
    }

    /// The role and time of a peer.
    pub(crate) fn get(&self, peer: &P) -> Option<(Role, Timestamp)> {
        self.find(peer).map(|position| (self.role_at(position), self.entries[position].announced()))
    }

    /// Calls `take` with up to `count` peers of a role and their times: from a random one on, each as many further as a
    /// second random number says. Every peer is as likely as any other, none comes twice, and it takes no
    /// memory.
    pub(crate) fn sample(&self, role: Role, count: usize, mut take: impl FnMut(P, Timestamp)) {
        let range = self.range(role);
        if count >= range.len() {
            return range
                .for_each(|position| take(self.entries[position].peer, self.entries[position].announced()));
        }
        if count == 0 {
            return;
        }
        let mut random = rand::rng();
        let (mut offset, step) =
            (random.random_range(0..range.len()), random.random_range(1..=range.len() / count));
        for _ in 0..count {
            let entry = &self.entries[range.start + offset];
            take(entry.peer, entry.announced());
            offset += step;
            if offset >= range.len() {
                offset -= range.len();
            }
        }
    }

    /// All peers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (P, Role, Timestamp)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(position, entry)| (entry.peer, self.role_at(position), entry.announced()))
    }

    fn range(&self, role: Role) -> std::ops::Range<usize> {
        match role {
            Role::Seeder => 0..self.seeders as usize,
            Role::Leecher => self.seeders as usize..self.entries.len(),
        }
    }

    fn role_at(&self, position: usize) -> Role {
        Role::from_is_seeder(position < self.seeders as usize)
    }

    fn find(&self, peer: &P) -> Option<usize> {
        let Some(PositionIndex { table, hashes }) = self.positions.as_deref() else {
            return self.entries.iter().position(|entry| entry.peer == *peer);
        };
        let found = table.find(hashes.hash_one(peer), |at| self.entries[*at as usize].peer == *peer);
        found.map(|at| *at as usize)
    }

    fn insert(&mut self, peer: P, role: Role, announced: Timestamp) {
        let position = self.entries.len();
        push(&mut self.entries, PeerEntry::new(peer, announced));
        match &mut self.positions {
            Some(positions) => positions.insert(&self.entries, position),
            None if self.entries.len() >= INDEX_FROM => {
                let mut positions = Box::<PositionIndex>::default();
                (0..self.entries.len()).for_each(|position| positions.insert(&self.entries, position));
                self.positions = Some(positions);
            }
            None => {}
        }
        self.assign(position, role);
    }

    /// Moves the peer at a position to the side of its role.
    fn assign(&mut self, position: usize, role: Role) {
        let border = self.seeders as usize;
        match (self.role_at(position), role) {
            (Role::Leecher, Role::Seeder) => {
                self.swap(position, border);
                self.seeders += 1;
            }
            (Role::Seeder, Role::Leecher) => {
                self.swap(position, border - 1);
                self.seeders -= 1;
            }
            _ => {}
        }
    }

    fn remove_at(&mut self, position: usize) {
        self.assign(position, Role::Leecher);
        let position = position.max(self.seeders as usize);
        self.remove_leecher_at(position);
    }

    fn remove_leecher_at(&mut self, position: usize) {
        let last = self.entries.len() - 1;
        self.swap(position, last);
        if let Some(positions) = &mut self.positions {
            positions.remove(&self.entries, last);
        }
        self.entries.pop();
    }

    fn swap(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        if let Some(positions) = &mut self.positions {
            positions.swap(&self.entries, one, other);
        }
        self.entries.swap(one, other);
    }

    /// Gives memory back once most of it is unused.
    fn shrink(&mut self) {
        let length = self.entries.len();
        if self.positions.is_some() && length < INDEX_FROM / 2 {
            self.positions = None;
        }
        if self.entries.capacity() > 8 && length < self.entries.capacity() / 4 {
            self.entries.shrink_to(length * 2);
            if let Some(positions) = &mut self.positions {
                positions.shrink(&self.entries);
            }
        }
    }
}

impl PositionIndex {
    fn hash<P: PeerKey>(&self, entries: &[PeerEntry<P>], position: usize) -> u64 {
        self.hashes.hash_one(entries[position].peer)
    }

    fn insert<P: PeerKey>(&mut self, entries: &[PeerEntry<P>], position: usize) {
        let hash = self.hash(entries, position);
        let Self { table, hashes } = self;
        table.insert_unique(hash, position as u32, |at| hashes.hash_one(entries[*at as usize].peer));
    }

    fn remove<P: PeerKey>(&mut self, entries: &[PeerEntry<P>], position: usize) {
        let hash = self.hash(entries, position);
        if let Ok(entry) = self.table.find_entry(hash, |at| *at as usize == position) {
            entry.remove();
        }
    }

    /// Before two entries are swapped.
    fn swap<P: PeerKey>(&mut self, entries: &[PeerEntry<P>], one: usize, other: usize) {
        let (hash_of_one, hash_of_other) = (self.hash(entries, one), self.hash(entries, other));
        // No position is that great: while the other entry moves, this one is told apart by it.
        self.renumber(hash_of_one, one as u32, u32::MAX);
        self.renumber(hash_of_other, other as u32, one as u32);
        self.renumber(hash_of_one, u32::MAX, other as u32);
    }

    fn renumber(&mut self, hash: u64, from: u32, to: u32) {
        if let Some(position) = self.table.find_mut(hash, |at| *at == from) {
            *position = to;
        }
    }

    fn shrink<P: PeerKey>(&mut self, entries: &[PeerEntry<P>]) {
        let Self { table, hashes } = self;
        table.shrink_to(entries.len(), |at| hashes.hash_one(entries[*at as usize].peer));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum ListStep {
        Put(u8, bool, i64),
        Newer(u8, bool, i64),
        Remove(u8, bool),
        RemoveStale(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<ListStep>> {
        let step = prop_oneof![
            8 => (any::<u8>(), any::<bool>(), 0..50i64).prop_map(|(p, r, t)| ListStep::Put(p, r, t)),
            2 => (any::<u8>(), any::<bool>(), 0..50i64).prop_map(|(p, r, t)| ListStep::Newer(p, r, t)),
            4 => (any::<u8>(), any::<bool>()).prop_map(|(p, r)| ListStep::Remove(p, r)),
            1 => (0..50i64).prop_map(ListStep::RemoveStale),
        ];
        prop::collection::vec(step, 0..400)
    }

    proptest! {
        #[test]
        fn a_peer_list_is_a_map_from_peers_to_role_and_time(steps in steps()) {
            let mut peers = PeerList::<[u8; 3]>::default();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    ListStep::Put(peer, seeder, seconds) => {
                        let value = (Role::from_is_seeder(seeder), Timestamp::from_seconds(seconds));
                        peers.put([peer; 3], value.0, value.1);
                        model.insert([peer; 3], value);
                    }
                    ListStep::Newer(peer, seeder, seconds) => {
                        let (role, time) = (Role::from_is_seeder(seeder), Timestamp::from_seconds(seconds));
                        let wins = model.get(&[peer; 3]).is_none_or(|&(r, t)| (time, role) > (t, r));
                        prop_assert_eq!(peers.put_newer([peer; 3], role, time), wins);
                        if wins {
                            model.insert([peer; 3], (role, time));
                        }
                    }
                    ListStep::Remove(peer, seeder) => {
                        let role = Role::from_is_seeder(seeder);
                        let there = model.get(&[peer; 3]).is_some_and(|held| held.0 == role);
                        prop_assert_eq!(peers.remove(&[peer; 3], role), there);
                        if there {
                            model.remove(&[peer; 3]);
                        }
                    }
                    ListStep::RemoveStale(seconds) => {
                        let before = model.len();
                        model.retain(|_, held| held.1 > Timestamp::from_seconds(seconds));
                        prop_assert_eq!(peers.remove_stale(Timestamp::from_seconds(seconds)), before - model.len());
                    }
                }
                let held: BTreeMap<_, _> = peers.iter().map(|(peer, role, time)| (peer, (role, time))).collect();
                prop_assert_eq!(&held, &model);
                for peer in 0..=255u8 {
                    prop_assert_eq!(peers.get(&[peer; 3]), model.get(&[peer; 3]).copied());
                }
            }
        }
    }

    #[test]
    fn a_sample_has_no_peer_twice_and_only_those_of_the_role() {
        let mut peers = PeerList::default();
        for peer in 0..100u8 {
            peers.put([peer], Role::from_is_seeder(peer < 60), Timestamp::from_seconds(1));
        }
        for count in [0, 1, 30, 60, 1000] {
            let mut sample = Vec::new();
            peers.sample(Role::Seeder, count, |peer, _| sample.push(peer[0]));
            sample.sort_unstable();
            sample.dedup();
            assert_eq!(sample.len(), count.min(60));
            assert!(sample.iter().all(|peer| *peer < 60));
        }
    }

    #[test]
    fn memory_is_given_back_when_peers_leave() {
        let mut peers = PeerList::default();
        for peer in 0..10_000u16 {
            peers.put(peer.to_be_bytes(), Role::Leecher, Timestamp::from_seconds(i64::from(peer)));
        }
        peers.remove_stale(Timestamp::from_seconds(9_989));
        assert_eq!(peers.len(), 10);
        assert!(peers.entries.capacity() <= 20, "{}", peers.entries.capacity());
        assert!(peers.positions.is_none());
    }
}
