//! Batching: calls of many tasks are sent to a server together.
//!
//! Nothing waits for a timer. A call that comes while few are in flight is made alone, as it would be
//! without batching; what comes while others are in flight waits for them and then goes together. So
//! batches grow with the load.
//!
//! Every call has a deadline of its own, which no other call shortens. A caller whose deadline passes, or
//! that gives up, costs nothing if its call was not sent yet.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

pub use queue::Bounds;
use queue::{Admission, Queue, Ticket};

use crate::Tasks;

/// What is done with the calls of one kind.
pub trait BatchOp: Send + Sync + 'static {
    /// What is asked.
    type Request: Send + Sync + 'static;
    /// The answer to one call.
    type Answer: Send + 'static;

    /// Answers all calls, each in its place. It is dropped when the last of their deadlines has passed.
    fn run(&self, calls: Vec<BatchCall<Self::Request>>) -> impl Future<Output = Vec<Self::Answer>> + Send;

    /// The answer to a call that gets none from [`run`](Self::run).
    fn unanswered(&self, reason: Unanswered) -> Self::Answer;

    /// A batch is sent: how many calls it has, how long the oldest of them waited, how many still wait.
    fn batch_sent(&self, _calls: usize, _waited: Duration, _left: usize) {}
}

/// A call in a batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchCall<R> {
    /// What is asked.
    pub request: R,
    /// When its caller gives up.
    pub deadline: Instant,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// Its deadline has passed before it was sent.
    NotSent,
    /// Its deadline has passed, or its batch was given up, after it was sent.
    Sent,
    /// The batcher is closed; it was not sent.
    Closed,
}

/// Batches the calls of one kind.
///
/// Batches run in tasks of the runtime that calls are made in. Dropping the batcher stops them.
pub struct Batcher<O: BatchOp> {
    shared: Arc<BatcherInner<O>>,
    tasks: Tasks,
}

struct BatcherInner<O: BatchOp> {
    op: O,
    /// Calls have left a queue in which there was no room.
    room: Notify,
    bounds: Bounds,
    queue: Mutex<Queue<QueuedCall<O>>>,
    idle: Notify,
}

struct QueuedCall<O: BatchOp> {
    call: BatchCall<O::Request>,
    answer: oneshot::Sender<O::Answer>,
    since: Instant,
}

impl<O: BatchOp> Batcher<O> {
    /// A batcher for the calls of `op`.
    pub fn new(op: O, bounds: Bounds) -> Self {
        let shared = BatcherInner {
            op,
            room: Notify::new(),
            bounds,
            queue: Mutex::new(Queue::new(bounds)),
            idle: Notify::new(),
        };
        Self { shared: Arc::new(shared), tasks: Tasks::default() }
    }

    /// Makes a call: by `alone` while few are in flight, or else together with others. Ends by the
    /// deadline, which `alone` keeps by itself.
    pub async fn call<'a, R: Into<O::Request>>(
        &self,
        request: R,
        deadline: Instant,
        alone: impl FnOnce(R) -> BoxFuture<'a, O::Answer>,
    ) -> O::Answer {
        let shared = &self.shared;
        let not_sent = |reason| shared.op.unanswered(reason);
        let mut request = request;
        let (ticket, start, answered) = loop {
            let room = shared.room.notified();
            let (answer, answered) = oneshot::channel();
            let admission = shared.queue.lock().admit(request, |request| {
                let call = BatchCall { request: request.into(), deadline };
                QueuedCall { call, answer, since: Instant::now() }
            });
            match admission {
                Admission::Alone(request) => {
                    let _permit = LoneCallPermit(self);
                    return alone(request).await;
                }
                Admission::Waits { ticket, start } => break (ticket, start, answered),
                Admission::Full(again) => {
                    request = again;
                    if timeout_at(deadline, room).await.is_err() {
                        return not_sent(Unanswered::NotSent);
                    }
                }
                Admission::Closed => return not_sent(Unanswered::Closed),
            }
        };
        let mut waiting = Waiting { shared, ticket: Some(ticket) };
        if start {
            self.serve();
        }
        match timeout_at(deadline, answered).await {
            Ok(answer) => {
                waiting.ticket = None;
                // No answer: the worker was dropped in the middle of the batch, or with the runtime.
                answer.unwrap_or_else(|_| not_sent(Unanswered::Sent))
            }
            Err(_) if waiting.cancel() => not_sent(Unanswered::NotSent),
            Err(_) => not_sent(Unanswered::Sent),
        }
    }

    /// Takes no further calls and waits until those that were made are answered, or it is too late: then
    /// batches in flight are dropped. Whether all were answered.
    pub async fn close(&self, at_most: Duration) -> bool {
        self.shared.queue.lock().close();
        self.shared.room.notify_waiters();
        let is_idle = timeout(at_most, self.shared.until_idle()).await.is_ok();
        self.tasks.stop(Duration::ZERO).await;
        is_idle
    }

    /// Starts a worker, for which a permit has been taken.
    fn serve(&self) {
        let permit = WorkerPermit { shared: Arc::clone(&self.shared), is_released: false };
        self.tasks.spawner().spawn_until_stopped(permit.serve());
    }
}

