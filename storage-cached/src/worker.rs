//! Workers: each reads and writes the swarms of its shards, one call after the other, so that reads and writes of one
//! swarm never overlap.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use storage_core::layer::deadline;
use storage_core::{
    Capability, DownloadsRecord, Error, ErrorKind, InfoHash, Operation, PeerChange, PeerWrite, Result,
    Storage, TaskSpawner, When, Written,
};
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::{Instant, sleep, timeout_at};

use crate::NAME;
use crate::cached_peer::seconds;
use crate::shard::{Completion, Millis, SwarmShard, TakenWrites};
use crate::shared::Shared;
use crate::storage::probe_if_away;
use crate::swarm::{CachedSwarm, Rules};

/// Workers; each has one call of the backend under way.
pub(crate) const WORKERS: usize = 4;

/// Writes of one call.
const WRITES: usize = 1_024;

/// Swarms that are read in one call.
const LOADS: usize = 64;

/// Completions of one call.
const COMPLETIONS: usize = 256;

/// Workers look at least so often whether something is due.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// What belongs to a worker.
#[derive(Default)]
pub(crate) struct Worker {
    /// Held while the backend is called for a shard of this worker.
    calls: Mutex<()>,
    /// Something is to be done at once.
    wake: Notify,
    /// Something was done: there may be room, and less waits.
    progress: Notify,
}

impl Worker {
    /// There is something to do.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends after the worker's next step, or soon if it has nothing to do.
    pub(crate) async fn progress(&self) {
        let progress = self.progress.notified();
        self.wake.notify_one();
        progress.await;
    }
}

/// Writes that are sent together, and where they were taken from.
#[derive(Default)]
struct FlushBatch {
    writes: Vec<PeerWrite>,
    parts: Vec<FlushPart>,
}

/// The writes of a shard.
struct FlushPart {
    shard: usize,
    taken: TakenWrites,
    end: usize,
}

/// What is flushed.
#[derive(Clone, Copy)]
enum FlushScope<'a> {
    /// What has waited since then, or longer.
    Until(Millis),
    /// One swarm.
    Swarm(u64, &'a InfoHash),
}

