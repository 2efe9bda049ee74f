//! Whole announces.

use futures::channel::oneshot;
use smallvec::SmallVec;
use storage_core::layer::deadline;
use storage_core::{
    Announce, AnnounceAnswer, AnnounceEvent, Error, ErrorKind, InfoHash, Operation, Result, Storage,
    SwarmCounts,
};
use tokio::time::{timeout, timeout_at};

use crate::NAME;
use crate::access::{Access, Obstacle};
use crate::shard::{Completion, SwarmShard};
use crate::shared::{Shared, of_backend};
use crate::swarm::{CachedSwarm, Change, Completed, Refused, Rules};

/// A whole announce that memory has taken.
pub(crate) struct TakenAnnounce {
    pub(crate) answer: AnnounceAnswer,
    /// What the storage inside has to acknowledge.
    waits: Waits,
}

enum Waits {
    Nothing,
    /// For the peers of the announce to be stored.
    Stored(SmallVec<[oneshot::Receiver<Result<()>>; 1]>),
    /// For a download to be counted.
    Completed(oneshot::Receiver<Result<bool>>),
}

/// What an announce wrote.
struct AnnounceWrites {
    completion: Option<Completed>,
    /// Whether the storage inside has to acknowledge it.
    is_waited_for: bool,
    /// Peers that were not kept, since there is no memory for them.
    not_kept: u64,
}

