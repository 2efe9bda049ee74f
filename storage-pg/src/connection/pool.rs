//! The pool of connections. sqlx's own knows one host only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use sqlx::{Connection, PgConnection};
use storage_core::{Event, PoolUtilization, ServerClock, ServerTime, SharedObserver, TaskSpawner, Tasks};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use super::connector::{Connected, Connector};
use super::settings::{ConnectionSettings, PoolSettings};
use crate::error::ConnectError;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A connection that was idle for longer is verified before it is handed out.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// The longest that a verification may take.
const VERIFICATION: Duration = Duration::from_secs(1);

/// The wait after a failure to connect, while there are other connections to wait for.
const RECONNECT_WAIT: Duration = Duration::from_millis(500);

/// The longest that a call which was given up is waited for.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// The longest that closing waits for connections that are being closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The time between two rounds of the pool's own maintenance, at most.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(15);

/// Connections to whichever of the servers will do, made when they are needed.
///
/// The last one used is the first to be used again. One that was idle for a second is verified before it is
/// handed out. When one is lost or does not answer, the others to its host become doubtful: they are verified
/// side by side, and replaced.
///
/// Connections are made, verified, drained and closed by tasks of the pool and not by callers: one that
/// gives up leaves no connection half made.
pub(crate) struct Pool {
    shared: Arc<PoolInner>,
    tasks: Tasks,
}

/// A connection of the pool.
pub(super) struct Pooled {
    pub(super) connection: PgConnection,
    pub(super) clock: ServerClock,
    /// The generation of the statements that it has prepared.
    pub(super) statements: u64,
    idle_since: Instant,
    host: usize,
    born: Instant,
    lifetime: Duration,
    /// How often the host had been doubted when this connection was last known to work.
    doubts_seen: u64,
}

impl Pooled {
    fn is_too_old(&self) -> bool {
        self.born.elapsed() > self.lifetime
    }

    fn is_idle_for(&self, time: Duration) -> bool {
        self.idle_since.elapsed() > time
    }
}

/// Who waits for a connection.
type Waiter = oneshot::Sender<Result<Pooled, ConnectError>>;

pub(super) struct PoolInner {
    connector: Connector,
    observer: SharedObserver,
    state: Mutex<PoolState>,
    /// Long operations leave a connection to the others, if there are several.
    long: Arc<Semaphore>,
    tasks: TaskSpawner,
}

#[derive(Default)]
struct PoolState {
    /// The last used last.
    idle: Vec<Pooled>,
    waiting: VecDeque<Waiter>,
    /// All connections: idle, in use, and being made, verified or drained.
    size: usize,
    /// Connections on their way to those who wait: being made or verified.
    coming: usize,
    /// How many tasks make connections.
    connecting: usize,
    /// By host, how often a connection to it was lost or did not answer.
    doubts: Vec<u64>,
    /// Lost connections that were not replaced yet.
    to_replace: usize,
    /// Product and version of the server that was connected to last.
    server: Option<String>,
    /// Whether a pooler is in front of that server.
    is_pooled: bool,
    is_maintained: bool,
    is_closed: bool,
}

impl Pool {
    /// A pool without connections as yet.
    pub(crate) fn new(settings: ConnectionSettings, observer: SharedObserver) -> Self {
        let long = settings.pool.max_connections.saturating_sub(1).max(1);
        let state = PoolState { doubts: vec![0; settings.hosts.len()], ..PoolState::default() };
        let tasks = Tasks::default();
        let shared = PoolInner {
            connector: Connector::new(settings, Arc::clone(&observer)),
            observer,
            state: Mutex::new(state),
            long: Arc::new(Semaphore::new(long)),
            tasks: tasks.spawner().clone(),
        };
        Self { shared: Arc::new(shared), tasks }
    }

    /// The time of the server.
    pub(crate) fn time(&self) -> &ServerTime {
        self.shared.connector.time()
    }

    /// Product and version of the server, as it said when it was last connected to.
    pub(crate) fn server(&self) -> Option<String> {
        self.shared.state().server.clone()
    }

