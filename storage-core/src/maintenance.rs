//! The schedules of upkeep: garbage collection and statistics, for as long as somebody wants them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::layer::{Layer, Layered, time_left};
use crate::{Operation, Result, Storage, TaskSpawner, Tasks, Timestamp};

/// When upkeep runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The time between two garbage collections (3 min).
    pub gc_interval: Duration,
    /// The age of a last announce at which a peer is stale (30 min).
    pub peer_lifetime: Duration,
    /// The time between two statistics (1 s); zero: none are taken.
    pub reporting_interval: Duration,
    /// Whether anything runs on this node at all.
    pub enabled: bool,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            gc_interval: Duration::from_secs(180),
            peer_lifetime: Duration::from_secs(1800),
            reporting_interval: Duration::from_secs(1),
            enabled: true,
        }
    }
}

/// The longest that closing waits for a garbage collection under way.
const FINISH: Duration = Duration::from_secs(4);

/// What closing the storage inside is left of the time there is for all.
const CLOSE: Duration = Duration::from_secs(1);

/// Runs a [`Schedule`] on a storage until that is closed or dropped. Closing waits 4 s for a garbage
/// collection under way, or less where there is [less time](time_left), and cancels it then.
///
/// A run never starts while the last one runs, and intervals are jittered by a tenth, so that nodes
/// don't collect in step. A statistics run that takes over a tenth of its interval puts the next one
/// off. A failed run is logged, and the next one runs; of statistics that fail in a row the first is.
pub struct Maintenance {
    tasks: Tasks,
}

impl Maintenance {
    /// Starts the schedule. The storage returned stops it when it is closed; put further layers
    /// around that one.
    pub fn start(storage: Arc<dyn Storage>, schedule: Schedule) -> Arc<dyn Storage> {
        let tasks = Tasks::default();
        let spawner = tasks.spawner();
        if schedule.enabled {
            spawner.spawn(collect(Arc::clone(&storage), schedule, spawner.clone()));
            if !schedule.reporting_interval.is_zero() {
                spawner.spawn_until_stopped(count(Arc::clone(&storage), schedule.reporting_interval));
            }
        }
        Arc::new(Layered::new(storage, Self { tasks }))
    }

    async fn finish(&self) {
        let at_most = time_left().map_or(FINISH, |left| left.saturating_sub(CLOSE).min(FINISH));
        if !self.tasks.stop(at_most).await {
            tracing::warn!(after = ?at_most, "a garbage collection under way was cancelled");
        }
    }
}

impl Layer for Maintenance {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _backend: &'static str,
        _operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        call.await
    }

    async fn close<'a>(
        &'a self,
        _backend: &'static str,
        close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> Result<()> {
        self.finish().await;
        close.await
    }
}

/// Collects garbage until it is time to stop; a collection under way is finished.
async fn collect(storage: Arc<dyn Storage>, schedule: Schedule, tasks: TaskSpawner) {
    loop {
        tokio::select! {
            () = tasks.stopped() => return,
            () = sleep(jittered(schedule.gc_interval)) => {}
        }
        let begun = Instant::now();
        let backend = storage.name();
        match storage.collect_garbage(Timestamp::now().before(schedule.peer_lifetime)).await {
            Ok(collected) => tracing::info!(
                backend,
                removed = collected.removed,
                unreadable = collected.unreadable,
                took = ?begun.elapsed(),
                "collected garbage"
            ),
            Err(error) => tracing::warn!(backend, ?error, "could not collect garbage"),
        }
    }
}

/// Takes statistics until it is cancelled.
async fn count(storage: Arc<dyn Storage>, interval: Duration) {
    let (mut wait, mut has_failed) = (interval, false);
    loop {
        sleep(jittered(wait)).await;
        let begun = Instant::now();
        let backend = storage.name();
        let counted = storage.statistics().await;
        match &counted {
            Err(error) if !has_failed => tracing::warn!(backend, ?error, "could not take statistics"),
            Err(error) => tracing::debug!(backend, ?error, "could not take statistics"),
            Ok(_) => {}
        }
        has_failed = counted.is_err();
        let took = begun.elapsed();
        wait = interval;
        if took > interval / 10 {
            wait = interval.saturating_add(took.saturating_mul(10));
            // A storage that does not answer is no slow one.
            if !has_failed {
                tracing::warn!(
                    backend,
                    ?took,
                    next = ?wait,
                    "statistics take over a tenth of `prometheus_reporting_interval`; the next are put off"
                );
            }
        }
    }
}

/// The interval, give or take a tenth.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.9..1.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_tenth() {
        for _ in 0..1_000 {
            let wait = jittered(Duration::from_secs(100));
            assert!((90..=110).contains(&wait.as_secs()), "{wait:?}");
        }
    }
}
