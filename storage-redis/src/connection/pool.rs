//! The pool: connections that callers share, and single attempts to send something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use redis::Value;
use storage_core::{ErrorKind, Event, PoolUtilization, SharedObserver, TaskSpawner, Tasks};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::connector::{ConnectError, Connector, Live};
use super::node::ReplicaWait;
use super::request::{Request, load_scripts};
use super::shared_connection::SharedConnection;
use crate::NAME;
use crate::error::{RequestError, RetryAdvice};

/// A caller that gave up after waiting for so long leaves its connection in doubt.
const SUSPICIOUS_WAIT: Duration = Duration::from_secs(1);

/// The longest that a verification may take.
const VERIFICATION: Duration = Duration::from_secs(1);

/// The time between two verifications of all connections, with a look at the servers' clocks.
const VERIFICATION_INTERVAL: Duration = Duration::from_secs(10);

/// How many calls make a connection to a server crowded. With fewer, one connection is better than two:
/// more commands leave together.
const CROWD: usize = 512;

/// How many batches that wait for replicas the server may be at before it comes to anything else.
const BATCHES_HELD_UP: u32 = 2;

/// Which connection.
#[derive(Debug, Clone, Copy)]
enum ConnectionIndex {
    /// One of those for all calls.
    Shared(usize),
    Replicated,
}

/// A connection, where there is one.
#[derive(Default)]
struct PoolSlot {
    live: SharedConnection<Live, ConnectError>,
    calls: AtomicUsize,
    /// Whether it is being verified or replaced in the background.
    is_attended: AtomicBool,
}

impl PoolSlot {
    fn is_open(&self) -> bool {
        self.live.made().is_some_and(|(_, live)| !live.is_lost())
    }
}

/// Connections, made when they are first needed and anew when they are lost.
///
/// They are made and verified by tasks of the pool and not by callers: one that gives up leaves no connection
/// half made. When one does not answer, the others are verified side by side.
pub(super) struct Pool {
    pub(super) shared: Arc<PoolInner>,
    tasks: Tasks,
}

pub(super) struct PoolInner {
    connector: Arc<Connector>,
    first: PoolSlot,
    others: Box<[PoolSlot]>,
    /// The connection for writes that wait for replicas, which hold up all that comes behind them.
    replicated: PoolSlot,
    observer: SharedObserver,
    tasks: TaskSpawner,
}

impl Pool {
    /// Tasks end with the pool.
    pub(super) fn new(connector: Connector, size: usize, observer: SharedObserver, tasks: Tasks) -> Self {
        let shared = PoolInner {
            connector: Arc::new(connector),
            first: PoolSlot::default(),
            others: (1..size).map(|_| PoolSlot::default()).collect(),
            replicated: PoolSlot::default(),
            observer,
            tasks: tasks.spawner().clone(),
        };
        Self { shared: Arc::new(shared), tasks }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    /// A connection to a cluster counts as one, to however many of its nodes.
    pub(super) fn utilization(&self) -> PoolUtilization {
        let slots = || self.shared.indexes().map(|index| self.shared.slot(index));
        let open = slots().filter(|slot| slot.is_open()).count();
        let in_use = slots().filter(|slot| slot.calls.load(Ordering::Relaxed) > 0).count();
        PoolUtilization::new(open, in_use, slots().count())
    }

    /// Makes all connections.
    pub(super) async fn connect_all(&self) -> Result<(), RequestError> {
        let connected = join_all(self.shared.indexes().map(|index| self.shared.acquire(index))).await;
        match connected.into_iter().find_map(Result::err) {
            Some(failed) => Err(RequestError::connecting(&failed)),
            None => Ok(()),
        }
    }

    /// Verifies all connections from time to time, until the pool is closed or dropped.
    pub(super) fn keep_verifying(&self) {
        let pool = Arc::downgrade(&self.shared);
        self.shared.tasks.spawn_until_stopped(async move {
            loop {
                tokio::time::sleep(VERIFICATION_INTERVAL).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.verify_all();
            }
        });
    }

    /// Lets go of all connections; calls under way keep theirs.
    pub(super) async fn close(&self) {
        for index in self.shared.indexes() {
            self.shared.slot(index).live.clear();
        }
        self.tasks.stop(Duration::ZERO).await;
    }
}

impl PoolInner {
    /// Sends a request. Does what the next attempt needs. Ends by the deadline.
    pub(super) async fn send_once(
        self: &Arc<Self>,
        request: &Request,
        waits_for_replicas: bool,
        deadline: Instant,
    ) -> Result<Vec<Value>, RequestError> {
        let index = if waits_for_replicas { ConnectionIndex::Replicated } else { self.choose() };
        let slot = self.slot(index);
        let deadline = deadline.min(Instant::now() + self.connector.response_timeout());
        let (generation, live) = match slot.live.made().filter(|(_, live)| !live.is_lost()) {
            Some(made) => made,
            None => self.wait_for_connection(index, deadline).await?,
        };
        let mut watch = CallGuard { pool: self, index, begun: Some(Instant::now()) };
        slot.calls.fetch_add(1, Ordering::Relaxed);
        let answer = request.send(live.transport.clone(), deadline).await;
        watch.begun = None;
        drop(watch);
        let error = match answer {
            Err(error) => RequestError::sending(&error),
            // What an old primary takes is lost.
            Ok(_) if live.is_superseded() => RequestError::superseded(),
            Ok(values) => match first_with_advice(&values) {
                Some(error) => error,
                None => return Ok(values),
            },
        };
        match error.advice {
            RetryAdvice::Reconnect if !self.connector.is_cluster() => {
                slot.live.give_up(generation);
                self.verify_all();
            }
            // To a node of a cluster that is lost a new connection is made with the next command, but not to one
            // that says nothing.
            RetryAdvice::Reconnect if error.kind == ErrorKind::Timeout => self.replace(index, generation),
            RetryAdvice::LoadScripts => self.load_scripts(&live, deadline).await?,
            _ => {}
        }
        Err(error)
    }

