//! The peers of one swarm and one address family.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};
use rand::RngExt;
use storage_core::Role;

use crate::compact_map::push;

/// From this many peers on, they are found by a table of hashes rather than by looking at each.
const INDEX_FROM: usize = 24;

/// A peer as a key of a [`PeerList`]: any small type will do.
pub trait PeerKey: Copy + Eq + Hash {}

impl<T: Copy + Eq + Hash> PeerKey for T {}

/// Which part of a list a peer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerGroup {
    /// Has everything.
    Seeder,
    /// Still downloads.
    Leecher,
    /// Neither counted nor sampled: a cache keeps here the peers whose deletion has not been stored yet.
    Hidden,
}

impl PeerGroup {
    /// The role of the peers of this group; hidden ones have none.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Seeder => Some(Role::Seeder),
            Self::Leecher => Some(Role::Leecher),
            Self::Hidden => None,
        }
    }
}

impl From<Role> for PeerGroup {
    fn from(role: Role) -> Self {
        match role {
            Role::Seeder => Self::Seeder,
            Role::Leecher => Self::Leecher,
        }
    }
}

/// There is no padding if both have an alignment of 1.
#[derive(Clone, Copy)]
struct PeerEntry<P, T> {
    peer: P,
    state: T,
}

/// Peers in one list, seeders before leechers before hidden ones: counts are lengths, a sample is a choice of
/// positions, and a change of group is a swap at each border.
///
/// Positions are `0..len()`. They are valid until a peer is inserted, assigned to another group, or removed; those that
/// are out of range panic.
pub struct PeerList<P, T> {
    entries: Vec<PeerEntry<P, T>>,
    seeders: u32,
    /// Seeders and leechers: where the hidden ones begin.
    listed: u32,
    positions: Option<Box<PositionIndex>>,
}

#[derive(Default)]
struct PositionIndex {
    table: HashTable<u32>,
    hashes: DefaultHashBuilder,
}

impl<P, T> Default for PeerList<P, T> {
    fn default() -> Self {
        Self { entries: Vec::new(), seeders: 0, listed: 0, positions: None }
    }
}

impl<P: PeerKey, T: Copy> PeerList<P, T> {
    /// The number of peers of all groups.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no peers, not even hidden ones.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of peers of a role.
    pub fn count(&self, role: Role) -> usize {
        self.range(role).len()
    }

    /// The number of seeders and leechers.
    pub fn listed(&self) -> usize {
        self.listed as usize
    }

    /// The number of hidden peers.
    pub fn hidden(&self) -> usize {
        self.len() - self.listed()
    }

    /// The position of a peer.
    pub fn find(&self, peer: &P) -> Option<usize> {
        let Some(PositionIndex { table, hashes }) = self.positions.as_deref() else {
            return self.entries.iter().position(|entry| entry.peer == *peer);
        };
        let found = table.find(hashes.hash_one(peer), |at| self.entries[*at as usize].peer == *peer);
        found.map(|at| *at as usize)
    }

    /// The group of the peer at a position.
    pub fn group(&self, position: usize) -> PeerGroup {
        if position < self.seeders as usize {
            PeerGroup::Seeder
        } else if position < self.listed() {
            PeerGroup::Leecher
        } else {
            PeerGroup::Hidden
        }
    }

    /// The peer at a position.
    pub fn peer(&self, position: usize) -> P {
        self.entries[position].peer
    }

    /// The state of the peer at a position.
    pub fn state(&self, position: usize) -> &T {
        &self.entries[position].state
    }

    /// The state of the peer at a position, to change it.
    pub fn state_mut(&mut self, position: usize) -> &mut T {
        &mut self.entries[position].state
    }

    /// Inserts a peer that is not in the list; its position.
    pub fn insert(&mut self, peer: P, group: PeerGroup, state: T) -> usize {
        debug_assert!(self.find(&peer).is_none(), "the peer is in the list");
        let position = self.entries.len();
        push(&mut self.entries, PeerEntry { peer, state });
        match &mut self.positions {
            Some(positions) => positions.insert(&self.entries, position),
            None if self.entries.len() >= INDEX_FROM => {
                let mut positions = Box::<PositionIndex>::default();
                (0..self.entries.len()).for_each(|position| positions.insert(&self.entries, position));
                self.positions = Some(positions);
            }
            None => {}
        }
        // At the end of the list, it is hidden.
        self.assign(position, group)
    }

