//! Timeouts, a bounded number of calls under way, and an orderly close (L1).
//!
//! The deadline of a call is decided here: [`Limit`] sets it for the task, backends read it by [`deadline`], and work
//! that runs in another task, such as a batch, gets it by [`with_time_left`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Layer;
use crate::{CallUtilization, Error, ErrorKind, Operation, Result, Utilization};

tokio::task_local! {
    /// `None` where it is too far away to be told.
    static DEADLINE: Option<Instant>;
}

/// The longest that closing may take where nobody says less.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(9);

/// A limit that is not kept in any process.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 86_400);

/// How many times [`Limits::operation_timeout`] the diagnostics may take, which ask many things.
const DIAGNOSTICS_FACTOR: u32 = 6;

/// How long the call under way in this task may still take, by the [`Limit`] around it; `None` without
/// one. Work that a storage hands to another task sees it only [if told](with_time_left).
///
/// It is a little less than the limit, so that a storage can say in time what it did not get done.
pub fn time_left() -> Option<Duration> {
    Some(deadline_of_task()?.saturating_duration_since(Instant::now()))
}

/// When the call under way in this task must have ended, by the [`Limit`] around it.
fn deadline_of_task() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok().flatten()
}

/// When the call under way in this task must have ended: by its [time left](time_left), or without a
/// [`Limit`] around it by the default [`Limits`].
pub fn deadline(operation: Operation) -> Instant {
    let left = time_left().unwrap_or_else(|| margin_off(Limits::default().timeout(operation).0));
    let now = Instant::now();
    now.checked_add(left).unwrap_or(now)
}

/// A limit less the time that it takes to say that it was not kept.
fn margin_off(limit: Duration) -> Duration {
    limit - (limit / 20).min(Duration::from_millis(100))
}

/// Runs work for calls that have so much [time left](time_left), or less where a call under way in this
/// task has less.
pub async fn with_time_left<T>(left: Option<Duration>, work: impl Future<Output = T>) -> T {
    let told = left.and_then(|left| Instant::now().checked_add(left));
    DEADLINE.scope(earlier(deadline_of_task(), told), work).await
}

/// The earlier of two times, of which each may be too far away to be told.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// How long calls may take and how many may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest a call may take that a peer waits for (5 s).
    pub operation_timeout: Duration,
    /// The longest a call of maintenance or transfer may take (10 min).
    pub maintenance_timeout: Duration,
    /// The most calls under way at once, those that wait for a connection among them (10,000);
    /// further ones are [`Busy`](ErrorKind::Busy) at once.
    pub max_waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operation_timeout: Duration::from_secs(5),
            maintenance_timeout: Duration::from_secs(600),
            max_waiting: 10_000,
        }
    }
}

impl Limits {
    /// The longest a call may take, and the configuration key that says so.
    fn timeout(&self, operation: Operation) -> (Duration, &'static str) {
        let Self { operation_timeout, maintenance_timeout, .. } = *self;
        match operation {
            Operation::Diagnostics => (
                operation_timeout.saturating_mul(DIAGNOSTICS_FACTOR).min(maintenance_timeout),
                "operation_timeout",
            ),
            _ if operation.is_long() => (maintenance_timeout, "maintenance_timeout"),
            _ => (operation_timeout, "operation_timeout"),
        }
    }
}

/// Keeps [`Limits`], and closes in order: new calls are refused, those under way are waited for,
/// then the storage inside is closed.
///
/// Closing takes as long as its [`time_left`] allows, and no longer than 9 s where that says nothing. After
/// half of it the calls under way are dropped, a garbage collection for one: they end as
/// [`Closed`](ErrorKind::Closed), and writes as [`Uncertain`](ErrorKind::Uncertain).
#[derive(Debug, Default)]
pub struct Limit {
    limits: Limits,
    under_way: AtomicUsize,
    closing: AtomicBool,
    idle: Notify,
    /// Ends the calls under way.
    stop: CancellationToken,
    closed: OnceCell<()>,
}

impl Limit {
    /// A layer with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    fn enter(&self) -> Result<UnderWay<'_>, ErrorKind> {
        let before = self.under_way.fetch_add(1, Ordering::SeqCst);
        let place = UnderWay(self);
        if self.closing.load(Ordering::SeqCst) {
            return Err(ErrorKind::Closed);
        }
        if before >= self.limits.max_waiting {
            return Err(ErrorKind::Busy);
        }
        Ok(place)
    }

    async fn until_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Waits for the calls under way, and drops them when it is too late.
    async fn end_calls(&self, left: Duration) {
        if timeout(left, self.until_idle()).await.is_err() {
            self.stop.cancel();
            // They only have to be dropped by the tasks that made them; one that is not polled is not waited for.
            let _ = timeout(Duration::from_millis(250).min(left), self.until_idle()).await;
        }
    }
}

struct UnderWay<'a>(&'a Limit);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.closing.load(Ordering::SeqCst) {
            self.0.idle.notify_waiters();
        }
    }
}

