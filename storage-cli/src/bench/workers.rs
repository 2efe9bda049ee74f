//! The workers on a storage.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::SmallRng;
use storage_core::{InfoHash, PeerSelection, PeerStorageExt, Result, Role, Storage, Timestamp, When};

use super::clients::BenchClients;
use super::dataset::{Dataset, Member};
use super::runner::BenchWorker;
use crate::arguments::Workload;

/// How many peers an announce asks for.
pub(super) const NUM_WANT: usize = 50;
/// The most new peers, to bound memory.
const NEW_PEERS: u64 = 10_000_000;

/// What a worker works on, and its share of the peers.
pub(super) struct WorkerContext<T = Arc<dyn Storage>> {
    pub(super) target: T,
    pub(super) dataset: Arc<Dataset>,
    pub(super) random: SmallRng,
    index: u64,
    workers: u64,
    /// The number of the next new peer of this worker.
    next: u64,
}

impl<T> WorkerContext<T> {
    pub(super) fn new(target: T, dataset: &Arc<Dataset>, index: u64, workers: u64) -> Self {
        Self {
            target,
            dataset: Arc::clone(dataset),
            random: rand::make_rng(),
            index,
            workers,
            next: dataset.peers() + index,
        }
    }

    /// The numbers of its share of the peers of the dataset.
    pub(super) fn share(&self) -> impl Iterator<Item = u64> + use<T> {
        (self.index..self.dataset.peers()).step_by(usize::try_from(self.workers).unwrap_or(usize::MAX))
    }

    /// The info hash of a random initial swarm.
    fn any_info_hash(&mut self) -> InfoHash {
        self.dataset.info_hash(self.dataset.any_swarm(&mut self.random))
    }

    /// The number of a new peer.
    pub(super) fn new_number(&mut self) -> u64 {
        let number = self.next;
        self.next += self.workers;
        number
    }
}

/// Makes the calls of one workload.
pub(super) struct StorageWorker {
    workload: Workload,
    /// All clients of the share with `tracker`, none otherwise.
    clients: BenchClients,
    /// With `put-new`: the swarm to which peers are added, and how many it still lacks.
    swarm: u64,
    left: u64,
}

impl StorageWorker {
    pub(super) fn new(workload: Workload, context: WorkerContext) -> Self {
        let clients = match workload {
            Workload::Tracker => BenchClients::present(context),
            _ => BenchClients::absent(context),
        };
        Self { workload, clients, swarm: 0, left: 0 }
    }

    /// A peer in a new swarm, which is as large as the others.
    fn new_member(&mut self) -> Member {
        let dataset = &self.clients.context.dataset;
        let size = dataset.peers() / dataset.swarms();
        if self.left == 0 {
            self.swarm = dataset.open_swarm();
            self.left = size;
        }
        self.left -= 1;
        dataset.member(self.swarm, self.swarm * size + self.left)
    }
}

impl BenchWorker for StorageWorker {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        let at = When::At(announced);
        match self.workload {
            Workload::Put => {
                let WorkerContext { target: storage, dataset, random, .. } = &mut self.clients.context;
                let swarm = dataset.any_swarm(random);
                let Member { info_hash, peer, role } =
                    dataset.member(swarm, random.random_range(dataset.numbers(swarm)));
                storage.put_peer(&info_hash, &peer, role, at).await
            }
            Workload::PutNew => {
                let Member { info_hash, peer, role } = self.new_member();
                self.clients.context.target.put_peer(&info_hash, &peer, role, at).await
            }
            Workload::Announce => {
                let selection = PeerSelection::new(self.clients.context.any_info_hash(), NUM_WANT);
                self.clients.context.target.announce_peers(&selection).await.map(drop)
            }
            Workload::Scrape => {
                let info_hash = self.clients.context.any_info_hash();
                self.clients.context.target.scrape_swarm(&info_hash).await.map(drop)
            }
            Workload::Lifecycle => {
                let number = self.clients.context.new_number();
                let info_hash = self.clients.context.any_info_hash();
                let WorkerContext { target: storage, dataset, .. } = &self.clients.context;
                let peer = dataset.peer(number);
                storage.put_peer(&info_hash, &peer, Role::Leecher, at).await?;
                storage.graduate_peer(&info_hash, &peer, at).await?;
                storage.delete_peer(&info_hash, &peer, Role::Seeder).await
            }
            // A day has its own workers.
            Workload::Tracker | Workload::Day => self.clients.call(announced).await,
        }
    }

    fn is_done(&self) -> bool {
        let dataset = &self.clients.context.dataset;
        let size = dataset.peers() / dataset.swarms();
        self.workload == Workload::PutNew && (dataset.opened() - dataset.swarms()) * size >= NEW_PEERS
    }
}
