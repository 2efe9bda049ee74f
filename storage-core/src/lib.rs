//! Storage for BitTorrent trackers: one contract, and backends that are chosen by name.
//!
//! A tracker keeps swarms (who has which torrent) and small arbitrary data. The traits here are the
//! contract; crates such as `tracker-storage-memory` and `tracker-storage-pg` implement them; the [conformance
//! suite](conformance) holds them all to the same behaviour.
//!
//! # The traits
//! - [`PeerStorage`]: put, delete, graduate and announce peers, scrape swarms, or a whole announce in
//!   one call
//! - [`DataStorage`]: arbitrary data by (context, key)
//! - [`Maintenance`]: garbage collection, statistics, forgetting a swarm
//! - [`Transfer`]: everything out in pages, and in again
//! - [`BulkPeerStorage`]: writes and reads of peers for many, each with its time
//! - [`Backend`]: what every storage has, [`ping`](Backend::ping) and [`close`](Backend::close) among it
//! - [`Storage`]: all of them
//!
//! # Opening a storage
//! By the name in a configuration, through a [`Registry`] of the backends that a program knows
//! (`storage_memory::MemoryDriver`, `storage_pg::PgDriver`, your own [`Driver`]):
//!
//! ```
//! # #[cfg(feature = "figment")]
//! use storage_core::config::{StorageConfig, variables};
//! use storage_core::Registry;
//!
//! # #[cfg(feature = "figment")]
//! # async fn open(registry: Registry) -> Result<(), Box<dyn std::error::Error>> {
//! let config = StorageConfig::load("tracker.yaml".as_ref(), "storage", variables())?;
//! let storage = registry.open(config).await?;
//! // Stale peers are removed, and peers counted, only where somebody starts it.
//! storage.start_maintenance();
//! storage.ping().await?;
//! storage.close().await?;
//! # Ok(()) }
//! ```
//!
//! Or in code, by a backend's own typed configuration, with [`with_default_layers`] around it.
//!
//! # Layers
//! Limits, traces, metrics and schedules are [layers](layer) around any storage, and a storage with
//! a layer around it is a storage. [`Registry::open`] puts limits and traces around every storage.
//!
//! # Features
//! None is on by default.
//! - `figment`: configuration files and environment variables ([`config::StorageConfig`]'s `load`)
//! - `prometheus`: metrics in a Prometheus registry that you hand in
//! - `conformance`: the suite

mod announce;
pub mod batcher;
mod bulk;
pub mod capability;
pub mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
mod driver;
mod error;
mod info_hash;
pub mod layer;
mod maintenance;
mod nested;
mod observer;
mod operation;
mod peer;
mod record;
mod server_clock;
mod server_time;
mod storage;
mod tasks;
mod timestamp;

pub use announce::{
    Announce, AnnounceAnswer, AnnounceEvent, announce_by_parts, announce_each, write_announce,
};
pub use bulk::{
    BulkPeerStorage, PeerChange, PeerWrite, SwarmSnapshot, Written, failed_for_each, read_swarm_in_pages,
    write_order, write_peers_one_by_one, write_rounds,
};
pub use capability::{Capability, MissingCapabilities};
pub use context::{Context, InvalidContext};
pub use driver::{Driver, OpenError, Opened, Opener, Registry, Review, UnknownBackend, with_default_layers};
pub use error::{Error, ErrorKind, Result};
pub use info_hash::{InfoHash, InvalidInfoHash};
pub use maintenance::{Collection, MaintenanceScheduler, Schedule};
pub use nested::{NestedStorage, OpenNested};
pub use observer::{EndedCall, Event, NoObserver, Observer, SharedObserver};
pub use operation::Operation;
pub use peer::{AddressFamily, InvalidPeerId, Peer, PeerId, Role};
pub use record::{Cursor, DataRecord, DownloadsRecord, Imported, Page, PeerRecord, Record};
pub use server_clock::ServerClock;
pub use server_time::{ClockReading, ServerTime};
pub use storage::{
    Backend, Collected, CountCheck, DataStorage, Diagnostics, Forgotten, Maintenance, PeerCounts,
    PeerSelection, PeerStorage, PeerStorageExt, PendingWrites, QueryCheck, QueryScopeReport, Scope,
    Statistics, Storage, SwarmCounts, Transfer, WrongCounts, forget_swarms_one_by_one,
};
pub use tasks::{TaskSpawner, Tasks};
pub use timestamp::{InvalidTimestamp, Timestamp, When};
