//! `cached`: any storage behind the speed of memory, and on while it is away.
//!
//! Swarms are read from the storage inside when they are first asked for, and answered from memory from then on. What
//! announces change is written behind, in batches, every second: one write for a peer however often it announced. It
//! is for one node, which alone writes to the storage.
//!
//! # What holds
//! - **Acknowledgement.** With [`Acknowledge::Memory`] a change is acknowledged when memory has it. Membership and
//!   role are stored within `flush_interval` and one flush; when changes wait for twice as long, announces wait before
//!   anything is refused. With [`Acknowledge::Storage`] the storage has it. A new time alone is acknowledged from
//!   memory in both; a stored time is never older than half of `peer_lifetime` plus `flush_interval`. Data, and
//!   completed downloads, are acknowledged when the storage has them; with [`Acknowledge::Memory`] an announce is
//!   answered after `completion_wait`, and the download waits.
//! - **The later wins.** Writes carry the time at which the client announced, and the storage keeps the later of two,
//!   deletions included. A new time is a touch, which never brings back a peer that the storage does not have: such a
//!   swarm is read again. An older put that arrives after the deletion of another node brings the peer back for at
//!   most `peer_lifetime`.
//! - **Garbage** is collected in the storage after all times that matter have been stored, and then in memory.
//! - **Memory is bounded** in bytes, all included. Swarms not used of late are let go of, once nothing of them waits;
//!   one with more than 100,000 peers, or a sixteenth of the memory, is answered by the storage.
//! - **Outage.** After one failed call nobody waits for the storage; it is probed every second. Swarms in memory are
//!   served; others begin empty, and are merged with what the storage has once it is back. Their scrapes fail until
//!   then, rather than say zero. Data in memory is served however old it is. What waits is bounded by `max_memory`:
//!   when that is full, announces are answered, and new peers are not kept. A storage whose calls take longer than
//!   a second is not waited for either.
//! - **What the storage refuses** is found by halving batches, dropped, logged and counted.
//! - **Closing** writes what waits as long as there is time; what is left is told by
//!   [`pending_writes`](storage_core::Backend::pending_writes).
//!
//! | file | what is there |
//! | --- | --- |
//! | `config`, `driver`, `example_config.yaml` | settings, and opening by name |
//! | `storage`, `shared`, `diagnostics` | what calls and workers share, the supervision of the storage inside, `close` |
//! | `announce`, `peers`, `bulk` | whole announces; peers one by one, and many |
//! | `access` | what a call waits for before memory answers it |
//! | `data`, `data_cache` | data |
//! | `maintenance`, `transfer` | garbage collection, statistics, forgetting a swarm; export and import |
//! | `cached_peer`, `swarm`, `shard`, `shards` | what is in memory, from the innermost to the outermost; it makes no calls |
//! | `worker` | reads and writes for the shards |
//! | `backend_state` | whether the storage inside is there |

mod access;
mod announce;
mod backend_state;
mod bulk;
mod cached_peer;
mod config;
mod data;
mod data_cache;
mod diagnostics;
mod driver;
mod maintenance;
mod peers;
mod shard;
mod shards;
mod shared;
mod storage;
mod swarm;
mod transfer;
mod worker;

pub use config::{Acknowledge, CachedConfig, EXAMPLE_CONFIG};
pub use driver::CachedDriver;
pub use storage::CachedStorage;

/// The name by which configurations choose it.
pub const NAME: &str = "cached";
