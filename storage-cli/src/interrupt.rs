//! Ctrl-C.

use tokio::signal::ctrl_c;
use tokio::sync::watch;

use crate::exit::Exit;
use crate::output::note;

/// Tells work of a first Ctrl-C; a second one ends the process at once.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let (happened, interrupt) = watch::channel(false);
        tokio::spawn(async move {
            if let Err(error) = listen(&happened).await {
                tracing::warn!(%error, "cannot listen for Ctrl-C");
            }
            happened.closed().await;
        });
        Self(interrupt)
    }

    /// Whether it has happened.
    pub(crate) fn has_happened(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it happens.
    pub(crate) async fn happens(mut self) {
        if self.0.wait_for(|happened| *happened).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn listen(happened: &watch::Sender<bool>) -> std::io::Result<()> {
    ctrl_c().await?;
    happened.send_replace(true);
    note("stopping: what runs is brought to an end; Ctrl-C again to leave it as it is");
    ctrl_c().await?;
    std::process::exit(Exit::Interrupted as i32);
}
