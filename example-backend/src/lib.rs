//! The backend `example`: the shortest that is complete and correct. Who writes a further backend
//! reads it top to bottom, copies it, and runs the conformance suite as `tests/conformance.rs` does.
//!
//! All is in ordered maps behind one lock, so calls wait for each other, an announce looks at every
//! peer of its swarm and garbage collection at every peer there is. That is slow, and fine here: what
//! a call does is seen at a glance, and each is all or nothing without further thought. The backend
//! `memory` shows what speed takes.
//!
//! Each file has one concern, and has the same name in every backend:
//!
//! | file | what is there | what a backend with a server has to do besides |
//! | --- | --- | --- |
//! | `config` | its own settings | read addresses and passwords; derive no `Debug` over them |
//! | `driver` | opening by name | connect, check everything, and report all problems at once |
//! | `storage` | what it holds; `ping`, `close` | say what it [lacks](storage_core::MissingCapabilities) as configured |
//! | `peers` | swarms (P1 to P7) | move and graduate in one transaction, sample on the server |
//! | `data` | arbitrary data (D1, D2) | write many entries in one transaction |
//! | `maintenance` | garbage, statistics (U1, U2) | collect in batches; check queries that operators write |
//! | `transfer` | export and import (T1) | read pages by key; compare times as coarsely as it keeps them |
//!
//! It would also tell its [`Observer`](storage_core::Observer) what no result shows (a retry, a
//! reconnection), and choose the [kind](storage_core::ErrorKind) of each error with care:
//! `Uncertain` for a write whose answer never came.
//!
//! What is not here is written once, in the core. [`Backends::open`](storage_core::Backends::open)
//! reads the settings that all backends have and puts layers around the storage: timeouts and the
//! bounded queue, the orderly `close` and `Closed` after it (L1), traces, metrics.
//! [`MaintenanceScheduler`](storage_core::MaintenanceScheduler) runs it on a schedule (U3). The types see to it that
//! IPv4-mapped addresses are IPv4 and that reserved contexts never arrive here (D3).
//!
//! ```
//! use example_backend::ExampleDriver;
//! use storage_core::config::{StorageConfig, Value};
//! use storage_core::{Backends, InfoHash, Peer, PeerId, PeerStorage, PeerStorageExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Value::Section(vec![("capacity".into(), Value::Integer(1_000))]);
//! let backends = Backends::new().with(ExampleDriver);
//! let storage = backends.open(StorageConfig { name: "example".into(), config }).await?;
//!
//! let info_hash = InfoHash::V1([1; 20]);
//! let peer = Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), 6881);
//! storage.put_leecher(&info_hash, &peer).await?;
//! assert_eq!(storage.scrape_swarm(&info_hash).await?.leechers, 1);
//! # Ok(())
//! # }
//! ```

mod config;
mod data;
mod driver;
mod maintenance;
mod peers;
mod storage;
mod transfer;

pub use config::ExampleConfig;
pub use driver::ExampleDriver;
pub use storage::ExampleStorage;
