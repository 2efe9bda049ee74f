//! Storage for BitTorrent trackers: swarms (who has which torrent) and small arbitrary data, on a backend that a
//! configuration chooses by name.
//!
//! This crate re-exports `tracker-storage-core` and the backends that its features enable. A crate that implements
//! a backend depends on `tracker-storage-core` alone.
//!
//! | feature | adds |
//! | --- | --- |
//! | `memory` | the backend `memory`, in the process |
//! | `pg` | the backend `pg`: PostgreSQL, CockroachDB |
//! | `redis` | the backend `redis`: Redis, Valkey |
//! | `mirror` | the backend `mirror`: two storages kept in step, to move from one to the other |
//! | `migration` | [`migration`](https://docs.rs/tracker-storage-migration): everything from one storage into another |
//! | `figment` | configuration files and environment variables: `config::StorageConfig::load` |
//! | `prometheus` | metrics in a Prometheus registry: `layer::Metrics` |
//! | `conformance` | the conformance suite |
//! | `tls-ring` (default) | TLS of `pg` and `redis`, by `rustls` with `ring` |
//! | `tls-aws-lc` | TLS of `pg` and `redis`, by `rustls` with `aws-lc-rs`; without default features |
//!
//! # Open a storage by its configuration
//! [`backends`] are every enabled backend. Here the configuration is made in code; with the feature `figment`,
//! `StorageConfig::load` reads it from a YAML or TOML file and the environment.
//!
//! ```
//! use tracker_storage::config::{StorageConfig, Value};
//! use tracker_storage::{InfoHash, Peer, PeerId, PeerStorageExt};
//!
//! # #[cfg(feature = "memory")]
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = StorageConfig { name: "memory".into(), config: Value::empty_section() };
//! let storage = tracker_storage::backends().open(config).await?;
//! // Removes stale peers and takes statistics from now on.
//! storage.start_maintenance();
//!
//! let info_hash: InfoHash = "0123456789abcdef0123456789abcdef01234567".parse()?;
//! let peer = Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), 6881);
//! storage.put_leecher(&info_hash, &peer).await?;
//! assert_eq!(storage.scrape_swarm(&info_hash).await?.leechers, 1);
//! storage.close().await?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "memory"))]
//! # fn main() {}
//! ```
//!
//! # Open a storage by its type
//! Each backend has a typed configuration. [`Opened::new`] adds time limits, an orderly close, and the schedule of
//! maintenance.
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use std::sync::Arc;
//!
//! use tracker_storage::layer::Limits;
//! use tracker_storage::memory::{MemoryConfig, MemoryStorage};
//! use tracker_storage::{Opened, Schedule};
//!
//! let storage = Arc::new(MemoryStorage::new(MemoryConfig::default()));
//! let storage = Opened::new(storage, Limits::default(), Schedule::default());
//! # }
//! ```

pub use storage_core::*;
#[cfg(feature = "memory")]
pub use storage_memory as memory;
#[cfg(feature = "migration")]
pub use storage_migration as migration;
#[cfg(feature = "mirror")]
pub use storage_mirror as mirror;
#[cfg(feature = "pg")]
pub use storage_pg as pg;
#[cfg(feature = "redis")]
pub use storage_redis as redis;

/// Every enabled backend.
pub fn backends() -> Backends {
    let backends = Backends::new();
    #[cfg(feature = "memory")]
    let backends = backends.with(memory::MemoryDriver);
    #[cfg(feature = "pg")]
    let backends = backends.with(pg::PgDriver);
    #[cfg(feature = "redis")]
    let backends = backends.with(redis::RedisDriver);
    #[cfg(feature = "mirror")]
    let backends = backends.clone().with(mirror::MirrorDriver::new(backends));
    backends
}
