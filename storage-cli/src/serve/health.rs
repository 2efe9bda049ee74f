//! The health of the tracker, by the outcome of announces, or by probes if there are few.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;
use storage_core::{Backend, Error, ErrorKind, Operation, Result};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::status::Status;

/// Seconds that the window covers, each with a bucket.
const SECONDS: usize = 10;

/// The fewest announces in the window to judge by.
const MIN_ANNOUNCES: u32 = 20;

/// The interval between probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// The longest a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(8);

/// How often to check whether a probe is due.
const PROBE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The health of a storage, as clients see it. It is unhealthy if at least half of the announces of the last
/// 10 s failed. With fewer than 20 announces the last probe decides; until there is one nothing changes.
pub(crate) struct Health {
    begun: Instant,
    state: Mutex<HealthState>,
    gauge: IntGauge,
}

struct HealthState {
    is_healthy: bool,
    /// The end of the last unhealthy time.
    unhealthy_until: Option<Instant>,
    buckets: [Bucket; SECONDS],
    streak: Option<FailureStreak>,
}

/// Announces that ended in one second.
#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Seconds since the beginning.
    second: u64,
    ended: u32,
    failed: u32,
}

/// The failures since the last healthy state.
struct FailureStreak {
    since: Instant,
    cause: String,
    calls: u64,
}

impl Health {
    /// Starts healthy; the gauge shows the state.
    pub(crate) fn new(gauge: IntGauge) -> Arc<Self> {
        gauge.set(1);
        let buckets = [Bucket::default(); SECONDS];
        let state = HealthState { is_healthy: true, unhealthy_until: None, buckets, streak: None };
        Arc::new(Self { begun: Instant::now(), state: Mutex::new(state), gauge })
    }

    /// Whether clients are served, without a call of the storage.
    pub(crate) fn is_healthy(&self) -> bool {
        let mut state = self.state.lock();
        self.judge(&mut state);
        state.is_healthy
    }

    /// Whether it was unhealthy at any time since then.
    pub(crate) fn was_unhealthy_since(&self, time: Instant) -> bool {
        let state = self.state.lock();
        !state.is_healthy || state.unhealthy_until.is_some_and(|until| until >= time)
    }

    /// Counts an announce that reached the storage.
    pub(crate) fn announced(&self, failure: Option<&Error>) {
        let mut state = self.state.lock();
        if let Some(error) = failure {
            let (_, failed) = state.window(self.second());
            state.failed(error, failed);
        }
        state.count(self.second(), failure.is_some());
        self.judge(&mut state);
    }

    /// Records a probe, which decides only while announces are few.
    fn probed(&self, result: &Result<()>) {
        let mut state = self.state.lock();
        let (ended, failed) = state.window(self.second());
        if ended >= MIN_ANNOUNCES {
            return self.judge(&mut state);
        }
        if let Err(error) = result {
            state.failed(error, failed);
        }
        self.decide(&mut state, result.is_ok());
    }

    fn judge(&self, state: &mut HealthState) {
        let (ended, failed) = state.window(self.second());
        if ended >= MIN_ANNOUNCES {
            self.decide(state, failed < ended.div_ceil(2));
        }
    }

