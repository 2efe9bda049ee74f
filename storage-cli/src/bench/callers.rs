//! Callers of one kind of call each.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::SmallRng;
use storage_core::{PeerSelection, Result, Role, Storage, Timestamp, When};

use super::gauge::TimedCaller;
use super::ground::Dataset;

/// Peers that an announce asks for.
pub(super) const NUM_WANT: usize = 50;
/// The most new peers, so that memory stays free.
const NEW_PEERS: u64 = 10_000_000;

/// Where a caller calls, and which of how many it is.
pub(super) struct Seat<T = Arc<dyn Storage>> {
    pub(super) target: T,
    pub(super) ground: Arc<Dataset>,
    pub(super) random: SmallRng,
    index: u64,
    seats: u64,
    /// The number of the next peer that nobody else makes.
    next: u64,
}

impl<T> Seat<T> {
    pub(super) fn new(target: T, ground: &Arc<Dataset>, index: u64, seats: u64) -> Self {
        Self {
            target,
            ground: Arc::clone(ground),
            random: rand::make_rng(),
            index,
            seats,
            next: ground.peers() + index,
        }
    }

    /// The numbers of its share of the peers that the ground was made with.
    pub(super) fn share(&self) -> impl Iterator<Item = u64> + use<T> {
        (self.index..self.ground.peers()).step_by(usize::try_from(self.seats).unwrap_or(usize::MAX))
    }

    /// The number of a peer that was nowhere before.
    pub(super) fn new_number(&mut self) -> u64 {
        let number = self.next;
        self.next += self.seats;
        number
    }
}

/// Re-announces.
pub(super) struct PutCaller(pub(super) Seat);

impl TimedCaller for PutCaller {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        let Seat { target: storage, ground, random, .. } = &mut self.0;
        let swarm = ground.any_swarm(random);
        let member = ground.member(swarm, random.random_range(ground.numbers(swarm)));
        storage.put_peer(&member.info_hash, &member.peer, member.role, When::At(announced)).await
    }
}

/// New peers in new swarms, as large as those that are there.
pub(super) struct PutNew {
    seat: Seat,
    swarm: u64,
    size: u64,
    left: u64,
}

impl PutNew {
    pub(super) fn new(seat: Seat) -> Self {
        let size = seat.ground.peers() / seat.ground.swarms();
        Self { seat, swarm: 0, size, left: 0 }
    }
}

impl TimedCaller for PutNew {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        if self.left == 0 {
            self.swarm = self.seat.ground.open_swarm();
            self.left = self.size;
        }
        self.left -= 1;
        let number = self.swarm * self.size + self.left;
        let member = self.seat.ground.member(self.swarm, number);
        self.seat.target.put_peer(&member.info_hash, &member.peer, member.role, When::At(announced)).await
    }

    fn is_done(&self) -> bool {
        let ground = &self.seat.ground;
        (ground.opened() - ground.swarms()) * self.size >= NEW_PEERS
    }
}

/// Peers for an IPv4 leecher.
pub(super) struct AnnouncePeers(pub(super) Seat);

impl TimedCaller for AnnouncePeers {
    async fn call(&mut self, _announced: Timestamp) -> Result<()> {
        let Seat { target: storage, ground, random, .. } = &mut self.0;
        let info_hash = ground.info_hash(ground.any_swarm(random));
        storage.announce_peers(&PeerSelection::new(info_hash, NUM_WANT)).await.map(drop)
    }
}

/// Counts of a swarm.
pub(super) struct Scrape(pub(super) Seat);

impl TimedCaller for Scrape {
    async fn call(&mut self, _announced: Timestamp) -> Result<()> {
        let Seat { target: storage, ground, random, .. } = &mut self.0;
        let info_hash = ground.info_hash(ground.any_swarm(random));
        storage.scrape_swarm(&info_hash).await.map(drop)
    }
}

/// New leechers that graduate and leave.
pub(super) struct Lifecycle(pub(super) Seat);

impl TimedCaller for Lifecycle {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        let number = self.0.new_number();
        let Seat { target: storage, ground, random, .. } = &mut self.0;
        let info_hash = ground.info_hash(ground.any_swarm(random));
        let peer = ground.peer(number);
        storage.put_peer(&info_hash, &peer, Role::Leecher, When::At(announced)).await?;
        storage.graduate_peer(&info_hash, &peer, When::At(announced)).await?;
        storage.delete_peer(&info_hash, &peer, Role::Seeder).await
    }
}
