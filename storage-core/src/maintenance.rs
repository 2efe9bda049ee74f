//! The schedules of upkeep: garbage collection and statistics, for as long as somebody wants them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::layer::{Layer, Layered};
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

/// Runs a [`Schedule`] on a storage until that is closed, which waits for a run under way, or dropped.
///
/// A run never starts while the last one runs, and intervals are jittered by a tenth, so that nodes
/// don't collect in step. A statistics run that takes over a tenth of its interval puts the next one
/// off. A failed run is logged, and the next one runs.
pub struct Maintenance {
    stop: watch::Sender<()>,
}

impl Maintenance {
    /// Starts the schedule. The storage returned stops it when it is closed; put further layers
    /// around that one.
    pub fn start(storage: Arc<dyn Storage>, schedule: Schedule) -> Arc<dyn Storage> {
        let (stop, stopped) = watch::channel(());
        if schedule.enabled {
            tokio::spawn(collect(Arc::clone(&storage), schedule, stopped.clone()));
            if !schedule.reporting_interval.is_zero() {
                tokio::spawn(count(Arc::clone(&storage), schedule.reporting_interval, stopped));
            }
        }
        Arc::new(Layered::new(storage, Self { stop }))
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
        self.stop.send_replace(());
        self.stop.closed().await;
        close.await
    }
}

/// Waits for the next run; false if there is to be none.
async fn wait_for_next(wait: Duration, stopped: &mut watch::Receiver<()>) -> bool {
    tokio::select! {
        _ = stopped.changed() => false,
        () = sleep(jittered(wait)) => true,
    }
}

async fn collect(storage: Arc<dyn Storage>, schedule: Schedule, mut stopped: watch::Receiver<()>) {
    while wait_for_next(schedule.gc_interval, &mut stopped).await {
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

async fn count(storage: Arc<dyn Storage>, interval: Duration, mut stopped: watch::Receiver<()>) {
    let mut wait = interval;
    while wait_for_next(wait, &mut stopped).await {
        let begun = Instant::now();
        let backend = storage.name();
        if let Err(error) = storage.statistics().await {
            tracing::warn!(backend, ?error, "could not take statistics");
        }
        let took = begun.elapsed();
        wait = interval;
        if took > interval / 10 {
            wait = interval.saturating_add(took.saturating_mul(10));
            tracing::warn!(
                backend,
                ?took,
                next = ?wait,
                "statistics take over a tenth of `prometheus_reporting_interval`; the next are put off"
            );
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
