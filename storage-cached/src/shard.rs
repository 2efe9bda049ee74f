//! A part of the swarms in memory, behind one lock: which of them are there, what of them waits for the backend, and
//! who waits for what.
//!
//! A shard makes no calls. It says what to read and what to write, and is told the answers; between the two anything
//! may happen to its swarms. Reads and writes of one shard never overlap: its [worker](crate::worker) sees to that.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use futures::channel::oneshot;
use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;
use storage_core::{
    Error, ErrorKind, InfoHash, Peer, PeerChange, PeerWrite, Result, SwarmSnapshot, Timestamp, Written,
};
use storage_swarms::CompactMap;

use crate::swarm::{CachedSwarm, Rules, WriteAnswer};

/// Milliseconds since the storage was opened.
pub(crate) type Millis = u32;

/// Swarms that one search for something to evict looks at.
const LOOKED_AT: usize = 64;

/// Swarms, and what waits.
pub(crate) struct SwarmShard {
    hashes: DefaultHashBuilder,
    swarms: CompactMap<InfoHash, CachedSwarm>,
    /// Swarms of which something is to be written, the oldest first.
    queue: VecDeque<QueuedSwarm>,
    /// Swarms that are to be read, and those that are being read.
    loads: HashMap<InfoHash, Load>,
    /// Those that are to be read, the first asked for first.
    to_load: VecDeque<InfoHash>,
    completions: VecDeque<Completion>,
    acknowledgements: Vec<Acknowledgement>,
    /// Bytes that the swarms own, beside the map.
    swarm_bytes: usize,
    /// Peers of which something is to be written.
    due: u64,
    /// Where the next search for something to evict begins.
    hand: usize,
    pub(crate) rules: Rules,
    pub(crate) counters: Counters,
    /// What the budget was told last.
    pub(crate) accounted: usize,
}

/// A swarm in the queue: its hash, which is enough to find it, and since when it waits.
#[derive(Clone, Copy)]
struct QueuedSwarm {
    hash: [u32; 2],
    since: Millis,
}

impl QueuedSwarm {
    fn new(hash: u64, since: Millis) -> Self {
        Self { hash: [(hash >> 32) as u32, hash as u32], since }
    }

    fn hash(self) -> u64 {
        u64::from(self.hash[0]) << 32 | u64::from(self.hash[1])
    }
}

/// A swarm that is read.
#[derive(Default)]
struct Load {
    waiters: Vec<oneshot::Sender<Result<()>>>,
    /// Whether the backend has been asked.
    is_sent: bool,
    /// Whether what it answers is too old: the swarm has been changed there meanwhile.
    is_outdated: bool,
}

/// A client that has everything, of which the backend is still to be told.
pub(crate) struct Completion {
    pub(crate) info_hash: InfoHash,
    pub(crate) peers: SmallVec<[Peer; 1]>,
    pub(crate) announced: Timestamp,
    /// Writes that must be made before.
    pub(crate) before_it: SmallVec<[PeerWrite; 1]>,
    pub(crate) since: Millis,
    /// Whether the backend was told before, and its answer was lost.
    pub(crate) is_repeated: bool,
    /// Who waits for the answer: whether it was a download.
    pub(crate) waiter: Option<oneshot::Sender<Result<bool>>>,
}

/// Somebody who waits until a peer is stored.
struct Acknowledgement {
    info_hash: InfoHash,
    peer: Peer,
    waiter: oneshot::Sender<Result<()>>,
}

/// What has happened since the storage was opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) evicted: u64,
    /// Peers that the backend refused for good.
    pub(crate) rejected: u64,
    /// Peers that were not kept, since there was no memory.
    pub(crate) not_kept: u64,
}

/// What to do with a call for a swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SwarmPresence {
    /// Memory answers.
    Ready,
    /// It must be read first, unless the backend is away.
    Unread,
    /// The backend answers; whether something is to be written before.
    TooLarge { is_due: bool },
}