    /// Whether a pooler is in front of the server that was connected to last.
    pub(crate) fn is_pooled(&self) -> bool {
        self.shared.state().is_pooled
    }

    /// Its connections and those who wait for one.
    pub(crate) fn utilization(&self) -> PoolUtilization {
        let state = self.shared.state();
        let open = state.size.saturating_sub(state.connecting);
        let in_use = state.size.saturating_sub(state.idle.len() + state.coming);
        let waiting = state.waiting.iter().filter(|waiter| !waiter.is_closed()).count();
        PoolUtilization::new(open, in_use, self.shared.settings().max_connections).with_waiting(waiting)
    }

    /// A connection that works, as far as one can know, for a call with this deadline. Waits for one to be
    /// given back if as many as may be are in use.
    ///
    /// # Errors
    /// [`ConnectError`] if there is none and none can be made by then, or the pool is closed.
    pub(crate) async fn lease(
        &self,
        deadline: tokio::time::Instant,
        is_long: bool,
    ) -> Result<Lease, ConnectError> {
        let begun = Instant::now();
        let long = if is_long { Some(self.shared.long_permit(deadline).await?) } else { None };
        let pooled = match self.shared.enter()? {
            Acquired::Ready(pooled) => pooled,
            Acquired::Waits(waiter) => PendingLease { waiter, pool: &self.shared }.until(deadline).await?,
        };
        let (clock, pool, state) = (pooled.clock, Arc::clone(&self.shared), LeaseState::Ready);
        let lease = Lease { pooled: Some(pooled), clock, pool, state, in_transaction: false, deadline, long };
        let connections = self.shared.state().size as u64;
        self.shared.observe(Event::Leased { waited: begun.elapsed(), connections });
        Ok(lease)
    }

    /// The first lease. A server that can't be reached or is not ready is tried again, at growing
    /// intervals, until the timeout has passed.
    ///
    /// # Errors
    /// The last [`ConnectError`]; one that would not pass by itself at once.
    pub(crate) async fn connect_at_start(&self, startup_timeout: Duration) -> Result<Lease, ConnectError> {
        let begun = Instant::now();
        let lease = || {
            // Every host may be tried for as long as it may take.
            let settings = self.shared.connector.settings();
            let hosts = u32::try_from(settings.hosts.len()).unwrap_or(u32::MAX);
            let longest = settings.connect_timeout.saturating_mul(hosts.saturating_add(1));
            let now = tokio::time::Instant::now();
            self.lease(now.checked_add(longest).unwrap_or(now), false)
        };
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_jitter()
            .without_max_times();
        for wait in waits.build() {
            let error = match lease().await {
                Ok(lease) => return Ok(lease),
                Err(error) => error,
            };
            if !error.is_transient() || begun.elapsed().saturating_add(wait) > startup_timeout {
                return Err(error);
            }
            tracing::warn!(%error, next = ?wait, "cannot connect; retrying");
            tokio::time::sleep(wait).await;
        }
        lease().await
    }

    /// Closes what is idle, and what is in use when it is given back. Later leases fail.
    pub(crate) async fn close(&self) {
        let (idle, waiting) = {
            let mut state = self.shared.state();
            state.is_closed = true;
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.waiting))
        };
        for waiter in waiting {
            // Who has given up needs no answer.
            let _ = waiter.send(Err(ConnectError::Closed));
        }
        let closing = join_all(idle.into_iter().map(|pooled| close(pooled.connection)));
        tokio::join!(closing, self.tasks.stop(CLOSE_TIMEOUT));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
    }
}

enum Acquired {
    Ready(Pooled),
    Waits(oneshot::Receiver<Result<Pooled, ConnectError>>),
}

/// A caller that waits for a connection. One that comes after it has given up goes to the next.
struct PendingLease<'a> {
    waiter: oneshot::Receiver<Result<Pooled, ConnectError>>,
    pool: &'a Arc<PoolInner>,
}

impl PendingLease<'_> {
    async fn until(mut self, deadline: tokio::time::Instant) -> Result<Pooled, ConnectError> {
        match timeout_at(deadline, &mut self.waiter).await {
            Ok(answer) => answer.unwrap_or(Err(ConnectError::Closed)),
            Err(_) => Err(self.pool.connector.no_connection_in_time()),
        }
    }
}

