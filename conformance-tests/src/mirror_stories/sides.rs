//! Mirrors in memory whose sides do as they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use storage_core::layer::{Layer, Layered};
use storage_core::{Error, ErrorKind, InfoHash, Operation, Peer, PeerId, Result, Storage};
use storage_memory::{MemoryConfig, MemoryStorage};
use storage_mirror::{MirrorConfig, MirrorStatus, MirrorStorage};
use tokio::sync::watch;

/// What a side does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Works,
    /// Lets others go first, for a random while.
    Dawdles,
    /// Does nothing, and says so.
    Fails,
    /// Writes, and says that it does not know.
    Doubts,
    /// Does it, and fails then.
    FailsAfterwards,
    /// Takes no write, whatever else.
    Refuses,
    /// Waits for another mood.
    Hangs,
}

/// Makes a storage do as it is told; closing leaves what is inside open, to be looked at.
#[derive(Default)]
pub(super) struct Moody {
    mood: watch::Sender<Mood>,
    writes: AtomicU64,
}

impl Moody {
    pub(super) fn becomes(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// The writes that it was asked for.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }
}

impl Layer for Moody {
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
        let mut moods = self.mood.subscribe();
        let mood = *moods.borrow_and_update();
        match mood {
            Mood::Works => call.await,
            Mood::Dawdles => {
                for _ in 0..rand::random_range(0..8) {
                    tokio::task::yield_now().await;
                }
                let result = call.await;
                tokio::task::yield_now().await;
                result
            }
            Mood::Fails => fail(ErrorKind::Unavailable),
            Mood::Doubts => call.await.and_then(|_| fail(ErrorKind::Uncertain)),
            Mood::FailsAfterwards => call.await.and_then(|_| fail(ErrorKind::Unavailable)),
            Mood::Refuses if operation.is_write() => fail(ErrorKind::Rejected),
            Mood::Refuses => call.await,
            Mood::Hangs => {
                let _ = moods.wait_for(|mood| *mood != Mood::Hangs).await;
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

/// A mirror and its sides.
pub(super) struct MirrorSides {
    pub(super) primary: Arc<Layered<dyn Storage, Moody>>,
    pub(super) secondary: Arc<Layered<dyn Storage, Moody>>,
    pub(super) mirror: Arc<MirrorStorage>,
}

impl MirrorSides {
    pub(super) fn new(config: MirrorConfig) -> Self {
        let side = || {
            let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(MemoryConfig::default()));
            Arc::new(Layered::new(storage, Moody::default()))
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
