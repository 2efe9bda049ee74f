//! Whole announces, as a tracker sees them.

use rand::RngExt;
use storage_core::{AddressFamily, Announce, AnnounceEvent, Result, Role, Timestamp};

use super::callers::{NUM_WANT, Seat};
use super::gauge::Caller;

/// Looks for a leecher that could complete.
const LOOKS: usize = 8;

/// Clients of a tracker: a share of all of them, each of which announces as often as any other, so that
/// large swarms are asked for more often than small ones.
pub(super) struct Clients {
    seat: Seat,
    present: Vec<Client>,
}

#[derive(Debug, Clone, Copy)]
struct Client {
    swarm: u64,
    number: u64,
    role: Role,
}

impl Clients {
    /// Those whose number is `index` modulo `of`.
    pub(super) fn new(seat: Seat, index: u64, of: u64) -> Self {
        let ground = &seat.ground;
        let numbers = (index..ground.peers()).step_by(usize::try_from(of).unwrap_or(usize::MAX));
        let present = numbers.map(|number| {
            let swarm = ground.swarm_of(number);
            Client { swarm, number, role: ground.member(swarm, number).role }
        });
        Self { present: present.collect(), seat }
    }

    /// Who announces next, and why: 4 of 100 start and 4 stop, so that swarms keep their sizes; 2
    /// complete, so that they keep their seeders.
    fn next(&mut self) -> (Client, AnnounceEvent) {
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
    fn arrive(&mut self) -> Client {
        let swarm = if self.present.is_empty() {
            self.seat.ground.any_swarm(&mut self.seat.random)
        } else {
            let place = self.anyone();
            self.present[place].swarm
        };
        let client = Client { swarm, number: self.seat.new_number(), role: Role::Leecher };
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
}

impl Caller for Clients {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        let (Client { swarm, number, role }, event) = self.next();
        let Seat { storage, ground, .. } = &self.seat;
        let peers = [ground.peer(number)];
        let families = match peers[0].family() {
            AddressFamily::V4 => [AddressFamily::V4, AddressFamily::V6],
            AddressFamily::V6 => [AddressFamily::V6, AddressFamily::V4],
        };
        let info_hash = ground.info_hash(swarm);
        let (peers, families) = (&peers, &families);
        let announce = Announce { info_hash, peers, role, event, num_want: NUM_WANT, families, announced };
        storage.announce(&announce).await.map(drop)
    }
}
