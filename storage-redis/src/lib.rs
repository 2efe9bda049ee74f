//! Redis and Valkey (6.2 or later) as a storage for BitTorrent trackers: a single node, Sentinel, or
//! Cluster, in the layout of MoChi's `redis` storage, so that a live MoChi can use the same database.
//!
//! A tracker takes [`RedisDriver`] into its [backends](storage_core::Backends) and chooses `redis` in its configuration
//! ([`EXAMPLE_CONFIG`] has every key), or opens a storage from a [`RedisConfig`]:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use storage_core::layer::Limits;
//! use storage_core::{Announce, AnnounceEvent, InfoHash, Opened, Peer, PeerId, PeerStorage, Schedule};
//! use storage_redis::{RedisConfig, RedisStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = RedisConfig { addresses: vec!["10.0.0.1:6379".into()], ..RedisConfig::default() };
//! let storage = Arc::new(RedisStorage::open(config).await?);
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
//! | `connection` | connecting, to a server, Sentinel and Cluster; the pool; `retry` for every call; batches and their bounds in `node` |
//! | `error` | errors of redis-rs, classified |
//! | `storage` | opening, `ping`, `close`, what the storage cannot do |
//! | `peers`, `bulk` | announces and scrapes, by scripts or, on a Cluster, in steps; the same for many |
//! | `data` | arbitrary data |
//! | `maintenance` | garbage collection, statistics, forgetting a swarm |
//! | `transfer` | export in sorted pages, import |
//! | `diagnostics` | what `check` shows of the servers |
//! | `layout`, `scripts`, `scan` | the names of keys, the Lua scripts, incremental scans |
//!
//! Features: `tls-ring` (on by default) or `tls-aws-lc`; without both, a configuration that asks for TLS is an error.
//!
//! # Layout
//!
//! | key | type | what it has |
//! | --- | --- | --- |
//! | `CHI_I` | set | the keys of swarms, `CHI_S4_…` and so on |
//! | `CHI_S4_<info hash>` | hash | seeders with an IPv4 address: peer to time of last announce |
//! | `CHI_S6_<info hash>` | hash | seeders with an IPv6 address |
//! | `CHI_L4_<info hash>` | hash | leechers with an IPv4 address |
//! | `CHI_L6_<info hash>` | hash | leechers with an IPv6 address |
//! | `CHI_D` | hash | info hash to downloads |
//! | `CHI_C_S`, `CHI_C_L` | number | counters of seeders and leechers, for MoChi |
//! | `CHI_<context>` | hash | data of a context: key to value |
//!
//! Info hashes are raw, 20 or 32 bytes. A peer is its peer id (20 bytes), its port (2 bytes, big
//! endian) and its address (4 or 16 bytes). Times are nanoseconds since 1970 in decimal, downloads are
//! decimal. No other key is made.
//!
//! # Where this differs from MoChi
//!
//! | | MoChi | here | because |
//! | --- | --- | --- | --- |
//! | a peer that changes its role | may stay in both roles | leaves the other role in the same step | a peer has one role (P2) |
//! | a peer in both roles, left by an old MoChi node | counts twice | has the role of the later time, at equal times seeder, in announces and exports; a scrape and the statistics count the hashes and so count it twice until it announces here | times are read only where it is cheap |
//! | `CHI_C_S`, `CHI_C_L` | the statistics; they rise with every announce and drift | adjusted by what has changed, never read | MoChi nodes still read them |
//! | statistics | the counters, and the length of `CHI_I` | the lengths of the hashes that `CHI_I` names | the counters are wrong |
//! | `CHI_I` | may name swarms that are gone, and lose some that are there | kept with every write; garbage collection puts it right | statistics rely on it |
//! | an announce | reads the whole swarm | a sample at random, made by the server | large swarms, and fairness (P6) |
//! | garbage collection | removes what was stale when it was read | removes what has not changed since | a peer that announces meanwhile stays (U1) |
//! | graduation | steps | one script, downloads included | all or nothing (P4) |
//! | a seeder that graduates | counts again | is refreshed, and counts nothing | a download counts once (P4) |
//! | several keys written at once | a key by itself | one command | all or nothing (D2) |
//! | Sentinel's password | for the sentinels only | the same; `master_login` and `master_password` are for the data nodes | MoChi can't reach data nodes with a password |
//! | `pool_size` | connections, one call each | connections, many calls each; the next one where 512 are under way on each before it | commands leave together; one or two carry all a server can do |
//!
//! MoChi's `keydb` storage keeps sets under the keys of swarms. Calls that meet them are
//! [`Corrupt`](storage_core::ErrorKind::Corrupt) and say so; garbage collection leaves them alone.
//!
//! # When a server hangs
//!
//! Every wait ends with the call: by [`Limits`](storage_core::layer::Limits) or, for a storage without them, by
//! their defaults. A connection that does not answer is given up, the others are verified side by side within a
//! second, and new ones are made. A call that its caller drops costs no connection.
//!
//! Writes carry the time by the server's clock at which their call ends, and the scripts refuse them from then
//! on: a write that was given up does not take effect later, over a newer one. On a Cluster each node has a
//! clock of its own, and writes carry no such time.
//!
//! Entries that can't be understood (a peer of the wrong length, a time that is no number) are passed
//! over, counted in pages of exports and in what garbage collection reports, and left where they are. An
//! announce reads no times: a peer whose time is no number is returned.
//!
//! # Guarantees
//!
//! On a single node and behind Sentinel every write of peers is a script, atomic and one round trip; so
//! are an announce and a scrape, a whole announce, and a batch of scrapes
//! ([`scrape_swarms`](storage_core::PeerStorage::scrape_swarms)). On a Cluster the keys of a swarm are on
//! different nodes: each key is atomic, the new role is written before the old one is removed, and the
//! storage lacks
//! [`AtomicMove`](storage_core::Capability::AtomicMove),
//! [`AtomicGraduation`](storage_core::Capability::AtomicGraduation) and
//! [`ExactDownloads`](storage_core::Capability::ExactDownloads).
//!
//! Replication of Redis is asynchronous: a failover loses writes that were acknowledged and not yet
//! replicated. With [`wait_replicas`](RedisConfig::wait_replicas) downloads and data are acknowledged when that many
//! replicas have them, and are [`Uncertain`](storage_core::ErrorKind::Uncertain) otherwise. They go over a connection
//! of their own, since the server serves nothing else on a connection that waits; calls that arrive together wait
//! together.
//!
//! With Sentinel every sentinel is asked three times a second for the primary, and subscribed to. The latest failover
//! that any of them knows of counts. Connections to the old primary are given up at once, and what it still answers is
//! no acknowledgement: such a call is sent to the new primary, or is `Uncertain` if it must not be sent twice.
//!
//! While slots of a Cluster move from node to node (`ASK`, `MOVED`), each command is sent on to the node that it is
//! referred to, and all calls succeed. A walk over a key that moves meanwhile, or over all keys (garbage
//! collection, statistics, exports), may miss entries: let resharding end first.
//!
//! What fails for a short while (a lost connection, `LOADING`, `BUSY`, `READONLY`, a failover) is tried
//! again for `retry_timeout`, with growing, jittered delays. A deletion that may have taken effect is never sent
//! twice, on a Cluster a graduation neither: it is [`Uncertain`](storage_core::ErrorKind::Uncertain).
//!
//! Garbage collection, statistics and exports go in steps of at most 1000 entries, so that they don't
//! hold up the server. Exports come in the order of info hashes, need a fixed amount of memory (100 MiB
//! at most, whatever the number of swarms) and walk all keys once for every few hundred thousand swarms;
//! their cursors stay good when another process goes on.

mod bulk;
mod config;
mod connection;
mod data;
mod diagnostics;
mod driver;
mod error;
mod layout;
mod maintenance;
mod peers;
mod scan;
mod scripts;
mod storage;
mod transfer;

pub use config::{DeploymentMode, EXAMPLE_CONFIG, RedisConfig};
pub use driver::RedisDriver;
pub use storage::RedisStorage;

const NAME: &str = "redis";
