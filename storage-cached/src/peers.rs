//! Peers one by one.

use async_trait::async_trait;
use futures::stream::BoxStream;
use storage_core::{
    Announce, AnnounceAnswer, AnnounceEvent, InfoHash, Operation, Peer, PeerSelection, PeerStorage, Result,
    Role, Storage, SwarmCounts, When, announce_by_parts, announce_each,
};

use crate::CachedStorage;
use crate::access::{Access, Answered, Obstacle};
use crate::shard::SwarmShard;
use crate::shared::Shared;
use crate::swarm::{CachedSwarm, Change, Refused, Rules, WriteTime};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Storage + ?Sized + 'static> PeerStorage for CachedStorage<S> {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        let Self { shared, .. } = self;
        let (operation, when) = (Operation::PutPeer, shared.write_time(announced));
        let put = |swarm: &mut CachedSwarm, rules: &Rules, has_room: bool| {
            if shared.cannot_acknowledge() && !swarm.is_there(peer, role) {
                return Err(Obstacle::Away);
            }
            Ok(swarm.put(peer, role, when, rules, has_room)?)
        };
        let inside = || shared.backend.put_peer(info_hash, peer, role, announced);
        match shared.write_peer(operation, info_hash, peer, put, inside).await? {
            Err(Obstacle::WriteThrough) => shared.write_through(info_hash, peer, role, when).await,
            Err(obstacle) => Err(shared.refused(operation, obstacle)),
            Ok(()) => Ok(()),
        }
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        let Self { shared, .. } = self;
        let (operation, when) = (Operation::DeletePeer, shared.write_time(When::Now));
        let delete = |swarm: &mut CachedSwarm, _: &Rules, has_room: bool| {
            // Whether a peer is there in that role is not known of a swarm that was not read.
            if shared.cannot_acknowledge() || !swarm.is_known() && swarm.get(peer).is_none() {
                return Err(Obstacle::Away);
            }
            Ok(swarm.delete(peer, Some(role), when, has_room)?)
        };
        let inside = || shared.backend.delete_peer(info_hash, peer, role);
        let deleted = shared.write_peer(operation, info_hash, peer, delete, inside).await?;
        deleted.map_err(|obstacle| shared.refused(operation, obstacle))
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        let Self { shared, .. } = self;
        let (operation, when) = (Operation::RemovePeer, shared.write_time(When::Now));
        let remove = |swarm: &mut CachedSwarm, _: &Rules, has_room: bool| {
            if shared.cannot_acknowledge() {
                return Err(Obstacle::Away);
            }
            match swarm.delete(peer, None, when, has_room) {
                Err(Refused::NotFound) => Ok(Change::Time),
                removed => Ok(removed?),
            }
        };
        let inside = || shared.backend.remove_peer(info_hash, peer);
        let removed = shared.write_peer(operation, info_hash, peer, remove, inside).await?;
        removed.map_err(|obstacle| shared.refused(operation, obstacle))
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let announce = Announce::new(*info_hash, peers.iter().copied())
            .with_event(AnnounceEvent::Completed)
            .with_num_want(0)
            .at(announced);
        match self.shared.announce(&announce, Operation::GraduatePeers).await? {
            Some(answer) => Ok(answer.is_download),
            None => self.shared.graduate_through(info_hash, peers, announced).await,
        }
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        if selection.num_want == 0 {
            return Ok(Vec::new());
        }
        let select = |swarm: &CachedSwarm| swarm.swarm().select(selection);
        let ask = || self.shared.backend.announce_peers(selection);
        self.shared.read(Operation::AnnouncePeers, &selection.info_hash, select, ask).await
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let ask = || self.shared.backend.scrape_swarm(info_hash);
        self.shared.read(Operation::ScrapeSwarm, info_hash, CachedSwarm::counts, ask).await
    }

    /// Swarms that are not in memory are read together.
    async fn scrape_swarms(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        let scrape = async |info_hash| {
            let ask = || self.shared.backend.scrape_swarm(info_hash);
            self.shared.read(Operation::ScrapeSwarms, info_hash, CachedSwarm::counts, ask).await
        };
        futures::future::try_join_all(info_hashes.iter().map(scrape)).await
    }

    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        match self.shared.announce(announce, Operation::Announce).await? {
            Some(answer) => Ok(answer),
            None => announce_by_parts(self, announce).await,
        }
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn try_announce(&self, announce: &Announce) -> Option<Result<AnnounceAnswer>> {
        let taken = self.shared.take_announce(announce, false).ok()?;
        Some(Ok(taken.answer))
    }

    fn announce_many<'a>(
        &'a self,
        announces: &'a [Announce],
    ) -> BoxStream<'a, (usize, Result<AnnounceAnswer>)> {
        announce_each(self, announces)
    }
}

