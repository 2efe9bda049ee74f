//! Storage for BitTorrent trackers: one contract, and backends that are chosen by name.
//!
//! A tracker keeps swarms (who has which torrent) and small arbitrary data. The traits here are the contract; crates
//! such as `tracker-storage-memory`, `tracker-storage-pg` and `tracker-storage-redis` implement it, and the
//! [conformance suite](conformance) holds all of them to the same behaviour.
//!
//! | trait | what it is for |
//! | --- | --- |
//! | [`PeerStorage`] | peers: put, delete, graduate, scrape, or a whole announce in one call |
//! | [`DataStorage`] | arbitrary data by (context, key) |
//! | [`Maintenance`] | garbage collection, statistics, removing swarms |
//! | [`Transfer`] | everything out in pages, and in again |
//! | [`BulkPeerStorage`] | writes and reads of many peers, each write with its time |
//! | [`Backend`] | what every storage has: [`ping`](Backend::ping), [`close`](Backend::close), capabilities |
//! | [`Storage`] | all of them |
//!
//! # Open a storage by its name
//! [`Backends`] are those that a program knows. The configuration names one of them.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use storage_core::config::{StorageConfig, Value};
//! use storage_core::{Backend, Backends};
//! use storage_memory::MemoryDriver;
//!
//! let backends = Backends::new().with(MemoryDriver);
//! // With the feature `figment`, `StorageConfig::load` reads a YAML or TOML file and the environment.
//! let config = StorageConfig { name: "memory".into(), config: Value::Null };
//! let storage = backends.open(config).await?;
//! storage.ping().await?;
//! storage.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Open a storage by its type
//! Without any configuration file; [`Opened::new`] adds the limits, and the schedule of maintenance.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use storage_core::layer::Limits;
//! use storage_core::{Opened, Schedule};
//! use storage_memory::{MemoryConfig, MemoryStorage};
//!
//! let memory = MemoryStorage::new(MemoryConfig::default());
//! let storage = Opened::new(Arc::new(memory), Limits::default(), Schedule::default());
//! storage.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Announce
//! One call writes the client and reads peers and counts. If these could not be read, `failure` holds the error.
//!
//! ```
//! # use storage_core::Opened;
//! # async fn announce(storage: Opened) -> Result<(), Box<dyn std::error::Error>> {
//! use storage_core::{Announce, AnnounceEvent, InfoHash, Peer, PeerId, PeerStorage};
//!
//! let info_hash: InfoHash = "0123456789abcdef0123456789abcdef01234567".parse()?;
//! let peer = Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), 6881);
//! let announce = Announce::new(info_hash, [peer]).with_event(AnnounceEvent::Started);
//! let answer = storage.announce(&announce).await?;
//! println!("{:?}; {:?}", answer.counts, answer.peers);
//! # Ok(()) }
//! ```
//!
//! # Scrape
//! ```
//! # use storage_core::{InfoHash, Opened};
//! # async fn scrape(storage: Opened, info_hashes: Vec<InfoHash>) -> Result<(), Box<dyn std::error::Error>> {
//! use storage_core::PeerStorage;
//!
//! for counts in storage.scrape_swarms(&info_hashes).await? {
//!     println!("{} seeders, {} leechers, {} downloads", counts.seeders, counts.leechers, counts.downloads);
//! }
//! # Ok(()) }
//! ```
//!
//! # Keep data
//! A tracker's list of approved torrents, its tokens, or whatever else is small.
//!
//! ```
//! # use storage_core::Opened;
//! # async fn data(storage: Opened) -> Result<(), Box<dyn std::error::Error>> {
//! use storage_core::{Context, DataStorage};
//!
//! let approved = Context::new("approved")?;
//! storage.put_data(&approved, &[("01234567".into(), "".into())]).await?;
//! assert!(storage.load_data(&approved, b"01234567").await?.is_some());
//! # Ok(()) }
//! ```
//!
//! # Maintenance
//! Stale peers are removed, and statistics taken, on the [`Schedule`] of the configuration, on the nodes that start
//! it. It ends when the storage is closed.
//!
//! ```
//! # use storage_core::Opened;
//! # async fn maintain(storage: Opened) -> Result<(), Box<dyn std::error::Error>> {
//! storage.start_maintenance();
//! // … serve …
//! storage.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Metrics
//! With the feature `prometheus`, in a registry of your own; see [`layer::Metrics`] for what is counted. Without it,
//! an [`Observer`] learns of every call.
//!
//! ```
//! # #[cfg(feature = "prometheus")]
//! # fn metrics() -> Result<(), Box<dyn std::error::Error>> {
//! use storage_core::Backends;
//! use storage_core::layer::Metrics;
//!
//! let registry = prometheus::Registry::new();
//! let backends = Backends::new().with_metrics(Metrics::register(&registry)?);
//! # Ok(()) }
//! ```
//!
//! # Errors
//! An [`Error`] names the backend and the operation, and its [kind](ErrorKind) says what to do. It never carries a
//! password or a stored value.
//!
//! ```
//! # use storage_core::{Announce, Opened};
//! # async fn retry(storage: Opened, announce: Announce) {
//! use storage_core::{ErrorKind, PeerStorage};
//!
//! match storage.announce(&announce).await {
//!     Ok(answer) => println!("{answer:?}"),
//!     // Announces may be repeated.
//!     Err(error) if error.is_retryable() => println!("again: {error}"),
//!     Err(error) => println!("{error}"),
//! }
//! # }
//! ```
//!
//! # Test what happens when a storage fails
//! A [`FaultyStorage`](layer::FaultyStorage) delays calls, fails them, or loses their answers.
//!
//! # Write a backend
//! Implement the traits, and a [`Driver`] that opens it by name; the crate `example-backend` of the repository is the
//! shortest complete one. `impl BulkPeerStorage for MyStorage {}` is enough to begin with: its methods call the others.
//!
//! ```
//! use storage_core::config::Section;
//! use storage_core::{Driver, Opener};
//!
//! struct MyDriver;
//!
//! impl Driver for MyDriver {
//!     fn name(&self) -> &'static str {
//!         "mine"
//!     }
//!
//!     fn configure(&self, section: &mut Section) -> Box<dyn Opener> {
//!         let path = section.required_text("path");
//!         todo!("an opener for {path}")
//!     }
//! }
//! ```
//!
//! A backend with a server finds the rest here, so that it behaves like the others:
//!
//! | need | what there is |
//! | --- | --- |
//! | calls that go together, in bounded batches | [`batcher::Batcher`] |
//! | the time by which the caller gives up | [`layer::time_left`] |
//! | the server's clock | [`ServerTime`], [`ServerClock`] |
//! | tasks that end with the storage | [`Tasks`] |
//! | a page of a list of swarms | [`SwarmPageBuilder`] |
//! | a storage around others | [`NestedStorage`] |
//!
//! # Run the conformance suite
//! With the feature `conformance`; see [`conformance`] for what it needs.
//!
//! # Layers
//! Limits, traces, metrics and schedules are [layers](layer) around any storage, and a storage with a layer around it
//! is a storage. [`DefaultLayers`](layer::DefaultLayers) are around every storage that [`Backends::open`] opens.
//!
//! # Futures that are dropped
//! A call whose future is dropped before it ends may have taken effect or not, as after
//! [`ErrorKind::Uncertain`]; nothing is left half-written and no connection is lost to others. Dropping the future of
//! [`Backends::open`] closes what was connected. Dropping that of [`Backend::close`] leaves the storage closing:
//! further calls are [`ErrorKind::Closed`], and closing again waits for the rest.
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
mod swarm_list;
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
pub use driver::{Backends, Driver, OpenError, Opened, Opener, Review, UnknownBackend, with_default_layers};
pub use error::{Error, ErrorKind, Result};
pub use info_hash::{InfoHash, InvalidInfoHash};
pub use maintenance::{Collection, MaintenanceScheduler, Schedule};
pub use nested::{NestedStorage, OpenNested};
pub use observer::{CacheStatus, EndedCall, Event, NoObserver, Observer, SharedObserver};
pub use operation::Operation;
pub use peer::{AddressFamily, InvalidPeerId, Peer, PeerId, Role};
pub use record::{Cursor, DataRecord, DownloadsRecord, Imported, Page, PeerRecord, Record};
pub use server_clock::ServerClock;
pub use server_time::{ClockReading, ServerTime};
pub use storage::{
    Backend, CallUtilization, Collected, CountCheck, DataStorage, Diagnostics, ExportScope, Forgotten,
    Maintenance, PeerCounts, PeerSelection, PeerStorage, PeerStorageExt, PendingWrites, PoolUtilization,
    QueryCheck, QueryScopeReport, Statistics, Storage, SwarmCounts, Transfer, Utilization, WrongCounts,
    forget_swarms_one_by_one,
};
pub use swarm_list::{ListedSwarm, SwarmOrder, SwarmPage, SwarmPageBuilder};
pub use tasks::{TaskSpawner, Tasks};
pub use timestamp::{InvalidTimestamp, Timestamp, When};
