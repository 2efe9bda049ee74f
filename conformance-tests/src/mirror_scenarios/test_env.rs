//! A mirror of two storages in memory, with faults in either.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use storage_core::layer::{Layer, Layered};
use storage_core::{Error, ErrorKind, InfoHash, Operation, Peer, PeerId, Result, Storage};
use storage_memory::{MemoryConfig, MemoryStorage};
use storage_mirror::{MirrorConfig, MirrorStatus, MirrorStorage};
use tokio::sync::watch;

/// What goes wrong with the calls of one of the two storages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum InjectedFault {
    #[default]
    None,
    /// A call yields to other tasks a random number of times.
    Delay,
    /// A call does nothing and fails.
    Unavailable,
    /// A call takes effect, and its outcome is reported as unknown.
    Uncertain,
    /// A call takes effect and fails afterwards.
    UnavailableAfterCall,
    /// Every write is rejected; reads work.
    Rejected,
    /// A call waits until the fault changes.
    Hang,
}

/// Injects faults into the calls of a storage. Closing it leaves the storage inside open, so that a test can read it.
#[derive(Default)]
pub(super) struct FaultLayer {
    fault: watch::Sender<InjectedFault>,
    writes: AtomicU64,
}

impl FaultLayer {
    pub(super) fn set_fault(&self, fault: InjectedFault) {
        self.fault.send_replace(fault);
    }

    /// The number of writes that were called.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }
}

impl Layer for FaultLayer {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation.is_write() {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        let fail = |kind| Err(Error::new(backend, operation, kind));
        let mut faults = self.fault.subscribe();
        let fault = *faults.borrow_and_update();
        match fault {
            InjectedFault::None => call.await,
            InjectedFault::Delay => {
                for _ in 0..rand::random_range(0..8) {
                    tokio::task::yield_now().await;
                }
                let result = call.await;
                tokio::task::yield_now().await;
                result
            }
            InjectedFault::Unavailable => fail(ErrorKind::Unavailable),
            InjectedFault::Uncertain => call.await.and_then(|_| fail(ErrorKind::Uncertain)),
            InjectedFault::UnavailableAfterCall => call.await.and_then(|_| fail(ErrorKind::Unavailable)),
            InjectedFault::Rejected if operation.is_write() => fail(ErrorKind::Rejected),
            InjectedFault::Rejected => call.await,
            InjectedFault::Hang => {
                let _ = faults.wait_for(|fault| *fault != InjectedFault::Hang).await;
                call.await
            }
        }
    }

    async fn close<'a>(
        &'a self,
        _backend: &'static str,
        _close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> Result<()> {
        Ok(())
    }
}

/// A mirror and its two storages.
pub(super) struct TestMirror {
    pub(super) primary: Arc<Layered<dyn Storage, FaultLayer>>,
    pub(super) secondary: Arc<Layered<dyn Storage, FaultLayer>>,
    pub(super) mirror: Arc<MirrorStorage>,
}

impl TestMirror {
    pub(super) fn new(config: MirrorConfig) -> Self {
        let side = || {
            let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(MemoryConfig::default()));
            Arc::new(Layered::new(storage, FaultLayer::default()))
        };
        let (primary, secondary) = (side(), side());
        let mirror = Arc::new(MirrorStorage::<dyn Storage>::new(primary.clone(), secondary.clone(), config));
        Self { primary, secondary, mirror }
    }

    /// Waits until nothing is queued.
    pub(super) async fn quiet(&self) -> MirrorStatus {
        eventually("nothing is queued", || self.mirror.status().queued == 0).await;
        self.mirror.status()
    }

    /// The writes that the secondary missed.
    pub(super) fn missed(&self) -> u64 {
        self.mirror.status().missed.map_or(0, |missed| missed.writes)
    }
}

/// Waits until something holds.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The v1 info hash of this number.
pub(super) fn swarm(number: u8) -> InfoHash {
    InfoHash::V1([number; 20])
}

/// The peer of this number.
pub(super) fn peer(number: u32) -> Peer {
    let mut id = *b"-TR4040-000000000000";
    id[16..].copy_from_slice(&number.to_be_bytes());
    Peer::new(PeerId(id), std::net::Ipv4Addr::from(0x0A00_0001 + number).into(), 6881)
}
