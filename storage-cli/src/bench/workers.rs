//! Workers for each kind of call.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::SmallRng;
use storage_core::{PeerSelection, PeerStorageExt, Result, Role, Storage, Timestamp, When};

use super::dataset::Dataset;
use super::runner::BenchWorker;

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

    /// The number of a new peer.
    pub(super) fn new_number(&mut self) -> u64 {
        let number = self.next;
        self.next += self.workers;
        number
    }
}

/// Re-announces.
pub(super) struct PutWorker(pub(super) WorkerContext);

impl BenchWorker for PutWorker {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        let WorkerContext { target: storage, dataset, random, .. } = &mut self.0;
        let swarm = dataset.any_swarm(random);
        let member = dataset.member(swarm, random.random_range(dataset.numbers(swarm)));
        storage.put_peer(&member.info_hash, &member.peer, member.role, When::At(announced)).await
    }
}

/// New peers in new swarms of the same size.
pub(super) struct PutNewWorker {
    context: WorkerContext,
    swarm: u64,
    size: u64,
    left: u64,
}

impl PutNewWorker {
    pub(super) fn new(context: WorkerContext) -> Self {
        let size = context.dataset.peers() / context.dataset.swarms();
        Self { context, swarm: 0, size, left: 0 }
    }
}

impl BenchWorker for PutNewWorker {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        if self.left == 0 {
            self.swarm = self.context.dataset.open_swarm();
            self.left = self.size;
        }
        self.left -= 1;
        let number = self.swarm * self.size + self.left;
        let member = self.context.dataset.member(self.swarm, number);
        self.context.target.put_peer(&member.info_hash, &member.peer, member.role, When::At(announced)).await
    }

    fn is_done(&self) -> bool {
        let dataset = &self.context.dataset;
        (dataset.opened() - dataset.swarms()) * self.size >= NEW_PEERS
    }
}

/// Peers for an IPv4 leecher.
pub(super) struct AnnounceWorker(pub(super) WorkerContext);

impl BenchWorker for AnnounceWorker {
    async fn call(&mut self, _announced: Timestamp) -> Result<()> {
        let WorkerContext { target: storage, dataset, random, .. } = &mut self.0;
        let info_hash = dataset.info_hash(dataset.any_swarm(random));
        storage.announce_peers(&PeerSelection::new(info_hash, NUM_WANT)).await.map(drop)
    }
}

/// Counts of a swarm.
pub(super) struct ScrapeWorker(pub(super) WorkerContext);

impl BenchWorker for ScrapeWorker {
    async fn call(&mut self, _announced: Timestamp) -> Result<()> {
        let WorkerContext { target: storage, dataset, random, .. } = &mut self.0;
        let info_hash = dataset.info_hash(dataset.any_swarm(random));
        storage.scrape_swarm(&info_hash).await.map(drop)
    }
}

/// New leechers that graduate and are deleted.
pub(super) struct LifecycleWorker(pub(super) WorkerContext);

impl BenchWorker for LifecycleWorker {
    async fn call(&mut self, announced: Timestamp) -> Result<()> {
        let number = self.0.new_number();
        let WorkerContext { target: storage, dataset, random, .. } = &mut self.0;
        let info_hash = dataset.info_hash(dataset.any_swarm(random));
        let peer = dataset.peer(number);
        storage.put_peer(&info_hash, &peer, Role::Leecher, When::At(announced)).await?;
        storage.graduate_peer(&info_hash, &peer, When::At(announced)).await?;
        storage.delete_peer(&info_hash, &peer, Role::Seeder).await
    }
}
