//! The schedules of maintenance: garbage collection and statistics, for as long as somebody wants them.

mod availability;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::layer::{Layer, Layered, time_left};
use crate::{
    Capability, Collected, Error, ErrorKind, Event, NoObserver, Operation, Result, SharedObserver, Storage,
    TaskSpawner, Tasks, Timestamp,
};

use availability::{Availability, WAKEUP_INTERVAL};

/// When maintenance runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The time between two garbage collections (3 min).
    pub gc_interval: Duration,
    /// The age of a last announce at which a peer is stale (31 min): a little more than the announce interval, or a
    /// client that is late is gone for a moment.
    pub peer_lifetime: Duration,
    /// How long after a start, or after more than a minute in which no announce could be stored, no garbage is
    /// collected: a peer that could not announce is not stale. `None`: one `peer_lifetime`.
    pub gc_grace: Option<Duration>,
    /// The part of all peers that one garbage collection may remove (0.5). Where more are stale it removes
    /// none, since a clock, a restored backup or an outage is the likelier cause. 1: any number.
    pub gc_max_share: f64,
    /// The time between two statistics (1 s); zero: none are taken.
    pub reporting_interval: Duration,
    /// Whether anything runs on this node at all.
    pub enabled: bool,
}

/// What one garbage collection of a [`Schedule`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// Peers that last announced at or before this time are stale.
    pub cutoff: Timestamp,
    /// What was removed or withheld.
    pub collected: Collected,
    /// How many peers there were before, where it was asked.
    pub peers: Option<u64>,
}

impl Schedule {
    /// Collects garbage once, by the storage's time, unless more than [`gc_max_share`](Self::gc_max_share) of all
    /// peers are stale. Without statistics the share is not known, and all of them are removed.
    pub async fn collect(&self, storage: &dyn Storage) -> Result<Collection> {
        // First: time in which the count waits ages nobody.
        let cutoff = storage.now().before(self.peer_lifetime);
        let (mut most, mut peers) = (u64::MAX, None);
        if self.gc_max_share < 1.0 && storage.missing_capabilities().has(Capability::Statistics) {
            let counted = storage.statistics().await?;
            let count = counted.seeders + counted.leechers;
            (most, peers) = (((count as f64 * self.gc_max_share) as u64).max(ALWAYS_COLLECTED), Some(count));
        }
        let collected = storage.collect_at_most(cutoff, most).await?;
        Ok(Collection { cutoff, collected, peers })
    }
}

/// So many peers may always be removed: a few that leave together are no sign of anything.
const ALWAYS_COLLECTED: u64 = 20;

impl Default for Schedule {
    fn default() -> Self {
        Self {
            gc_interval: Duration::from_secs(180),
            peer_lifetime: Duration::from_secs(1860),
            gc_grace: None,
            gc_max_share: 0.5,
            reporting_interval: Duration::from_secs(1),
            enabled: true,
        }
    }
}

/// The longest that closing waits for a garbage collection under way.
const COLLECTION_STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// What closing the storage inside is left of the time there is for all.
const CLOSE_RESERVE: Duration = Duration::from_secs(1);

/// Runs a [`Schedule`] on a storage until that is closed or dropped. Closing waits 4 s for a garbage
/// collection under way, or less where there is [less time](time_left), and cancels it then.
///
/// A run never starts while the last one runs, and intervals are jittered by a tenth, so that nodes
/// don't collect in step. A statistics run that takes over a tenth of its interval puts the next one
/// off, to ten times its duration or 5 minutes, whichever is less. A failed run is logged, and the next one
/// runs; of statistics that fail in a row the first is. Where statistics are taken,
/// [counts are checked](crate::Maintenance::check_counts) 15 seconds after the start, and from then on every 5 minutes, or a
/// hundred times as long as the last check took if that is longer.
///
/// Time in which nobody could announce ages nobody: no garbage is collected for
/// [`gc_grace`](Schedule::gc_grace) after the start, and after more than a minute in which every announce and every
/// probe failed or the process stood still. The scheduler learns this from the calls that pass through it. And it is collected for
/// no `peer_lifetime` after [a clock was found wrong](crate::ClockReading::noticed).
#[derive(Clone, Default)]
pub struct MaintenanceScheduler(Arc<SchedulerInner>);

