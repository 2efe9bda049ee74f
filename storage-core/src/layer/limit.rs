//! Timeouts, a bounded number of waiting calls, and an orderly close (L1).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

use super::Layer;
use crate::{Error, ErrorKind, Operation, Result};

tokio::task_local! {
    /// `None` where it is too far away to be told.
    static DEADLINE: Option<Instant>;
}

/// How long the call under way in this task may still take, by the [`Limit`] around it; `None` without
/// one. Work that a storage hands to another task sees it only [if told](with_time_left).
pub fn time_left() -> Option<Duration> {
    let deadline = DEADLINE.try_with(|deadline| *deadline).ok().flatten()?;
    Some(deadline.saturating_duration_since(Instant::now()))
}

/// Runs work for calls that have so much [time left](time_left), or less where a call under way in this
/// task has less.
pub async fn with_time_left<T>(left: Option<Duration>, work: impl Future<Output = T>) -> T {
    let left = left.into_iter().chain(time_left()).min();
    DEADLINE.scope(left.and_then(|left| Instant::now().checked_add(left)), work).await
}

/// How long calls may take and how many may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest a call may take that a peer waits for (5 s).
    pub operation_timeout: Duration,
    /// The longest a call of upkeep or transfer may take (10 min).
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

/// Keeps [`Limits`], and closes in order: new calls are refused, those under way are waited for,
/// then the storage inside is closed.
#[derive(Debug, Default)]
pub struct Limit {
    limits: Limits,
    under_way: AtomicUsize,
    closing: AtomicBool,
    idle: Notify,
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

    fn timeout(&self, operation: Operation) -> (Duration, &'static str) {
        if operation.is_long() {
            (self.limits.maintenance_timeout, "maintenance_timeout")
        } else {
            (self.limits.operation_timeout, "operation_timeout")
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
        let (timeout, key) = self.timeout(operation);
        let call = with_time_left(Some(timeout), call);
        tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
            let kind = if operation.is_write() { ErrorKind::Uncertain } else { ErrorKind::Timeout };
            Err(Error::new(backend, operation, kind)
                .with_message(format!("`{key}` of {timeout:?} has passed")))
        })
    }

    async fn close<'a>(
        &'a self,
        _backend: &'static str,
        close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> Result<()> {
        self.closing.store(true, Ordering::SeqCst);
        let closed = self.closed.get_or_try_init(|| async {
            self.until_idle().await;
            close.await
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
    async fn a_call_knows_how_long_it_may_take() {
        let look = async { Ok((time_left(), tokio::time::sleep(Duration::from_secs(2)).await, time_left())) };
        let (before, (), after) = limit(1).around("x", Operation::Ping, look).await.unwrap();
        assert_eq!(before, Some(Duration::from_secs(5)));
        assert_eq!(after, Some(Duration::from_secs(3)));
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
}
