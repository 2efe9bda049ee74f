//! Ctrl-C.

use tokio::signal::ctrl_c;
use tokio_util::sync::CancellationToken;

use crate::exit_code::Exit;
use crate::output::note;

/// A first Ctrl-C, for work to stop in order; a second one ends the process at once.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(CancellationToken);

impl Interrupt {
    /// Starts to listen, for as long as the runtime runs.
    pub(crate) fn listen() -> Self {
        let happened = CancellationToken::new();
        let interrupt = Self(happened.clone());
        tokio::spawn(async move {
            if let Err(error) = listen(&happened).await {
                tracing::warn!(%error, "cannot listen for Ctrl-C");
            }
        });
        interrupt
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it happens.
    pub(crate) async fn wait(self) {
        self.0.cancelled().await;
    }
}

async fn listen(happened: &CancellationToken) -> std::io::Result<()> {
    ctrl_c().await?;
    happened.cancel();
    note("stopping: waiting for the work in progress; press Ctrl-C again to stop at once");
    ctrl_c().await?;
    std::process::exit(Exit::Interrupted as i32);
}
