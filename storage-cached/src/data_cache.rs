//! Data in memory: what was loaded or looked for of late.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use parking_lot::Mutex;
use storage_core::Context;
use tokio::time::Instant;

use crate::shards::Budget;

/// Parts with a lock each.
const PARTS: usize = 64;

/// The part of all memory that data may take up, as a divisor; of that half may be keys that are not there, which
/// clients choose.
const SHARE: usize = 8;

/// About the bytes that an entry takes up beside its key and value.
const ENTRY_BYTES: usize = 160;

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is not there.
    Absent,
    /// It is there; its value was not loaded.
    Present,
    /// It has this value.
    Value(Bytes),
}

/// The key of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DataKey {
    pub(crate) context: Context,
    pub(crate) key: Bytes,
}

impl DataKey {
    pub(crate) fn new(context: &Context, key: &[u8]) -> Self {
        Self { context: context.clone(), key: Bytes::copy_from_slice(key) }
    }
}

/// What memory has of data.
pub(crate) struct DataCache {
    parts: Box<[Mutex<DataEntries>]>,
    hashes: RandomState,
    budget: Arc<Budget>,
    staleness: Duration,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Default)]
struct DataEntries {
    known: HashMap<DataKey, Entry>,
    /// Keys in the order in which they came, those that are there and those that are not by themselves.
    order: [VecDeque<DataKey>; 2],
    bytes: [usize; 2],
    /// Keys that are being looked up, and who waits for them.
    loading: HashMap<DataKey, Vec<oneshot::Sender<()>>>,
    /// Grows with each write: what was read before one is not kept after it.
    writes: u64,
}

struct Entry {
    known: Known,
    read: Instant,
}

/// What to do about a key.
pub(crate) enum DataLookup {
    /// This is known.
    Known(Known),
    /// Another call asks already: wait, and look again.
    Wait(oneshot::Receiver<()>),
    /// Ask, and tell.
    Ask(Asking),
}

/// Somebody asks for a key. Dropped, others ask themselves.
pub(crate) struct Asking {
    key: DataKey,
    writes: u64,
}

impl DataCache {
    pub(crate) fn new(budget: Arc<Budget>, staleness: Duration) -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hashes: RandomState::new(),
            budget,
            staleness,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Whether anything is kept.
    pub(crate) fn is_on(&self) -> bool {
        !self.staleness.is_zero()
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    fn part(&self, key: &DataKey) -> &Mutex<DataEntries> {
        &self.parts[self.hashes.hash_one(key) as usize % PARTS]
    }

    /// What is known of a key, no older than it may be. Its value is known only if that was loaded.
    pub(crate) fn look_up(&self, key: DataKey, needs_value: bool) -> DataLookup {
        let mut entries = self.part(&key).lock();
        let fits = |entry: &&Entry| {
            entry.read.elapsed() <= self.staleness && !(needs_value && entry.known == Known::Present)
        };
        if let Some(entry) = entries.known.get(&key).filter(fits) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return DataLookup::Known(entry.known.clone());
        }
        if let Some(waiters) = entries.loading.get_mut(&key) {
            let (waiter, told) = oneshot::channel();
            waiters.push(waiter);
            return DataLookup::Wait(told);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        entries.loading.insert(key.clone(), Vec::new());
        let writes = entries.writes;
        DataLookup::Ask(Asking { key, writes })
    }

    /// What is known of a key, however old, while nobody can be asked.
    pub(crate) fn look_up_any(&self, key: &DataKey, needs_value: bool) -> Option<Known> {
        let entries = self.part(key).lock();
        let known = entries.known.get(key).map(|entry| entry.known.clone());
        known.filter(|known| !(needs_value && *known == Known::Present))
    }

    /// The answer to what was asked; `None` if it failed.
    pub(crate) fn answered(&self, asking: Asking, known: Option<Known>) {
        let Asking { key, writes } = asking;
        let mut entries = self.part(&key).lock();
        // Waiters look again when their senders are dropped.
        drop(entries.loading.remove(&key));
        if let Some(known) = known.filter(|_| entries.writes == writes) {
            let (before, after) = entries.keep(key, known, self.budget.limit() / SHARE / PARTS);
            self.budget.change(before, after);
        }
    }

    /// These keys are being written, or were: what is known of them is known no longer.
    pub(crate) fn forget<'a>(&self, context: &Context, keys: impl Iterator<Item = &'a [u8]>) {
        for key in keys.map(|key| DataKey::new(context, key)) {
            let mut entries = self.part(&key).lock();
            entries.writes += 1;
            let (before, after) = entries.remove(&key);
            self.budget.change(before, after);
        }
    }

    /// Any key may have been written.
    pub(crate) fn forget_all(&self) {
        for part in &self.parts {
            let mut entries = part.lock();
            let before = entries.bytes.iter().sum();
            let loading = std::mem::take(&mut entries.loading);
            *entries = DataEntries { loading, writes: entries.writes + 1, ..DataEntries::default() };
            self.budget.change(before, 0);
        }
    }
}