    /// Moves the peer at a position to a group; its new position.
    pub fn assign(&mut self, mut position: usize, group: PeerGroup) -> usize {
        // From one group to the next, at most twice.
        loop {
            position = match (self.group(position), group) {
                (PeerGroup::Hidden, PeerGroup::Seeder | PeerGroup::Leecher) => {
                    self.listed += 1;
                    self.swap(position, self.listed as usize - 1)
                }
                (PeerGroup::Leecher, PeerGroup::Seeder) => {
                    self.seeders += 1;
                    self.swap(position, self.seeders as usize - 1)
                }
                (PeerGroup::Seeder, PeerGroup::Leecher | PeerGroup::Hidden) => {
                    self.seeders -= 1;
                    self.swap(position, self.seeders as usize)
                }
                (PeerGroup::Leecher, PeerGroup::Hidden) => {
                    self.listed -= 1;
                    self.swap(position, self.listed as usize)
                }
                _ => return position,
            }
        }
    }

    /// Removes the peer at a position; gives memory back once most of it is unused.
    pub fn remove(&mut self, position: usize) {
        self.swap_remove(position);
        self.shrink();
    }

    /// Keeps the peers for which `keep` is true, and gives memory back once most of it is unused; how many were
    /// removed.
    pub fn retain(&mut self, mut keep: impl FnMut(P, PeerGroup, &mut T) -> bool) -> usize {
        let before = self.len();
        // From the last one on: only those that were visited already move to the position of a removed one.
        for position in (0..before).rev() {
            let group = self.group(position);
            let PeerEntry { peer, state } = &mut self.entries[position];
            if !keep(*peer, group, state) {
                self.swap_remove(position);
            }
        }
        self.shrink();
        before - self.len()
    }

    /// Calls `take` with up to `count` peers of a role and their states: from a random one on, each as many further
    /// as a second random number says. Every peer is as likely as any other, none comes twice, and it takes no
    /// memory.
    pub fn sample(&self, role: Role, count: usize, mut take: impl FnMut(P, &T)) {
        let range = self.range(role);
        if count >= range.len() {
            return self.entries[range].iter().for_each(|entry| take(entry.peer, &entry.state));
        }
        if count == 0 {
            return;
        }
        let mut random = rand::rng();
        let (mut offset, step) =
            (random.random_range(0..range.len()), random.random_range(1..=range.len() / count));
        for _ in 0..count {
            let entry = &self.entries[range.start + offset];
            take(entry.peer, &entry.state);
            offset += step;
            if offset >= range.len() {
                offset -= range.len();
            }
        }
    }

