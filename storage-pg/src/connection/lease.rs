//! A connection in use.

use std::sync::Arc;

use sqlx::{Connection, PgConnection};
use storage_core::ServerClock;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::pool::{PoolInner, Pooled};

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
    deadline: Instant,
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
    pub(super) fn new(pooled: Pooled, pool: Arc<PoolInner>, deadline: Instant) -> Self {
        let (clock, state) = (pooled.clock, LeaseState::Ready);
        Self { pooled: Some(pooled), clock, pool, state, in_transaction: false, deadline, long: None }
    }

    pub(super) fn of_long(mut self, permit: Option<OwnedSemaphorePermit>) -> Self {
        self.long = permit;
        self
    }

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
