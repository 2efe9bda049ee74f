//! Asking work to end between two batches.

use std::sync::Arc;

use tokio::sync::watch;

/// Ends a migration or a comparison between two batches. Clones are the same.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asks for the end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether the end has been asked for.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when the end is asked for.
    pub async fn stopped(&self) {
        // The sender lives in `self`: waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}