    /// All peers, hidden ones too, in the order of their positions.
    pub fn iter(&self) -> impl Iterator<Item = (P, PeerGroup, &T)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(position, entry)| (entry.peer, self.group(position), &entry.state))
    }

    /// Calls `visit` with each peer from position `next` on until it gives false, and advances `next` past those
    /// visited; whether it never gave false.
    pub(crate) fn visit_from(
        &mut self,
        next: &mut usize,
        mut visit: impl FnMut(P, PeerGroup, &mut T) -> bool,
    ) -> bool {
        while *next < self.len() {
            let group = self.group(*next);
            let PeerEntry { peer, state } = &mut self.entries[*next];
            *next += 1;
            if !visit(*peer, group, state) {
                return false;
            }
        }
        true
    }

    /// The bytes that the list has allocated. It takes the same time for any size.
    pub fn heap_bytes(&self) -> usize {
        let index = |index: &PositionIndex| size_of::<PositionIndex>() + index.table.allocation_size();
        self.entries.capacity() * size_of::<PeerEntry<P, T>>() + self.positions.as_deref().map_or(0, index)
    }

    fn range(&self, role: Role) -> std::ops::Range<usize> {
        match role {
            Role::Seeder => 0..self.seeders as usize,
            Role::Leecher => self.seeders as usize..self.listed(),
        }
    }

    fn swap_remove(&mut self, position: usize) {
        if let Some(positions) = &mut self.positions {
            positions.remove(&self.entries, position);
        }
        let mut gap = position;
        if gap < self.seeders as usize {
            self.seeders -= 1;
            gap = self.fill(gap, self.seeders as usize);
        }
        if gap < self.listed() {
            self.listed -= 1;
            gap = self.fill(gap, self.listed());
        }
        self.fill(gap, self.entries.len() - 1);
        self.entries.pop();
    }

    /// Moves an entry to a gap; where the gap is now.
    fn fill(&mut self, gap: usize, from: usize) -> usize {
        if gap != from {
            if let Some(positions) = &mut self.positions {
                positions.renumber(&self.entries, from, gap);
            }
            self.entries[gap] = self.entries[from];
        }
        from
    }

    /// Swaps two entries; the new position of the first.
    fn swap(&mut self, one: usize, other: usize) -> usize {
        if one != other {
            if let Some(positions) = &mut self.positions {
                positions.swap(&self.entries, one, other);
            }
            self.entries.swap(one, other);
        }
        other
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
    fn hash<P: PeerKey, T: Copy>(&self, entries: &[PeerEntry<P, T>], position: usize) -> u64 {
        self.hashes.hash_one(entries[position].peer)
    }

    fn insert<P: PeerKey, T: Copy>(&mut self, entries: &[PeerEntry<P, T>], position: usize) {
        let hash = self.hash(entries, position);
        let Self { table, hashes } = self;
        table.insert_unique(hash, position as u32, |at| hashes.hash_one(entries[*at as usize].peer));
    }

    fn remove<P: PeerKey, T: Copy>(&mut self, entries: &[PeerEntry<P, T>], position: usize) {
        let hash = self.hash(entries, position);
        if let Ok(entry) = self.table.find_entry(hash, |at| *at as usize == position) {
            entry.remove();
        }
    }

    /// Before two entries are swapped.
    fn swap<P: PeerKey, T: Copy>(&mut self, entries: &[PeerEntry<P, T>], one: usize, other: usize) {
        // Both are found before either changes: they may have the same hash.
        let buckets = [one, other].map(|position| self.bucket(entries, position));
        for (bucket, to) in buckets.into_iter().zip([other, one]) {
            self.set(bucket, to);
        }
    }

    /// Before an entry moves.
    fn renumber<P: PeerKey, T: Copy>(&mut self, entries: &[PeerEntry<P, T>], from: usize, to: usize) {
        let bucket = self.bucket(entries, from);
        self.set(bucket, to);
    }

    fn bucket<P: PeerKey, T: Copy>(&self, entries: &[PeerEntry<P, T>], position: usize) -> Option<usize> {
        self.table.find_bucket_index(self.hash(entries, position), |at| *at as usize == position)
    }

    fn set(&mut self, bucket: Option<usize>, position: usize) {
        if let Some(at) = bucket.and_then(|bucket| self.table.get_bucket_mut(bucket)) {
            *at = position as u32;
        }
    }

    fn shrink<P: PeerKey, T: Copy>(&mut self, entries: &[PeerEntry<P, T>]) {
        let Self { table, hashes } = self;
        table.shrink_to(entries.len(), |at| hashes.hash_one(entries[*at as usize].peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_no_peer_twice_and_only_those_of_the_role() {
        let mut peers = PeerList::default();
        for peer in 0..120u8 {
            let group = match peer {
                0..60 => PeerGroup::Seeder,
                60..100 => PeerGroup::Leecher,
                _ => PeerGroup::Hidden,
            };
            peers.insert([peer], group, [peer]);
        }
        for (role, members) in [(Role::Seeder, 0..60), (Role::Leecher, 60..100)] {
            for count in [0, 1, 30, members.len(), 1000] {
                let mut sample = Vec::new();
                peers.sample(role, count, |peer, state| {
                    assert_eq!(peer, *state);
                    sample.push(peer[0]);
                });
                sample.sort_unstable();
                sample.dedup();
                assert_eq!(sample.len(), count.min(members.len()));
                assert!(sample.iter().all(|peer| members.contains(peer)));
            }
        }
    }

    #[test]
    fn memory_is_given_back_when_peers_leave() {
        let mut peers = PeerList::default();
        assert_eq!(peers.heap_bytes(), 0);
        for peer in 0..10_000u16 {
            let group = [PeerGroup::Seeder, PeerGroup::Leecher, PeerGroup::Hidden][usize::from(peer) % 3];
            peers.insert(peer.to_be_bytes(), group, peer.to_be_bytes());
        }
        let entries = peers.entries.capacity() * 4;
        // A table has 5 bytes for each position, and up to 16 of 7 may be free.
        let (bytes, most) = (peers.heap_bytes(), entries + 10_000 * 5 * 16 / 7 + 200);
        assert!((entries + 10_000 * 5..most).contains(&bytes), "{bytes}: {entries}");
        assert_eq!(peers.retain(|_, _, state| u16::from_be_bytes(*state) >= 9_990), 9_990);
        assert_eq!(peers.len(), 10);
        assert!(peers.entries.capacity() <= 20, "{}", peers.entries.capacity());
        assert!(peers.positions.is_none());
        assert_eq!(peers.heap_bytes(), peers.entries.capacity() * 4);
        while !peers.is_empty() {
            peers.remove(0);
        }
        assert_eq!(peers.count(Role::Seeder) + peers.count(Role::Leecher) + peers.hidden(), 0);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn entries_have_no_padding_and_a_list_is_small() {
        assert_eq!(size_of::<PeerEntry<[u8; 26], [u8; 8]>>(), 26 + 8);
        assert_eq!(size_of::<PeerEntry<[u8; 38], [u8; 8]>>(), 38 + 8);
        assert_eq!(size_of::<PeerList<[u8; 26], [u8; 8]>>(), 24 + 2 * 4 + 8);
    }
}
