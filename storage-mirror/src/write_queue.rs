//! The queue of writes for the secondary: lanes with a worker each.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio::sync::mpsc;

use super::MirrorConfig;
use super::replication_stats::PendingWrite;
use super::secondary::Secondary;
use storage_core::{Backend, Operation, Result, TaskSpawner, Tasks};

/// The most calls of one lane under way at the secondary.
const MAX_CONCURRENT: usize = 64;

/// A write, ready to be made on the secondary.
pub(super) type Apply<S> = Box<dyn FnOnce(Arc<S>) -> BoxFuture<'static, Result<()>> + Send>;

/// A write in a lane.
pub(super) struct QueuedWrite<S: ?Sized> {
    pub(super) operation: Operation,
    /// What it writes: writes of different subjects may be under way at once. `None`: it goes alone.
    pub(super) subject: Option<u64>,
    pub(super) pending: PendingWrite,
    pub(super) apply: Apply<S>,
}

/// The lanes, and all tasks of the mirror. Dropped, it ends them, and what is queued is missed.
pub(super) struct WriteQueue<S: ?Sized> {
    lanes: Vec<mpsc::Sender<QueuedWrite<S>>>,
    most_bytes: u64,
    tasks: Tasks,
}

impl<S: Backend + ?Sized + 'static> WriteQueue<S> {
    /// Starts a worker for each lane.
    pub(super) fn start(secondary: &Arc<Secondary<S>>, config: &MirrorConfig) -> Self {
        let length = config.queue.div_ceil(config.lanes).max(1);
        let mut this = Self {
            lanes: Vec::with_capacity(config.lanes),
            most_bytes: config.queue_bytes,
            tasks: Tasks::default(),
        };
        for _ in 0..config.lanes {
            let (sender, writes) = mpsc::channel(length);
            this.lanes.push(sender);
            let secondary = Arc::clone(secondary);
            this.spawn(|tasks| work(secondary, writes, tasks));
        }
        this
    }

    /// Starts a task that ends soon after it is told to stop.
    pub(super) fn spawn<F>(&self, task: impl FnOnce(TaskSpawner) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let spawner = self.tasks.spawner();
        spawner.spawn(task(spawner.clone()));
    }

    /// The number of the lane for what has this hash.
    pub(super) fn lane(&self, hash: u64) -> usize {
        (hash % self.lanes.len() as u64) as usize
    }

    /// Puts a write at the end of a lane; it is missed if there is no room.
    pub(super) fn push(&self, lane: usize, mut write: QueuedWrite<S>) {
        if write.pending.enqueue(self.most_bytes) {
            // A lane that is full or closed gives the write back, and dropping it counts it.
            drop(self.lanes[lane].try_send(write));
        }
    }

    /// Takes no more writes, waits so long for those that are queued, and gives up what is left.
    /// Whether none was.
    pub(super) async fn drain(&self, at_most: Duration) -> bool {
        self.tasks.stop(at_most).await
    }
}

/// Makes the writes of a lane until it is closed and empty.
async fn work<S: Backend + ?Sized>(
    secondary: Arc<Secondary<S>>,
    mut writes: mpsc::Receiver<QueuedWrite<S>>,
    tasks: TaskSpawner,
) {
    let (mut batch, mut is_closed) = (Vec::new(), false);
    loop {
        tokio::select! {
            () = tasks.stopped(), if !is_closed => {
                writes.close();
                is_closed = true;
            }
            received = writes.recv_many(&mut batch, MAX_CONCURRENT) => {
                if received == 0 {
                    return;
                }
                let mut batch: VecDeque<_> = batch.drain(..).collect();
                while !batch.is_empty() {
                    let round = next_round(&mut batch);
                    join_all(round.into_iter().map(|write| secondary.apply(write))).await;
                }
            }
        }
    }
}

/// The writes that may be under way at once, from the front: each of another subject, or one alone.
fn next_round<S: ?Sized>(batch: &mut VecDeque<QueuedWrite<S>>) -> Vec<QueuedWrite<S>> {
    let (mut round, mut subjects) = (Vec::new(), HashSet::new());
    while let Some(write) = batch.pop_front() {
        match write.subject {
            Some(subject) if subjects.insert(subject) => round.push(write),
            None if round.is_empty() => return vec![write],
            _ => {
                batch.push_front(write);
                break;
            }
        }
    }
    round
}