#[derive(Default)]
struct SchedulerInner {
    is_started: AtomicBool,
    tasks: Tasks,
    availability: Arc<Availability>,
}

impl MaintenanceScheduler {
    /// A scheduler that runs nothing yet, to be put around a storage as a layer.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Puts a scheduler around a storage and starts it. The storage returned stops it when it is closed; put
    /// further layers around that one.
    pub fn start(storage: Arc<dyn Storage>, schedule: Schedule) -> Arc<dyn Storage> {
        let scheduler = Self::new();
        scheduler.run(&storage, schedule, Arc::new(NoObserver));
        Arc::new(Layered::new(storage, scheduler))
    }

    /// Runs a schedule on a storage until that is dropped or the scheduler is stopped; does nothing if it has been
    /// started before. The observer learns when
    /// garbage is [collected next](Event::CollectionScheduled).
    pub(crate) fn run(&self, storage: &Arc<dyn Storage>, schedule: Schedule, observer: SharedObserver) {
        if !schedule.enabled || self.0.is_started.swap(true, Ordering::Relaxed) {
            return;
        }
        let SchedulerInner { tasks, availability, .. } = &*self.0;
        let (storage, availability) = (Arc::downgrade(storage), Arc::clone(availability));
        let spawner = tasks.spawner();
        if !schedule.reporting_interval.is_zero() {
            spawner.spawn_until_stopped(count(Weak::clone(&storage), schedule.reporting_interval));
            spawner.spawn_until_stopped(check_counts(Weak::clone(&storage)));
        }
        let collector = Collector { storage, schedule, availability, observer };
        spawner.spawn(collector.run(spawner.clone()));
    }

    /// Watches a call that begins.
    pub(crate) fn watch(&self, operation: Operation) -> CallWatch<'_> {
        use Operation::{Announce, GraduatePeers, Probe, PutPeer, WritePeers};
        let shows = matches!(operation, PutPeer | GraduatePeers | WritePeers | Announce | Probe);
        CallWatch { operation, availability: shows.then_some(&self.0.availability) }
    }

    /// Stops what runs. It waits for a garbage collection under way.
    pub(crate) async fn stop(&self) {
        let at_most = time_left().map_or(COLLECTION_STOP_TIMEOUT, |left| {
            left.saturating_sub(CLOSE_RESERVE).min(COLLECTION_STOP_TIMEOUT)
        });
        if !self.0.tasks.stop(at_most).await {
            tracing::warn!(after = ?at_most, "a running garbage collection was cancelled");
        }
    }
}

impl Layer for MaintenanceScheduler {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let watch = self.watch(operation);
        let result = call.await;
        watch.ended(&result);
        result
    }

    async fn close<'a>(
        &'a self,
        _backend: &'static str,
        close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> Result<()> {
        self.stop().await;
        close.await
    }
}

/// A call under way that may show whether announces are stored.
pub(crate) struct CallWatch<'a> {
    operation: Operation,
    /// `None` for a call that shows nothing, and after the end of one.
    availability: Option<&'a Availability>,
}

impl CallWatch<'_> {
    /// The call has ended.
    pub(crate) fn ended<T>(mut self, result: &Result<T>) {
        if let Some(availability) = self.availability.take() {
            availability
                .record_announce(result.as_ref().err().is_none_or(|error| is_served(self.operation, error)));
        }
    }
}

impl Drop for CallWatch<'_> {
    /// A probe that takes too long is given up from outside.
    fn drop(&mut self) {
        if let Some(availability) = self.availability.filter(|_| self.operation == Operation::Probe) {
            availability.record_announce(false);
        }
    }
}

/// Whether a call that failed shows that announces are stored: a whole announce may fail at a read after that, and
/// a storage that is full still refreshes the peers that it has.
fn is_served(operation: Operation, error: &Error) -> bool {
    error.kind() == ErrorKind::Full
        || operation == Operation::Announce && error.operation() != operation && !error.operation().is_write()
}

/// Collects garbage on a schedule.
struct Collector {
    /// The storage outlives this only while a call is under way.
    storage: Weak<dyn Storage>,
    schedule: Schedule,
    availability: Arc<Availability>,
    observer: SharedObserver,
}

