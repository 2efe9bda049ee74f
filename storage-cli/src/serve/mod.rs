//! `serve`: a small tracker on any storage. [`tracker`] is what it does for clients; the front ends
//! ([`http`], [`udp`]) speak their protocols; [`admin`] is for its operator.

mod admin;
mod approval;
mod descriptors;
mod health;
mod http;
mod listen;
mod metrics;
mod settings;
mod shutdown;
mod tracker;
mod udp;
mod watch;

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use prometheus::Registry as Prometheus;
use storage_core::layer::Layered;
use storage_core::{Maintenance, Opened, Storage};
use tokio::time::timeout;

use crate::exit::Failure;
use admin::{AdminSite, History};
use http::{PerAddress, Places, TrackerSite};
use metrics::FrontMetrics;
use settings::CONNECTIONS;
use shutdown::Shutdown;
use tracker::Tracker;
use udp::UdpTracker;
use watch::{Seen, Watch};

pub(crate) use settings::Settings;

/// The connections of operators.
const ADMIN_CONNECTIONS: usize = 64;

/// How long what runs may take to end.
const FINISH: Duration = Duration::from_secs(8);

/// How long the storage may take to close; a garbage collection may take minutes.
const CLOSE: Duration = Duration::from_secs(20);

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

/// What to serve, and how.
pub(crate) struct Plan {
    /// Everything read from the configuration.
    pub(crate) settings: Settings,
    /// Where.
    pub(crate) addresses: Addresses,
    /// The metrics, those of the storage among them.
    pub(crate) prometheus: Prometheus,
    /// Whether to offer counts under MoChi's names, too.
    pub(crate) mochi_metric_names: bool,
}

/// A tracker that serves.
pub(crate) struct Serving {
    storage: Arc<dyn Storage>,
    shutdown: Shutdown,
    /// Where it listens: what for, and the address to give to clients.
    pub(crate) listening: Listening,
}

type Listening = Vec<(&'static str, String)>;

impl Serving {
    /// Starts upkeep of a storage and serves it.
    ///
    /// # Errors
    /// If it cannot listen; the storage is closed then.
    pub(crate) async fn start(opened: Opened<dyn Storage>, plan: Plan) -> Result<Self, Failure> {
        let mochi = plan.mochi_metric_names.then_some(&plan.prometheus);
        let seen = Seen::new(mochi).map_err(metrics_failed)?;
        let watched = Arc::new(Layered::new(opened.storage, Watch(Arc::clone(&seen))));
        let storage = Maintenance::start(watched, opened.schedule);
        if opened.schedule.enabled && !opened.schedule.reporting_interval.is_zero() {
            // The schedule begins with a wait, and an operator looks at once.
            let counted = Arc::clone(&storage);
            tokio::spawn(async move { counted.statistics().await });
        }
        let server = storage.inspect().await.map_or_else(|_| "unknown".to_owned(), |found| found.server);
        match serve(&storage, server, seen, plan) {
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
        match timeout(CLOSE, self.storage.close()).await {
            Ok(closed) => closed,
            Err(_) => {
                tracing::warn!(after = ?CLOSE, "upkeep under way is left");
                Ok(())
            }
        }
    }
}

/// Listens everywhere before anything is served.
fn serve(
    storage: &Arc<dyn Storage>,
    server: String,
    seen: Arc<Seen>,
    plan: Plan,
) -> Result<(Shutdown, Listening), Failure> {
    let Plan { settings, addresses, prometheus, .. } = plan;
    let mut listening = Listening::new();
    let http = listen_at(&addresses.http, |address| listen::tcp("http", address))?;
    let udp = listen_at(&addresses.udp, |address| listen::udp("udp", address))?;
    let admin = listen_at(&addresses.admin, |address| listen::tcp("admin", address))?;
    let metrics = Arc::new(FrontMetrics::register(&prometheus).map_err(metrics_failed)?);
    let (shutdown, stop) = Shutdown::new();

    let tracker = Arc::new(Tracker::new(Arc::clone(storage), settings.approval, settings.limits));
    let spoofing = settings.addresses.allow_ip_spoofing;
    let packets = Arc::new(UdpTracker::new(Arc::clone(&tracker), spoofing, Arc::clone(&metrics)));
    let per_address = PerAddress::new(
        tracker.limits().max_connections_per_address,
        settings.addresses.trusted_proxies.clone(),
        metrics.refused_connections().clone(),
    );
    let site = Arc::new(TrackerSite::new(tracker, settings.addresses, Arc::clone(&metrics)));
    let connections = descriptors::connections(CONNECTIONS);
    let places = Places::shared(connections, per_address, metrics.connections().clone());
    for (listener, address) in http {
        listening.push(("http", format!("http://{address}/announce")));
        tokio::spawn(http::serve(listener, Arc::clone(&site), places.clone(), stop.clone()));
    }
    for (socket, address) in udp {
        listening.push(("udp", format!("udp://{address}/announce")));
        let socket = Arc::new(socket);
        for _ in 0..available_parallelism().map_or(1, NonZero::get) {
            tokio::spawn(udp::serve(Arc::clone(&socket), Arc::clone(&packets), stop.clone()));
        }
    }

    let history = Arc::new(History::new(Arc::clone(&metrics)));
    tokio::spawn(Arc::clone(&history).record(stop.clone()));
    let storage = Arc::clone(storage);
    let site = AdminSite { storage, server, begun: Instant::now(), prometheus, metrics, seen, history };
    let site = Arc::new(site);
    // Apart from the clients': whoever takes all of theirs does not lock out the operator.
    let places = Places::new(ADMIN_CONNECTIONS);
    for (listener, address) in admin {
        listening.push(("admin", format!("http://{address}/")));
        tokio::spawn(http::serve(listener, Arc::clone(&site), places.clone(), stop.clone()));
    }
    Ok((shutdown, listening))
}

fn listen_at<L>(
    addresses: &[SocketAddr],
    listen: impl Fn(SocketAddr) -> Result<L, Failure>,
) -> Result<Vec<L>, Failure> {
    addresses.iter().copied().map(listen).collect()
}

fn metrics_failed(error: prometheus::Error) -> Failure {
    Failure::finding(format!("error: metrics: {error}"))
}
