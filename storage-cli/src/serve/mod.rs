//! `serve`: a small tracker on any storage. [`tracker`] is what it does for clients; the front ends
//! ([`http`], [`udp`]) speak their protocols; [`admin`] is for its operator.

mod admin;
mod approval;
mod health;
mod http;
mod listen;
mod metrics;
mod rate_limit;
mod settings;
mod status;
mod tracker;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use prometheus::Registry as Prometheus;
use storage_core::layer::with_time_left;
use storage_core::{Opened, PendingWrites, SharedObserver, Storage, TaskSpawner, Tasks};
use tokio::time::{Instant as Deadline, timeout_at};

use crate::exit_code::CommandError;
use admin::AdminService;
use health::Health;
use http::{ConnectionLimit, PerIpLimit, TrackerService};
use rate_limit::RateLimit;
use settings::CONNECTIONS;
use status::Status;
use tracker::Tracker;
use udp::UdpTracker;

pub(crate) use http::FailureResponse;
pub(crate) use metrics::{FrontMetrics, TrackerProtocol};
pub(crate) use settings::ServeSettings;

/// The connections of operators.
const ADMIN_CONNECTIONS: usize = 64;

/// How long stopping may take, so that the process ends within 10 s.
const STOP_TIMEOUT: Duration = Duration::from_millis(9_500);

/// How long to wait for requests in flight; the rest is for closing the storage.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(5_500);

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) udp: Vec<SocketAddr>,
    pub(crate) admin: Vec<SocketAddr>,
}

/// What to serve, and how.
pub(crate) struct ServeOptions {
    /// Everything read from the configuration.
    pub(crate) settings: ServeSettings,
    pub(crate) addresses: Addresses,
    /// The metrics, those of the storage among them.
    pub(crate) prometheus: Prometheus,
    /// What is counted and remembered.
    pub(crate) metrics: ServeMetrics,
}

/// A tracker that serves.
pub(crate) struct TrackerServer {
    storage: Arc<dyn Storage>,
    tasks: Tasks,
    /// Where it listens: what for, and the address to give to clients.
    pub(crate) listening: Listening,
}