    async fn load_scripts(&self, live: &Live, deadline: Instant) -> Result<(), RequestError> {
        match timeout_at(deadline, load_scripts(live.transport.clone())).await {
            // On a cluster it may be another node that can't be reached.
            Ok(Err(error)) if !self.connector.is_cluster() => {
                Err(RequestError { may_have_run: false, ..RequestError::classify(&error) })
            }
            Ok(_) => Ok(()),
            Err(_) => Err(RequestError::out_of_time("the scripts were not loaded in time")),
        }
    }

    /// The replicas that commands on this connection wait for.
    fn wait_at(&self, index: ConnectionIndex) -> Option<ReplicaWait> {
        match index {
            ConnectionIndex::Shared(_) => None,
            ConnectionIndex::Replicated => self.connector.wait(),
        }
    }

    fn slot(&self, index: ConnectionIndex) -> &PoolSlot {
        match index {
            ConnectionIndex::Shared(number) => self.shared().nth(number).unwrap_or(&self.first),
            ConnectionIndex::Replicated => &self.replicated,
        }
    }

    fn shared(&self) -> impl Iterator<Item = &PoolSlot> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn indexes(&self) -> impl Iterator<Item = ConnectionIndex> {
        let replicated = self.connector.wait().map(|_| ConnectionIndex::Replicated);
        (0..=self.others.len()).map(ConnectionIndex::Shared).chain(replicated)
    }

    /// Verifies all connections in the background, side by side.
    fn verify_all(self: &Arc<Self>) {
        for index in self.indexes() {
            self.verify(index);
        }
    }

    /// Verifies a connection in the background, and gives it up if it does not answer.
    fn verify(self: &Arc<Self>, index: ConnectionIndex) {
        let Some((generation, live)) = self.slot(index).live.made() else { return };
        let held_up = self.wait_at(index).map_or(Duration::ZERO, |wait| wait.timeout * BATCHES_HELD_UP);
        self.attend(index, move |pool| async move {
            let answered = tokio::time::timeout(VERIFICATION + held_up, pool.connector.check(&live)).await;
            if !answered.unwrap_or(pool.connector.is_cluster()) {
                pool.slot(index).live.give_up(generation);
            }
        });
    }

    /// Makes another connection in the background, which takes the place of this one once it is made.
    fn replace(self: &Arc<Self>, index: ConnectionIndex, generation: u64) {
        self.attend(index, move |pool| async move {
            if let Ok(live) = pool.connector.connect(pool.wait_at(index)).await {
                pool.observer.observe(NAME, Event::Reconnected);
                pool.slot(index).live.replace(generation, live);
            }
        });
    }