impl Layer for Limit {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let _place = self.enter().map_err(|kind| match kind {
            ErrorKind::Busy => Error::new(backend, operation, kind)
                .with_message(format!("`max_waiting` is {}", self.limits.max_waiting)),
            kind => Error::new(backend, operation, kind),
        })?;
        let (limit, key) = self.limits.timeout(operation);
        let now = Instant::now();
        let told = earlier(deadline_of_task(), now.checked_add(margin_off(limit)));
        let call = timeout_at(now.checked_add(limit).unwrap_or(now + FAR_FUTURE), DEADLINE.scope(told, call));
        let given_up = |kind| if operation.is_write() { ErrorKind::Uncertain } else { kind };
        tokio::select! {
            biased;
            ended = call => ended.unwrap_or_else(|_| {
                let error = Error::new(backend, operation, given_up(ErrorKind::Timeout));
                Err(error.with_message(format!("`{key}` of {limit:?} has passed")))
            }),
            () = self.stop.cancelled() => {
                let error = Error::new(backend, operation, given_up(ErrorKind::Closed));
                Err(error.with_message("the storage was closed during the call"))
            }
        }
    }

    fn utilization(&self, inside: Utilization) -> Utilization {
        let in_flight = self.under_way.load(Ordering::Relaxed);
        let calls = CallUtilization::new(in_flight, self.limits.max_waiting);
        Utilization { calls: Some(calls), ..inside }
    }

    async fn close<'a>(
        &'a self,
        backend: &'static str,
        close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> Result<()> {
        self.closing.store(true, Ordering::SeqCst);
        let end = Instant::now() + time_left().unwrap_or(CLOSE_TIMEOUT);
        let left = || end.saturating_duration_since(Instant::now());
        let closed = self.closed.get_or_try_init(|| async {
            self.end_calls(left() / 2).await;
            let closed = timeout(left(), with_time_left(Some(left()), close)).await;
            closed.unwrap_or_else(|_| {
                let error = Error::new(backend, Operation::Close, ErrorKind::Timeout);
                Err(error.with_message("operations that are still running were abandoned"))
            })
        });
        closed.await.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(max_waiting: usize) -> Limit {
        Limit::new(Limits { max_waiting, ..Limits::default() })
    }

    async fn never() -> Result<()> {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_times_out_and_a_write_is_uncertain() {
        let limit = limit(1);
        let read = limit.around("x", Operation::ScrapeSwarm, never()).await.unwrap_err();
        assert_eq!(read.kind(), ErrorKind::Timeout);
        assert_eq!(
            read.to_string(),
            "x scrape_swarm: no answer in time: `operation_timeout` of 5s has passed"
        );
        let write = limit.around("x", Operation::PutPeer, never()).await.unwrap_err();
        assert_eq!(write.kind(), ErrorKind::Uncertain);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_under_way_are_counted() {
        let limit = limit(7);
        let calls = || limit.utilization(Utilization::default()).calls;
        let look = async { Ok(calls()) };
        let in_flight = |in_flight| Some(CallUtilization::new(in_flight, 7));
        assert_eq!(limit.around("x", Operation::Ping, look).await.unwrap(), in_flight(1));
        assert_eq!(calls(), in_flight(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_knows_how_long_it_may_take() {
        let look = async { Ok((time_left(), tokio::time::sleep(Duration::from_secs(2)).await, time_left())) };
        let (before, (), after) = limit(1).around("x", Operation::Ping, look).await.unwrap();
        assert_eq!(before, Some(Duration::from_millis(4_900)));
        assert_eq!(after, Some(Duration::from_millis(2_900)));
        assert_eq!(time_left(), None);
        let short = Some(Duration::from_secs(1));
        let look = with_time_left(short, async { with_time_left(before, async { time_left() }).await });
        assert_eq!(look.await, short);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_limit_are_busy_at_once() {
        let limit = limit(1);
        let first = limit.around("x", Operation::Ping, never());
        let second = limit.around("x", Operation::Ping, async { Ok(()) });
        let (first, second) = tokio::join!(biased; first, second);
        assert_eq!(first.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(second.unwrap_err().kind(), ErrorKind::Busy);
        limit.around("x", Operation::Ping, async { Ok(()) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn closing_waits_for_what_runs_and_refuses_what_comes() {
        let limit = limit(9);
        let running = limit.around("x", Operation::Ping, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(tokio::time::Instant::now())
        });
        let closing = async {
            limit.close("x", async { Ok(()) }).await.unwrap();
            tokio::time::Instant::now()
        };
        let late = async {
            tokio::task::yield_now().await;
            limit.around("x", Operation::Ping, async { Ok(()) }).await
        };
        let (ran, closed, late) = tokio::join!(biased; running, closing, late);
        assert!(ran.unwrap() <= closed);
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
        limit.close("x", async { Ok(()) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn closing_is_bounded_whatever_runs() {
        let limit = limit(9);
        let begun = Instant::now();
        let (collection, statistics, closed) = tokio::join!(biased;
            limit.around("x", Operation::CollectGarbage, never()),
            limit.around("x", Operation::Statistics, never()),
            limit.close("x", never())
        );
        assert_eq!(collection.unwrap_err().kind(), ErrorKind::Uncertain);
        assert_eq!(statistics.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(closed.unwrap_err().kind(), ErrorKind::Timeout);
        assert!(begun.elapsed() <= CLOSE_TIMEOUT, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_keeps_to_the_time_that_it_is_told() {
        let limit = limit(9);
        let begun = Instant::now();
        let close = limit.close("x", never());
        with_time_left(Some(Duration::from_secs(2)), close).await.unwrap_err();
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }
}