impl<S: Storage + ?Sized + 'static> Shared<S> {
    /// A whole announce; `None` if its time is earlier than what is stored, which the storage inside must write.
    pub(crate) async fn announce(
        &self,
        announce: &Announce,
        operation: Operation,
    ) -> Result<Option<AnnounceAnswer>> {
        loop {
            let obstacle = match self.take_announce(announce, true) {
                Ok(taken) => {
                    let acknowledged = self.acknowledge_announce(announce, taken).await;
                    return acknowledged.map(Some).map_err(|error| error.of(operation));
                }
                Err(obstacle) => obstacle,
            };
            match obstacle {
                Obstacle::WriteThrough => return Ok(None),
                Obstacle::TooLarge { is_due: false } => {
                    if let Some(answer) = self.ask_inside(self.backend.announce(announce)).await? {
                        return Ok(Some(AnnounceAnswer {
                            failure: answer.failure.map(of_backend),
                            ..answer
                        }));
                    }
                }
                Obstacle::NoRoom
                    if !self.state.is_waited_for() && announce.event != AnnounceEvent::Completed =>
                {
                    let hash = self.shards.hash(&announce.info_hash);
                    self.shards.lock(hash).counters.not_kept += 1;
                    return Ok(Some(AnnounceAnswer { peers: Some(Vec::new()), ..AnnounceAnswer::default() }));
                }
                _ => {
                    if !self.until_cleared(operation, &announce.info_hash, obstacle).await? {
                        return Err(self.refused(operation, obstacle));
                    }
                }
            }
        }
    }

    /// Takes a whole announce in memory. One that must not wait is not taken if the storage inside would
    /// have to acknowledge it.
    pub(crate) fn take_announce(
        &self,
        announce: &Announce,
        may_wait: bool,
    ) -> Result<TakenAnnounce, Obstacle> {
        let info_hash = &announce.info_hash;
        let is_completion = announce.event == AnnounceEvent::Completed && !announce.peers().is_empty();
        if is_completion && (!may_wait || self.cannot_acknowledge()) {
            return Err(Obstacle::Away);
        }
        let write = |swarm: &mut CachedSwarm, rules: &Rules, has_room: bool| {
            let written = self.write_announce(swarm, announce, rules, (has_room, may_wait))?;
            let (found, counts) = (swarm.peers_for(announce), swarm.counts());
            Ok((written, AnnounceAnswer::after_write(false, Ok(found), Ok(counts))))
        };
        let then =
            |shard: &mut SwarmShard, hash: u64, (written, mut answer): (AnnounceWrites, AnnounceAnswer)| {
                shard.counters.not_kept += written.not_kept;
                let waits = if let Some(Completed { time, is_download, before_it }) = written.completion {
                    answer.is_download = is_download;
                    let (waiter, told) = oneshot::channel();
                    let peers = announce.peers().iter().copied().collect();
                    let completion = Completion {
                        info_hash: *info_hash,
                        peers,
                        announced: time,
                        before_it,
                        since: self.now(),
                        is_repeated: false,
                        waiter: Some(waiter),
                    };
                    shard.complete(hash, completion);
                    Waits::Completed(told)
                } else if written.is_waited_for {
                    Waits::Stored(
                        announce.peers().iter().map(|peer| shard.when_stored(info_hash, peer)).collect(),
                    )
                } else {
                    Waits::Nothing
                };
                TakenAnnounce { answer, waits }
            };
        self.try_in_memory(info_hash, Access::Write, write, then)
    }

    fn write_announce(
        &self,
        swarm: &mut CachedSwarm,
        announce: &Announce,
        rules: &Rules,
        (has_room, may_wait): (bool, bool),
    ) -> Result<AnnounceWrites, Obstacle> {
        let Announce { role, event, .. } = announce;
        let (peers, when) = (announce.peers(), self.write_time(announce.announced));
        let mut written = AnnounceWrites { completion: None, is_waited_for: false, not_kept: 0 };
        let is_left_out = |refused: &Refused| *refused == Refused::NoRoom && !self.state.is_waited_for();
        match event {
            _ if peers.is_empty() => return Ok(written),
            AnnounceEvent::Completed => {
                let completion = Some(swarm.complete(&announce.info_hash, peers, when, has_room)?);
                return Ok(AnnounceWrites { completion, ..written });
            }
            AnnounceEvent::Stopped | AnnounceEvent::None | AnnounceEvent::Started => {}
        }
        let is_acknowledged = self.acknowledges_when_stored();
        if is_acknowledged && (!may_wait || self.state.is_away()) {
            let is_time_alone = *event != AnnounceEvent::Stopped
                && peers.iter().all(|peer| swarm.is_there(peer, *role) && !swarm.is_waiting(peer));
            if !is_time_alone {
                return Err(Obstacle::Away);
            }
        }
        for peer in peers {
            let change = match event {
                AnnounceEvent::Stopped => swarm.delete(peer, None, when, has_room),
                _ => swarm.put(peer, *role, when, rules, has_room),
            };
            match change {
                Err(Refused::NotFound) => {}
                Err(refused) if is_left_out(&refused) => written.not_kept += 1,
                change => written.is_waited_for |= change? == Change::Membership && is_acknowledged,
            }
        }
        Ok(written)
    }

    /// Waits until the storage inside has acknowledged what it has to.
    async fn acknowledge_announce(
        &self,
        announce: &Announce,
        taken: TakenAnnounce,
    ) -> Result<AnnounceAnswer> {
        let TakenAnnounce { mut answer, waits } = taken;
        let hash = self.shards.hash(&announce.info_hash);
        match waits {
            Waits::Nothing => {}
            Waits::Stored(stored) => {
                self.wake(hash);
                for stored in stored {
                    self.until_stored(Operation::Announce, stored).await?;
                }
            }
            Waits::Completed(completed) => {
                self.wake(hash);
                if let Some(is_download) = self.until_completed(completed).await? {
                    answer.is_download = is_download;
                    answer.counts = self.counts(hash, &announce.info_hash).or(answer.counts);
                }
            }
        }
        Ok(answer)
    }

    /// Waits until the storage inside has what memory took.
    pub(crate) async fn until_stored(
        &self,
        operation: Operation,
        stored: oneshot::Receiver<Result<()>>,
    ) -> Result<()> {
        match timeout_at(deadline(operation), stored).await {
            Ok(Ok(result)) => result.map_err(|error| of_backend(error.of(operation))),
            _ => {
                let error = Error::new(NAME, operation, ErrorKind::Uncertain);
                Err(error.with_message("the storage inside did not take it in time; it is written later"))
            }
        }
    }

    /// Waits for a download to be counted: whether it is one; `None` if it is not waited for any longer.
    async fn until_completed(&self, completed: oneshot::Receiver<Result<bool>>) -> Result<Option<bool>> {
        let of_announce = |error: Error| of_backend(error.of(Operation::Announce));
        if self.acknowledges_when_stored() {
            return match timeout_at(deadline(Operation::Announce), completed).await {
                Ok(Ok(result)) => result.map(Some).map_err(of_announce),
                _ => {
                    let error = Error::new(NAME, Operation::Announce, ErrorKind::Uncertain);
                    Err(error.with_message("the storage inside did not count the download in time"))
                }
            };
        }
        if !self.state.is_waited_for() {
            return Ok(None);
        }
        let wait = timeout(self.config.completion_wait, completed);
        match timeout_at(deadline(Operation::Announce), wait).await {
            Ok(Ok(Ok(Ok(is_download)))) => Ok(Some(is_download)),
            Ok(Ok(Ok(Err(error)))) if !error.is_retryable() => Err(of_announce(error)),
            _ => Ok(None),
        }
    }

    /// The counts of a swarm as they are now; `None` if it is not in memory.
    fn counts(&self, hash: u64, info_hash: &InfoHash) -> Option<SwarmCounts> {
        self.shards.lock(hash).get(hash, info_hash).map(CachedSwarm::counts)
    }
}