impl<O: BatchOp> BatcherInner<O> {
    async fn until_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.queue.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// The next batch.
    fn take(&self) -> Vec<QueuedCall<O>> {
        let mut queue = self.queue.lock();
        let was_full = queue.len() >= self.bounds.queue;
        let batch = queue.take();
        let left = queue.len();
        drop(queue);
        self.make_room(was_full);
        if let Some(oldest) = batch.first() {
            self.op.batch_sent(batch.len(), oldest.since.elapsed(), left);
        }
        batch
    }

    fn make_room(&self, was_full: bool) {
        if was_full {
            self.room.notify_waiters();
        }
    }

    fn release(&self) -> bool {
        let mut queue = self.queue.lock();
        let is_kept = queue.release();
        let is_idle = queue.is_idle();
        drop(queue);
        if is_idle {
            self.idle.notify_waiters();
        }
        is_kept
    }

    fn abandon(&self) {
        let left = self.queue.lock().abandon();
        self.make_room(!left.is_empty());
        for QueuedCall { answer, .. } in left {
            // Who has given up needs no answer.
            let _ = answer.send(self.op.unanswered(Unanswered::Closed));
        }
        self.idle.notify_waiters();
    }
}

/// A caller's call in the queue. It is taken out when the caller gives up.
struct Waiting<'a, O: BatchOp> {
    shared: &'a BatcherInner<O>,
    /// `None` when it was answered.
    ticket: Option<Ticket>,
}

impl<O: BatchOp> Waiting<'_, O> {
    /// Takes the call out; false if a batch has it.
    fn cancel(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else { return false };
        let mut queue = self.shared.queue.lock();
        let was_full = queue.len() >= self.shared.bounds.queue;
        let is_taken_out = queue.cancel(ticket).is_some();
        drop(queue);
        self.shared.make_room(was_full && is_taken_out);
        is_taken_out
    }
}

impl<O: BatchOp> Drop for Waiting<'_, O> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The permit in flight of a call that goes alone. When it ends, in whatever way, the permit serves those who
/// came meanwhile.
struct LoneCallPermit<'a, O: BatchOp>(&'a Batcher<O>);

impl<O: BatchOp> Drop for LoneCallPermit<'_, O> {
    fn drop(&mut self) {
        if self.0.shared.release() {
            self.0.serve();
        }
    }
}

/// The permit in flight of a worker. A worker that is dropped, with its runtime or by a panic, starts
/// nothing: if it was the last, the calls that wait are answered.
struct WorkerPermit<O: BatchOp> {
    shared: Arc<BatcherInner<O>>,
    is_released: bool,
}

impl<O: BatchOp> WorkerPermit<O> {
    async fn serve(mut self) {
        loop {
            let batch = self.shared.take();
            if !batch.is_empty() {
                self.run(batch).await;
                // Yield so that callers released by this batch can join the next one.
                yield_now().await;
            }
            if !self.shared.release() {
                self.is_released = true;
                return;
            }
        }
    }

    async fn run(&self, batch: Vec<QueuedCall<O>>) {
        let op = &self.shared.op;
        let (calls, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|entry| (entry.call, entry.answer)).unzip();
        let Some(last) = calls.iter().map(|call| call.deadline).max() else { return };
        let mut results = timeout_at(last, op.run(calls)).await.unwrap_or_default().into_iter();
        for answer in answers {
            let result = results.next().unwrap_or_else(|| op.unanswered(Unanswered::Sent));
            // Who has given up needs no answer.
            let _ = answer.send(result);
        }
    }
}

impl<O: BatchOp> Drop for WorkerPermit<O> {
    fn drop(&mut self) {
        if !self.is_released {
            self.shared.abandon();
        }
    }
}

#[cfg(test)]
mod tests;
