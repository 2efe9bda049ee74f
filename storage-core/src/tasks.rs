//! Tasks with an owner: told to stop, waited for, and ended if they do not.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Owns tasks. Dropped, it ends them.
#[derive(Debug)]
pub struct Tasks {
    spawner: TaskSpawner,
    _cancel_when_dropped: DropGuard,
}

/// Starts tasks for their owner, and tells them when to stop. Clones are the same.
#[derive(Debug, Clone)]
pub struct TaskSpawner {
    /// Tasks are to end when they have finished what they are at.
    stop: CancellationToken,
    /// Tasks end at once.
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Default for Tasks {
    fn default() -> Self {
        let cancel = CancellationToken::new();
        let guard = cancel.clone().drop_guard();
        let spawner = TaskSpawner { stop: cancel.child_token(), cancel, tasks: TaskTracker::new() };
        Self { spawner, _cancel_when_dropped: guard }
    }
}

impl Tasks {
    /// Starts tasks; for those that start further ones.
    pub fn spawner(&self) -> &TaskSpawner {
        &self.spawner
    }

    /// Tells all tasks to stop, waits no longer than this, and ends those that are left. Whether there were
    /// none.
    pub async fn stop(&self, at_most: Duration) -> bool {
        let TaskSpawner { stop, cancel, tasks } = &self.spawner;
        stop.cancel();
        tasks.close();
        let have_ended = timeout(at_most, tasks.wait()).await.is_ok();
        cancel.cancel();
        tasks.wait().await;
        have_ended
    }
}

impl TaskSpawner {
    /// Ends when it is time to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Starts a task that ends soon after it is [told to stop](Self::stopped). Without a runtime it is dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(&self.cancel, task);
    }

    /// Starts a task that has nothing to finish when it is time to stop. Without a runtime it is dropped.
    pub fn spawn_until_stopped(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(&self.stop, task);
    }

    fn spawn_until(&self, token: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            let task = token.clone().run_until_cancelled_owned(task);
            self.tasks.spawn_on(async { _ = task.await }, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_what_runs_and_no_longer_than_it_may() {
        let tasks = Tasks::default();
        let told = tasks.spawner().clone();
        tasks.spawner().spawn(async move {
            told.stopped().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        tasks.spawner().spawn_until_stopped(std::future::pending());
        assert!(tasks.stop(Duration::from_secs(5)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_stop_is_ended() {
        for is_stopped in [true, false] {
            let tasks = Tasks::default();
            let spawner = tasks.spawner().clone();
            let held = Arc::new(());
            let holds = Arc::clone(&held);
            spawner.spawn(async move {
                std::future::pending::<()>().await;
                drop(holds);
            });
            if is_stopped {
                assert!(!tasks.stop(Duration::from_secs(5)).await);
            } else {
                drop(tasks);
            }
            spawner.tasks.close();
            spawner.tasks.wait().await;
            assert_eq!(Arc::strong_count(&held), 1);
        }
    }

    #[test]
    fn without_a_runtime_a_task_is_dropped() {
        let tasks = Tasks::default();
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        tasks.spawner().spawn(async move { drop(holds) });
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
