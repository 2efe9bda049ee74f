//! Whether the backend is there.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use storage_core::{Error, ErrorKind, Event, SharedObserver, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::NAME;

/// A call that takes longer shows a backend for which no client should wait.
const SLOW: Duration = Duration::from_secs(1);

const HERE: u8 = 0;
const IS_SLOW: u8 = 1;
const AWAY: u8 = 2;

/// What the last calls of the backend showed.
pub(crate) struct BackendState {
    condition: AtomicU8,
    changes: watch::Sender<u8>,
    outage: Mutex<Option<Outage>>,
    observer: SharedObserver,
}

/// A time in which the backend does not answer.
#[derive(Debug, Clone)]
pub(crate) struct Outage {
    begun: Instant,
    pub(crate) since: Timestamp,
}

impl BackendState {
    pub(crate) fn new(observer: SharedObserver) -> Self {
        let (changes, _) = watch::channel(HERE);
        Self { condition: AtomicU8::new(HERE), changes, outage: Mutex::default(), observer }
    }

    /// Whether clients may wait for it.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.condition.load(Ordering::Relaxed) == HERE
    }

    /// Whether a call of it failed, and no probe has succeeded since.
    pub(crate) fn is_away(&self) -> bool {
        self.condition.load(Ordering::Relaxed) == AWAY
    }

    pub(crate) fn outage(&self) -> Option<Outage> {
        self.outage.lock().clone()
    }

    /// Ends once clients should not wait any longer.
    pub(crate) async fn until_not_waited_for(&self) {
        // The sender is there as long as this is.
        let _ = self.changes.subscribe().wait_for(|condition| *condition != HERE).await;
    }

    /// Makes a call, and notes if it is slow.
    pub(crate) async fn timed<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        match timeout(SLOW, &mut call).await {
            Ok(answer) => {
                self.change(IS_SLOW, HERE);
                answer
            }
            Err(_) => {
                self.change(HERE, IS_SLOW);
                call.await
            }
        }
    }

    /// A call failed; whether the backend is away therefore.
    pub(crate) fn failed(&self, error: &Error) -> bool {
        let is_away = matches!(
            error.kind(),
            ErrorKind::Timeout | ErrorKind::Uncertain | ErrorKind::Unavailable | ErrorKind::Closed
        );
        if !is_away {
            return false;
        }
        let mut outage = self.outage.lock();
        if outage.is_none() {
            let reason = format!("{error:?}");
            tracing::warn!(backend = NAME, reason, "the backend does not respond; memory serves without it");
            *outage = Some(Outage { begun: Instant::now(), since: Timestamp::now() });
            self.observer.observe(NAME, Event::CacheBackendAway { away: true });
        }
        drop(outage);
        self.set(AWAY);
        true
    }

    /// A probe succeeded; whether the backend was away before.
    pub(crate) fn is_back(&self) -> bool {
        let Some(Outage { begun, .. }) = self.outage.lock().take() else { return false };
        tracing::warn!(backend = NAME, after = ?begun.elapsed(), "the backend responds again");
        self.observer.observe(NAME, Event::CacheBackendAway { away: false });
        self.set(HERE);
        true
    }

    fn change(&self, from: u8, to: u8) {
        if self.condition.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.changes.send_replace(to);
        }
    }

    fn set(&self, condition: u8) {
        self.condition.store(condition, Ordering::Relaxed);
        self.changes.send_replace(condition);
    }
}
