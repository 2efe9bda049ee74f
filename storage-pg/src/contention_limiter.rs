//! Limits concurrent writes after serialization conflicts and deadlocks, so that no call starves.

use storage_core::Operation;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// The number of conflicts after which an attempt runs alone.
const ALONE_AFTER: u32 = 2;

/// Limits how many attempts write at the same time.
///
/// When many calls write to few rows, they keep failing each other's transactions, and new calls overtake
/// those that retry. After one conflict few other attempts run beside an attempt, after two none. Permits are
/// granted in the order in which they were asked for.
pub(crate) struct ContentionLimiter {
    permits: Semaphore,
    all: u32,
}

/// The right to run an attempt; dropping it lets others run.
pub(crate) type Permit<'a> = SemaphorePermit<'a>;

impl ContentionLimiter {
    /// A limiter for attempts on this number of connections.
    pub(crate) fn new(connections: usize) -> Self {
        let all = u32::try_from(connections).unwrap_or(u32::MAX).max(1);
        Self { permits: Semaphore::new(all as usize), all }
    }

    /// Whether attempts of this operation need a permit. Only short writes do: none of them holds up the others for
    /// long.
    pub(crate) fn limits(operation: Operation) -> bool {
        operation.is_write() && !operation.is_long()
    }

    /// Waits for a permit, for a call that had this number of conflicts. `None` if there is none by `until`: attempts
    /// on a server that is gone may hold their permits for long.
    pub(crate) async fn acquire(&self, conflicts: u32, until: Option<Instant>) -> Option<Permit<'_>> {
        let permits = match conflicts {
            0 => 1,
            conflicts => (self.all >> (2 * ALONE_AFTER.saturating_sub(conflicts))).max(1),
        };
        let permit = self.permits.acquire_many(permits);
        match until {
            Some(until) => timeout_at(until, permit).await.ok()?.ok(),
            None => permit.await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn conflicts_reduce_concurrency() {
        let limiter = ContentionLimiter::new(8);
        let mut permits = Vec::new();
        for conflicts in [0, 0, 1, 1] {
            permits.push(limiter.acquire(conflicts, None).await.unwrap());
        }
        let sizes: Vec<_> = permits.iter().map(SemaphorePermit::num_permits).collect();
        assert_eq!(sizes, [1, 1, 2, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_runs_alone_waits_for_earlier_ones_and_later_ones_wait_for_it() {
        let limiter = ContentionLimiter::new(4);
        let (first, second) = (limiter.acquire(0, None).await, limiter.acquire(0, None).await);
        let mut alone = std::pin::pin!(limiter.acquire(2, None));
        assert!(futures::poll!(&mut alone).is_pending());
        let mut late = std::pin::pin!(limiter.acquire(0, None));
        assert!(futures::poll!(&mut late).is_pending());
        drop((first, second));
        let alone = alone.await;
        assert!(futures::poll!(&mut late).is_pending());
        drop(alone);
        assert!(late.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_permit_ends_at_the_deadline() {
        let limiter = ContentionLimiter::new(4);
        let _hangs = limiter.acquire(0, None).await;
        let soon = Instant::now() + Duration::from_secs(4);
        assert!(limiter.acquire(9, Some(soon)).await.is_none());
        assert!(limiter.acquire(0, None).await.is_some());
    }
}