    /// Starts a task for a connection, unless there is one.
    fn attend<F>(self: &Arc<Self>, index: ConnectionIndex, task: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.slot(index).is_attended.swap(true, Ordering::SeqCst) {
            return;
        }
        let attended = RepairGuard { pool: Arc::clone(self), index };
        let task = task(Arc::clone(self));
        self.tasks.spawn_until_stopped(async move {
            let _attended = attended;
            task.await;
        });
    }

    /// The first that is not crowded, or else the one with the fewest calls.
    fn choose(&self) -> ConnectionIndex {
        let calls = |(_, slot): &(usize, &PoolSlot)| slot.calls.load(Ordering::Relaxed);
        let open = self.shared().enumerate().find(|slot| calls(slot) < CROWD);
        let chosen = open.or_else(|| self.shared().enumerate().min_by_key(calls));
        ConnectionIndex::Shared(chosen.map_or(0, |(number, _)| number))
    }

    async fn wait_for_connection(
        &self,
        index: ConnectionIndex,
        deadline: Instant,
    ) -> Result<(u64, Live), RequestError> {
        match timeout_at(deadline, self.acquire(index)).await {
            Ok(acquired) => acquired.map_err(|failed| RequestError::connecting(&failed)),
            Err(_) => {
                self.slot(index).live.give_up_attempt(SUSPICIOUS_WAIT);
                Err(RequestError::out_of_time("no connection became free in time"))
            }
        }
    }

    async fn acquire(&self, index: ConnectionIndex) -> Result<(u64, Live), ConnectError> {
        let slot = self.slot(index);
        loop {
            let (generation, live) =
                slot.live.get(|generation| self.make(generation, self.wait_at(index))).await?;
            if !live.is_lost() {
                return Ok((generation, live));
            }
            slot.live.give_up(generation);
        }
    }

    fn make(
        &self,
        generation: u64,
        wait: Option<ReplicaWait>,
    ) -> BoxFuture<'static, Result<Live, ConnectError>> {
        let (connecting, observer) = (self.connector.connect(wait), Arc::clone(&self.observer));
        let address = self.connector.addresses();
        // It goes on when those who wait for it give up, and ends when it is given up itself.
        let (mut made, making) = oneshot::channel();
        self.tasks.spawn_until_stopped(async move {
            tokio::select! {
                connected = connecting => drop(made.send(connected)),
                () = made.closed() => {}
            }
        });
        async move {
            let ended = |_| ConnectError {
                address,
                error: std::io::Error::other("the attempt was abandoned").into(),
            };
            let live = making.await.map_err(ended)??;
            if generation > 0 {
                tracing::debug!(backend = NAME, "connected again");
                observer.observe(NAME, Event::Reconnected);
            }
            Ok(live)
        }
        .boxed()
    }
}

/// Counts a call, and notices a caller that gives up on an answer early: a server that hangs would otherwise
/// be waited for by call after call.
struct CallGuard<'a> {
    pool: &'a Arc<PoolInner>,
    index: ConnectionIndex,
    /// `None` when there is an answer, whatever it is.
    begun: Option<Instant>,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.pool.slot(self.index).calls.fetch_sub(1, Ordering::Relaxed);
        if self.begun.is_some_and(|begun| begun.elapsed() >= SUSPICIOUS_WAIT) {
            self.pool.verify(self.index);
        }
    }
}

/// A task is at work for a connection, as long as this is there.
struct RepairGuard {
    pool: Arc<PoolInner>,
    index: ConnectionIndex,
}

impl Drop for RepairGuard {
    fn drop(&mut self) {
        self.pool.slot(self.index).is_attended.store(false, Ordering::SeqCst);
    }
}

/// The first refusal among the answers to several commands after which all of them are worth another
/// attempt.
fn first_with_advice(values: &[Value]) -> Option<RequestError> {
    let mut errors = values.iter().filter_map(|value| match value {
        Value::ServerError(error) => Some(RequestError::classify_refusal(error)),
        _ => None,
    });
    errors.find(|error| error.advice != RetryAdvice::Nothing)
}
