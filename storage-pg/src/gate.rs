//! The gate that attempts pass: side by side as a rule, and alone where one has no luck.

use std::time::Duration;

use storage_core::Operation;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// All attempts at once: PostgreSQL has no more connections.
const ALL: u32 = 1 << 18;

/// The longest that one waits for all others to end. One of them may hang, whose server is gone, and
/// those that come wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where many write to few rows they go on making each other's transactions fail, and new ones overtake
/// those that try again: a call could starve. One that failed often enough has the gate for itself for
/// an attempt.
pub(crate) struct Gate(Semaphore);

/// Lets others pass when it is dropped.
pub(crate) type Pass<'a> = SemaphorePermit<'a>;

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(ALL as usize))
    }
}

impl Gate {
    /// Whether the attempts of this operation pass the gate: those that write little, so that none is
    /// waited for long.
    pub(crate) fn is_passed_by(operation: Operation) -> bool {
        operation.is_write() && !operation.is_long()
    }

    /// Waits until nobody has the gate for itself.
    pub(crate) async fn pass(&self) -> Option<Pass<'_>> {
        self.0.acquire().await.ok()
    }

    /// Waits until nobody else passes, or for as long as can be asked of the others.
    pub(crate) async fn pass_alone(&self) -> Option<Pass<'_>> {
        match timeout(PATIENCE, self.0.acquire_many(ALL)).await {
            Ok(pass) => pass.ok(),
            Err(_) => self.pass().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_alone_waits_for_those_before_it_and_those_after_it_wait() {
        let gate = Gate::default();
        let (first, second) = (gate.pass().await, gate.pass().await);
        let mut alone = std::pin::pin!(gate.pass_alone());
        assert!(futures::poll!(&mut alone).is_pending());
        let mut late = std::pin::pin!(gate.pass());
        assert!(futures::poll!(&mut late).is_pending());
        drop((first, second));
        let alone = alone.await;
        assert!(futures::poll!(&mut late).is_pending());
        drop(alone);
        assert!(late.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_not_waited_for_forever() {
        let gate = Gate::default();
        let _hangs = gate.pass().await;
        assert!(gate.pass_alone().await.is_some());
        assert!(gate.pass().await.is_some());
    }
}
