//! `serve`: a small tracker on any storage. [`tracker`] is what it does for clients; the front ends
//! ([`http`], [`udp`]) speak their protocols; [`admin`] is for its operator.

mod approval;
mod health;
mod http;
mod listen;
mod metrics;
mod settings;
mod shutdown;
mod tracker;
mod udp;

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use prometheus::Registry as Prometheus;
use storage_core::{Maintenance, Opened, Storage};

use crate::exit::Failure;
use http::{Places, TrackerSite};
use metrics::FrontMetrics;
use shutdown::Shutdown;
use tracker::Tracker;
use udp::UdpTracker;

pub(crate) use settings::Settings;

/// The connections of clients that may be open at once.
const CONNECTIONS: usize = 10_000;

/// How long what runs may take to end.
const FINISH: Duration = Duration::from_secs(8);

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    /// For announces and scrapes over HTTP.
    pub(crate) http: Vec<SocketAddr>,
    /// For announces and scrapes over UDP.
    pub(crate) udp: Vec<SocketAddr>,
    /// For the operator.
    pub(crate) admin: Vec<SocketAddr>,
}

/// A tracker that serves.
pub(crate) struct Serving {
    storage: Arc<dyn Storage>,
    shutdown: Shutdown,
    /// Where it listens: what for, and the address to give to clients.
    pub(crate) listening: Vec<(&'static str, String)>,
}

impl Serving {
    /// Starts upkeep of a storage and serves it.
    ///
    /// # Errors
    /// If it cannot listen; the storage is closed then.
    pub(crate) async fn start(
        opened: Opened<dyn Storage>,
        settings: Settings,
        addresses: &Addresses,
        prometheus: &Prometheus,
    ) -> Result<Self, Failure> {
        let storage = Maintenance::start(opened.storage, opened.schedule);
        match serve(&storage, settings, addresses, prometheus) {
            Ok((shutdown, listening)) => Ok(Self { storage, shutdown, listening }),
            Err(failure) => {
                // The reason it does not serve is told; a failure to close adds nothing to it.
                let _ = storage.close().await;
                Err(failure)
            }
        }
    }

    /// Stops accepting, finishes what runs, and closes the storage.
    ///
    /// # Errors
    /// If the storage cannot be closed.
    pub(crate) async fn stop(self) -> storage_core::Result<()> {
        if !self.shutdown.stop(FINISH).await {
            tracing::warn!(after = ?FINISH, "requests under way are left");
        }
        self.storage.close().await
    }
}

type Listening = Vec<(&'static str, String)>;

fn serve(
    storage: &Arc<dyn Storage>,
    settings: Settings,
    addresses: &Addresses,
    prometheus: &Prometheus,
) -> Result<(Shutdown, Listening), Failure> {
    let metrics = FrontMetrics::register(prometheus)
        .map_err(|error| Failure::finding(format!("error: metrics: {error}")))?;
    let metrics = Arc::new(metrics);
    let tracker = Arc::new(Tracker::new(Arc::clone(storage), settings.approval, settings.limits));
    let (shutdown, stop) = Shutdown::new();
    let mut listening = Listening::new();

    let allow_ip_spoofing = settings.addresses.allow_ip_spoofing;
    let udp = UdpTracker::new(Arc::clone(&tracker), allow_ip_spoofing, Arc::clone(&metrics));
    let udp = Arc::new(udp);
    let receivers = available_parallelism().map_or(1, NonZero::get);
    let site = Arc::new(TrackerSite::new(tracker, settings.addresses, Arc::clone(&metrics)));
    let places = Places::new(CONNECTIONS, metrics.connections().clone());
    for address in &addresses.http {
        let (listener, address) = listen::tcp("http", *address)?;
        listening.push(("http", format!("http://{address}/announce")));
        tokio::spawn(http::serve(listener, Arc::clone(&site), places.clone(), stop.clone()));
    }
    for address in &addresses.udp {
        let (socket, address) = listen::udp("udp", *address)?;
        listening.push(("udp", format!("udp://{address}/announce")));
        let socket = Arc::new(socket);
        for _ in 0..receivers {
            tokio::spawn(udp::serve(Arc::clone(&socket), Arc::clone(&udp), stop.clone()));
        }
    }
    Ok((shutdown, listening))
}