impl<S: Storage + ?Sized + 'static> Shared<S> {
    /// Writes a peer in memory, and waits for the storage inside if it has to acknowledge that; `inside` makes the
    /// write there if the swarm is too large for memory.
    async fn write_peer<F: Future<Output = Result<()>>>(
        &self,
        operation: Operation,
        info_hash: &InfoHash,
        peer: &Peer,
        call: impl Fn(&mut CachedSwarm, &Rules, bool) -> Result<Change, Obstacle>,
        inside: impl Fn() -> F,
    ) -> Result<Result<(), Obstacle>> {
        let then = |shard: &mut SwarmShard, _: u64, change: Change| {
            let is_waited_for = self.acknowledges_when_stored() && change == Change::Membership;
            is_waited_for.then(|| shard.when_stored(info_hash, peer))
        };
        loop {
            match self.in_memory(operation, info_hash, Access::Write, &call, then).await? {
                Ok(Answered::Here(None)) => return Ok(Ok(())),
                Ok(Answered::Here(Some(stored))) => {
                    self.wake(self.shards.hash(info_hash));
                    return self.until_stored(operation, stored).await.map(Ok);
                }
                Ok(Answered::Inside) => {
                    if self.ask_inside(inside()).await?.is_some() {
                        return Ok(Ok(()));
                    }
                }
                Err(obstacle) => return Ok(Err(obstacle)),
            }
        }
    }

    /// Answers a read from memory, or where the swarm is too large for it by the storage inside.
    pub(crate) async fn read<T, F: Future<Output = Result<T>>>(
        &self,
        operation: Operation,
        info_hash: &InfoHash,
        read: impl Fn(&CachedSwarm) -> T,
        ask: impl Fn() -> F,
    ) -> Result<T> {
        let look = |swarm: &mut CachedSwarm, _: &Rules, _: bool| Ok(read(swarm));
        match self.in_memory(operation, info_hash, Access::Read, look, |_, _, answer| answer).await? {
            Ok(Answered::Here(answer)) => Ok(answer),
            Ok(Answered::Inside) => self.ask_inside(ask()).await?.ok_or_else(|| self.away(operation)),
            Err(obstacle) => Err(self.refused(operation, obstacle)),
        }
    }

    /// Puts a peer with a time that is earlier than what is stored of it.
    async fn write_through(
        &self,
        info_hash: &InfoHash,
        peer: &Peer,
        role: Role,
        when: WriteTime,
    ) -> Result<()> {
        let hash = self.shards.hash(info_hash);
        let _lock = self.lock_after_flush(Operation::PutPeer, info_hash).await?;
        self.let_go(hash, info_hash, std::slice::from_ref(peer));
        self.noted(self.backend.put_peer(info_hash, peer, role, When::At(when.time)).await)
    }

    /// Makes a client a seeder with a time that is earlier than what is stored of it.
    async fn graduate_through(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let hash = self.shards.hash(info_hash);
        let _lock = self.lock_after_flush(Operation::GraduatePeers, info_hash).await?;
        self.let_go(hash, info_hash, peers);
        self.noted(self.backend.graduate_peers(info_hash, peers, announced).await)
    }

    /// Makes memory read a swarm again after a write with an earlier time, also if that is given up.
    fn let_go(&self, hash: u64, info_hash: &InfoHash, peers: &[Peer]) {
        let mut shard = self.shards.lock(hash);
        shard.change(hash, info_hash, self.now(), |swarm, _| swarm.let_go(peers));
        shard.outdate(hash, info_hash);
    }
}