impl Collector {
    /// Collects until it is time to stop; a collection under way is finished.
    async fn run(self, tasks: TaskSpawner) {
        let mut in_grace = false;
        while let Some(storage) = self.storage.upgrade() {
            let backend = storage.name();
            let interval = jittered(self.schedule.gc_interval);
            let after = self.grace_left(&*storage).map_or(interval, |left| left.max(interval));
            drop(storage);
            self.observer.observe(backend, Event::CollectionScheduled { after });
            tokio::select! {
                () = tasks.stopped() => return,
                () = wait(interval, &self.availability) => {}
            }
            let Some(storage) = self.storage.upgrade() else { return };
            let Some(left) = self.grace_left(&*storage) else {
                in_grace = false;
                collect_once(&*storage, &self.schedule).await;
                continue;
            };
            if !std::mem::replace(&mut in_grace, true) {
                tracing::debug!(
                    backend,
                    ?left,
                    "garbage collection is postponed: clients could not announce for a while, or a clock was wrong"
                );
            }
        }
    }

    /// For how long no garbage is collected: peers could not announce, or a clock was wrong. `None` if it may be.
    fn grace_left(&self, storage: &dyn Storage) -> Option<Duration> {
        let Schedule { peer_lifetime, gc_grace, .. } = self.schedule;
        let noticed = storage.clock().and_then(|clock| clock.noticed);
        let of_clock = noticed.and_then(|noticed| peer_lifetime.checked_sub(noticed));
        self.availability.grace_left(gc_grace.unwrap_or(peer_lifetime)).max(of_clock)
    }
}

/// Waits, and notices if the process stands still meanwhile.
async fn wait(time: Duration, availability: &Availability) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        let (step, begun) = (WAKEUP_INTERVAL.min(until - Instant::now()), Timestamp::now());
        let due = Instant::now() + step;
        sleep(step).await;
        // The system's clock goes on while the system sleeps; the other one does not.
        availability.record_wakeup(due.elapsed().max(Timestamp::now().since(begun.after(step))));
    }
}

async fn collect_once(storage: &dyn Storage, schedule: &Schedule) {
    let (backend, begun) = (storage.name(), Instant::now());
    match schedule.collect(storage).await {
        Ok(Collection { collected, peers, .. }) if collected.withheld > 0 => tracing::warn!(
            backend,
            stale = collected.withheld,
            peers,
            "garbage collection was withheld: more peers are stale than `gc_max_share` allows to remove; check \
             the clocks, and run `tracker-storage gc --force` if the peers are stale indeed"
        ),
        Ok(Collection { collected, .. }) => tracing::debug!(
            backend,
            removed = collected.removed,
            unreadable = collected.unreadable,
            took = ?begun.elapsed(),
            "collected garbage"
        ),
        Err(error) => tracing::warn!(backend, ?error, "garbage collection failed"),
    }
}

/// Takes statistics until it is cancelled.
async fn count(storage: Weak<dyn Storage>, interval: Duration) {
    let (mut wait, mut has_failed) = (interval, false);
    loop {
        sleep(jittered(wait)).await;
        let Some(storage) = storage.upgrade() else { return };
        let begun = Instant::now();
        let backend = storage.name();
        let counted = storage.statistics().await;
        match &counted {
            Err(error) if !has_failed => tracing::warn!(backend, ?error, "taking statistics failed"),
            Err(error) => tracing::debug!(backend, ?error, "taking statistics failed"),
            Ok(_) => {}
        }
        has_failed = counted.is_err();
        let took = begun.elapsed();
        wait = put_off(interval, took);
        if wait > interval {
            // A storage that does not answer is no slow one.
            if !has_failed {
                tracing::warn!(
                    backend,
                    ?took,
                    next = ?wait,
                    "statistics take over a tenth of `prometheus_reporting_interval`; the next run is postponed"
                );
            }
        }
    }
}

/// The time between two checks of counts.
const COUNT_CHECKS: Duration = Duration::from_secs(300);

/// The time before the first: tables that were just restored have been wrong from the beginning.
const FIRST_COUNT_CHECK: Duration = Duration::from_secs(15);

