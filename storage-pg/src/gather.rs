//! Gathering: calls of many tasks are sent together.
//!
//! Nothing waits for a timer. A call that comes while few are under way is made alone, as it would be
//! without gathering; what comes while others are under way waits for them and then goes together. So
//! batches grow with the load.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use storage_core::layer::{time_left, with_time_left};
use storage_core::{Error, ErrorKind, Event, Operation, Result};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::yield_now;

use crate::core::Core;

/// A kind of calls that can be answered together.
pub(crate) trait Together: Send + Sync + 'static {
    type Request: Send + Sync + 'static;
    type Answer: Send + 'static;

    const OPERATION: Operation;
    /// The configuration key of the query.
    const KEY: &'static str;

    /// Answers them all, each in its place.
    fn answer(
        core: &Core,
        requests: &[Self::Request],
    ) -> impl Future<Output = Vec<Result<Self::Answer>>> + Send;
}

/// How much is gathered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The most calls in a batch.
    pub(crate) size: usize,
    /// The most batches under way.
    pub(crate) in_flight: usize,
    /// The most calls that wait for a batch; further ones wait for room among them.
    pub(crate) queue: usize,
    /// Whether a call goes by the queue even if nothing is under way.
    pub(crate) when_idle: bool,
}

/// Gathers the calls of one kind.
pub(crate) struct Gather<T: Together>(Arc<Shared<T>>);

struct Shared<T: Together> {
    core: Arc<Core>,
    bounds: Bounds,
    room: Semaphore,
    state: Mutex<State<T>>,
    idle: Notify,
}

struct State<T: Together> {
    under_way: usize,
    queue: VecDeque<Waiting<T>>,
}

struct Waiting<T: Together> {
    request: T::Request,
    answer: oneshot::Sender<Result<T::Answer>>,
    since: Instant,
    time_left: Option<Duration>,
}

impl<T: Together> Waiting<T> {
    fn time_left(&self) -> Option<Duration> {
        Some(self.time_left?.saturating_sub(self.since.elapsed()))
    }
}

impl<T: Together> Gather<T> {
    pub(crate) fn new(core: &Arc<Core>, bounds: Bounds) -> Self {
        Self(Arc::new(Shared {
            core: Arc::clone(core),
            bounds,
            room: Semaphore::new(bounds.queue),
            state: Mutex::new(State { under_way: 0, queue: VecDeque::new() }),
            idle: Notify::new(),
        }))
    }

    /// Makes a call: by `alone` while few are under way, or else together with others. A caller that
    /// gives up costs nothing if its call was not sent yet.
    pub(crate) async fn call<'a>(
        &self,
        request: T::Request,
        alone: impl FnOnce() -> BoxFuture<'a, Result<T::Answer>>,
    ) -> Result<T::Answer> {
        if let Some(_place) = self.0.enter_if_idle() {
            return alone().await;
        }
        let Ok(room) = self.0.room.acquire().await else { return Err(unanswered::<T>()) };
        // It is given back when the call leaves the queue.
        room.forget();
        let (answer, answered) = oneshot::channel();
        self.0.push(Waiting { request, answer, since: Instant::now(), time_left: time_left() });
        answered.await.unwrap_or_else(|_| Err(unanswered::<T>()))
    }

    /// Waits until nothing waits and nothing is under way.
    pub(crate) async fn drain(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.0.state().under_way == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// The runtime ended before the batch did.
fn unanswered<T: Together>() -> Error {
    let kind = if T::OPERATION.is_write() { ErrorKind::Uncertain } else { ErrorKind::Unavailable };
    Error::new(crate::NAME, T::OPERATION, kind).with_message(format!("`{}`: its batch was given up", T::KEY))
}

impl<T: Together> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter_if_idle(self: &Arc<Self>) -> Option<Place<T>> {
        let mut state = self.state();
        let may_enter = state.queue.is_empty() && state.under_way < self.bounds.in_flight;
        if self.bounds.when_idle || !may_enter {
            return None;
        }
        state.under_way += 1;
        Some(Place(Arc::clone(self)))
    }

    fn push(self: &Arc<Self>, waiting: Waiting<T>) {
        let mut state = self.state();
        state.queue.push_back(waiting);
        if state.under_way < self.bounds.in_flight {
            state.under_way += 1;
            drop(state);
            Place(Arc::clone(self)).serve(&Handle::current());
        }
    }

    /// The next calls of those that still wait for their answer.
    fn take(&self) -> Vec<Waiting<T>> {
        let mut state = self.state();
        let count = state.queue.len().min(self.bounds.size);
        let mut batch: Vec<_> = state.queue.drain(..count).collect();
        let left = state.queue.len();
        drop(state);
        self.room.add_permits(count);
        batch.retain(|waiting| !waiting.answer.is_closed());
        if let Some(oldest) = batch.first() {
            let (calls, waited) = (batch.len() as u64, oldest.since.elapsed());
            self.core.observe(Event::Gathered { key: T::KEY, calls, waited, left: left as u64 });
        }
        batch
    }
}

/// A place among those under way. When it is left, and calls wait, the next batch has it.
struct Place<T: Together>(Arc<Shared<T>>);

impl<T: Together> Place<T> {
    fn serve(self, runtime: &Handle) {
        runtime.spawn(async move {
            let batch = self.0.take();
            // Each caller shall hear of a failure in time.
            let left = batch.iter().filter_map(Waiting::time_left).min();
            let (requests, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|waiting| (waiting.request, waiting.answer)).unzip();
            if requests.is_empty() {
                return;
            }
            let results = with_time_left(left, T::answer(&self.0.core, &requests)).await;
            for (answer, result) in answers.into_iter().zip(results) {
                // Who has given up needs no answer.
                let _ = answer.send(result);
            }
            // Those who go on calling at once shall be in the next batch, and not one of them alone.
            yield_now().await;
        });
    }
}

impl<T: Together> Drop for Place<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if !state.queue.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(state);
            Place(Arc::clone(&self.0)).serve(&runtime);
            return;
        }
        state.under_way -= 1;
        if state.under_way == 0 {
            self.0.idle.notify_waiters();
        }
    }
}
