//! How the pool makes connections, and which it hands out again.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use sqlx::PgConnection;
use storage_core::{Event, SharedObserver};

use super::BACKEND;
use super::attempt::{Connected, Connector};
use super::closing::close_in_background;
use super::error::ConnectError;
use super::settings::{ConnectionSettings, PoolSettings};

/// A connection that was idle for longer is asked for a sign of life before it is handed out.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A place of the pool; its connection is out while it is leased.
pub(super) struct Slot {
    pub(super) connection: Option<PgConnection>,
    pub(super) idle_since: Instant,
    host: usize,
    born: Instant,
    lifetime: Duration,
    /// How often connections to the host had been lost when this one was last known to work.
    losses_seen: u64,
}

impl Slot {
    pub(super) fn is_too_old(&self) -> bool {
        self.born.elapsed() > self.lifetime
    }

    pub(super) fn is_idle_for(&self, time: Duration) -> bool {
        self.idle_since.elapsed() > time
    }
}

pub(super) struct Manager {
    connector: Connector,
    observer: SharedObserver,
    closed: AtomicBool,
    /// By host, how often a connection to it was lost.
    losses: Vec<AtomicU64>,
    /// Lost connections that were not replaced yet.
    to_replace: AtomicUsize,
}

impl Manager {
    pub(super) fn new(settings: ConnectionSettings, observer: SharedObserver) -> Self {
        Self {
            losses: settings.hosts.iter().map(|_| AtomicU64::new(0)).collect(),
            connector: Connector::new(settings),
            observer,
            closed: AtomicBool::new(false),
            to_replace: AtomicUsize::new(0),
        }
    }

    pub(super) fn pool_settings(&self) -> &PoolSettings {
        &self.connector.settings().pool
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// A connection in use was lost: the others to that host are doubtful now.
    pub(super) fn lost(&self, slot: &Slot) {
        self.losses[slot.host].fetch_add(1, Ordering::SeqCst);
        self.to_replace.fetch_add(1, Ordering::SeqCst);
    }

    fn losses(&self, host: usize) -> u64 {
        self.losses[host].load(Ordering::SeqCst)
    }

    fn observe_replacement(&self) {
        let replaced =
            self.to_replace.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |lost| lost.checked_sub(1));
        if replaced.is_ok() {
            self.observe(Event::Reconnected);
        }
    }

    pub(super) fn observe(&self, event: Event) {
        self.observer.observe(BACKEND, event);
    }
}

impl managed::Manager for Manager {
    type Type = Slot;
    type Error = ConnectError;

    async fn create(&self) -> Result<Slot, ConnectError> {
        let Connected { connection, host } = self.connector.connect().await?;
        self.observe_replacement();
        let PoolSettings { max_lifetime, max_lifetime_jitter, .. } = *self.pool_settings();
        let jitter = rand::random_range(Duration::ZERO..=max_lifetime_jitter);
        let now = Instant::now();
        Ok(Slot {
            connection: Some(connection),
            idle_since: now,
            host,
            born: now,
            lifetime: max_lifetime.saturating_add(jitter),
            losses_seen: self.losses(host),
        })
    }

    async fn recycle(&self, slot: &mut Slot, _: &Metrics) -> RecycleResult<ConnectError> {
        let mut connection = slot.connection.take().ok_or(RecycleError::message("it is gone"))?;
        if slot.is_too_old() || slot.is_idle_for(self.pool_settings().max_idle) {
            close_in_background(connection);
            return Err(RecycleError::message("it is too old"));
        }
        let losses = self.losses(slot.host);
        if slot.losses_seen != losses || slot.is_idle_for(TRUSTED_IDLE) {
            if !self.connector.verify(&mut connection).await {
                self.lost(slot);
                return Err(RecycleError::message("it is lost"));
            }
            slot.losses_seen = losses;
        }
        slot.connection = Some(connection);
        Ok(())
    }
}