/// Checks counts until it is cancelled.
async fn check_counts(storage: Weak<dyn Storage>) {
    let (mut were_wrong, mut has_failed) = (false, false);
    let mut wait = FIRST_COUNT_CHECK;
    loop {
        sleep(jittered(wait)).await;
        let Some(storage) = storage.upgrade() else { return };
        let (backend, begun) = (storage.name(), Instant::now());
        let checked = storage.check_counts().await;
        // Of large swarms it reads many peers.
        wait = COUNT_CHECKS.max(begun.elapsed() * 100);
        match checked {
            Ok(None) => {}
            Ok(Some(check)) => {
                let warning = check.warning();
                match &warning {
                    Some(warning) if !were_wrong => tracing::warn!(backend, "{warning}"),
                    Some(warning) => tracing::debug!(backend, "{warning}"),
                    None => {}
                }
                (were_wrong, has_failed) = (warning.is_some(), false);
            }
            Err(error) if !has_failed => {
                tracing::warn!(backend, ?error, "checking counts failed");
                has_failed = true;
            }
            Err(error) => tracing::debug!(backend, ?error, "checking counts failed"),
        }
    }
}

/// The longest that statistics are put off for a run that was slow.
const PUT_OFF: Duration = Duration::from_secs(300);

/// How long to wait after statistics that took so long: they take no more than a tenth of the time, unless that
/// would make them too old.
fn put_off(interval: Duration, took: Duration) -> Duration {
    took.saturating_mul(10).min(PUT_OFF).max(interval)
}

/// The interval, give or take a tenth.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.9..1.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes calls that end so for 61 seconds; whether that was an outage.
    async fn is_outage(operation: Operation, end: impl Fn() -> Result<()> + Sync) -> bool {
        let layer = MaintenanceScheduler::new();
        tokio::time::advance(Duration::from_secs(60)).await;
        for _ in 0..2 {
            let _ = layer.around("test", operation, async { end() }).await;
            tokio::time::advance(Duration::from_secs(61)).await;
        }
        layer.0.availability.grace_left(Duration::from_secs(60)).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_stored_is_an_outage_and_what_is_not_read_is_none() {
        let fails = |operation| move || Err(Error::new("test", operation, ErrorKind::Timeout));
        for operation in [Operation::PutPeer, Operation::WritePeers, Operation::Announce, Operation::Probe] {
            assert!(is_outage(operation, fails(operation)).await, "{operation}");
            assert!(!is_outage(operation, || Ok(())).await, "{operation}");
        }
        assert!(is_outage(Operation::Announce, fails(Operation::PutPeer)).await);
        let full = || Err(Error::new("test", Operation::Announce, ErrorKind::Full));
        assert!(!is_outage(Operation::Announce, full).await, "garbage must be collected all the more");
        assert!(is_outage(Operation::Probe, fails(Operation::Ping)).await);
        for read in [Operation::AnnouncePeers, Operation::ScrapeSwarm] {
            assert!(!is_outage(Operation::Announce, fails(read)).await, "{read}");
            assert!(!is_outage(read, fails(read)).await, "{read}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_is_an_outage() {
        let layer = MaintenanceScheduler::new();
        let probe = layer.around("test", Operation::Probe, std::future::pending::<Result<()>>());
        assert!(tokio::time::timeout(Duration::from_secs(8), probe).await.is_err());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(layer.0.availability.grace_left(Duration::from_secs(60)).is_some());
    }

    #[test]
    fn slow_statistics_are_put_off_for_ten_times_their_duration_and_5_minutes_at_most() {
        let seconds = Duration::from_secs;
        for (interval, took, wait) in
            [(1, 0, 1), (10, 1, 10), (1, 2, 20), (1, 30, 300), (1, 600, 300), (900, 600, 900)]
        {
            assert_eq!(put_off(seconds(interval), seconds(took)), seconds(wait), "{interval} {took}");
        }
        assert_eq!(put_off(seconds(1), Duration::MAX), seconds(300));
    }

    #[test]
    fn jitter_is_a_tenth() {
        for _ in 0..1_000 {
            let wait = jittered(Duration::from_secs(100));
            assert!((90..=110).contains(&wait.as_secs()), "{wait:?}");
        }
    }
}
