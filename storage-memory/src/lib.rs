//! The in-process backend, `memory`: swarms and data in the memory of one process, gone with it.
//!
//! Swarms are spread over shards by info hash, each behind a lock of its own, so that calls about
//! different swarms hardly ever meet. A swarm keeps its seeders before its leechers in one list per
//! address family, so that counts are lengths and a random sample is a choice of positions. Memory
//! is given back as swarms shrink, and there is a limit to the number of peers.
//!
//! A tracker takes [`MemoryDriver`] into its [backends](storage_core::Backends) and chooses `memory` in its configuration ([`EXAMPLE_CONFIG`]
//! has every key), or makes a storage from a [`MemoryConfig`]. That is called `new` and not `open`, as in other backends:
//! it cannot fail.
//!
//! ```
//! use std::sync::Arc;
//!
//! use storage_core::layer::Limits;
//! use storage_core::{Announce, AnnounceEvent, InfoHash, Opened, Peer, PeerId, PeerStorage, Schedule};
//! use storage_memory::{MemoryConfig, MemoryStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = Arc::new(MemoryStorage::new(MemoryConfig::default()));
//! let storage = Opened::new(storage, Limits::default(), Schedule::default());
//!
//! let peer = Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), 6881);
//! let announce = Announce::new(InfoHash::V1([1; 20]), [peer]).with_event(AnnounceEvent::Started);
//! let answer = storage.announce(&announce).await?;
//! println!("{:?}, {:?}", answer.counts, answer.peers);
//! storage.close().await?;
//! # Ok(()) }
//! ```
//!
//! | file | what is there |
//! | --- | --- |
//! | `config`, `driver`, `example_config.yaml` | settings, and opening by name |
//! | `storage` | what is stored, `close`, the limit to the number of peers |
//! | `peers`, `bulk` | announces and scrapes; the same for many |
//! | `data` | arbitrary data |
//! | `maintenance` | garbage collection, statistics, forgetting a swarm |
//! | `transfer` | export and import |
//! | `shards` | a map spread over independently locked parts, each a `CompactMap` of the crate `storage_swarms` |
//! | `swarm` | the peers of one swarm, around the `Swarm` of the crate `storage_swarms` |
//!
//! The crate has no features. `cargo bench -p tracker-storage-memory` measures calls.

mod bulk;
mod config;
mod data;
mod driver;
mod maintenance;
mod peers;
mod shards;
mod storage;
mod swarm;
mod transfer;

pub use config::{EXAMPLE_CONFIG, MemoryConfig};
pub use driver::MemoryDriver;
pub use storage::MemoryStorage;
