//! The pool of connections. sqlx's own knows one host only.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use deadpool::managed::{self, Object, PoolError, QueueMode};
use futures::future::join_all;
use storage_core::{Event, SharedObserver};
use tokio::task::AbortHandle;

use super::closing::{close, close_in_background};
use super::error::ConnectError;
use super::keeper;
use super::lease::Lease;
use super::manager::Manager;
use super::settings::ConnectionSettings;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Connections to whichever of the servers will do, made when they are needed.
///
/// The last one used is the first to be used again. One that was idle for a second, or whose server
/// has lost another one since, is asked for a sign of life before it is handed out.
pub(crate) struct Pool {
    /// `None` if it could not be built; it is as good as closed then.
    connections: Option<managed::Pool<Manager>>,
    keeper: OnceLock<AbortHandle>,
}

impl Pool {
    /// A pool without connections as yet.
    pub(crate) fn new(settings: ConnectionSettings, observer: SharedObserver) -> Self {
        let max_size = settings.pool.max_connections;
        let builder = managed::Pool::builder(Manager::new(settings, observer));
        // Building fails only for timeouts without a runtime, and there are no timeouts.
        let connections = builder.max_size(max_size).queue_mode(QueueMode::Lifo).build().ok();
        Self { connections, keeper: OnceLock::new() }
    }

    /// A connection that works, as far as one can know. Waits for one to be given back if as many as
    /// may be are in use.
    ///
    /// # Errors
    /// [`ConnectError`] if there is none and none can be made, or the pool is closed.
    pub(crate) async fn lease(&self) -> Result<Lease, ConnectError> {
        let connections = self.connections.as_ref().ok_or(ConnectError::Closed)?;
        let manager = connections.manager();
        let begun = Instant::now();
        loop {
            if manager.is_closed() {
                return Err(ConnectError::Closed);
            }
            self.keeper.get_or_init(|| tokio::spawn(keeper::keep(connections.weak())).abort_handle());
            let mut object = connections.get().await?;
            match object.connection.take() {
                Some(connection) if !manager.is_closed() => {
                    let size = connections.status().size as u64;
                    manager.observe(Event::Leased { waited: begun.elapsed(), connections: size });
                    return Ok(Lease::new(connection, object));
                }
                left => {
                    left.into_iter().for_each(close_in_background);
                    drop(Object::take(object));
                }
            }
        }
    }

    /// The first lease. A server that can't be reached or is not ready is tried again, at growing
    /// intervals, until the timeout has passed.
    ///
    /// # Errors
    /// The last [`ConnectError`]; one that would not pass by itself at once.
    pub(crate) async fn connect_at_start(&self, startup_timeout: Duration) -> Result<Lease, ConnectError> {
        let begun = Instant::now();
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_jitter()
            .without_max_times();
        for wait in waits.build() {
            let error = match self.lease().await {
                Ok(lease) => return Ok(lease),
                Err(error) => error,
            };
            if !error.is_transient() || begun.elapsed().saturating_add(wait) > startup_timeout {
                return Err(error);
            }
            tracing::warn!(%error, next = ?wait, "trying again");
            tokio::time::sleep(wait).await;
        }
        self.lease().await
    }

    /// Closes what is idle, and what is in use when it is given back. Later leases fail.
    pub(crate) async fn close(&self) {
        let Some(connections) = &self.connections else { return };
        connections.manager().close();
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
        let idle = connections.retain(|_, _| false).removed;
        connections.close();
        join_all(idle.into_iter().filter_map(|slot| slot.connection).map(close)).await;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

impl From<PoolError<ConnectError>> for ConnectError {
    fn from(error: PoolError<ConnectError>) -> Self {
        match error {
            PoolError::Backend(error) => error,
            _ => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use storage_core::NoObserver;

    use super::*;

    fn pool(text: &str) -> Pool {
        let settings = ConnectionSettings::parse(text, &|_| None).unwrap();
        Pool::new(settings, Arc::new(NoObserver))
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
        assert!(matches!(pool.lease().await, Err(ConnectError::Closed)));
    }
}