type Listening = Vec<(&'static str, String)>;

impl TrackerServer {
    /// Starts maintenance of a storage and serves it, without waiting for the storage.
    ///
    /// # Errors
    /// If it cannot listen; the storage is closed then.
    pub(crate) async fn start(
        opened: Opened<dyn Storage>,
        options: ServeOptions,
    ) -> Result<Self, CommandError> {
        opened.start_maintenance();
        let Opened { storage, schedule, .. } = opened;
        let tasks = Tasks::default();
        match serve(&storage, options, tasks.spawner()) {
            Ok(listening) => {
                if schedule.enabled && !schedule.reporting_interval.is_zero() {
                    // The schedule begins with a wait; the admin page needs counts at once.
                    let counted = Arc::clone(&storage);
                    tasks.spawner().spawn_until_stopped(async move { drop(counted.statistics().await) });
                }
                Ok(Self { storage, tasks, listening })
            }
            Err(failure) => {
                close(&*storage, Deadline::now() + STOP_TIMEOUT).await;
                Err(failure)
            }
        }
    }

    /// Stops accepting, finishes requests in flight, and closes the storage, within 10 s whatever its server
    /// does. Returns the acknowledged writes that were lost.
    pub(crate) async fn stop(self) -> PendingWrites {
        let deadline = Deadline::now() + STOP_TIMEOUT;
        if !self.tasks.stop(DRAIN_TIMEOUT).await {
            tracing::warn!(after = ?DRAIN_TIMEOUT, "requests in flight were not answered in time");
        }
        close(&*self.storage, deadline).await;
        self.storage.pending_writes()
    }
}

/// Closes a storage before this time, or leaves it.
async fn close(storage: &dyn Storage, deadline: Deadline) {
    let left = deadline.saturating_duration_since(Deadline::now());
    match timeout_at(deadline, with_time_left(Some(left), storage.close())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(?error, "closing the storage failed"),
        Err(_) => tracing::warn!(after = ?left, "the storage could not be closed in time"),
    }
}

/// What is counted and remembered.
pub(crate) struct ServeMetrics {
    front: Arc<FrontMetrics>,
    status: Arc<Status>,
}

impl ServeMetrics {
    /// Registers the metrics; counts under MoChi's names too, if they are wanted.
    pub(crate) fn register(prometheus: &Prometheus, mochi_names: bool) -> prometheus::Result<Self> {
        let front = Arc::new(FrontMetrics::register(prometheus)?);
        let health = Health::new(front.healthy.clone());
        let status = Status::new(health, mochi_names.then_some(prometheus))?;
        Ok(Self { front, status })
    }

    /// What is to observe the storage.
    pub(crate) fn observer(&self) -> SharedObserver {
        Arc::clone(&self.status) as SharedObserver
    }
}

/// Listens everywhere before anything is served.
fn serve(
    storage: &Arc<dyn Storage>,
    options: ServeOptions,
    tasks: &TaskSpawner,
) -> Result<Listening, CommandError> {
    let ServeOptions { settings, addresses, prometheus, metrics } = options;
    let ServeMetrics { front: metrics, status } = metrics;
    let health = Arc::clone(&status.health);
    let mut listening = Listening::new();
    let http = listen_at("http", &addresses.http, listen::tcp)?;
    let udp = listen_at("udp", &addresses.udp, listen::udp)?;
    let admin = listen_at("admin", &addresses.admin, listen::tcp)?;

    tasks.spawn_until_stopped(health::watch(Arc::clone(&health), Arc::clone(storage), Arc::clone(&status)));
    let tracker = Arc::new(Tracker {
        storage: Arc::clone(storage),
        approval: settings.approval,
        rate_limit: RateLimit::new(settings.limits.rate, settings.addresses.trusted_proxies.clone()),
        limits: settings.limits,
        health: Arc::clone(&health),
        by_family: Arc::clone(&metrics.by_family),
    });
    let spoofing = settings.addresses.allow_ip_spoofing;
    let packets = Arc::new(UdpTracker::new(Arc::clone(&tracker), spoofing, Arc::clone(&metrics)));
    let per_ip = PerIpLimit::new(
        tracker.limits.max_connections_per_address,
        settings.addresses.trusted_proxies.clone(),
        metrics.connections.clone(),
        metrics.refused_connections.clone(),
    );
    let announce_path = settings.routes.announce.first().map(ToString::to_string).unwrap_or_default();
    let service = Arc::new(TrackerService {
        tracker,
        rules: settings.addresses,
        routes: settings.routes,
        metrics: Arc::clone(&metrics),
    });
    let connections = listen::connection_limit(CONNECTIONS);
    let limit = ConnectionLimit::new(connections, Some(per_ip));
    for (listener, address) in http {
        listening.push(("http", format!("http://{address}{announce_path}")));
        tasks.spawn(http::serve(listener, Arc::clone(&service), limit.clone(), tasks.clone()));
    }
    for (socket, address) in udp {
        listening.push(("udp", format!("udp://{address}/announce")));
        let loops = available_parallelism().map_or(1, NonZero::get);
        udp::serve(socket, &packets, loops, tasks).map_err(|error| listen::failed("udp", address, &error))?;
    }

    let service = Arc::new(AdminService::new(storage, prometheus, metrics, status, tasks));
    // Separate, so that clients cannot lock out the operator.
    let limit = ConnectionLimit::new(ADMIN_CONNECTIONS, None);
    for (listener, address) in admin {
        listening.push(("admin", format!("http://{address}/")));
        tasks.spawn(http::serve(listener, Arc::clone(&service), limit.clone(), tasks.clone()));
    }
    Ok(listening)
}

fn listen_at<L>(
    what: &str,
    addresses: &[SocketAddr],
    listen: impl Fn(SocketAddr) -> io::Result<L>,
) -> Result<Vec<L>, CommandError> {
    let listen = |at: &SocketAddr| listen(*at).map_err(|error| listen::failed(what, *at, &error));
    addresses.iter().map(listen).collect()
}
