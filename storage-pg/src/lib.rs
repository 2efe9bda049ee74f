//! The backend `pg`: PostgreSQL, CockroachDB, and what else speaks their protocol.
//!
//! It runs queries that the operator writes in the configuration, on tables that the operator
//! designed. Opening asks the server about every query and reports all problems at once, each with
//! its configuration key; parameters and columns adapt to the types of the tables.
//!
//! A tracker takes [`PgDriver`] into its [backends](storage_core::Backends) and chooses `pg` in its configuration, or opens a storage from a
//! [`PgConfig`]. [`recommended`] has tables and queries that pass every rule, and a commented configuration file.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use storage_core::layer::Limits;
//! use storage_core::{Announce, AnnounceEvent, InfoHash, Opened, Peer, PeerId, PeerStorage, Schedule};
//! use storage_pg::{PgConfig, PgStorage, recommended::Recommendation};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = PgConfig {
//!     connection_string: Some("postgres://tracker@localhost/tracker".into()),
//!     ..Recommendation::default().config()
//! };
//! let storage = Arc::new(PgStorage::open(config).await?);
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
//! | `config`, `driver` | settings, and opening by name |
//! | [`recommended`] | tables, queries, `example_config`, and the way from version to version |
//! | `connection` | the connection string, connecting, the pool |
//! | `error`, `retry`, `contention_limiter` | errors of sqlx, classified; what is run again, and how much at once |
//! | `storage` | opening, `ping`, `close`, what all calls share |
//! | `query_spec`, `rewrite`, `arguments`, `parsed_query` | the queries: what each takes and gives, as they are read |
//! | `prepare`, `statement`, `pg_type`, `row_counts` | the queries with the types that the server gives them |
//! | `query_check`, `query_scope` | trial runs of queries |
//! | `peers`, `graduation`, `batch`, `announces`, `bulk` | announces and scrapes; many together |
//! | `data` | arbitrary data |
//! | `maintenance` | garbage collection, statistics, forgetting a swarm |
//! | `transfer` | export in pages, import |
//! | `diagnostics`, `server` | what `check` shows; which server it is |
//!
//! Features: `tls-ring` (on by default) or `tls-aws-lc`; without both, a configuration that asks for TLS is an error.
//!
//! # What the queries decide, and what is decided here
//!
//! Where the queries leave a rule of the contract to us, it is kept here: a `peer.del_query` that
//! touched no row is `NotFound`; a `peer.graduate_query` that touched no row is followed by
//! `peer.add_query` as seeder, in the same transaction, and is a download unless `peer.del_query`, run and
//! taken back, finds the peer as seeder; `announce.query` is asked for seeders and then, only if more are
//! wanted, for leechers; rows that cannot be understood are passed over and counted. What depends on the
//! queries, the conformance suite checks.
//!
//! Where MoChi behaves otherwise: it lets the deletion of an absent peer and the graduation of an
//! absent leecher pass silently, and counts a download each time that a client tells of it.
//!
//! # When a server hangs
//!
//! Every wait on a server ends with the call that it is for: by [`Limits`](storage_core::layer::Limits) or, for a
//! storage without them, by their defaults. A connection that does not answer is given up, the others to its
//! host are verified side by side within a second and replaced, and the next host is tried. A call that its
//! caller drops is read to its end in the background. Writes that use `@expires`, and transactions, do not take
//! effect after their call has ended. On PostgreSQL sessions set `client_connection_check_interval` (2 s) and
//! `idle_in_transaction_session_timeout` (1 s), unless `connection_string` sets them, so that a session that was
//! given up does not keep its locks.

mod announces;
mod arguments;
mod batch;
mod bulk;
mod config;
mod connection;
mod contention_limiter;
mod data;
mod diagnostics;
mod driver;
mod error;
mod graduation;
mod maintenance;
mod parsed_query;
mod peers;
mod pg_type;
mod prepare;
mod query_check;
mod query_scope;
mod query_spec;
pub mod recommended;
mod retry;
mod rewrite;
mod row_counts;
mod server;
mod statement;
mod storage;
mod transfer;

pub use config::{AnnounceSettings, PeerSettings, PgConfig, Queries};
pub use connection::SynchronousCommit;
pub use driver::PgDriver;
pub use query_spec::Query;
pub use storage::PgStorage;

const NAME: &str = "pg";
