//! The storage.

use std::sync::Arc;

use async_trait::async_trait;
use storage_core::{
    AddressFamily, Backend, Capability, ClockReading, Diagnostics, Error, ErrorKind, InfoHash,
    MissingCapabilities, NoObserver, OpenError, Operation, Result, Role, SharedObserver, Timestamp,
    Utilization,
};

use crate::NAME;
use crate::config::RedisConfig;
use crate::connection::{Call, Connections, command};
use crate::diagnostics;
use crate::layout::{DOWNLOADS, SWARMS, SwarmKey, counter};
use crate::transfer::SortedPages;

/// Why swarms are not listed.
const NO_ORDER: &str = "MoChi's layout has no sorted counts of swarms: each page would count all swarms";

/// Swarms and data on Redis or Valkey, in MoChi's layout.
///
/// Several nodes, old MoChi nodes among them, may use the same database at once. Nothing runs in the
/// background: [`storage_core::MaintenanceScheduler`] is the schedule. Timeouts for whole calls and a bound on
/// their number come with [`storage_core::with_default_layers`], which [`storage_core::Backends`] puts around by
/// itself.
pub struct RedisStorage {
    pub(crate) connections: Arc<Connections>,
    pub(crate) sorted_pages: SortedPages,
    server: Option<String>,
}

impl RedisStorage {
    /// Connects to the servers. Nothing is changed there.
    ///
    /// # Errors
    /// [`OpenError::Configuration`] with all problems of the settings; [`OpenError::Storage`] if no
    /// server can be reached within `startup_timeout`, or if it refuses or is too old (6.2 is needed).
    pub async fn open(config: RedisConfig) -> Result<Self, OpenError> {
        Self::open_observed(config, Arc::new(NoObserver)).await
    }

    /// Opens a storage that tells an observer what no result shows: retries, reconnections, entries passed over.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_observed(config: RedisConfig, observer: SharedObserver) -> Result<Self, OpenError> {
        let connections = Connections::open(&config, observer).await?;
        let server = match diagnostics::check_version(&connections).await {
            Ok(server) => server,
            Err(error) => {
                connections.close().await;
                return Err(error.into());
            }
        };
        Ok(Self { connections: Arc::new(connections), sorted_pages: SortedPages::default(), server })
    }

    pub(crate) fn not_found() -> Error {
        Error::new(NAME, Operation::DeletePeer, ErrorKind::NotFound)
    }
}

/// The four keys of a swarm, seeders first, IPv4 first.
pub(crate) fn keys_of(info_hash: &InfoHash) -> [Vec<u8>; 4] {
    let key = |role, family| SwarmKey::new(*info_hash, family).key(role);
    [
        key(Role::Seeder, AddressFamily::V4),
        key(Role::Seeder, AddressFamily::V6),
        key(Role::Leecher, AddressFamily::V4),
        key(Role::Leecher, AddressFamily::V6),
    ]
}

/// Every key that tells of a swarm: its own four, the set of swarms, the counters, the downloads.
pub(crate) fn keys_about(info_hash: &InfoHash) -> Vec<Vec<u8>> {
    let shared = [SWARMS, counter(Role::Seeder), counter(Role::Leecher), DOWNLOADS];
    keys_of(info_hash).into_iter().chain(shared.map(<[u8]>::to_vec)).collect()
}

#[async_trait]
impl Backend for RedisStorage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn durable(&self) -> bool {
        true
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        let unlisted = MissingCapabilities::none().with(Capability::ListSwarms, NO_ORDER);
        if !self.connections.is_cluster() {
            return unlisted;
        }
        unlisted
            .with(Capability::AtomicMove, "the roles of a swarm are on different nodes of the cluster")
            .with(Capability::AtomicGraduation, "peers and downloads are on different nodes of the cluster")
            .with(Capability::ExactDownloads, "a graduation whose answer is lost may not be counted")
            .with(Capability::AtomicWrites, "the roles of a swarm are on different nodes of the cluster")
    }

    fn now(&self) -> Timestamp {
        self.connections.connector().time().now()
    }

    fn clock(&self) -> Option<ClockReading> {
        self.connections.connector().time().reading()
    }

    fn utilization(&self) -> Utilization {
        Utilization::of_pool(self.connections.utilization())
    }

    fn server(&self) -> Option<String> {
        self.server.clone()
    }

    /// Writes nothing into an absent key of a swarm of its own: servers refuse that when they are out of
    /// memory, read-only, cannot save, or have too few replicas, and a key without content is not made.
    async fn probe(&self) -> Result<()> {
        let call = Call::repeatable(Operation::Probe);
        let swarm = SwarmKey::new(InfoHash::V1(rand::random()), AddressFamily::V4);
        let write = command("SETRANGE", &swarm.key(Role::Leecher)).arg(0).arg("").take();
        match self.connections.query::<i64>(call, write).await {
            // The command is not among those that the user may use.
            Err(error) if error.message().starts_with("NOPERM") => self.ping().await,
            probed => probed.map(drop),
        }
    }

    async fn ping(&self) -> Result<()> {
        let call = Call::repeatable(Operation::Ping);
        self.connections.query::<redis::Value>(call, redis::cmd("PING")).await.map(drop)
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        diagnostics::diagnostics(&self.connections).await
    }

    async fn close(&self) -> Result<()> {
        self.connections.close().await;
        Ok(())
    }
}
