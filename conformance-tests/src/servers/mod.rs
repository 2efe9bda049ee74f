//! Servers for the storages under test: found or started when the first test asks for one, shared by
//! all, and stopped at the end.
//!
//! A server of each kind is looked for in this order: one that an environment variable names, then programs on this
//! machine, then containers; programs are skipped where the environment asks for containers. Only servers that were
//! started here are stopped; on others, what the tests made is removed.

pub mod cockroach;
mod containers;
mod frozen;
mod lazy;
mod pg_url;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;
mod server_process;
mod sockets;
mod sql_database;
pub mod tcp_proxy;

use std::sync::Arc;

pub use cockroach::Cockroach;
pub use containers::{FURTHER_POSTGRES, FURTHER_REDIS, are_asked_for as containers_are_asked_for};
pub use frozen::Frozen;
use lazy::Lazy;
pub use pg_url::PgUrl;
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, Schema};
pub use redis::{Cluster, Redis, Sentinel, SentinelSetup};
pub use sockets::{OpenSockets, open_sockets_to};
pub use sql_database::SqlDatabase;
pub use tcp_proxy::{CutPoint, TcpProxy};

/// Why there is no server.
#[derive(Debug, Clone)]
pub enum Missing {
    /// There is nothing to start one with; the reasons of all ways.
    Absent(String),
    /// One that should be there failed.
    Failed(String),
}

impl Missing {
    pub(crate) fn failed(what: impl std::fmt::Display) -> Self {
        Self::Failed(what.to_string())
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Absent(reason) | Self::Failed(reason)) = self;
        f.write_str(reason)
    }
}

/// A server, or why there is none.
pub type Found<T> = Result<T, Missing>;

/// The servers of this process.
#[derive(Default)]
pub struct Servers {
    postgres: Lazy<Postgres>,
    redis: Lazy<Redis>,
    pgbouncer: Lazy<PgBouncer>,
    cockroach: Lazy<Cockroach>,
    cockroach_secured: Lazy<Cockroach>,
    further_postgres: [Lazy<Postgres>; FURTHER_POSTGRES.len()],
    further_redis: [Lazy<Redis>; FURTHER_REDIS.len()],
    redis_sentinel: Lazy<Sentinel>,
    redis_sentinel_secured: Lazy<Sentinel>,
    redis_cluster: Lazy<Cluster>,
    redis_rights: Lazy<redis::RightsOnServer>,
    redis_sentinel_rights: Lazy<redis::RightsOnSentinel>,
    redis_cluster_rights: Lazy<redis::RightsOnCluster>,
}

static SERVERS: Servers = Servers {
    postgres: Lazy::new(),
    redis: Lazy::new(),
    pgbouncer: Lazy::new(),
    cockroach: Lazy::new(),
    cockroach_secured: Lazy::new(),
    further_postgres: [const { Lazy::new() }; _],
    further_redis: [const { Lazy::new() }; _],
    redis_sentinel: Lazy::new(),
    redis_sentinel_secured: Lazy::new(),
    redis_cluster: Lazy::new(),
    redis_rights: Lazy::new(),
    redis_sentinel_rights: Lazy::new(),
    redis_cluster_rights: Lazy::new(),
};