impl Drop for PendingLease<'_> {
    fn drop(&mut self) {
        self.waiter.close();
        if let Ok(Ok(pooled)) = self.waiter.try_recv() {
            self.pool.take_back(pooled);
        }
    }
}

impl PoolInner {
    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock()
    }

    fn settings(&self) -> &PoolSettings {
        &self.connector.settings().pool
    }

    fn observe(&self, event: Event) {
        self.observer.observe(crate::NAME, event);
    }

    async fn long_permit(
        &self,
        deadline: tokio::time::Instant,
    ) -> Result<OwnedSemaphorePermit, ConnectError> {
        match timeout_at(deadline, Arc::clone(&self.long).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(ConnectError::Closed),
            Err(_) => Err(self.connector.no_connection_in_time()),
        }
    }

    /// Takes an idle connection, or a place among those who wait for one.
    fn enter(self: &Arc<Self>) -> Result<Acquired, ConnectError> {
        let mut state = self.state();
        if state.is_closed {
            return Err(ConnectError::Closed);
        }
        self.maintain(&mut state);
        let PoolSettings { max_idle, .. } = *self.settings();
        while let Some(pooled) = state.idle.pop() {
            if pooled.is_too_old() || pooled.is_idle_for(max_idle) {
                state.size -= 1;
                self.retire(pooled);
            } else if pooled.is_idle_for(TRUSTED_IDLE) || pooled.clock.is_old() {
                self.verify(&mut state, pooled);
                break;
            } else {
                return Ok(Acquired::Ready(pooled));
            }
        }
        let (sender, waiter) = oneshot::channel();
        state.waiting.push_back(sender);
        self.bring_more(&mut state);
        Ok(Acquired::Waits(waiter))
    }

    /// Sees to it that enough connections are on their way to those who wait.
    fn bring_more(self: &Arc<Self>, state: &mut PoolState) {
        while state.coming < state.waiting.len() && !state.is_closed {
            if let Some(pooled) = state.idle.pop() {
                self.verify(state, pooled);
            } else if state.size < self.settings().max_connections {
                self.connect(state);
            } else {
                return;
            }
        }
    }

    /// Makes a connection in the background.
    fn connect(self: &Arc<Self>, state: &mut PoolState) {
        state.size += 1;
        state.coming += 1;
        state.connecting += 1;
        self.tasks
            .spawn_until_stopped(PoolSlot { pool: Arc::clone(self), purpose: SlotUse::Connect }.connect());
    }

    /// Verifies a connection in the background.
    fn verify(self: &Arc<Self>, state: &mut PoolState, mut pooled: Pooled) {
        state.coming += 1;
        let doubts = state.doubts[pooled.host];
        let place = PoolSlot { pool: Arc::clone(self), purpose: SlotUse::Verify };
        self.tasks.spawn_until_stopped(async move {
            let verified = place.pool.connector.verify(&mut pooled.connection, &mut pooled.clock);
            let works = tokio::time::timeout(VERIFICATION, verified).await.unwrap_or(false);
            let was_trusted = std::mem::replace(&mut pooled.doubts_seen, doubts) == doubts;
            place.settled(pooled, works, was_trusted);
        });
    }

    /// A connection to this host was lost. The others become doubtful if that is news.
    fn doubt(self: &Arc<Self>, host: usize, is_news: bool) {
        self.connector.doubt(host);
        let mut state = self.state();
        state.to_replace += 1;
        if is_news {
            state.doubts[host] += 1;
            let idle = std::mem::take(&mut state.idle);
            let (doubtful, others): (Vec<_>, _) = idle.into_iter().partition(|pooled| pooled.host == host);
            state.idle = others;
            for pooled in doubtful {
                self.verify(&mut state, pooled);
            }
        }
        self.bring_more(&mut state);
    }

    /// Hands a connection to who waits longest, or keeps it.
    fn provide(self: &Arc<Self>, state: &mut PoolState, mut pooled: Pooled) {
        if state.is_closed {
            state.size -= 1;
            return self.retire(pooled);
        }
        while let Some(waiter) = state.waiting.pop_front() {
            match waiter.send(Ok(pooled)) {
                Ok(()) => return,
                Err(Ok(unwanted)) => pooled = unwanted,
                Err(Err(_)) => return,
            }
        }
        state.idle.push(pooled);
    }

    /// Takes a connection back that works.
    pub(super) fn take_back(self: &Arc<Self>, mut pooled: Pooled) {
        let mut state = self.state();
        pooled.idle_since = Instant::now();
        // It has just answered.
        pooled.doubts_seen = state.doubts[pooled.host];
        self.provide(&mut state, pooled);
    }

    /// Brings to an end what a caller has given up, no longer than its call might have taken.
    pub(super) fn drain(
        self: &Arc<Self>,
        mut pooled: Pooled,
        in_transaction: bool,
        deadline: tokio::time::Instant,
    ) {
        let place = PoolSlot { pool: Arc::clone(self), purpose: SlotUse::Drain };
        let deadline = deadline.min(tokio::time::Instant::now() + LONGEST_DRAIN);
        self.tasks.spawn_until_stopped(async move {
            let ended = async {
                // It reads what was under way to its end first.
                pooled.connection.ping().await?;
                if in_transaction {
                    sqlx::raw_sql("ROLLBACK").execute(&mut pooled.connection).await?;
                }
                Ok::<_, sqlx::Error>(())
            };
            let works = matches!(timeout_at(deadline, ended).await, Ok(Ok(())));
            place.settled(pooled, works, true);
        });
    }

    /// Gives a connection up that has ended, or does not answer.
    pub(super) fn lost(self: &Arc<Self>, pooled: Pooled) {
        self.state().size -= 1;
        let host = pooled.host;
        self.retire(pooled);
        self.doubt(host, true);
    }

    /// Gives a connection up in the middle of something.
    pub(super) fn discard(self: &Arc<Self>, pooled: Pooled) {
        let mut state = self.state();
        state.size -= 1;
        self.retire(pooled);
        self.bring_more(&mut state);
    }

    /// Disconnects in the background; the connection is counted no more.
    fn retire(&self, pooled: Pooled) {
        self.tasks.spawn(close(pooled.connection));
    }

    /// Starts the maintenance of the pool, once.
    fn maintain(self: &Arc<Self>, state: &mut PoolState) {
        if std::mem::replace(&mut state.is_maintained, true) {
            return;
        }
        let settings = self.settings();
        let shortest = settings.max_idle.min(settings.max_lifetime);
        let interval = MAINTENANCE_INTERVAL.min(shortest / 2).max(Duration::from_millis(100));
        let pool = Arc::downgrade(self);
        self.tasks.spawn_until_stopped(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.discard_spare();
                pool.top_up();
            }
        });
    }

    /// Connections that are too old or idle for long go, but for `pool_min_conns`.
    fn discard_spare(&self) {
        let PoolSettings { min_connections, max_idle, .. } = *self.settings();
        let mut state = self.state();
        let mut spare = state.size.saturating_sub(min_connections);
        for pooled in std::mem::take(&mut state.idle) {
            let is_spare = spare > 0 && pooled.is_idle_for(max_idle);
            if is_spare || pooled.is_too_old() {
                spare = spare.saturating_sub(1);
                state.size -= 1;
                self.retire(pooled);
            } else {
                state.idle.push(pooled);
            }
        }
    }

    /// Makes connections until there are `pool_min_conns`.
    fn top_up(self: &Arc<Self>) {
        let mut state = self.state();
        while state.size < self.settings().min_connections && !state.is_closed {
            self.connect(&mut state);
        }
    }
}

