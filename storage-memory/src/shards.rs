//! A map spread over independently locked parts.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// One part of the map.
pub(crate) type Shard<K, V> = HashMap<K, V, DefaultHashBuilder>;

/// A map whose entries are spread over shards, each behind a lock of its own.
pub(crate) struct Shards<K, V> {
    shards: Box<[RwLock<Shard<K, V>>]>,
    spread: DefaultHashBuilder,
}

impl<K: Hash + Eq, V> Shards<K, V> {
    pub(crate) fn new(count: usize) -> Self {
        let spread = DefaultHashBuilder::default();
        let shards = (0..count.max(1)).map(|_| RwLock::new(HashMap::with_hasher(spread.clone()))).collect();
        Self { shards, spread }
    }

    pub(crate) fn count(&self) -> usize {
        self.shards.len()
    }

    /// In which shard an entry is.
    pub(crate) fn index(&self, key: &K) -> usize {
        // The map within a shard uses the hash's low and topmost bits; these are neither.
        (self.spread.hash_one(key) >> 24) as usize % self.shards.len()
    }

    pub(crate) fn read(&self, key: &K) -> RwLockReadGuard<'_, Shard<K, V>> {
        self.read_at(self.index(key))
    }

    pub(crate) fn write(&self, key: &K) -> RwLockWriteGuard<'_, Shard<K, V>> {
        self.write_at(self.index(key))
    }

    pub(crate) fn read_at(&self, index: usize) -> RwLockReadGuard<'_, Shard<K, V>> {
        self.shards[index].read()
    }

    pub(crate) fn write_at(&self, index: usize) -> RwLockWriteGuard<'_, Shard<K, V>> {
        self.shards[index].write()
    }
}

/// Removes an entry and gives memory back once most of a map is empty.
pub(crate) fn remove_and_shrink<K: Hash + Eq, V>(shard: &mut Shard<K, V>, key: &K) -> Option<V> {
    let removed = shard.remove(key);
    shrink(shard);
    removed
}

/// Gives memory back once most of a map is empty.
pub(crate) fn shrink<K: Hash + Eq, V>(shard: &mut Shard<K, V>) {
    if shard.capacity() > 32 && shard.len() < shard.capacity() / 4 {
        shard.shrink_to(shard.len() * 2);
    }
}
