//! The end of serving: told to everything that runs, and waited for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Tells what runs to stop.
#[derive(Debug)]
pub(crate) struct Shutdown(watch::Sender<bool>);

/// Held by what runs: it hears of the end, and is waited for until it drops this.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Shutdown {
    /// One that nothing waits for yet.
    pub(crate) fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Tells everything to stop and waits until it has, no longer than this; says whether it has.
    pub(crate) async fn stop(self, at_most: Duration) -> bool {
        self.0.send_replace(true);
        timeout(at_most, self.0.closed()).await.is_ok()
    }
}

impl Stop {
    /// Ends when it is time to stop.
    pub(crate) async fn happens(&mut self) {
        // An error says that nobody is left who could wait.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_what_runs_and_no_longer_than_it_may() {
        let (shutdown, mut stop) = Shutdown::new();
        tokio::spawn(async move {
            stop.happens().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        assert!(shutdown.stop(Duration::from_secs(5)).await);

        let (shutdown, _never_dropped) = Shutdown::new();
        assert!(!shutdown.stop(Duration::from_secs(5)).await);
    }
}