/// The place of a connection that nobody can use yet. Dropped before it has arrived, the place is free again.
struct PoolSlot {
    pool: Arc<PoolInner>,
    purpose: SlotUse,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotUse {
    Connect,
    Verify,
    Drain,
    /// None any more: it is counted no longer.
    Free,
}

impl PoolSlot {
    /// Makes a connection. While others are in use, a failure is nobody's: those who wait may get one of
    /// them.
    async fn connect(mut self) {
        loop {
            match self.pool.connector.connect().await {
                Ok(connected) => return self.connected(connected),
                Err(error) => {
                    let pool = Arc::clone(&self.pool);
                    let mut state = pool.state();
                    if state.waiting.is_empty() || state.size <= state.connecting {
                        let waiting = std::mem::take(&mut state.waiting);
                        // At the same moment: who comes later begins another attempt.
                        self.free(&mut state);
                        drop(state);
                        for waiter in waiting {
                            // Who has given up needs no answer.
                            let _ = waiter.send(Err(error.clone()));
                        }
                        return;
                    }
                }
            }
            tokio::time::sleep(RECONNECT_WAIT).await;
        }
    }

    fn connected(self, connected: Connected) {
        let Connected { connection, host, clock, server, is_pooled } = connected;
        let PoolSettings { max_lifetime, max_lifetime_jitter, .. } = *self.pool.settings();
        let jitter = rand::random_range(Duration::ZERO..=max_lifetime_jitter);
        let now = Instant::now();
        let (doubts_seen, is_replacement) = {
            let mut state = self.pool.state();
            state.server = Some(server);
            state.is_pooled = is_pooled;
            let is_replacement = state.to_replace > 0;
            state.to_replace = state.to_replace.saturating_sub(1);
            (state.doubts[host], is_replacement)
        };
        if is_replacement {
            self.pool.observe(Event::Reconnected);
        }
        self.arrived(Pooled {
            connection,
            clock,
            statements: 0,
            idle_since: now,
            host,
            born: now,
            lifetime: max_lifetime.saturating_add(jitter),
            doubts_seen,
        });
    }