/// Writes of a shard that are sent together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TakenWrites {
    /// How many swarms at the front of the queue have nothing left to be taken.
    swarms: usize,
}

impl SwarmShard {
    pub(crate) fn new(hashes: DefaultHashBuilder, rules: Rules) -> Self {
        Self {
            swarms: CompactMap::with_hashes(hashes.clone()),
            hashes,
            queue: VecDeque::new(),
            loads: HashMap::new(),
            to_load: VecDeque::new(),
            completions: VecDeque::new(),
            acknowledgements: Vec::new(),
            swarm_bytes: 0,
            due: 0,
            hand: 0,
            rules,
            counters: Counters::default(),
            accounted: 0,
        }
    }

    /// The bytes that it takes up.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.swarms.heap_bytes()
            + self.swarm_bytes
            + self.queue.capacity() * size_of::<QueuedSwarm>()
            + self.completions.capacity() * size_of::<Completion>()
            + self.loads.capacity() * (size_of::<InfoHash>() + size_of::<Load>() + 1)
            + self.to_load.capacity() * size_of::<InfoHash>()
    }

    pub(crate) fn swarms(&self) -> usize {
        self.swarms.len()
    }

    pub(crate) fn get(&self, hash: u64, info_hash: &InfoHash) -> Option<&CachedSwarm> {
        self.swarms.get(hash, info_hash)
    }

    pub(crate) fn presence(&self, hash: u64, info_hash: &InfoHash) -> SwarmPresence {
        match self.get(hash, info_hash) {
            Some(swarm) if swarm.is_too_large() => {
                SwarmPresence::TooLarge { is_due: swarm.due() > 0 || swarm.completions > 0 }
            }
            Some(swarm) if swarm.is_known() && !swarm.is_unread() => SwarmPresence::Ready,
            _ => SwarmPresence::Unread,
        }
    }

    /// Changes a swarm that is there.
    pub(crate) fn change<T>(
        &mut self,
        hash: u64,
        info_hash: &InfoHash,
        now: Millis,
        change: impl FnOnce(&mut CachedSwarm, &Rules) -> T,
    ) -> Option<T> {
        let Self { hashes, swarms, queue, swarm_bytes, due, rules, .. } = self;
        let swarm = swarms.get_mut(hash, info_hash)?;
        let (bytes_before, due_before) = (swarm.heap_bytes(), swarm.due());
        let changed = change(swarm, rules);
        *swarm_bytes = *swarm_bytes + swarm.heap_bytes() - bytes_before;
        *due = *due + u64::from(swarm.due()) - u64::from(due_before);
        if swarm.due() > 0 && !swarm.is_queued() {
            swarm.set_queued(true);
            queue.push_back(QueuedSwarm::new(hashes.hash_one(info_hash), now));
        }
        Some(changed)
    }

    /// Changes all swarms.
    fn change_all(&mut self, now: Millis, change: impl Fn(&mut CachedSwarm, &Rules)) {
        for position in 0..self.swarms.len() {
            let Some((info_hash, _)) = self.swarms.entry_at(position) else { break };
            let info_hash = *info_hash;
            self.change(self.hashes.hash_one(info_hash), &info_hash, now, &change);
        }
    }

    /// Makes sure that there is a swarm to write to while the backend is away: one of which nothing is known begins
    /// empty.
    pub(crate) fn begin_unread(&mut self, hash: u64, info_hash: &InfoHash) {
        match self.swarms.get_mut(hash, info_hash) {
            Some(swarm) if swarm.is_too_large() => swarm.begin_unread(),
            Some(_) => {}
            None => *self.swarms.get_or_default(hash, info_hash) = CachedSwarm::unread(),
        }
    }

    // Loads.

    /// Asks for a swarm to be read; the answer comes when it is there.
    pub(crate) fn load(&mut self, info_hash: &InfoHash) -> oneshot::Receiver<Result<()>> {
        let (waiter, loaded) = oneshot::channel();
        self.want(info_hash).waiters.push(waiter);
        loaded
    }

    fn want(&mut self, info_hash: &InfoHash) -> &mut Load {
        self.loads.entry(*info_hash).or_insert_with(|| {
            self.to_load.push_back(*info_hash);
            Load::default()
        })
    }

    /// Asks for a swarm to be read again if it is to be.
    fn want_if_unread(&mut self, hash: u64, info_hash: &InfoHash) {
        if self.get(hash, info_hash).is_some_and(CachedSwarm::is_unread) {
            self.want(info_hash);
        }
    }

    /// Asks for all swarms to be read that are there and unread.
    pub(crate) fn load_unread(&mut self) {
        let unread: Vec<_> = self
            .swarms
            .iter()
            .filter(|(_, swarm)| swarm.is_unread())
            .map(|(info_hash, _)| *info_hash)
            .collect();
        for info_hash in unread {
            self.want(&info_hash);
        }
    }

    /// Asks for a swarm to be read unless it is there.
    pub(crate) fn preload(
        &mut self,
        hash: u64,
        info_hash: &InfoHash,
    ) -> Option<oneshot::Receiver<Result<()>>> {
        self.get(hash, info_hash).is_none().then(|| self.load(info_hash))
    }

    /// Swarms to read now, up to this many in all.
    pub(crate) fn take_loads(&mut self, limit: usize, info_hashes: &mut Vec<InfoHash>) {
        while info_hashes.len() < limit {
            let Some(info_hash) = self.to_load.pop_front() else { break };
            if let Some(load) = self.loads.get_mut(&info_hash) {
                (load.is_sent, load.is_outdated) = (true, false);
                if let Some(swarm) = self.swarms.get_mut(self.hashes.hash_one(info_hash), &info_hash) {
                    swarm.begin_read();
                }
                info_hashes.push(info_hash);
            }
        }
        if self.to_load.is_empty() && self.to_load.capacity() > 64 {
            self.to_load = VecDeque::new();
        }
    }

    /// What the backend has of a swarm.
    pub(crate) fn loaded(&mut self, hash: u64, snapshot: &SwarmSnapshot, now: Millis, restores: bool) {
        let info_hash = &snapshot.info_hash;
        if let Some(load) = self.loads.get_mut(info_hash).filter(|load| load.is_outdated) {
            load.is_sent = false;
            self.to_load.push_back(*info_hash);
            return;
        }
        self.counters.misses += 1;
        self.swarms.get_or_default(hash, info_hash);
        self.change(hash, info_hash, now, |swarm, rules| swarm.merge(snapshot, rules, restores));
        self.end_load(info_hash, || Ok(()));
        self.acknowledge_stored();
    }

    /// A swarm could not be read.
    pub(crate) fn not_loaded(&mut self, info_hash: &InfoHash, error: &Error) {
        self.end_load(info_hash, || Err(error.copy()));
    }

    /// The backend is away: nobody waits for swarms that were not asked for yet.
    pub(crate) fn give_up_loads(&mut self, error: &Error) {
        while let Some(info_hash) = self.to_load.pop_front() {
            self.not_loaded(&info_hash, error);
        }
    }

    fn end_load(&mut self, info_hash: &InfoHash, result: impl Fn() -> Result<()>) {
        for waiter in self.loads.remove(info_hash).into_iter().flat_map(|load| load.waiters) {
            // Who has given up does not hear of it.
            let _ = waiter.send(result());
        }
        if self.loads.is_empty() && self.loads.capacity() > 64 {
            self.loads = HashMap::new();
        }
    }

    /// The backend has something else of a swarm: it is read again before it is relied upon.
    pub(crate) fn outdate(&mut self, hash: u64, info_hash: &InfoHash) {
        if let Some(load) = self.loads.get_mut(info_hash) {
            load.is_outdated = load.is_sent;
        }
        if let Some(swarm) = self.swarms.get_mut(hash, info_hash) {
            swarm.mark_unread();
        }
    }

    /// The same of all swarms.
    pub(crate) fn outdate_all(&mut self) {
        for position in 0..self.swarms.len() {
            if let Some((_, swarm)) = self.swarms.entry_at_mut(position) {
                swarm.mark_unread();
            }
        }
    }

    /// The backend has forgotten a swarm: what came before is gone.
    pub(crate) fn forget(&mut self, hash: u64, info_hash: &InfoHash, downloads: bool, now: Millis) {
        self.change(hash, info_hash, now, |swarm, _| swarm.forget(downloads));
    }

    // Writes.

    /// Since when the oldest change waits; completions are counted by [`oldest_completion`](Self::oldest_completion).
    pub(crate) fn oldest_due(&mut self) -> Option<Millis> {
        while let Some(front) = self.queue.front().copied() {
            match queued_swarm(&mut self.swarms, front) {
                Some((_, swarm)) if swarm.due() > 0 => return Some(front.since),
                Some((_, swarm)) => swarm.set_queued(false),
                None => {}
            }
            self.queue.pop_front();
        }
        None
    }

    /// Since when the oldest completion waits.
    pub(crate) fn oldest_completion(&self) -> Option<Millis> {
        self.completions.front().map(|completion| completion.since)
    }

    /// How many changes and completions wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.due + self.completions.len() as u64
    }

    /// Takes what has waited since `until` or before, up to this many writes in all. Swarms with completions that
    /// wait are passed over.
    pub(crate) fn take_due(
        &mut self,
        until: Millis,
        limit: usize,
        writes: &mut Vec<PeerWrite>,
    ) -> TakenWrites {
        let mut taken = TakenWrites::default();
        while let Some(queued) = self.queue.get(taken.swarms).copied() {
            if queued.since > until || writes.len() >= limit {
                break;
            }
            if let Some((info_hash, swarm)) = queued_swarm(&mut self.swarms, queued)
                && swarm.completions == 0
                && !swarm.take_due(info_hash, limit, writes)
            {
                break;
            }
            taken.swarms += 1;
        }
        taken
    }

    /// Takes what is to be written of one swarm, up to this many writes.
    pub(crate) fn take_due_of(
        &mut self,
        hash: u64,
        info_hash: &InfoHash,
        limit: usize,
        writes: &mut Vec<PeerWrite>,
    ) -> TakenWrites {
        if let Some(swarm) = self.swarms.get_mut(hash, info_hash).filter(|swarm| swarm.completions == 0) {
            swarm.take_due(info_hash, limit, writes);
        }
        TakenWrites::default()
    }

    /// What became of the writes that were taken at `taken_at`.
    pub(crate) fn answered(
        &mut self,
        taken: TakenWrites,
        answers: &[(u64, PeerWrite, Result<Written>)],
        taken_at: Millis,
    ) {
        let mut has_failed = false;
        for (hash, write, result) in answers {
            let answer = answer_of(result);
            has_failed |= answer == WriteAnswer::Failed;
            if let (WriteAnswer::Rejected, Err(error)) = (answer, result) {
                self.counters.rejected += 1;
                self.acknowledge(
                    |one| one.info_hash == write.info_hash && one.peer == write.peer,
                    || Err(error.copy()),
                );
            }
            self.change(*hash, &write.info_hash, taken_at, |swarm, rules| {
                swarm.answered(write, answer);
                swarm.give_up_if_too_large(rules);
            });
            self.want_if_unread(*hash, &write.info_hash);
        }
        let mut failed = Vec::new();
        for _ in 0..taken.swarms {
            let Some(queued) = self.queue.pop_front() else { break };
            let Some((_, swarm)) = queued_swarm(&mut self.swarms, queued) else { continue };
            if swarm.due() == 0 {
                swarm.set_queued(false);
            } else if has_failed || swarm.completions > 0 {
                failed.push(queued);
            } else {
                // It has changed since.
                self.queue.push_back(QueuedSwarm::new(queued.hash(), taken_at));
            }
        }
        failed.into_iter().rev().for_each(|queued| self.queue.push_front(queued));
        if self.queue.is_empty() && self.queue.capacity() > 1_024 {
            self.queue = VecDeque::new();
        }
        self.acknowledge_stored();
    }

    /// Waits until the backend has a peer.
    pub(crate) fn when_stored(&mut self, info_hash: &InfoHash, peer: &Peer) -> oneshot::Receiver<Result<()>> {
        let (waiter, stored) = oneshot::channel();
        self.acknowledgements.push(Acknowledgement { info_hash: *info_hash, peer: *peer, waiter });
        stored
    }

    /// Answers those whose peers wait for nothing any more.
    fn acknowledge_stored(&mut self) {
        if self.acknowledgements.is_empty() {
            return;
        }
        let Self { hashes, swarms, acknowledgements, .. } = self;
        let is_stored = |one: &Acknowledgement| {
            let swarm = swarms.get(hashes.hash_one(one.info_hash), &one.info_hash);
            swarm.is_none_or(|swarm| !swarm.is_waiting(&one.peer))
        };
        for one in acknowledgements.extract_if(.., |one| is_stored(one)) {
            let _ = one.waiter.send(Ok(()));
        }
    }

    fn acknowledge(&mut self, is_meant: impl Fn(&Acknowledgement) -> bool, result: impl Fn() -> Result<()>) {
        for one in self.acknowledgements.extract_if(.., |one| is_meant(one)) {
            let _ = one.waiter.send(result());
        }
    }

    /// Nobody waits any longer for what is stored later.
    pub(crate) fn give_up_acknowledgements(&mut self, error: &Error) {
        self.acknowledge(|_| true, || Err(error.copy()));
        for completion in &mut self.completions {
            if let Some(waiter) = completion.waiter.take() {
                let _ = waiter.send(Err(error.copy()));
            }
        }
    }

    // Completions.

    /// Queues a completion, which the swarm already shows.
    pub(crate) fn complete(&mut self, hash: u64, completion: Completion) {
        if let Some(swarm) = self.swarms.get_mut(hash, &completion.info_hash) {
            swarm.completions = swarm.completions.saturating_add(1);
        }
        self.completions.push_back(completion);
    }

    /// The completions that are to be made, up to this many.
    pub(crate) fn pending_completions(&self, limit: usize) -> impl Iterator<Item = &Completion> {
        self.completions.iter().take(limit)
    }

    /// What became of the first of them; how many need not be made again.
    pub(crate) fn completed(&mut self, results: Vec<(u64, Result<Written>)>, now: Millis) -> usize {
        let (mut failed, mut settled) = (Vec::new(), 0);
        for (hash, result) in results {
            let Some(completion) = self.completions.pop_front() else { break };
            let answer = answer_of(&result);
            if answer == WriteAnswer::Failed {
                failed.push(Completion { is_repeated: true, ..completion });
                continue;
            }
            settled += 1;
            if answer == WriteAnswer::Rejected {
                self.counters.rejected += 1;
            }
            let Completion { info_hash, peers, announced, is_repeated, waiter, .. } = completion;
            let is_download = matches!(result, Ok(Written::Download));
            self.change(hash, &info_hash, now, |swarm, _| {
                swarm.completions = swarm.completions.saturating_sub(1);
                swarm.downloads = swarm.downloads.saturating_add(u64::from(is_download));
                for peer in peers {
                    let write = PeerWrite { info_hash, peer, change: PeerChange::Graduate, announced };
                    swarm.answered(&write, answer);
                }
                if is_repeated {
                    // Whether it was counted the first time is known to the backend alone.
                    swarm.mark_unread();
                }
            });
            self.want_if_unread(hash, &info_hash);
            if let Some(waiter) = waiter {
                let _ = waiter.send(result.map(|written| written == Written::Download));
            }
        }
        failed.into_iter().rev().for_each(|completion| self.completions.push_front(completion));
        self.acknowledge_stored();
        settled
    }

    // Memory.

    /// Looks for swarms that were not used of late and lets go of them; the bytes that this frees.
    pub(crate) fn evict(&mut self, now: Millis) -> usize {
        let before = self.bytes();
        for _ in 0..LOOKED_AT {
            if self.hand >= self.swarms.len() {
                self.hand = 0;
            }
            let Some((info_hash, swarm)) = self.swarms.entry_at_mut(self.hand) else { break };
            let is_busy = swarm.due() > 0 || swarm.completions > 0 || self.loads.contains_key(info_hash);
            if swarm.take_used() || is_busy || swarm.is_too_large() {
                self.hand += 1;
            } else if swarm.is_clean() {
                self.remove_at(self.hand);
                self.counters.evicted += 1;
            } else {
                // Its times are to be stored first.
                let info_hash = *info_hash;
                let hash = self.hashes.hash_one(info_hash);
                self.change(hash, &info_hash, now, |swarm, _| swarm.mark_due(u32::MAX));
                self.hand += 1;
            }
        }
        before.saturating_sub(self.bytes())
    }

    /// Forgets which swarms are too large for memory unless they were used of late: they may have shrunk.
    pub(crate) fn expire_large(&mut self) {
        for position in (0..self.swarms.len()).rev() {
            let entry = self.swarms.entry_at_mut(position);
            let is_expired = entry
                .is_some_and(|(_, swarm)| swarm.is_too_large() && !swarm.take_used() && swarm.is_clean());
            if is_expired {
                self.remove_at(position);
            }
        }
    }

    /// Lets go of a swarm if nothing of it waits.
    pub(crate) fn drop_clean(&mut self, hash: u64, info_hash: &InfoHash) {
        let is_meant = |held: &InfoHash, swarm: &CachedSwarm| held == info_hash && swarm.is_clean();
        if let Some(position) = self.swarms.find_by_hash(hash, is_meant) {
            self.remove_at(position);
        }
    }

    fn remove_at(&mut self, position: usize) {
        if let Some((_, swarm)) = self.swarms.remove_at(position) {
            self.swarm_bytes -= swarm.heap_bytes();
        }
    }

    // Times.

    /// The times of those peers become due whose stored time, in seconds, is no later than this.
    pub(crate) fn mark_due(&mut self, stored_until: u32, now: Millis) {
        self.change_all(now, |swarm, _| swarm.mark_due(stored_until));
    }

    /// Peers whose stored time is no later than this, in seconds, may soon be collected: those that announced since
    /// become due, and those that announce from now on are written anew.
    pub(crate) fn begin_collection(&mut self, cutoff_seconds: u32, now: Millis) {
        self.rules.collected = self.rules.collected.max(Some(cutoff_seconds));
        self.mark_due(cutoff_seconds, now);
    }

    /// Takes out the peers that the backend has collected.
    pub(crate) fn collect(&mut self, cutoff: Timestamp, now: Millis) {
        self.change_all(now, |swarm, _| swarm.collect(cutoff));
    }
}

/// The swarm that waits in the queue, if it is still there.
fn queued_swarm(
    swarms: &mut CompactMap<InfoHash, CachedSwarm>,
    queued: QueuedSwarm,
) -> Option<(&InfoHash, &mut CachedSwarm)> {
    let position = swarms.find_by_hash(queued.hash(), |_, swarm| swarm.is_queued())?;
    swarms.entry_at_mut(position)
}

fn answer_of(result: &Result<Written>) -> WriteAnswer {
    match result {
        Ok(Written::Applied | Written::Download) => WriteAnswer::Stored,
        Ok(_) => WriteAnswer::Unchanged,
        Err(error) if error.is_retryable() || error.kind() == ErrorKind::Closed => WriteAnswer::Failed,
        Err(_) => WriteAnswer::Rejected,
    }
}
