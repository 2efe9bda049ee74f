//! A load of many clients on one storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use storage_core::Storage;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::ChaosClient;
use super::client_log::ClientLog;

/// The number of clients: enough that calls go in batches.
pub const CLIENTS: usize = 40;
/// The number of swarms.
pub const SWARMS: usize = 4;

/// The time after which a client that does not return from its call is given up.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// How long the thread sleeps that measures starvation.
const PROBE: Duration = Duration::from_millis(20);

/// Clients that call until they are stopped.
pub struct ChaosLoad {
    stopping: CancellationToken,
    clients: JoinSet<ClientLog>,
    starvation: Starvation,
}

impl ChaosLoad {
    /// Starts the clients.
    pub fn start(storage: &Arc<dyn Storage>, rng: &mut StdRng) -> Self {
        let stopping = CancellationToken::new();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let rng = StdRng::seed_from_u64(rng.random());
            let client = ChaosClient::new(Arc::clone(storage), number, SWARMS, rng);
            clients.spawn(call_until(client, stopping.clone()));
        }
        Self { stopping, clients, starvation: Starvation::measure() }
    }

    /// Stops the clients, after the calls that they are making, and merges their logs.
    pub async fn finish(mut self) -> ClientLog {
        self.stopping.cancel();
        let mut log = ClientLog::default();
        let collect = async {
            while let Some(finished) = self.clients.join_next().await {
                match finished {
                    Ok(client) => log.add(client),
                    Err(error) => log.wrong_answers.push(format!("a client ended: {error}")),
                }
            }
        };
        if tokio::time::timeout(MAX_WAIT, collect).await.is_err() {
            let stuck = self.clients.len();
            log.wrong_answers.push(format!("{stuck} clients wait for a call after {MAX_WAIT:?}"));
        }
        log.starvation = self.starvation.finish();
        log
    }
}

async fn call_until(mut client: ChaosClient, stopping: CancellationToken) -> ClientLog {
    while !stopping.is_cancelled() {
        client.step().await;
        let pause = client.pause();
        tokio::time::sleep(pause).await;
    }
    client.into_log()
}

/// Measures how long a thread that wants to run has to wait for a core.
pub struct Starvation {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<Duration>>,
}

impl Starvation {
    /// Starts to measure.
    pub fn measure() -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            let mut worst = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let begun = std::time::Instant::now();
                std::thread::sleep(PROBE);
                worst = worst.max(begun.elapsed().saturating_sub(PROBE));
            }
            worst
        });
        Self { stopping, thread: Some(thread) }
    }

    /// The longest wait.
    pub fn finish(mut self) -> Duration {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Starvation {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}
