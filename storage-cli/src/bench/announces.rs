//! Whole announces, as a tracker sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngExt;
use storage_core::{Announce, AnnounceEvent, Result, Role, Storage, Timestamp};

use super::callers::{NUM_WANT, Seat};
use super::gauge::TimedCaller;
use crate::interrupt::Interrupt;

/// Looks for a leecher that could complete.
const LOOKS: usize = 8;

/// What takes whole announces: a storage, or a tracker.
pub(super) trait Announcer: Send + 'static {
    /// Announces.
    fn announce(&mut self, announce: &Announce) -> impl Future<Output = Result<()>> + Send;
}

impl Announcer for Arc<dyn Storage> {
    async fn announce(&mut self, announce: &Announce) -> Result<()> {
        (**self).announce(announce).await.map(drop)
    }
}

/// Clients of a tracker: a share of all of them, each of which announces as often as any other, so that
/// large swarms are asked for more often than small ones.
pub(super) struct BenchClients<A = Arc<dyn Storage>> {
    seat: Seat<A>,
    present: Vec<BenchClient>,
}

#[derive(Debug, Clone, Copy)]
struct BenchClient {
    swarm: u64,
    number: u64,
    role: Role,
}

impl<A: Announcer> BenchClients<A> {
    /// Those of a seat's share, which are there.
    pub(super) fn present(seat: Seat<A>) -> Self {
        Self { present: share(&seat).collect(), seat }
    }

    /// Nobody yet.
    pub(super) fn absent(seat: Seat<A>) -> Self {
        Self { present: Vec::new(), seat }
    }

    /// Those of the seat's share come, one after the other, or those up to a Ctrl-C; counts them in `done`.
    pub(super) async fn come(&mut self, done: &AtomicU64, interrupt: &Interrupt) -> Result<()> {
        let share: Vec<_> = share(&self.seat).collect();
        for client in share {
            if interrupt.has_happened() {
                break;
            }
            self.present.push(client);
            self.announce(client, AnnounceEvent::Started, Timestamp::now()).await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// All that are there leave, one after the other; counts them in `done`.
    pub(super) async fn leave(&mut self, done: &AtomicU64) -> Result<()> {
        while let Some(client) = self.present.pop() {
            self.announce(client, AnnounceEvent::Stopped, Timestamp::now()).await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How many are there.
    pub(super) fn count(&self) -> u64 {
        self.present.len() as u64
    }

    /// Who announces next, and why: 4 of 100 start and 4 stop, so that swarms keep their sizes; 2
    /// complete, so that they keep their seeders.
    fn next(&mut self) -> (BenchClient, AnnounceEvent) {
        let event = match self.seat.random.random_range(0..100) {
            0..4 => AnnounceEvent::Started,
            4..6 => AnnounceEvent::Completed,
            6..10 => AnnounceEvent::Stopped,
            _ => AnnounceEvent::None,
        };
        if event == AnnounceEvent::Started || self.present.is_empty() {
            return (self.arrive(), AnnounceEvent::Started);
        }
        let place = match event {
            AnnounceEvent::Completed => self.leecher(),
            _ => self.anyone(),
        };
        let client = self.present[place];
        match event {
            AnnounceEvent::Completed => self.present[place].role = Role::Seeder,
            AnnounceEvent::Stopped => drop(self.present.swap_remove(place)),
            _ => {}
        }
        (client, event)
    }

    /// One more leecher, where somebody is already.
    fn arrive(&mut self) -> BenchClient {
        let swarm = if self.present.is_empty() {
            self.seat.ground.any_swarm(&mut self.seat.random)
        } else {
            let place = self.anyone();
            self.present[place].swarm
        };
        let client = BenchClient { swarm, number: self.seat.new_number(), role: Role::Leecher };
        self.present.push(client);
        client
    }

    fn anyone(&mut self) -> usize {
        self.seat.random.random_range(0..self.present.len())
    }

    /// A leecher, unless there is hardly any.
    fn leecher(&mut self) -> usize {
        let mut place = self.anyone();
        for _ in 0..LOOKS {
            if !self.present[place].role.is_seeder() {
                break;
            }
            place = self.anyone();
        }
        place
    }

    async fn announce(
        &mut self,
        client: BenchClient,
        event: AnnounceEvent,
        announced: Timestamp,
    ) -> Result<()> {
        let BenchClient { swarm, number, role } = client;
        let Seat { target, ground, .. } = &mut self.seat;
        let peer = ground.peer(number);
        let announce = Announce::new(ground.info_hash(swarm), [peer])
            .with_role(role)
            .with_event(event)
            .with_num_want(NUM_WANT)
            .with_families(peer.family().then_other())
            .at(announced);
        target.announce(&announce).await
    }
}

/// The clients that the swarms of a run have from the beginning, those of a seat.
fn share<A>(seat: &Seat<A>) -> impl Iterator<Item = BenchClient> {
    seat.share().map(|number| {
        let swarm = seat.ground.swarm_of(number);
        BenchClient { swarm, number, role: seat.ground.member(swarm, number).role }
    })
}

impl<A: Announcer> TimedCaller for BenchClients<A> {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        let (client, event) = self.next();
        self.announce(client, event, announced).await
    }
}
