//! `mirror`: a storage made of two, so that a tracker changes its storage without stopping.
//!
//! Everything is read from the *primary*. A write goes to the primary first; once that has
//! acknowledged it, it is queued for the *secondary* with the time it was made at, and the caller
//! has its answer. So a [migration](https://docs.rs/tracker-storage-migration) that copies what
//! was there before can run meanwhile, and afterwards the two change places:
//!
//! 1. a mirror with the old storage as primary and the new one as secondary; `migrate`, `verify`;
//! 2. a mirror with the new one as primary and the old one as secondary, as the way back;
//! 3. the new one alone.
//!
//! # What holds
//! - **Order.** Writes of one peer, and of one key of data, reach the secondary in the order in which
//!   the primary took them. Writes of the same peer through one mirror therefore wait for each other;
//!   those of several nodes at the same moment have no order, here as anywhere.
//! - **A secondary never slows or fails a call.** Writes are queued, never waited for. The queue is
//!   bounded in writes and bytes; when it is full, a write is *missed*, and counted.
//! - **Suspension.** A call to the secondary that takes too long or that the secondary fails counts as
//!   a failure; after several in a row it is suspended: what is queued and what comes is missed.
//!   It is then probed, and served again as soon as it answers. It may also be out of reach when the
//!   mirror is opened. A wrong configuration of it is a problem like any other.
//! - **In doubt.** A write that was given up, or whose outcome at the primary is not known, is not
//!   passed on: it might undo what the primary has. It counts as missed.
//! - **Missed** writes are made good by a new migration that begins after the last of them. How many
//!   there were, and when, is told by [`diagnostics`](storage_core::Backend::diagnostics) and the metrics; counts are
//!   those of one process. With several nodes none of them may have missed any.
//!
//! # Call by call
//! - Graduations are passed on as the seeder and the number of downloads that the primary has then,
//!   where both sides have downloads. So a migration that runs at the same time cannot lose one, which
//!   it could if each side counted by itself.
//! - A whole announce is one call to the primary; the secondary gets the writes that it consists of.
//! - A peer that leaves while a migration copies its record may be put back at the secondary by that copy. It
//!   is stale there after its lifetime, and garbage collection removes it.
//! - Garbage is collected on both with the same cutoff, on the secondary in the background. What fails
//!   there is not missed: the next collection finds it. Statistics, exports, capabilities and `ping`
//!   are the primary's; what the secondary lacks is a warning of `diagnostics`, for it must not take away
//!   from the service.
//! - `close` waits for the queue for a bounded time, and then closes both sides at once. What is left of the
//!   queue is missed and logged, and told by [`pending_writes`](storage_core::Backend::pending_writes). A mirror
//!   that is dropped without being closed misses all that is queued.

mod bulk;
mod config;
mod data;
mod diagnostics;
mod driver;
mod maintenance;
mod peers;
mod replication_stats;
mod secondary;
mod storage;
mod transfer;
mod write_locks;
mod write_queue;

pub use config::{EXAMPLE_CONFIG, MirrorConfig};
pub use driver::MirrorDriver;
pub use replication_stats::Missed;
pub use secondary::Suspended;
pub use storage::{MirrorStatus, MirrorStorage};

/// The name by which configurations choose it.
pub const NAME: &str = "mirror";
