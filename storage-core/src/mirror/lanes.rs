//! The queue: lanes with a worker each.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio::sync::mpsc;

use super::MirrorConfig;
use super::ledger::Owed;
use super::secondary::Secondary;
use crate::{Backend, Operation, Result, TaskSpawner, Tasks};

/// The most calls of one lane under way at the secondary.
const AT_ONCE: usize = 64;

/// A write, ready to be made on the secondary.
pub(super) type Apply<S> = Box<dyn FnOnce(Arc<S>) -> BoxFuture<'static, Result<()>> + Send>;

/// A write in a lane.
pub(super) struct Job<S: ?Sized> {
    pub(super) operation: Operation,
    /// What it writes: jobs of different subjects may be under way at once. `None`: it goes alone.
    pub(super) subject: Option<u64>,
    pub(super) owed: Owed,
    pub(super) apply: Apply<S>,
}

/// The lanes, and all tasks of the mirror. Dropped, it ends them, and what is queued is missed.
pub(super) struct Lanes<S: ?Sized> {
    lanes: Vec<mpsc::Sender<Job<S>>>,
    most_bytes: u64,
    tasks: Tasks,
}

impl<S: Backend + ?Sized + 'static> Lanes<S> {
    /// Starts a worker for each lane.
    pub(super) fn start(secondary: &Arc<Secondary<S>>, config: &MirrorConfig) -> Self {
        let length = config.queue.div_ceil(config.lanes).max(1);
        let mut this = Self {
            lanes: Vec::with_capacity(config.lanes),
            most_bytes: config.queue_bytes,
            tasks: Tasks::default(),
        };
        for _ in 0..config.lanes {
            let (sender, jobs) = mpsc::channel(length);
            this.lanes.push(sender);
            let secondary = Arc::clone(secondary);
            this.spawn(|tasks| work(secondary, jobs, tasks));
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
    pub(super) fn push(&self, lane: usize, mut job: Job<S>) {
        if job.owed.wait_in_line(self.most_bytes) {
            // A lane that is full or closed gives the job back, and dropping it counts it.
            drop(self.lanes[lane].try_send(job));
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
    mut jobs: mpsc::Receiver<Job<S>>,
    tasks: TaskSpawner,
) {
    let (mut batch, mut is_closed) = (Vec::new(), false);
    loop {
        tokio::select! {
            () = tasks.stopped(), if !is_closed => {
                jobs.close();
                is_closed = true;
            }
            received = jobs.recv_many(&mut batch, AT_ONCE) => {
                if received == 0 {
                    return;
                }
                let mut batch: VecDeque<_> = batch.drain(..).collect();
                while !batch.is_empty() {
                    let round = next_round(&mut batch);
                    join_all(round.into_iter().map(|job| secondary.apply(job))).await;
                }
            }
        }
    }
}

/// The jobs that may be under way at once, from the front: each of another subject, or one alone.
fn next_round<S: ?Sized>(batch: &mut VecDeque<Job<S>>) -> Vec<Job<S>> {
    let (mut round, mut subjects) = (Vec::new(), HashSet::new());
    while let Some(job) = batch.pop_front() {
        match job.subject {
            Some(subject) if subjects.insert(subject) => round.push(job),
            None if round.is_empty() => return vec![job],
            _ => {
                batch.push_front(job);
                break;
            }
        }
    }
    round
}
