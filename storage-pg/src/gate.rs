//! The gate that attempts pass: side by side as a rule, and with room around them where others get in the
//! way.

use storage_core::Operation;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// The number of conflicts after which an attempt has the gate for itself.
const ALONE_AFTER: u32 = 2;

/// Where many write to few rows they go on making each other's transactions fail, and new ones overtake
/// those that try again: a call could starve. After a conflict few others may pass beside it, and after
/// another one none. Who waits longest passes first.
pub(crate) struct Gate {
    places: Semaphore,
    all: u32,
}

/// Lets others pass when it is dropped.
pub(crate) type Pass<'a> = SemaphorePermit<'a>;

impl Gate {
    /// A gate for the attempts on so many connections.
    pub(crate) fn new(connections: usize) -> Self {
        let all = u32::try_from(connections).unwrap_or(u32::MAX).max(1);
        Self { places: Semaphore::new(all as usize), all }
    }

    /// Whether the attempts of this operation pass the gate: those that write little, so that none is
    /// waited for long.
    pub(crate) fn is_passed_by(operation: Operation) -> bool {
        operation.is_write() && !operation.is_long()
    }

    /// Waits for room, for a call that had so many conflicts. `None` if there is none until then: others
    /// may hang, whose server is gone.
    pub(crate) async fn pass(&self, conflicts: u32, until: Option<Instant>) -> Option<Pass<'_>> {
        let places = match conflicts {
            0 => 1,
            conflicts => (self.all >> (2 * ALONE_AFTER.saturating_sub(conflicts))).max(1),
        };
        let pass = self.places.acquire_many(places);
        match until {
            Some(until) => timeout_at(until, pass).await.ok()?.ok(),
            None => pass.await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn conflicts_make_room() {
        let gate = Gate::new(8);
        let mut passes = Vec::new();
        for conflicts in [0, 0, 1, 1] {
            passes.push(gate.pass(conflicts, None).await.unwrap());
        }
        let places: Vec<_> = passes.iter().map(SemaphorePermit::num_permits).collect();
        assert_eq!(places, [1, 1, 2, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_waits_for_those_before_it_and_those_after_it_wait() {
        let gate = Gate::new(4);
        let (first, second) = (gate.pass(0, None).await, gate.pass(0, None).await);
        let mut alone = std::pin::pin!(gate.pass(2, None));
        assert!(futures::poll!(&mut alone).is_pending());
        let mut late = std::pin::pin!(gate.pass(0, None));
        assert!(futures::poll!(&mut late).is_pending());
        drop((first, second));
        let alone = alone.await;
        assert!(futures::poll!(&mut late).is_pending());
        drop(alone);
        assert!(late.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_not_waited_for_forever() {
        let gate = Gate::new(4);
        let _hangs = gate.pass(0, None).await;
        let soon = Instant::now() + Duration::from_secs(4);
        assert!(gate.pass(9, Some(soon)).await.is_none());
        assert!(gate.pass(0, None).await.is_some());
    }
}
