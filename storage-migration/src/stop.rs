//! Asking work to end between two batches.

use tokio_util::sync::CancellationToken;

/// Ends a migration or a comparison between two batches. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Asks for the end.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether the end has been asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Ends when the end is asked for.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }
}
