//! A hash map with little memory overhead: entries are stored without gaps in a list, and a hash table holds their
//! positions.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// A hash map. Callers hash, since they need the hash for the choice of a shard too.
pub struct CompactMap<K, V> {
    entries: Vec<(K, V)>,
    positions: HashTable<u32>,
    hashes: DefaultHashBuilder,
}

impl<K: Hash + Eq, V> CompactMap<K, V> {
    /// An empty map. The hashes of its callers are from the same builder.
    pub fn with_hashes(hashes: DefaultHashBuilder) -> Self {
        Self { entries: Vec::new(), positions: HashTable::new(), hashes }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The value of a key; `hash` is of the key.
    pub fn get(&self, hash: u64, key: &K) -> Option<&V> {
        self.position(hash, key).map(|position| &self.entries[position].1)
    }

    /// The value of a key, to change it.
    pub fn get_mut(&mut self, hash: u64, key: &K) -> Option<&mut V> {
        self.position(hash, key).map(|position| &mut self.entries[position].1)
    }

    /// The value of a key, put in if there is none.
    pub fn get_or_default(&mut self, hash: u64, key: &K) -> &mut V
    where
        K: Clone,
        V: Default,
    {
        let position = self.position(hash, key).unwrap_or_else(|| {
            let position = self.entries.len();
            let Self { entries, positions, hashes } = self;
            positions.insert_unique(hash, position as u32, |at| hashes.hash_one(&entries[*at as usize].0));
            push(entries, (key.clone(), V::default()));
            position
        });
        &mut self.entries[position].1
    }

    /// The entry at a position. Positions are `0..len()`; an entry keeps its position until one is removed.
    pub fn entry_at(&self, position: usize) -> Option<(&K, &V)> {
        self.entries.get(position).map(|(key, value)| (key, value))
    }

    /// The entry at a position, to change its value.
    pub fn entry_at_mut(&mut self, position: usize) -> Option<(&K, &mut V)> {
        self.entries.get_mut(position).map(|(key, value)| (&*key, value))
    }

    /// The position of the first entry whose key has this hash and for which `matches` is true: for callers that have
    /// kept the hash of a key and not the key.
    pub fn find_by_hash(&self, hash: u64, mut matches: impl FnMut(&K, &V) -> bool) -> Option<usize> {
        let found = self.positions.find(hash, |at| {
            let (key, value) = &self.entries[*at as usize];
            // The table compares only a part of the hash.
            self.hashes.hash_one(key) == hash && matches(key, value)
        });
        found.map(|at| *at as usize)
    }

    /// Removes an entry; gives memory back once most of it is unused.
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<V> {
        let position = self.position(hash, key)?;
        let (_, removed) = self.swap_remove(hash, position);
        self.shrink();
        Some(removed)
    }

    /// Removes the entry at a position, to which the last entry moves; gives memory back once most of it is unused.
    pub fn remove_at(&mut self, position: usize) -> Option<(K, V)> {
        let hash = self.hashes.hash_one(&self.entries.get(position)?.0);
        let removed = self.swap_remove(hash, position);
        self.shrink();
        Some(removed)
    }

    /// Keeps the entries of which `keep` says so; gives memory back once most of it is unused.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        for position in (0..self.entries.len()).rev() {
            let (key, value) = &mut self.entries[position];
            if !keep(value) {
                let hash = self.hashes.hash_one(&*key);
                self.swap_remove(hash, position);
            }
        }
        self.shrink();
    }

    /// Removes all entries, and gives their memory back.
    pub fn clear(&mut self) {
        self.entries = Vec::new();
        self.positions = HashTable::new();
    }

    /// The bytes that the map has allocated, without those that its keys and values have. It takes the same time for
    /// any size.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(K, V)>() + self.positions.allocation_size()
    }

    fn position(&self, hash: u64, key: &K) -> Option<usize> {
        let found = self.positions.find(hash, |at| self.entries[*at as usize].0 == *key);
        found.map(|at| *at as usize)
    }

    fn swap_remove(&mut self, hash: u64, position: usize) -> (K, V) {
        if let Ok(entry) = self.positions.find_entry(hash, |at| *at as usize == position) {
            entry.remove();
        }
        let last = self.entries.len() - 1;
        if position != last {
            let hash = self.hashes.hash_one(&self.entries[last].0);
            if let Some(at) = self.positions.find_mut(hash, |at| *at as usize == last) {
                *at = position as u32;
            }
        }
        self.entries.swap_remove(position)
    }

    fn shrink(&mut self) {
        let length = self.entries.len();
        if self.entries.capacity() > 8 && length < self.entries.capacity() / 4 {
            let Self { entries, positions, hashes } = self;
            entries.shrink_to(length * 2);
            positions.shrink_to(length, |at| hashes.hash_one(&entries[*at as usize].0));
        }
    }
}

/// Adds to a list. It grows by an eighth rather than to twice its size: most swarms are small, and hardly
/// any grows any more.
pub(crate) fn push<T>(list: &mut Vec<T>, entry: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(1));
    }
    list.push(entry);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_table_is_a_map(steps in prop::collection::vec((any::<u8>(), 0..4), 0..200)) {
            let (hashes, mut model) = (DefaultHashBuilder::default(), BTreeMap::new());
            let mut table = CompactMap::with_hashes(hashes.clone());
            for (key, what) in steps {
                let hash = hashes.hash_one(key);
                match what {
                    0 | 1 => {
                        *table.get_or_default(hash, &key) += 1;
                        *model.entry(key).or_insert(0) += 1;
                    }
                    2 => prop_assert_eq!(table.remove(hash, &key), model.remove(&key)),
                    _ if key < 8 => {
                        table.retain(|value| *value % 2 == 0);
                        model.retain(|_, value| *value % 2 == 0);
                    }
                    _ => {}
                }
                prop_assert_eq!(table.len(), model.len());
                let held: BTreeMap<_, _> = table.keys().copied().zip(table.values().copied()).collect();
                prop_assert_eq!(&held, &model);
                for key in 0..=255 {
                    prop_assert_eq!(table.get(hashes.hash_one(key), &key), model.get(&key));
                }
            }
        }
    }

    #[test]
    fn memory_is_given_back_when_entries_leave() {
        let hashes = DefaultHashBuilder::default();
        let mut table = CompactMap::<u32, u32>::with_hashes(hashes.clone());
        (0..1_000).for_each(|key| *table.get_or_default(hashes.hash_one(key), &key) = key);
        assert!(table.entries.capacity() < 1_150, "{}", table.entries.capacity());
        table.retain(|value| *value < 10);
        assert_eq!(table.len(), 10);
        assert!(table.entries.capacity() <= 20, "{}", table.entries.capacity());
        assert!(table.positions.capacity() <= 30, "{}", table.positions.capacity());
    }
}
