//! Whole announces, as the clients of a tracker make them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngExt;
use storage_core::{Announce, AnnounceEvent, Result, Role, Storage, Timestamp};

use super::runner::BenchWorker;
use super::workers::{NUM_WANT, WorkerContext};
use crate::interrupt::Interrupt;

/// How often to look for a leecher that can complete.
const ATTEMPTS: usize = 8;

/// A target for whole announces: a storage or a tracker.
pub(super) trait Announcer: Send {
    fn announce(&mut self, announce: &Announce) -> impl Future<Output = Result<()>> + Send;
}

impl Announcer for Arc<dyn Storage + '_> {
    async fn announce(&mut self, announce: &Announce) -> Result<()> {
        // As `serve` does.
        let answer = match self.try_announce(announce) {
            Some(answer) => answer,
            None => (**self).announce(announce).await,
        };
        answer.map(drop)
    }
}

/// A worker's share of the clients. All announce equally often, so large swarms get more announces.
pub(super) struct BenchClients<A = Arc<dyn Storage>> {
    pub(super) context: WorkerContext<A>,
    present: Vec<BenchClient>,
}

#[derive(Debug, Clone, Copy)]
struct BenchClient {
    swarm: u64,
    number: u64,
    role: Role,
}

impl<A: Announcer> BenchClients<A> {
    /// Clients that are in their swarms already.
    pub(super) fn present(context: WorkerContext<A>) -> Self {
        Self { present: share(&context).collect(), context }
    }

    /// Clients that have not started yet.
    pub(super) fn absent(context: WorkerContext<A>) -> Self {
        Self { present: Vec::new(), context }
    }

    /// Announces `started` for all clients of the share, until Ctrl-C; counts them in `done`.
    pub(super) async fn start_all(&mut self, done: &AtomicU64, interrupt: &Interrupt) -> Result<()> {
        let share: Vec<_> = share(&self.context).collect();
        for client in share {
            if interrupt.is_set() {
                break;
            }
            self.present.push(client);
            self.announce(client, AnnounceEvent::Started, Timestamp::now()).await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Announces `stopped` for all present clients; counts them in `done`.
    pub(super) async fn stop_all(&mut self, done: &AtomicU64) -> Result<()> {
        while let Some(client) = self.present.pop() {
            self.announce(client, AnnounceEvent::Stopped, Timestamp::now()).await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn count(&self) -> u64 {
        self.present.len() as u64
    }

    /// The next client and its event. Of 100 announces 4 are `started` and 4 `stopped`, which keeps the sizes
    /// of swarms, and 2 `completed`, which keeps their seeders.
    fn next(&mut self) -> (BenchClient, AnnounceEvent) {
        let event = match self.context.random.random_range(0..100) {
            0..4 => AnnounceEvent::Started,
            4..6 => AnnounceEvent::Completed,
            6..10 => AnnounceEvent::Stopped,
            _ => AnnounceEvent::None,
        };
        if event == AnnounceEvent::Started || self.present.is_empty() {
            return (self.arrive(), AnnounceEvent::Started);
        }
        let index = match event {
            AnnounceEvent::Completed => self.leecher(),
            _ => self.anyone(),
        };
        let client = self.present[index];
        match event {
            AnnounceEvent::Completed => self.present[index].role = Role::Seeder,
            AnnounceEvent::Stopped => drop(self.present.swap_remove(index)),
            _ => {}
        }
        (client, event)
    }

    /// A new leecher in an existing swarm.
    fn arrive(&mut self) -> BenchClient {
        let swarm = if self.present.is_empty() {
            self.context.dataset.any_swarm(&mut self.context.random)
        } else {
            let index = self.anyone();
            self.present[index].swarm
        };
        let client = BenchClient { swarm, number: self.context.new_number(), role: Role::Leecher };
        self.present.push(client);
        client
    }

    fn anyone(&mut self) -> usize {
        self.context.random.random_range(0..self.present.len())
    }

    /// A random leecher, or any client if leechers are rare.
    fn leecher(&mut self) -> usize {
        let mut index = self.anyone();
        for _ in 0..ATTEMPTS {
            if !self.present[index].role.is_seeder() {
                break;
            }
            index = self.anyone();
        }
        index
    }

    async fn announce(
        &mut self,
        client: BenchClient,
        event: AnnounceEvent,
        announced: Timestamp,
    ) -> Result<()> {
        let BenchClient { swarm, number, role } = client;
        let WorkerContext { target, dataset, .. } = &mut self.context;
        let peer = dataset.peer(number);
        let announce = Announce::new(dataset.info_hash(swarm), [peer])
            .with_role(role)
            .with_event(event)
            .with_num_want(NUM_WANT)
            .with_families(peer.family().then_other())
            .at(announced);
        target.announce(&announce).await
    }
}

/// A worker's share of the clients that the dataset was made with.
fn share<A>(context: &WorkerContext<A>) -> impl Iterator<Item = BenchClient> {
    context.share().map(|number| {
        let swarm = context.dataset.swarm_of(number);
        BenchClient { swarm, number, role: context.dataset.member(swarm, number).role }
    })
}

impl<A: Announcer + 'static> BenchWorker for BenchClients<A> {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        let (client, event) = self.next();
        self.announce(client, event, announced).await
    }
}