impl Servers {
    /// The servers of this process.
    pub fn shared() -> &'static Self {
        &SERVERS
    }

    /// A PostgreSQL server. The first call may take seconds, and blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is none; the same for every later call.
    pub fn postgres(&self) -> Found<Arc<Postgres>> {
        let container = || containers::postgres(&containers::POSTGRES);
        self.postgres.get(|| find(postgres::named_by_environment, postgres::from_programs, container))
    }

    /// A server of the image in [`FURTHER_POSTGRES`] with this index. As [`postgres`](Self::postgres).
    ///
    /// # Errors
    /// [`Missing`] if the image can't be had; the same for every later call.
    pub fn further_postgres(&self, index: usize) -> Found<Arc<Postgres>> {
        self.further_postgres[index].get(|| containers::postgres(&FURTHER_POSTGRES[index]))
    }

    /// A single Redis server. The first call may take a while, and blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is none; the same for every later call.
    pub fn redis(&self) -> Found<Arc<Redis>> {
        let container = || containers::redis(&containers::REDIS);
        self.redis.get(|| find(redis::named_by_environment, redis::from_program, container))
    }

    /// A server of the image in [`FURTHER_REDIS`] with this index. As [`redis`](Self::redis).
    ///
    /// # Errors
    /// [`Missing`] if the image can't be had; the same for every later call.
    pub fn further_redis(&self, index: usize) -> Found<Arc<Redis>> {
        self.further_redis[index].get(|| containers::redis(&FURTHER_REDIS[index]))
    }

    /// A Redis primary and replica with sentinels; nothing may fail over there. As [`redis`](Self::redis).
    ///
    /// # Errors
    /// [`Missing`] if there is no program for it; the same for every later call.
    pub fn redis_sentinel(&self) -> Found<Arc<Sentinel>> {
        self.redis_sentinel.get(|| Sentinel::start(&SentinelSetup::default()))
    }

    /// The same with TLS and passwords.
    ///
    /// # Errors
    /// [`Missing`] if there is no program for it; the same for every later call.
    pub fn redis_sentinel_secured(&self) -> Found<Arc<Sentinel>> {
        let setup = SentinelSetup { secured: true, ..SentinelSetup::default() };
        self.redis_sentinel_secured.get(|| Sentinel::start(&setup))
    }

    /// A Redis Cluster of three nodes. As [`redis`](Self::redis).
    ///
    /// # Errors
    /// [`Missing`] if there is no program for it; the same for every later call.
    pub fn redis_cluster(&self) -> Found<Arc<Cluster>> {
        self.redis_cluster.get(|| Cluster::start(&redis::Setup::default()))
    }

    /// A single Redis server with a user that has only the required rights. As [`redis`](Self::redis).
    ///
    /// # Errors
    /// [`Missing`] if there is no program for it; the same for every later call.
    pub fn redis_rights(&self) -> Found<Arc<redis::RightsOnServer>> {
        self.redis_rights.get(redis::RightsOnServer::start)
    }

    /// The same behind sentinels.
    ///
    /// # Errors
    /// [`Missing`] if there is no program for it; the same for every later call.
    pub fn redis_sentinel_rights(&self) -> Found<Arc<redis::RightsOnSentinel>> {
        self.redis_sentinel_rights.get(redis::RightsOnSentinel::start)
    }

    /// The same on a cluster.
    ///
    /// # Errors
    /// [`Missing`] if there is no program for it; the same for every later call.
    pub fn redis_cluster_rights(&self) -> Found<Arc<redis::RightsOnCluster>> {
        self.redis_cluster_rights.get(redis::RightsOnCluster::start)
    }

    /// PgBouncer in front of the PostgreSQL server. The first call may take seconds, and blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is none; the same for every later call.
    pub fn pgbouncer(&self) -> Found<Arc<PgBouncer>> {
        self.pgbouncer.get(pgbouncer::from_program)
    }

    /// A CockroachDB server. The first call may take seconds, and blocks the thread.
    ///
    /// # Errors
    /// [`Missing`] if there is none; the same for every later call.
    pub fn cockroach(&self) -> Found<Arc<Cockroach>> {
        let named = cockroach::named_by_environment;
        self.cockroach.get(|| find(named, cockroach::from_program, containers::cockroach))
    }

    /// A CockroachDB server in a container that asks for TLS and a password.
    ///
    /// # Errors
    /// [`Missing`] if the image can't be had; the same for every later call.
    pub fn cockroach_secured(&self) -> Found<Arc<Cockroach>> {
        self.cockroach_secured.get(containers::cockroach_secured)
    }

    /// Stops what was started and removes what was made; no server is started from now on.
    pub fn stop(&self) {
        self.pgbouncer.stop(|pooler| pooler.stop());
        self.cockroach.stop(|server| server.stop());
        self.cockroach_secured.stop(|server| server.stop());
        self.further_postgres.iter().for_each(|server| server.stop(|server| server.stop()));
        self.further_redis.iter().for_each(|server| server.stop(|server| server.stop()));
        self.postgres.stop(|server| server.stop());
        self.redis_sentinel.stop(|servers| servers.stop());
        self.redis_sentinel_secured.stop(|servers| servers.stop());
        self.redis_cluster.stop(|servers| servers.stop());
        self.redis_rights.stop(|server| server.stop());
        self.redis_sentinel_rights.stop(|servers| servers.stop());
        self.redis_cluster_rights.stop(|servers| servers.stop());
        // Last, for tests that are still writing.
        self.redis.stop(|server| server.stop());
    }
}

/// Tries the ways that the environment leaves, in order.
fn find<T>(named: fn() -> Found<T>, programs: fn() -> Found<T>, container: fn() -> Found<T>) -> Found<T> {
    match containers_are_asked_for()? {
        true => first_of(&[named, container]),
        false => first_of(&[named, programs, container]),
    }
}

/// Tries the ways in order; one that fails ends the search, since it should work.
fn first_of<T>(ways: &[fn() -> Found<T>]) -> Found<T> {
    let mut reasons = Vec::new();
    for way in ways {
        match way() {
            Err(Missing::Absent(reason)) => reasons.push(reason),
            found => return found,
        }
    }
    Err(Missing::Absent(reasons.join(", ")))
}

/// Whether `TRACKER_STORAGE_TEST_REQUIRE` (`pg,redis/redis-8,…`) asks for this backend, or this storage on
/// a server of its own, so that its absence is a failure.
pub fn is_required(backend: &str) -> bool {
    let required = std::env::var("TRACKER_STORAGE_TEST_REQUIRE").unwrap_or_default();
    required.split(',').any(|name| name.trim().eq_ignore_ascii_case(backend))
}