    fn decide(&self, state: &mut HealthState, is_healthy: bool) {
        if state.is_healthy == is_healthy {
            return;
        }
        state.is_healthy = is_healthy;
        self.gauge.set(i64::from(is_healthy));
        if !is_healthy {
            let cause = state.streak.as_ref().map_or("", |streak| &streak.cause);
            tracing::error!(cause, "the storage is failing");
            return;
        }
        state.unhealthy_until = Some(Instant::now());
        if let Some(FailureStreak { since, calls, .. }) = state.streak.take() {
            let after = Duration::from_millis(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
            tracing::warn!(?after, failed_calls = calls, "the storage works again");
        }
    }

    fn second(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    fn needs_probe(&self) -> bool {
        self.state.lock().window(self.second()).0 < MIN_ANNOUNCES
    }
}

impl HealthState {
    fn count(&mut self, second: u64, has_failed: bool) {
        let bucket = &mut self.buckets[(second % SECONDS as u64) as usize];
        if bucket.second != second {
            *bucket = Bucket { second, ..Bucket::default() };
        }
        bucket.ended = bucket.ended.saturating_add(1);
        bucket.failed = bucket.failed.saturating_add(u32::from(has_failed));
    }

    /// Announces that ended in the window, and those of them that failed.
    fn window(&self, second: u64) -> (u32, u32) {
        let recent = self.buckets.iter().filter(|bucket| bucket.second + SECONDS as u64 > second);
        recent.fold((0, 0), |(ended, failed), bucket| {
            (u32::saturating_add(ended, bucket.ended), u32::saturating_add(failed, bucket.failed))
        })
    }

    fn failed(&mut self, error: &Error, failed_in_window: u32) {
        // Failures before, outside of an outage, are not the cause of a new one.
        if self.is_healthy && failed_in_window == 0 {
            self.streak = None;
        }
        let streak = self.streak.get_or_insert_with(|| FailureStreak {
            since: Instant::now(),
            cause: format!("{error:?}"),
            calls: 0,
        });
        streak.calls += 1;
    }
}

/// Probes a storage while announces are too few to judge by, and logs isolated failures.
pub(crate) async fn watch(health: Arc<Health>, storage: Arc<impl Backend + ?Sized>, status: Arc<Status>) {
    let mut ticks = interval(PROBE_CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = Instant::now();
    loop {
        ticks.tick().await;
        status.log_isolated_failures();
        if Instant::now() < next || !health.needs_probe() {
            continue;
        }
        next = Instant::now() + PROBE_INTERVAL;
        let probed = timeout(PROBE_TIMEOUT, storage.probe()).await.unwrap_or_else(|_| {
            let error = Error::new(storage.name(), Operation::Probe, ErrorKind::Timeout);
            Err(error.with_message(format!("the probe timed out after {PROBE_TIMEOUT:?}")))
        });
        health.probed(&probed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use storage_core::layer::{Layer, Layered};
    use storage_memory::{MemoryConfig, MemoryStorage};
    use tokio::time::{advance, sleep};

    use super::*;

    fn health() -> Arc<Health> {
        Health::new(IntGauge::new("healthy", "healthy").unwrap())
    }

    fn failure() -> Error {
        Error::new("x", Operation::Announce, ErrorKind::Unavailable)
    }

    fn announces(health: &Health, succeed: u32, fail: u32) {
        (0..succeed).for_each(|_| health.announced(None));
        (0..fail).for_each(|_| health.announced(Some(&failure())));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_enough_announces_is_too_much() {
        for (succeed, fail, expected) in [(0, 19, true), (0, 20, false), (10, 10, false), (11, 10, true)] {
            let health = health();
            announces(&health, succeed, fail);
            assert_eq!(health.is_healthy(), expected, "{succeed} and {fail}");
            assert_eq!(health.gauge.get(), i64::from(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn announces_leave_the_window_after_ten_seconds() {
        let health = health();
        announces(&health, 100, 0);
        for _ in 0..10 {
            advance(Duration::from_secs(1)).await;
            announces(&health, 0, 5);
        }
        assert!(!health.is_healthy(), "the 100 are gone");
        advance(Duration::from_secs(5)).await;
        announces(&health, 30, 0);
        assert!(health.is_healthy(), "25 of 55");
        advance(Duration::from_secs(60)).await;
        assert_eq!(health.state.lock().window(health.second()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_stays_until_a_probe_or_clients_say_otherwise() {
        let health = health();
        announces(&health, 0, 20);
        advance(Duration::from_secs(60)).await;
        assert!(!health.is_healthy());
        health.probed(&Err(failure()));
        assert!(!health.is_healthy());
        health.probed(&Ok(()));
        assert!(health.is_healthy());

        announces(&health, 0, 20);
        health.probed(&Ok(()));
        assert!(!health.is_healthy(), "clients know better than a probe");
        announces(&health, 21, 0);
        assert!(health.is_healthy());
    }

    #[tokio::test(start_paused = true)]
    async fn the_cause_is_the_first_failure_since_all_was_well() {
        let health = health();
        let early = Error::new("x", Operation::ContainsData, ErrorKind::Busy);
        health.announced(Some(&early));
        advance(Duration::from_secs(60)).await;
        announces(&health, 0, 3);
        health.announced(Some(&Error::new("x", Operation::Announce, ErrorKind::Timeout)));
        let state = health.state.lock();
        let streak = state.streak.as_ref().unwrap();
        assert_eq!((streak.cause.as_str(), streak.calls), ("x announce: the server is not available", 4));
    }

    /// Counts probes, and lets none end.
    #[derive(Default)]
    struct Hangs(AtomicU64);

    impl Layer for Hangs {
        async fn around<'a, T: Send + 'a>(
            &'a self,
            _backend: &'static str,
            operation: Operation,
            _call: impl Future<Output = Result<T>> + Send + 'a,
        ) -> Result<T> {
            assert_eq!(operation, Operation::Probe);
            self.0.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_storage_is_probed_every_ten_seconds_and_a_busy_one_is_not() {
        let (health, memory) = (health(), Arc::new(MemoryStorage::new(MemoryConfig::default())));
        let storage = Arc::new(Layered::new(memory, Hangs::default()));
        let status = Status::new(Arc::clone(&health), None).unwrap();
        let watching = tokio::spawn(watch(Arc::clone(&health), Arc::clone(&storage), status));
        let probes = || storage.layer().0.load(Ordering::SeqCst);
        sleep(Duration::from_millis(1)).await;
        assert_eq!((probes(), health.is_healthy()), (1, true));
        sleep(PROBE_TIMEOUT).await;
        assert_eq!((probes(), health.is_healthy()), (1, false));
        sleep(Duration::from_secs(92)).await;
        assert!((9..=11).contains(&probes()), "{}", probes());

        let before = probes();
        for _ in 0..30 {
            announces(&health, 3, 0);
            sleep(Duration::from_secs(1)).await;
        }
        assert!(probes() <= before + 1, "until there were enough announces");
        assert!(health.is_healthy());
        watching.abort();
    }
}