    /// What a verification or a drain has come to; a failure is news unless the connection was in doubt.
    fn settled(self, mut pooled: Pooled, works: bool, is_news: bool) {
        let (pool, host) = (Arc::clone(&self.pool), pooled.host);
        if works {
            // Known to work now, even if nobody uses it soon.
            pooled.idle_since = Instant::now();
            self.arrived(pooled);
        } else {
            drop((pooled, self));
            pool.doubt(host, is_news);
        }
    }

    fn arrived(mut self, pooled: Pooled) {
        let pool = Arc::clone(&self.pool);
        let mut state = pool.state();
        self.free(&mut state);
        state.size += 1;
        pool.provide(&mut state, pooled);
    }

    fn free(&mut self, state: &mut PoolState) {
        match std::mem::replace(&mut self.purpose, SlotUse::Free) {
            SlotUse::Free => return,
            SlotUse::Connect => {
                state.connecting -= 1;
                state.coming -= 1;
            }
            SlotUse::Verify => state.coming -= 1,
            SlotUse::Drain => {}
        }
        state.size -= 1;
    }
}

impl Drop for PoolSlot {
    fn drop(&mut self) {
        if self.purpose != SlotUse::Free {
            let pool = Arc::clone(&self.pool);
            self.free(&mut pool.state());
        }
    }
}

/// A connection in use. It goes back to the pool by [`release`](Self::release). One that is dropped in the
/// middle of something is brought to an end in the background, no longer than its call may take.
pub(crate) struct Lease {
    /// `None` after it was given back.
    pooled: Option<Pooled>,
    clock: ServerClock,
    pool: Arc<PoolInner>,
    state: LeaseState,
    in_transaction: bool,
    /// When the call that uses it must have ended.
    deadline: tokio::time::Instant,
    /// Of a long operation: it leaves some connections to the others.
    long: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LeaseState {
    /// Nothing was sent, or all of it was answered and no transaction is open.
    Ready,
    /// A statement may be under way, or a transaction open.
    InUse,
    /// Given up: it has ended, or is waited for no longer.
    Lost,
}

impl Lease {
    /// Gives the connection back to the pool: the last statement has ended, well or with an error
    /// that the server answered, and no transaction is open.
    pub(crate) fn release(mut self) {
        self.state = LeaseState::Ready;
    }

