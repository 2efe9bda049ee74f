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
        fn a_table_is_a_map(steps in prop::collection::vec((any::<u8>(), 0..6), 0..200)) {
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
                    3 => {
                        let last = table.len().checked_sub(1).and_then(|last| table.entry_at(last)).map(|(key, _)| *key);
                        let removed = table.remove_at(usize::from(key));
                        prop_assert_eq!(removed.is_some(), usize::from(key) < model.len());
                        if let Some((removed, value)) = removed {
                            prop_assert_eq!(model.remove(&removed), Some(value));
                            let moved = table.entry_at(usize::from(key)).map(|(key, _)| *key);
                            prop_assert_eq!(moved, last.filter(|last| *last != removed));
                        }
                    }
                    4 => {
                        if let Some((key, value)) = table.entry_at_mut(usize::from(key)) {
                            *value += 1;
                            *model.entry(*key).or_default() += 1;
                        }
                    }
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
                    let hash = hashes.hash_one(key);
                    prop_assert_eq!(table.get(hash, &key), model.get(&key));
                    let position = table.find_by_hash(hash, |_, _| true);
                    let entry = position.and_then(|position| table.entry_at(position));
                    prop_assert_eq!(entry, model.get_key_value(&key));
                }
                prop_assert_eq!(table.entry_at(table.len()), None);
            }
        }
    }

    #[test]
    fn an_entry_is_found_by_the_hash_of_its_key() {
        let hashes = DefaultHashBuilder::default();
        let mut table = CompactMap::<u32, u32>::with_hashes(hashes.clone());
        (0..1_000).for_each(|key| *table.get_or_default(hashes.hash_one(key), &key) = key * 2);
        for key in 0..2_000 {
            let mut seen = Vec::new();
            let found = table.find_by_hash(hashes.hash_one(key), |key, value| {
                seen.push((*key, *value));
                true
            });
            assert_eq!(found.is_some(), key < 1_000);
            assert_eq!(seen, Vec::from_iter(found.map(|_| (key, key * 2))), "no entry of another hash");
            assert_eq!(table.find_by_hash(hashes.hash_one(key), |_, _| false), None);
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

    #[test]
    fn the_bytes_are_those_of_the_entries_and_the_table() {
        let hashes = DefaultHashBuilder::default();
        let mut table = CompactMap::<[u8; 20], Option<[u8; 43]>>::with_hashes(hashes.clone());
        assert_eq!(table.heap_bytes(), 0);
        for key in 0..1_000u32 {
            let mut info_hash = [0; 20];
            info_hash[..4].copy_from_slice(&key.to_ne_bytes());
            let hash = hashes.hash_one(info_hash);
            *table.get_or_default(hash, &info_hash) = Some([1; 43]);
        }
        let entries = table.entries.capacity() * 64;
        let index = table.positions.capacity() * 5;
        let bytes = table.heap_bytes();
        assert!((entries + index..=entries + index * 4 / 3).contains(&bytes), "{bytes}: {entries} + {index}");
        while table.len() > 10 {
            table.remove_at(0);
        }
        assert!(table.heap_bytes() <= 40 * 64 + 300, "{}", table.heap_bytes());
        table.clear();
        assert_eq!(table.heap_bytes(), 0);
    }
}
