//! The schedules of upkeep: garbage collection and statistics, for as long as somebody wants them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::layer::{Layer, Layered, time_left};
use crate::{Operation, Result, Storage, Timestamp};

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
    /// No further run begins, and statistics under way are cancelled.
    stop: CancellationToken,
    /// Garbage collections under way are cancelled, too; so they are when this is dropped.
    cancel: CancellationToken,
    _cancel_when_dropped: DropGuard,
    tasks: TaskTracker,
}

impl Maintenance {
    /// Starts the schedule. The storage returned stops it when it is closed; put further layers
    /// around that one.
    pub fn start(storage: Arc<dyn Storage>, schedule: Schedule) -> Arc<dyn Storage> {
        let cancel = CancellationToken::new();
        let (stop, tasks) = (cancel.child_token(), TaskTracker::new());
        if schedule.enabled {
            let collecting = collect(Arc::clone(&storage), schedule, stop.clone());
            tasks.spawn(cancel.clone().run_until_cancelled_owned(collecting));
            if !schedule.reporting_interval.is_zero() {
                let counting = count(Arc::clone(&storage), schedule.reporting_interval);
                tasks.spawn(stop.clone().run_until_cancelled_owned(counting));
            }
        }
        let maintenance = Self { stop, _cancel_when_dropped: cancel.clone().drop_guard(), cancel, tasks };
        Arc::new(Layered::new(storage, maintenance))
    }

    async fn finish(&self) {
        self.stop.cancel();
        self.tasks.close();
        let at_most = time_left().map_or(FINISH, |left| left.saturating_sub(CLOSE).min(FINISH));
        if timeout(at_most, self.tasks.wait()).await.is_err() {
            tracing::warn!(after = ?at_most, "a garbage collection under way is cancelled");
            self.cancel.cancel();
            self.tasks.wait().await;
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
async fn collect(storage: Arc<dyn Storage>, schedule: Schedule, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(jittered(schedule.gc_interval))).await.is_some() {
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