impl DataEntries {
    /// Keeps what is known of a key, and lets go of the oldest until all has no more than `limit` bytes; the bytes
    /// before and after.
    fn keep(&mut self, key: DataKey, known: Known, limit: usize) -> (usize, usize) {
        let (before, _) = self.remove(&key);
        let kind = usize::from(known == Known::Absent);
        self.bytes[kind] += bytes_of(&key, &known);
        self.order[kind].push_back(key.clone());
        self.known.insert(key, Entry { known, read: Instant::now() });
        while self.bytes[1] > limit / 2 || self.bytes[0] + self.bytes[1] > limit {
            let kind = usize::from(self.bytes[1] > limit / 2 || self.order[0].is_empty());
            let Some(oldest) = self.order[kind].pop_front() else { break };
            // A key that is in the list twice, since it was removed and came again, leaves with its first place.
            self.forget_entry(&oldest);
        }
        if self.order.iter().map(VecDeque::len).sum::<usize>() > 2 * self.known.len() + 64 {
            self.compact();
        }
        (before, self.bytes.iter().sum())
    }

    /// Takes a key out; the bytes before and after.
    fn remove(&mut self, key: &DataKey) -> (usize, usize) {
        let before = self.bytes.iter().sum();
        self.forget_entry(key);
        (before, self.bytes.iter().sum())
    }

    fn forget_entry(&mut self, key: &DataKey) {
        if let Some(entry) = self.known.remove(key) {
            self.bytes[usize::from(entry.known == Known::Absent)] -= bytes_of(key, &entry.known);
        }
    }

    /// Leaves out the places of keys that are not there any more, or there again.
    fn compact(&mut self) {
        let mut met = HashSet::new();
        for (kind, order) in self.order.iter_mut().enumerate() {
            let is_of_kind = |key: &DataKey| {
                self.known.get(key).is_some_and(|entry| usize::from(entry.known == Known::Absent) == kind)
            };
            let mut kept: VecDeque<_> =
                order.drain(..).rev().filter(|key| is_of_kind(key) && met.insert(key.clone())).collect();
            kept.make_contiguous().reverse();
            *order = kept;
        }
    }
}

fn bytes_of(key: &DataKey, known: &Known) -> usize {
    let value = if let Known::Value(value) = known { value.len() } else { 0 };
    // The key is there three times at most: in the table, in the order, and while it is looked up.
    ENTRY_BYTES + 2 * (key.key.len() + key.context.as_str().len()) + value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(limit: usize) -> DataCache {
        DataCache::new(Arc::new(Budget::new(limit)), Duration::from_secs(1))
    }

    fn key(number: u32) -> DataKey {
        DataKey::new(&Context::new("MW").unwrap(), &number.to_be_bytes())
    }

    fn ask(cache: &DataCache, key: DataKey) -> Asking {
        match cache.look_up(key, true) {
            DataLookup::Ask(asking) => asking,
            DataLookup::Known(known) => panic!("{known:?} is known"),
            DataLookup::Wait(_) => panic!("somebody asks"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_is_known_for_a_while_and_without_the_backend_for_longer() {
        let cache = cache(1 << 20);
        let asking = ask(&cache, key(1));
        assert!(matches!(cache.look_up(key(1), true), DataLookup::Wait(_)));
        cache.answered(asking, Some(Known::Absent));
        assert!(matches!(cache.look_up(key(1), true), DataLookup::Known(Known::Absent)));
        tokio::time::advance(Duration::from_millis(1_001)).await;
        cache.answered(ask(&cache, key(1)), None);
        assert_eq!(cache.look_up_any(&key(1), true), Some(Known::Absent));
        assert_eq!(cache.look_up_any(&key(2), true), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_before_a_write_is_not_kept() {
        let cache = cache(1 << 20);
        let asking = ask(&cache, key(1));
        cache.forget(&Context::new("MW").unwrap(), [&1u32.to_be_bytes()[..]].into_iter());
        cache.answered(asking, Some(Known::Absent));
        assert_eq!(cache.look_up_any(&key(1), true), None);
    }

    #[tokio::test(start_paused = true)]
    async fn absent_keys_take_no_more_than_their_share() {
        let cache = cache(4 << 20);
        for number in 0..50_000 {
            let known = if number % 2 == 0 { Known::Absent } else { Known::Value(Bytes::from_static(b"1")) };
            cache.answered(ask(&cache, key(number)), Some(known));
        }
        assert!(cache.budget.used() <= (4 << 20) / SHARE, "{}", cache.budget.used());
        let kept = (0..50_000).filter(|number| cache.look_up_any(&key(*number), true).is_some());
        let (absent, present): (Vec<u32>, Vec<u32>) = kept.partition(|number| number % 2 == 0);
        assert!(present.len() >= absent.len() && !absent.is_empty(), "{} {}", present.len(), absent.len());
        cache.forget_all();
        assert_eq!(cache.budget.used(), 0);
    }
}