impl<S: Storage + ?Sized + 'static> Shared<S> {
    /// Does the work of a worker until it is time to stop, and then writes what is left.
    pub(crate) async fn work(self: Arc<Self>, index: usize, tasks: TaskSpawner) {
        let worker = &self.workers[index];
        let (mut next_look, mut next_expiry) = (Instant::now(), Instant::now());
        while tasks.stopped().now_or_never().is_none() {
            let now = Instant::now();
            if now >= next_look {
                next_look = now + self.look_interval();
                self.look_at_times(index);
            }
            if now >= next_expiry {
                next_expiry = now + Duration::from_secs(60);
                self.for_each_shard(index, |shard| shard.expire_large());
            }
            let has_worked = {
                let _lock = worker.calls.lock().await;
                self.step(index).await
            };
            worker.progress.notify_waiters();
            if !has_worked {
                tokio::select! {
                    () = tasks.stopped() => break,
                    () = worker.wake.notified() => {}
                    () = sleep(LONGEST_WAIT.min(self.config.flush_interval)) => {}
                }
            }
        }
        while let Err(error) = self.flush_worker(index).await {
            tracing::debug!(backend = NAME, %error, "what waits cannot be written yet");
            sleep(LONGEST_WAIT).await;
            probe_if_away(&self).await;
        }
    }

    /// Reads, completes, and writes what is due; whether there was anything to do.
    async fn step(&self, index: usize) -> bool {
        if self.state.is_away() {
            self.give_up_waiters(index);
            return false;
        }
        let mut has_worked = self.load(index).await;
        has_worked |= self.complete(index).await > 0;
        if let Some(until) = self.due_until() {
            has_worked |= self.flush(index, FlushScope::Until(until)).await.is_ok_and(|written| written > 0);
        }
        self.note_oldest(index);
        if self.budget.is_tight() {
            self.evict(index);
        }
        has_worked
    }

    /// Nobody waits for a backend that is away.
    fn give_up_waiters(&self, index: usize) {
        let unread = Error::new(NAME, Operation::ReadSwarms, ErrorKind::Unavailable)
            .with_message("the backend does not respond");
        let uncertain = Error::new(NAME, Operation::PutPeer, ErrorKind::Uncertain)
            .with_message("the backend stopped responding");
        self.for_each_shard(index, |shard| {
            shard.give_up_loads(&unread);
            shard.give_up_acknowledgements(&uncertain);
        });
        self.note_oldest(index);
    }

    /// What has waited since then, or longer, is to be written now.
    fn due_until(&self) -> Option<Millis> {
        if self.acknowledges_when_stored() {
            return Some(self.now());
        }
        let interval = Millis::try_from(self.config.flush_interval.as_millis()).unwrap_or(Millis::MAX);
        self.now().checked_sub(interval)
    }

    fn look_interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.stored_age) / 16)
            .clamp(Duration::from_secs(1), Duration::from_secs(30))
    }

    /// Times that have become too old at the backend become due.
    fn look_at_times(&self, index: usize) {
        let until = seconds(self.backend.now()).saturating_sub(self.stored_age);
        let now = self.now();
        self.for_each_shard(index, |shard| shard.mark_due(until, now));
    }

    fn shards_of(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        (index..self.shards.count()).step_by(WORKERS)
    }

    fn for_each_shard(&self, index: usize, mut each: impl FnMut(&mut SwarmShard)) {
        for shard in self.shards_of(index) {
            each(&mut self.shards.lock_at(shard));
        }
    }

    fn evict(&self, index: usize) {
        let now = self.now();
        for shard in self.shards_of(index) {
            if !self.budget.is_tight() {
                break;
            }
            self.shards.lock_at(shard).evict(now);
        }
    }

    /// Tells announces since when the oldest change of this worker waits.
    fn note_oldest(&self, index: usize) {
        let mut oldest = Millis::MAX;
        self.for_each_shard(index, |shard| oldest = oldest.min(shard.oldest_due().unwrap_or(Millis::MAX)));
        self.oldest[index].store(oldest, std::sync::atomic::Ordering::Relaxed);
    }

    /// Reads swarms that somebody waits for; whether there were any.
    async fn load(&self, index: usize) -> bool {
        let mut info_hashes = Vec::new();
        self.for_each_shard(index, |shard| shard.take_loads(LOADS, &mut info_hashes));
        if info_hashes.is_empty() {
            return false;
        }
        if !self.budget.has_room() {
            self.evict(index);
        }
        let reading = self.backend.read_swarms(&info_hashes, self.max_peers);
        match self.state.timed(reading).await {
            Ok(snapshots) => {
                let mut lost = Vec::new();
                for snapshot in &snapshots {
                    let hash = self.shards.hash(&snapshot.info_hash);
                    let mut shard = self.shards.lock(hash);
                    if self.config.restore_lost {
                        let known = shard.get(hash, &snapshot.info_hash).map_or(0, |swarm| swarm.downloads);
                        if known > snapshot.counts.downloads {
                            lost.push(DownloadsRecord { info_hash: snapshot.info_hash, downloads: known });
                        }
                    }
                    shard.loaded(hash, snapshot, self.now(), self.config.restore_lost);
                }
                self.restore_downloads(&lost).await;
                self.leave_out_first_sights(&info_hashes);
            }
            Err(error) => {
                self.state.failed(&error);
                for info_hash in &info_hashes {
                    self.shards.lock(self.shards.hash(info_hash)).not_loaded(info_hash, &error);
                }
            }
        }
        true
    }

    /// A backend that has lost downloads gets those that memory knows.
    async fn restore_downloads(&self, lost: &[DownloadsRecord]) {
        if lost.is_empty() || !self.backend.missing_capabilities().has(Capability::ImportDownloads) {
            return;
        }
        if let Err(error) = self.backend.import_downloads(lost).await {
            self.state.failed(&error);
            tracing::warn!(backend = NAME, ?error, swarms = lost.len(), "downloads were not restored");
        }
        for record in lost {
            let hash = self.shards.hash(&record.info_hash);
            self.shards.lock(hash).outdate(hash, &record.info_hash);
        }
    }

    /// While memory is short, a swarm stays that somebody asked for before, or that something is to be written of.
    fn leave_out_first_sights(&self, info_hashes: &[InfoHash]) {
        for info_hash in info_hashes {
            let hash = self.shards.hash(info_hash);
            if !self.shards.was_seen(hash) && self.budget.is_tight() {
                self.first_sights.lock().push(*info_hash);
            }
        }
    }

    /// Lets go of what was asked for once.
    pub(crate) fn drop_first_sights(&self) {
        let info_hashes = std::mem::take(&mut *self.first_sights.lock());
        for info_hash in info_hashes {
            let hash = self.shards.hash(&info_hash);
            self.shards.lock(hash).drop_clean(hash, &info_hash);
        }
    }

    /// Tells the backend of clients that have everything; of how many it has heard.
    async fn complete(&self, index: usize) -> usize {
        let (mut completions, mut writes, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for shard in self.shards_of(index) {
            let before = completions.len();
            for completion in self.shards.lock_at(shard).pending_completions(COMPLETIONS - before) {
                let Completion { info_hash, peers, announced, before_it, .. } = completion;
                writes.extend_from_slice(before_it);
                let mut place = None;
                if let [peer] = peers[..] {
                    place = Some(writes.len());
                    let change = PeerChange::Graduate;
                    writes.push(PeerWrite { info_hash: *info_hash, peer, change, announced: *announced });
                }
                completions.push((*info_hash, peers.clone(), *announced, place));
            }
            if completions.len() > before {
                parts.push((shard, completions.len() - before));
            }
        }
        let written = match &writes[..] {
            [] => Vec::new(),
            writes => self.state.timed(self.backend.write_peers(writes)).await,
        };
        let mut results = Vec::with_capacity(completions.len());
        for (info_hash, peers, announced, place) in &completions {
            let result = match place.and_then(|place| written.get(place)) {
                Some(Ok(written)) => Ok(*written),
                Some(Err(error)) => Err(error.copy()),
                // The addresses of one client are one download.
                None => {
                    let call = self.backend.graduate_peers(info_hash, peers, When::At(*announced));
                    let result = self.state.timed(call).await;
                    result.map(|is_download| if is_download { Written::Download } else { Written::Applied })
                }
            };
            if let Err(error) = &result {
                self.note_failure(error);
            }
            results.push((self.shards.hash(info_hash), result));
        }
        let (mut settled, mut results) = (0, results.into_iter());
        for (shard, count) in parts {
            let of_shard = results.by_ref().take(count).collect();
            settled += self.shards.lock_at(shard).completed(of_shard, self.now());
        }
        settled
    }

    fn note_failure(&self, error: &Error) {
        if !self.state.failed(error) && !error.is_retryable() {
            tracing::warn!(backend = NAME, ?error, "the backend refused a peer, which is forgotten");
        }
    }

    /// Writes once what is to be written; how many writes were made.
    ///
    /// # Errors
    /// The first that leaves a write to be made again.
    async fn flush(&self, index: usize, scope: FlushScope<'_>) -> Result<usize> {
        let taken_at = self.now();
        let batch = self.take(index, scope);
        if batch.writes.is_empty() {
            self.answer(batch, Vec::new(), taken_at);
            return Ok(0);
        }
        let count = batch.writes.len();
        let results = self.write(&batch.writes).await;
        let failed = results.iter().filter_map(|result| result.as_ref().err());
        let mut first_failed = None;
        for error in failed {
            self.note_failure(error);
            if error.is_retryable() || error.kind() == ErrorKind::Closed {
                first_failed.get_or_insert_with(|| error.copy());
            }
        }
        self.answer(batch, results, taken_at);
        match first_failed {
            Some(error) => Err(error),
            None => Ok(count),
        }
    }

    fn take(&self, index: usize, scope: FlushScope<'_>) -> FlushBatch {
        let mut batch = FlushBatch::default();
        let mut take = |shard: usize| {
            let mut locked = self.shards.lock_at(shard);
            let taken = match scope {
                FlushScope::Until(until) => locked.take_due(until, WRITES, &mut batch.writes),
                FlushScope::Swarm(hash, info_hash) => {
                    locked.take_due_of(hash, info_hash, WRITES, &mut batch.writes)
                }
            };
            batch.parts.push(FlushPart { shard, taken, end: batch.writes.len() });
        };
        match scope {
            FlushScope::Swarm(hash, _) => take(self.shards.index(hash)),
            FlushScope::Until(until) => {
                let since = |shard| self.shards.lock_at(shard).oldest_due();
                let mut order: Vec<_> =
                    self.shards_of(index).filter_map(|shard| Some((since(shard)?, shard))).collect();
                order.retain(|(since, _)| *since <= until);
                order.sort_unstable();
                order.into_iter().for_each(|(_, shard)| take(shard));
            }
        }
        batch
    }

    /// Makes writes. Where the backend refuses all of a batch, its halves are tried, down to the one it refuses.
    async fn write(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        let mut results: Vec<_> = writes.iter().map(|_| Ok(Written::Unchanged)).collect();
        let mut parts = vec![(0, writes.len())];
        while let Some((begin, end)) = parts.pop() {
            let written = self.state.timed(self.backend.write_peers(&writes[begin..end])).await;
            let is_refused =
                |result: &Result<Written>| result.as_ref().is_err_and(|error| !error.is_retryable());
            if end - begin > 1 && written.iter().all(is_refused) {
                let half = begin.midpoint(end);
                parts.extend([(begin, half), (half, end)]);
                continue;
            }
            for (place, result) in (begin..end).zip(written) {
                results[place] = result;
            }
        }
        results
    }

    fn answer(&self, batch: FlushBatch, results: Vec<Result<Written>>, taken_at: Millis) {
        let answered = batch.writes.into_iter().zip(results);
        let mut answered =
            answered.map(|(write, result)| (self.shards.hash(&write.info_hash), write, result));
        let mut begin = 0;
        for FlushPart { shard, taken, end } in batch.parts {
            let answers: Vec<_> = answered.by_ref().take(end - begin).collect();
            begin = end;
            self.shards.lock_at(shard).answered(taken, &answers, taken_at);
        }
    }

    /// Waits until the backend is called for nothing else of a worker.
    async fn lock_calls(&self, index: usize, operation: Operation) -> Result<MutexGuard<'_, ()>> {
        let lock = timeout_at(deadline(operation), self.workers[index].calls.lock()).await;
        lock.map_err(|_| {
            let error = Error::new(NAME, operation, ErrorKind::Timeout);
            error.with_message("other calls of the backend did not end in time")
        })
    }

    /// Locks the calls of the worker that a swarm belongs to, once nothing of the swarm waits, and the storage inside has
    /// every time.
    pub(crate) async fn lock_after_flush(
        &self,
        operation: Operation,
        info_hash: &InfoHash,
    ) -> Result<MutexGuard<'_, ()>> {
        self.lock_after_flushes(operation, std::slice::from_ref(info_hash)).await
    }

    /// The same for swarms of one worker.
    pub(crate) async fn lock_after_flushes(
        &self,
        operation: Operation,
        info_hashes: &[InfoHash],
    ) -> Result<MutexGuard<'_, ()>> {
        let index = info_hashes.first().map_or(0, |info_hash| self.worker_of(info_hash));
        let lock = self.lock_calls(index, operation).await?;
        if self.state.is_away() {
            return Err(self.away(operation));
        }
        while self.complete(index).await > 0 {}
        for info_hash in info_hashes {
            let hash = self.shards.hash(info_hash);
            let all_times = |swarm: &mut CachedSwarm, _: &Rules| swarm.mark_due(u32::MAX);
            self.shards.lock(hash).change(hash, info_hash, self.now(), all_times);
            let scope = FlushScope::Swarm(hash, info_hash);
            while self.flush(index, scope).await.map_err(|error| error.of(operation))? > 0 {}
        }
        Ok(lock)
    }

    /// Swarms by the worker that they belong to.
    pub(crate) fn by_worker(&self, info_hashes: &[InfoHash]) -> Vec<Vec<InfoHash>> {
        let mut parts = vec![Vec::new(); WORKERS];
        for info_hash in info_hashes {
            parts[self.worker_of(info_hash)].push(*info_hash);
        }
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// Writes everything that waits by now.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) while the backend is away, or what a write failed with that is to be
    /// made again.
    pub(crate) async fn flush_all(&self, operation: Operation) -> Result<()> {
        if self.state.is_away() {
            return Err(self.away(operation));
        }
        let flushes = join_all((0..WORKERS).map(|index| self.flush_worker(index))).await;
        flushes.into_iter().collect::<Result<()>>().map_err(|error| error.of(operation))
    }

    /// Whether no completion is left that waits since then, or longer.
    fn none_waits_since(&self, index: usize, until: Millis) -> Result<()> {
        let mut oldest = None;
        self.for_each_shard(index, |shard| {
            oldest = oldest.into_iter().chain(shard.oldest_completion()).min()
        });
        if oldest.is_some_and(|oldest| oldest <= until) {
            let error = Error::new(NAME, Operation::WritePeers, ErrorKind::Conflict);
            return Err(error.with_message("completions could not be stored yet"));
        }
        Ok(())
    }

    async fn flush_worker(&self, index: usize) -> Result<()> {
        let until = self.now();
        loop {
            let written = {
                let _lock = self.lock_calls(index, Operation::WritePeers).await?;
                if self.state.is_away() {
                    return Err(self.away(Operation::WritePeers));
                }
                while self.complete(index).await > 0 {}
                self.flush(index, FlushScope::Until(until)).await?
            };
            self.workers[index].progress.notify_waiters();
            if written == 0 {
                self.note_oldest(index);
                return self.none_waits_since(index, until);
            }
        }
    }
}
