//! A load of writes while servers are restarted or fail over.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use storage_core::{Error, ErrorKind, InfoHash, Operation, Peer, PeerStorageExt, Role, Storage, When};
use tokio::task::JoinSet;

use super::fixtures::{all_peers, peer, swarm};

/// Concurrent puts.
const PUTTING: u32 = 8;
/// The pause between the calls of one task, so that the scenario stays short.
const PAUSE: Duration = Duration::from_millis(2);
/// The number of swarms that peers are put into.
const SWARMS: u8 = 30;
/// The swarm whose leechers graduate.
const GRADUATING: u8 = 200;

/// Puts and graduates peers, each once, until it is stopped.
pub(super) struct WriteLoad {
    storage: Arc<dyn Storage>,
    noted: Arc<Mutex<LoadReport>>,
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

/// The results of the calls so far.
#[derive(Default)]
pub(super) struct LoadReport {
    pub(super) acknowledged: AcknowledgedWrites,
    /// The number of graduations whose outcome is not known.
    pub(super) uncertain: u64,
    /// The errors.
    pub(super) failures: Vec<Error>,
    /// The longest that a call took.
    pub(super) longest: Duration,
}

/// The calls that were acknowledged.
#[derive(Default, Clone)]
pub(super) struct AcknowledgedWrites {
    /// The peers that were put.
    pub(super) put: BTreeSet<(InfoHash, Peer)>,
    /// The number of graduations.
    pub(super) graduated: u64,
}

impl WriteLoad {
    /// Starts the load.
    pub(super) fn start(storage: &Arc<dyn Storage>) -> Self {
        let mut load = Self {
            storage: Arc::clone(storage),
            noted: Arc::default(),
            is_over: Arc::default(),
            tasks: JoinSet::new(),
        };
        for task in 0..PUTTING {
            load.repeat(move |number, storage| put(storage, task * 100_000 + number));
        }
        load.repeat(|number, storage| graduate(storage, number));
        load
    }

    fn repeat<F>(&mut self, call: impl Fn(u32, Arc<dyn Storage>) -> F + Send + 'static)
    where
        F: Future<Output = Result<DoneWrite, Error>> + Send,
    {
        let (storage, is_over) = (Arc::clone(&self.storage), Arc::clone(&self.is_over));
        let noted = Arc::clone(&self.noted);
        self.tasks.spawn(async move {
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let begun = Instant::now();
                let done = call(number, Arc::clone(&storage)).await;
                lock(&noted).note(done, begun.elapsed());
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// The results of the calls so far.
    pub(super) fn noted(&self) -> MutexGuard<'_, LoadReport> {
        lock(&self.noted)
    }

    /// The calls that were acknowledged so far.
    pub(super) fn acknowledged(&self) -> AcknowledgedWrites {
        self.noted().acknowledged.clone()
    }

    /// Waits until this number of further peers has been put.
    pub(super) async fn puts_more(&self, number: usize, timeout: Duration) {
        let wanted = self.noted().acknowledged.put.len() + number;
        self.waits_for(timeout, |noted| noted.acknowledged.put.len() >= wanted).await;
    }

    /// Waits until something has failed.
    pub(super) async fn fails(&self, timeout: Duration) {
        let before = self.noted().failures.len();
        self.waits_for(timeout, |noted| noted.failures.len() > before).await;
    }

    async fn waits_for(&self, timeout: Duration, is_awaited: impl Fn(&LoadReport) -> bool) {
        let begun = Instant::now();
        while !is_awaited(&self.noted()) {
            assert!(begun.elapsed() < timeout, "the last failure: {:?}", self.noted().failures.last());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the load and returns its results.
    pub(super) async fn finish(mut self) -> LoadReport {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.noted())
    }
}

/// The swarms that peers are put into.
pub(super) fn swarms() -> impl Iterator<Item = InfoHash> {
    (0..SWARMS).map(swarm)
}

/// A call that was acknowledged.
enum DoneWrite {
    Put(InfoHash, Peer),
    Graduated,
}

async fn put(storage: Arc<dyn Storage>, number: u32) -> Result<DoneWrite, Error> {
    let (swarm, peer) = (swarm((number % u32::from(SWARMS)) as u8), peer(number));
    let role = Role::from_is_seeder(number.is_multiple_of(2));
    storage.put_peer(&swarm, &peer, role, When::Now).await?;
    Ok(DoneWrite::Put(swarm, peer))
}

async fn graduate(storage: Arc<dyn Storage>, number: u32) -> Result<DoneWrite, Error> {
    storage.graduate_leecher(&swarm(GRADUATING), &peer(number)).await?;
    Ok(DoneWrite::Graduated)
}

impl LoadReport {
    fn note(&mut self, done: Result<DoneWrite, Error>, took: Duration) {
        self.longest = self.longest.max(took);
        match done {
            Ok(DoneWrite::Put(swarm, peer)) => {
                self.acknowledged.put.insert((swarm, peer));
            }
            Ok(DoneWrite::Graduated) => self.acknowledged.graduated += 1,
            Err(error) => {
                let is_uncertain = error.kind() == ErrorKind::Uncertain;
                self.uncertain += u64::from(is_uncertain && is_graduation(&error));
                self.failures.push(error);
            }
        }
    }

    /// Asserts that no put has failed: puts may be repeated, and the storage does so.
    pub(super) fn only_graduations_failed(&self) {
        let puts: Vec<_> = self.failures.iter().filter(|error| !is_graduation(error)).collect();
        assert!(puts.is_empty(), "{puts:?}");
    }

    /// Asserts that every error advises to retry, or says that the outcome is unknown.
    pub(super) fn failures_are_passing(&self) {
        for error in &self.failures {
            assert!(error.is_retryable(), "{error:?}");
        }
    }
}

/// Whether a call that must not be made twice has failed.
fn is_graduation(error: &Error) -> bool {
    error.operation() == Operation::GraduatePeers
}

/// Asserts that the peers that were put are stored.
pub(super) async fn holds_peers(storage: &dyn Storage, put: &BTreeSet<(InfoHash, Peer)>) {
    let held = all_peers(storage).await.unwrap().into_iter();
    let held: BTreeSet<_> = held.map(|record| (record.info_hash, record.peer)).collect();
    let missing: Vec<_> = put.difference(&held).collect();
    assert!(missing.is_empty(), "{} of {} are missing, such as {:?}", missing.len(), put.len(), missing[0]);
}

/// Asserts that the downloads are at least the acknowledged ones, and at most those plus the unknown ones.
pub(super) async fn holds_downloads(storage: &dyn Storage, acknowledged: u64, noted: &LoadReport) {
    let downloads = storage.scrape_swarm(&swarm(GRADUATING)).await.unwrap().downloads;
    let possible = acknowledged..=noted.acknowledged.graduated + noted.uncertain;
    assert!(possible.contains(&downloads), "{downloads} downloads, expected {possible:?}");
}

fn lock(noted: &Mutex<LoadReport>) -> MutexGuard<'_, LoadReport> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}
