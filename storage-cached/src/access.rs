//! Access to a swarm in memory: under its lock if everything is there, or after what is missing was waited for.

use storage_core::layer::deadline;
use storage_core::{Error, ErrorKind, InfoHash, Operation, Result, Storage, When};
use tokio::time::timeout_at;

use crate::NAME;
use crate::shard::{SwarmPresence, SwarmShard};
use crate::shared::{Shared, of_backend};
use crate::swarm::{CachedSwarm, Refused, Rules, WriteTime};

/// What a call does to a swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It needs everything that is known of the swarm.
    Read,
    /// It changes a peer, and would do so in a swarm of which not everything is known.
    Write,
}

/// Why a call cannot be answered under the lock. Nothing has changed, or what has changes again when the call is made
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The swarm must be read first.
    Unread,
    /// The storage inside answers for it; whether something of it is to be written before.
    TooLarge { is_due: bool },
    /// The storage inside must make this write.
    WriteThrough,
    /// There is no memory for a further peer.
    NoRoom,
    /// Changes have waited for so long that there should not be more of them.
    Behind,
    /// The storage inside would have to take part, and is away.
    Away,
    /// The peer is not there in that role.
    NotFound,
}

impl From<Refused> for Obstacle {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::WriteThrough => Self::WriteThrough,
            Refused::NoRoom => Self::NoRoom,
            Refused::NotFound => Self::NotFound,
        }
    }
}

/// Who answers a call.
pub(crate) enum Answered<T> {
    /// Memory did.
    Here(T),
    /// The storage inside is to be asked: the swarm is too large for memory, and nothing of it waits.
    Inside,
}

impl<S: Storage + ?Sized + 'static> Shared<S> {
    pub(crate) fn write_time(&self, announced: When) -> WriteTime {
        WriteTime { time: announced.on(&*self.backend), is_given: announced != When::Now }
    }

    /// Makes a call on a swarm, and then on its shard, under one lock.
    pub(crate) fn try_in_memory<T, U>(
        &self,
        info_hash: &InfoHash,
        access: Access,
        call: impl FnOnce(&mut CachedSwarm, &Rules, bool) -> Result<T, Obstacle>,
        then: impl FnOnce(&mut SwarmShard, u64, T) -> U,
    ) -> Result<U, Obstacle> {
        let hash = self.shards.hash(info_hash);
        let mut shard = self.shards.lock(hash);
        let presence = shard.presence(hash, info_hash);
        if presence != SwarmPresence::Ready && self.state.is_waited_for() {
            return Err(match presence {
                SwarmPresence::TooLarge { is_due } => Obstacle::TooLarge { is_due },
                _ => Obstacle::Unread,
            });
        }
        if access == Access::Write && self.is_behind(hash) {
            return Err(Obstacle::Behind);
        }
        let has_room = self.budget.has_room() || shard.evict(self.now()) > 0;
        if presence != SwarmPresence::Ready {
            match (access, shard.get(hash, info_hash)) {
                (Access::Read, Some(swarm)) if swarm.is_known() => {}
                (Access::Read, _) => return Err(Obstacle::Away),
                (Access::Write, None) if !has_room => return Err(Obstacle::NoRoom),
                (Access::Write, _) => shard.begin_unread(hash, info_hash),
            }
        }
        shard.counters.hits += 1;
        let change = |swarm: &mut CachedSwarm, rules: &Rules| {
            swarm.mark_used();
            let done = call(swarm, rules, has_room);
            swarm.give_up_if_too_large(rules);
            done
        };
        let done = shard.change(hash, info_hash, self.now(), change).unwrap_or(Err(Obstacle::Unread))?;
        Ok(then(&mut shard, hash, done))
    }

    /// The same as soon as the swarm is there and there is room, or nobody should wait for that.
    pub(crate) async fn in_memory<T, U>(
        &self,
        operation: Operation,
        info_hash: &InfoHash,
        access: Access,
        call: impl Fn(&mut CachedSwarm, &Rules, bool) -> Result<T, Obstacle>,
        then: impl Fn(&mut SwarmShard, u64, T) -> U,
    ) -> Result<Result<Answered<U>, Obstacle>> {
        loop {
            match self.try_in_memory(info_hash, access, &call, &then) {
                Ok(done) => return Ok(Ok(Answered::Here(done))),
                Err(Obstacle::TooLarge { is_due: false }) => return Ok(Ok(Answered::Inside)),
                Err(obstacle) => {
                    if !self.until_cleared(operation, info_hash, obstacle).await? {
                        return Ok(Err(obstacle));
                    }
                }
            }
        }
    }

    /// Waits until an obstacle may be gone; false for one that is not waited for.
    pub(crate) async fn until_cleared(
        &self,
        operation: Operation,
        info_hash: &InfoHash,
        obstacle: Obstacle,
    ) -> Result<bool> {
        match obstacle {
            Obstacle::Unread => self.until_read(operation, info_hash).await?,
            Obstacle::TooLarge { .. } => match self.lock_after_flush(operation, info_hash).await {
                Err(error) if !self.state.failed(&error) => return Err(error),
                _ => {}
            },
            Obstacle::NoRoom | Obstacle::Behind if self.state.is_waited_for() => {
                let worker = self.worker(self.shards.hash(info_hash));
                let progress = timeout_at(deadline(operation), worker.progress()).await;
                progress.map_err(|_| self.no_progress(operation, obstacle))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Waits until a swarm was read, or nobody should wait for that.
    async fn until_read(&self, operation: Operation, info_hash: &InfoHash) -> Result<()> {
        let hash = self.shards.hash(info_hash);
        let loaded = self.shards.lock(hash).load(info_hash);
        self.wake(hash);
        let loaded = async {
            tokio::select! {
                biased;
                loaded = loaded => loaded.unwrap_or(Ok(())),
                () = self.state.until_not_waited_for() => Ok(()),
            }
        };
        match timeout_at(deadline(operation), loaded).await {
            Ok(Err(error)) if self.state.is_waited_for() => Err(of_backend(error.of(operation))),
            Ok(_) => Ok(()),
            Err(_) => {
                let error = Error::new(NAME, operation, ErrorKind::Timeout);
                Err(error.with_message("the storage inside did not read the swarm in time"))
            }
        }
    }

    fn no_progress(&self, operation: Operation, obstacle: Obstacle) -> Error {
        let message = match obstacle {
            Obstacle::NoRoom => "`max_memory` is used up by what waits to be stored",
            _ => "the storage inside does not keep up with what changes",
        };
        Error::new(NAME, operation, ErrorKind::Busy).with_message(message)
    }

    /// The failure of a call that met an obstacle which is not waited for.
    pub(crate) fn refused(&self, operation: Operation, obstacle: Obstacle) -> Error {
        match obstacle {
            Obstacle::NotFound => Error::new(NAME, operation, ErrorKind::NotFound),
            Obstacle::NoRoom => {
                let message = format!("`max_memory` of {} bytes is used up", self.budget.limit());
                Error::new(NAME, operation, ErrorKind::Full).with_message(message)
            }
            Obstacle::Behind => self.no_progress(operation, obstacle),
            _ => self.away(operation),
        }
    }

    /// Whether a change of a membership cannot be acknowledged now, since the storage inside is away.
    pub(crate) fn cannot_acknowledge(&self) -> bool {
        self.acknowledges_when_stored() && self.state.is_away()
    }

    /// Answers a call by the storage inside; `None` if it turns out to be away.
    pub(crate) async fn ask_inside<T>(&self, call: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        match self.state.timed(call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if self.state.failed(&error) => Ok(None),
            Err(error) => Err(of_backend(error)),
        }
    }
}
