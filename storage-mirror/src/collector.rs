//! Garbage collection on the secondary, beside the lanes and out of everybody's way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::NAME;
use super::secondary::Secondary;
use super::write_queue::Apply;
use storage_core::{Backend, TaskSpawner};

/// The longest a collection may take.
const LONGEST: Duration = Duration::from_secs(600);

/// A collection that is to run on the secondary.
pub(super) type Collections<S> = mpsc::Sender<Apply<S>>;

/// Collects whenever it is asked to, one collection after the other, until told to stop. None that
/// fails is missed: the next one finds what it left.
pub(super) async fn collect<S: Backend + ?Sized>(
    secondary: Arc<Secondary<S>>,
    mut collections: mpsc::Receiver<Apply<S>>,
    tasks: TaskSpawner,
) {
    loop {
        let collection = async {
            let collection = collections.recv().await?;
            let Some(storage) = secondary.available() else { return Some(()) };
            match timeout(LONGEST, collection(Arc::clone(storage))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(backend = NAME, ?error, "could not collect the secondary's garbage");
                }
                Err(_) => tracing::warn!(backend = NAME, "the secondary's garbage takes {LONGEST:?}"),
            }
            Some(())
        };
        tokio::select! {
            () = tasks.stopped() => return,
            collected = collection => if collected.is_none() { return },
        }
    }
}
