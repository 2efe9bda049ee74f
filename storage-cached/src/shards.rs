//! All swarms in memory, and the memory that they may take up.

use std::hash::BuildHasher;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::DefaultHashBuilder;
use parking_lot::{Mutex, MutexGuard};
use storage_core::InfoHash;

use crate::shard::SwarmShard;
use crate::swarm::Rules;

/// Enough that calls about different swarms hardly ever meet, and few enough to be looked at one by one.
const SHARDS: usize = 256;

/// Swarms in shards.
pub(crate) struct SwarmShards {
    shards: Box<[Mutex<SwarmShard>]>,
    hashes: DefaultHashBuilder,
    budget: Arc<Budget>,
    seen: Doorkeeper,
}

/// A locked shard. Unlocking it tells the budget what it takes up.
pub(crate) struct LockedShard<'a> {
    shard: MutexGuard<'a, SwarmShard>,
    budget: &'a Budget,
}

impl SwarmShards {
    pub(crate) fn new(budget: Arc<Budget>, rules: Rules) -> Self {
        let hashes = DefaultHashBuilder::default();
        // Little memory is for few swarms.
        let count = (budget.limit / (64 << 10)).clamp(4, SHARDS);
        let shards = (0..count).map(|_| Mutex::new(SwarmShard::new(hashes.clone(), rules))).collect();
        let seen = Doorkeeper::new(budget.limit / 1_024);
        budget.take(seen.bytes());
        Self { shards, hashes, budget, seen }
    }

    pub(crate) fn count(&self) -> usize {
        self.shards.len()
    }

    pub(crate) fn hash(&self, info_hash: &InfoHash) -> u64 {
        self.hashes.hash_one(info_hash)
    }

    /// The shard of swarms with this hash.
    pub(crate) fn index(&self, hash: u64) -> usize {
        // The table within a shard uses the hash's low and topmost bits; these are neither.
        (hash >> 24) as usize % self.shards.len()
    }

    pub(crate) fn lock(&self, hash: u64) -> LockedShard<'_> {
        self.lock_at(self.index(hash))
    }

    pub(crate) fn lock_at(&self, index: usize) -> LockedShard<'_> {
        LockedShard { shard: self.shards[index].lock(), budget: &self.budget }
    }

    /// Whether a swarm was asked for before, not too long ago; from now on it was.
    pub(crate) fn was_seen(&self, hash: u64) -> bool {
        self.seen.note(hash)
    }
}

impl Deref for LockedShard<'_> {
    type Target = SwarmShard;

    fn deref(&self) -> &SwarmShard {
        &self.shard
    }
}

impl DerefMut for LockedShard<'_> {
    fn deref_mut(&mut self) -> &mut SwarmShard {
        &mut self.shard
    }
}

impl Drop for LockedShard<'_> {
    fn drop(&mut self) {
        let bytes = self.shard.bytes();
        let accounted = std::mem::replace(&mut self.shard.accounted, bytes);
        self.budget.change(accounted, bytes);
    }
}

/// Bytes in use, of so many at most.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether there is room for something new.
    pub(crate) fn has_room(&self) -> bool {
        self.used() < self.limit
    }

    /// Whether it is time to let go of what is not used.
    pub(crate) fn is_tight(&self) -> bool {
        self.used() >= self.limit - self.limit / 16
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What took so many bytes before takes so many now.
    pub(crate) fn change(&self, before: usize, after: usize) {
        if after > before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// Remembers roughly what was seen of late: a bit for each of two parts of a hash. Half full, it begins anew.
struct Doorkeeper {
    bits: Box<[AtomicU64]>,
    noted: AtomicUsize,
}

impl Doorkeeper {
    fn new(bytes: usize) -> Self {
        let words = (bytes / 8).max(64).next_power_of_two();
        Self { bits: (0..words).map(|_| AtomicU64::new(0)).collect(), noted: AtomicUsize::new(0) }
    }

    fn bytes(&self) -> usize {
        self.bits.len() * 8
    }

    fn note(&self, hash: u64) -> bool {
        let mut was_seen = true;
        for part in [hash, hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15)] {
            let bit = 1 << (part & 63);
            let word = &self.bits[(part >> 6) as usize & (self.bits.len() - 1)];
            was_seen &= word.fetch_or(bit, Ordering::Relaxed) & bit != 0;
        }
        if !was_seen && self.noted.fetch_add(1, Ordering::Relaxed) >= self.bits.len() * 16 {
            self.noted.store(0, Ordering::Relaxed);
            self.bits.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        was_seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_remembered_until_there_was_too_much() {
        let seen = Doorkeeper::new(0);
        let scattered = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!(!seen.note(scattered(1)));
        assert!(seen.note(scattered(1)));
        let known = (0..100_000).filter(|number| seen.note(scattered(number + 10))).count();
        assert!(known < 30_000, "{known}");
        assert!(!seen.note(scattered(1)) || !seen.note(scattered(2)));
    }
}
