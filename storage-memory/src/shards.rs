//! A map spread over independently locked parts.

use std::hash::{BuildHasher, Hash};
use std::ops::{Deref, DerefMut};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use storage_swarms::{CompactMap, DefaultHashBuilder};

/// A map whose entries are spread over shards, each behind a lock of its own.
pub(crate) struct Shards<K, V> {
    shards: Box<[RwLock<CompactMap<K, V>>]>,
    hashes: DefaultHashBuilder,
}

/// Where an entry is or would be, under the lock of its shard.
pub(crate) struct ShardEntry<'a, K, G> {
    shard: G,
    key: &'a K,
    hash: u64,
}

/// A place to look at.
pub(crate) type ReadEntry<'a, K, V> = ShardEntry<'a, K, RwLockReadGuard<'a, CompactMap<K, V>>>;
/// A place to change.
pub(crate) type WriteEntry<'a, K, V> = ShardEntry<'a, K, RwLockWriteGuard<'a, CompactMap<K, V>>>;

impl<K: Hash + Eq, V> Shards<K, V> {
    pub(crate) fn new(count: usize) -> Self {
        let hashes = DefaultHashBuilder::default();
        let shard = |_| RwLock::new(CompactMap::with_hashes(hashes.clone()));
        Self { shards: (0..count.max(1)).map(shard).collect(), hashes }
    }

    pub(crate) fn count(&self) -> usize {
        self.shards.len()
    }

    /// In which shard an entry is.
    pub(crate) fn index(&self, key: &K) -> usize {
        self.index_of(self.hashes.hash_one(key))
    }

    pub(crate) fn read<'a>(&'a self, key: &'a K) -> ReadEntry<'a, K, V> {
        let hash = self.hashes.hash_one(key);
        ShardEntry { shard: self.read_at(self.index_of(hash)), key, hash }
    }

    pub(crate) fn write<'a>(&'a self, key: &'a K) -> WriteEntry<'a, K, V> {
        let hash = self.hashes.hash_one(key);
        ShardEntry { shard: self.write_at(self.index_of(hash)), key, hash }
    }

    pub(crate) fn read_at(&self, index: usize) -> RwLockReadGuard<'_, CompactMap<K, V>> {
        self.shards[index].read()
    }

    pub(crate) fn write_at(&self, index: usize) -> RwLockWriteGuard<'_, CompactMap<K, V>> {
        self.shards[index].write()
    }

    fn index_of(&self, hash: u64) -> usize {
        // The table within a shard uses the hash's low and topmost bits; these are neither.
        (hash >> 24) as usize % self.shards.len()
    }
}

impl<K: Hash + Eq, V, G: Deref<Target = CompactMap<K, V>>> ShardEntry<'_, K, G> {
    pub(crate) fn get(&self) -> Option<&V> {
        self.shard.get(self.hash, self.key)
    }
}

impl<K: Hash + Eq, V, G: DerefMut<Target = CompactMap<K, V>>> ShardEntry<'_, K, G> {
    pub(crate) fn get_mut(&mut self) -> Option<&mut V> {
        self.shard.get_mut(self.hash, self.key)
    }

    pub(crate) fn get_or_default(&mut self) -> &mut V
    where
        K: Clone,
        V: Default,
    {
        self.shard.get_or_default(self.hash, self.key)
    }

    pub(crate) fn remove(&mut self) -> Option<V> {
        self.shard.remove(self.hash, self.key)
    }
}
