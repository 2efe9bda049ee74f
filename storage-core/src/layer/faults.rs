//! Faults on demand, for tests of what a program does when its storage fails.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::{Layer, Layered};
use crate::{Error, ErrorKind, Operation, Result, Storage};

/// A storage that fails on demand.
///
/// ```
/// # use std::sync::Arc;
/// # use storage_core::layer::{Fault, FaultyStorage, Faults};
/// # use storage_core::{Announce, ErrorKind, InfoHash, Operation, PeerStorage, Storage};
/// # async fn test(storage: Arc<dyn Storage>) {
/// let storage = FaultyStorage::new(storage, Faults::default());
/// storage.layer().inject(&[Operation::Announce], Fault::LoseAnswer);
/// let announce = Announce::new(InfoHash::V1([1; 20]), []);
/// let error = storage.announce(&announce).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Uncertain);
/// storage.layer().clear();
/// # }
/// ```
pub type FaultyStorage<S = dyn Storage> = Layered<S, Faults>;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is made this much later.
    Delay(Duration),
    /// It fails like this, and is not made.
    Fail(ErrorKind),
    /// It is made, and its answer is lost: a write is [`Uncertain`](ErrorKind::Uncertain), a read a
    /// [`Timeout`](ErrorKind::Timeout).
    LoseAnswer,
    /// It is not made and never ends. Put a limit around the storage.
    Hang,
}

/// Makes calls fail while a [`Fault`] is injected.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<(Operation, Fault)>>);

impl Faults {
    /// From now on calls of these operations have this fault, in place of another one. A whole announce is
    /// [`Operation::Announce`] alone: faults of the calls for its parts do not reach it.
    pub fn inject(&self, operations: &[Operation], fault: Fault) {
        let mut faults = self.0.lock();
        faults.retain(|(operation, _)| !operations.contains(operation));
        faults.extend(operations.iter().map(|operation| (*operation, fault)));
    }

    /// From now on all calls, except closing, have this fault.
    pub fn inject_everywhere(&self, fault: Fault) {
        self.inject(Operation::ALL, fault);
    }

    /// From now on calls have no fault.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    fn of(&self, operation: Operation) -> Option<Fault> {
        self.0.lock().iter().find(|(faulty, _)| *faulty == operation).map(|(_, fault)| *fault)
    }
}

impl Layer for Faults {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let fail = |kind| Err(Error::new(backend, operation, kind).with_message("an injected fault"));
        match self.of(operation) {
            None => call.await,
            Some(Fault::Delay(time)) => {
                sleep(time).await;
                call.await
            }
            Some(Fault::Fail(kind)) => fail(kind),
            Some(Fault::LoseAnswer) => {
                let _ = call.await;
                fail(if operation.is_write() { ErrorKind::Uncertain } else { ErrorKind::Timeout })
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    /// Closing never fails.
    async fn close<'a>(
        &'a self,
        _backend: &'static str,
        close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> Result<()> {
        close.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_fault_does_what_it_says() {
        let (faults, calls) = (Faults::default(), AtomicU32::new(0));
        let call = async |operation| {
            let made = async { Ok(calls.fetch_add(1, Ordering::Relaxed)) };
            tokio::time::timeout(Duration::from_secs(60), faults.around("x", operation, made)).await
        };
        faults.inject(&[Operation::PutPeer], Fault::Fail(ErrorKind::Full));
        assert_eq!(call(Operation::PutPeer).await.unwrap().unwrap_err().kind(), ErrorKind::Full);
        assert_eq!(call(Operation::Announce).await.unwrap().unwrap(), 0, "the call that failed was not made");
        faults.inject_everywhere(Fault::LoseAnswer);
        assert_eq!(call(Operation::PutPeer).await.unwrap().unwrap_err().kind(), ErrorKind::Uncertain);
        assert_eq!(call(Operation::ScrapeSwarm).await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        faults.inject_everywhere(Fault::Delay(Duration::from_secs(1)));
        assert_eq!(
            call(Operation::PutPeer).await.unwrap().unwrap(),
            3,
            "calls whose answers were lost were made"
        );
        faults.inject_everywhere(Fault::Hang);
        assert!(call(Operation::PutPeer).await.is_err());
        faults.clear();
        assert_eq!(call(Operation::PutPeer).await.unwrap().unwrap(), 4);
    }
}
