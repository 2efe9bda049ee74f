//! The in-process backend, `memory`: swarms and data in the memory of one process, gone with it.
//!
//! Swarms are spread over shards by info hash, each behind a lock of its own, so that calls about
//! different swarms hardly ever meet. A swarm keeps its seeders before its leechers in one list per
//! address family, so that counts are lengths and a random sample is a choice of positions. Memory
//! is given back as swarms shrink, and there is a limit to the number of peers.
//!
//! ```
//! use std::sync::Arc;
//! use storage_core::{InfoHash, Peer, PeerId, PeerStorageExt, layer::Limits};
//! use storage_memory::{MemoryConfig, MemoryStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), storage_core::Error> {
//! let storage = Arc::new(MemoryStorage::new(MemoryConfig::default()));
//! let storage = storage_core::with_default_layers(storage, Limits::default());
//!
//! let info_hash = InfoHash::V1([1; 20]);
//! let peer = Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), 6881);
//! storage.put_leecher(&info_hash, &peer).await?;
//! assert_eq!(storage.scrape_swarm(&info_hash).await?.leechers, 1);
//! # Ok(())
//! # }
//! ```

mod bulk;
mod compact_map;
mod config;
mod data;
mod driver;
mod maintenance;
mod peer_list;
mod peers;
mod shards;
mod storage;
mod swarm;
mod transfer;

pub use config::{EXAMPLE_CONFIG, MemoryConfig};
pub use driver::MemoryDriver;
pub use storage::MemoryStorage;