    /// Gives the connection up: it has ended, or does not answer. The others to its host are verified.
    pub(crate) fn give_up(mut self) {
        self.state = LeaseState::Lost;
    }

    /// Says that a transaction is open from now on, until the lease is released.
    pub(crate) fn in_transaction(&mut self) {
        self.in_transaction = true;
    }

    /// Forgets the statements that the connection has prepared, unless it has done so for this generation of
    /// them.
    pub(crate) async fn forget_statements(&mut self, generation: u64) -> sqlx::Result<()> {
        let Some(pooled) = &mut self.pooled else { return Ok(()) };
        if pooled.statements == generation {
            return Ok(());
        }
        self.state = LeaseState::InUse;
        pooled.connection.clear_cached_statements().await?;
        pooled.statements = generation;
        self.state = LeaseState::Ready;
        Ok(())
    }

    /// The generation of the statements that the connection has prepared.
    pub(crate) fn statements(&self) -> u64 {
        self.pooled.as_ref().map_or(0, |pooled| pooled.statements)
    }

    /// The server's clock.
    pub(crate) fn clock(&self) -> ServerClock {
        self.clock
    }

    /// The connection, to send something on. `None` never happens: only dropping takes it out.
    pub(crate) fn connection(&mut self) -> Option<&mut PgConnection> {
        self.state = LeaseState::InUse;
        self.pooled.as_mut().map(|pooled| &mut pooled.connection)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(pooled) = self.pooled.take() else { return };
        match self.state {
            LeaseState::Ready => self.pool.take_back(pooled),
            LeaseState::InUse if self.long.is_none() => {
                self.pool.drain(pooled, self.in_transaction, self.deadline);
            }
            // What a long statement still does is not waited for.
            LeaseState::InUse => self.pool.discard(pooled),
            LeaseState::Lost => self.pool.lost(pooled),
        }
    }
}

/// A server that is gone is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the server that the connection ends.
pub(super) async fn close(connection: PgConnection) {
    // An error means that it has ended already.
    let _ = tokio::time::timeout(PATIENCE, connection.close()).await;
}

/// The same, without making anybody wait.
pub(super) fn close_in_background(connection: PgConnection) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(close(connection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_core::NoObserver;

    fn pool(text: &str) -> Pool {
        let settings = ConnectionSettings::parse(text, &|_| None).unwrap();
        Pool::new(settings, Arc::new(NoObserver))
    }

    fn soon() -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_tried_until_the_timeout() {
        let pool = pool("host=127.0.0.1 port=1 user=me");
        let begun = Instant::now();
        let error = pool.connect_at_start(Duration::from_millis(500)).await.err().unwrap();
        assert!(error.is_transient());
        let took = begun.elapsed();
        assert!((100..5_000).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test]
    async fn a_closed_pool_leases_nothing() {
        let pool = pool("host=127.0.0.1 port=1 user=me");
        pool.close().await;
        pool.close().await;
        assert!(matches!(pool.lease(soon(), false).await, Err(ConnectError::Closed)));
    }

    #[tokio::test]
    async fn all_who_wait_hear_why_there_is_no_connection() {
        let pool = pool("host=127.0.0.1 port=1 user=me");
        let leases = join_all((0..20).map(|_| pool.lease(soon(), false))).await;
        assert!(leases.into_iter().all(|lease| lease.is_err_and(|error| error.is_transient())));
        assert_eq!(pool.shared.state().size, 0);
    }

    #[tokio::test]
    async fn callers_that_give_up_leave_no_more_attempts_than_the_pool_has_places() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let pool = pool(&format!("host=127.0.0.1 port={port} user=me pool_max_conns=3"));
        for _ in 0..200 {
            let lease = tokio::time::timeout(Duration::from_millis(1), pool.lease(soon(), false));
            assert!(lease.await.is_err());
        }
        assert_eq!(pool.shared.state().size, 3);
        let mut attempts = 0;
        while tokio::time::timeout(Duration::from_millis(100), silent.accept()).await.is_ok() {
            attempts += 1;
        }
        assert!(attempts <= 3, "{attempts}");
        pool.close().await;
        assert_eq!(pool.shared.state().size, 0);
    }
}
