//! The end of serving: told to everything that runs, and waited for.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Owns the tasks of a tracker that serves; dropped, it ends them.
#[derive(Debug)]
pub(crate) struct Shutdown {
    stop: Stop,
    _cancel_when_dropped: DropGuard,
}

/// Held by what runs, to hear of the end and to start further tasks.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Tasks are to end when they have finished what they are at.
    stop: CancellationToken,
    /// Tasks end at once.
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// One without tasks yet.
    pub(crate) fn new() -> (Self, Stop) {
        let cancel = CancellationToken::new();
        let guard = cancel.clone().drop_guard();
        let stop = Stop { stop: cancel.child_token(), cancel, tasks: TaskTracker::new() };
        (Self { stop: stop.clone(), _cancel_when_dropped: guard }, stop)
    }

    /// Tells everything to stop and waits until it has, no longer than this; then ends what is left. Says
    /// whether there was nothing left.
    pub(crate) async fn stop(self, at_most: Duration) -> bool {
        self.stop.stop.cancel();
        self.stop.tasks.close();
        timeout(at_most, self.stop.tasks.wait()).await.is_ok()
    }
}

impl Stop {
    /// Ends when it is time to stop.
    pub(crate) async fn happens(&self) {
        self.stop.cancelled().await;
    }

    /// Starts a task that ends soon after it is time to stop.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.cancel.clone().run_until_cancelled_owned(task));
    }

    /// Starts a task that has nothing to finish when it is time to stop.
    pub(crate) fn spawn_until_stopped(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_what_runs_and_no_longer_than_it_may() {
        let (shutdown, stop) = Shutdown::new();
        let told = stop.clone();
        stop.spawn(async move {
            told.happens().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        stop.spawn_until_stopped(std::future::pending());
        assert!(shutdown.stop(Duration::from_secs(5)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_stop_is_ended() {
        for is_stopped in [true, false] {
            let (shutdown, stop) = Shutdown::new();
            let held = Arc::new(());
            let holds = Arc::clone(&held);
            stop.spawn(async move {
                std::future::pending::<()>().await;
                drop(holds);
            });
            if is_stopped {
                assert!(!shutdown.stop(Duration::from_secs(5)).await);
            } else {
                drop(shutdown);
            }
            stop.tasks.close();
            stop.tasks.wait().await;
            assert_eq!(Arc::strong_count(&held), 1);
        }
    }
}
