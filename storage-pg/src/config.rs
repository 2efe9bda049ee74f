//! Settings of the backend, as an operator or a tracker's author writes them.

use std::fmt;
use std::time::Duration;

use storage_core::config::Section;

use crate::query_spec::Query;

/// Settings of the backend `pg`. Queries are those of the operator's own tables; an empty optional
/// one makes the storage lack a capability.
///
/// How each query is written, its arguments and what it must do: see the README of the project, or
/// the commented output of `tracker-storage example-config pg`.
#[derive(Clone)]
pub struct PgConfig {
    /// `connection_string`: a URL or keywords and values, as libpq and pgx take them.
    pub connection_string: String,
    /// The section `announce`.
    pub announce: AnnounceQueries,
    /// The section `peer`.
    pub peer: PeerQueries,
    /// The section `downloads`.
    pub downloads: DownloadsQueries,
    /// The section `data`.
    pub data: DataQueries,
    /// The section `export`; not known to MoChi.
    pub export: ExportQueries,
    /// The section `import`; not known to MoChi.
    pub import: ImportQueries,
    /// `ping_query`.
    pub ping_query: String,
    /// `gc_query`; optional.
    pub gc_query: String,
    /// `gc_count_query`; optional, not known to MoChi.
    pub gc_count_query: String,
    /// `info_hash_count_query`; optional.
    pub info_hash_count_query: String,
    /// `created_zone`: the zone of local times in columns of type `timestamp`: an IANA name, `local`,
    /// or UTC.
    pub created_zone: String,
    /// `startup_timeout`: how long an unreachable server is tried again when opening (30 s).
    pub startup_timeout: Duration,
    /// `retry_timeout`: how long a transaction is run again that others got in the way of (10 s).
    pub retry_timeout: Duration,
    /// `batch_size`: the most calls that are sent together where a batch query is configured (256).
    pub batch_size: usize,
    /// `batches_in_flight`: the most batches of one kind under way (2).
    pub batches_in_flight: usize,
    /// `batch_queue`: the most calls of one kind that wait for a batch (4096); further ones wait for
    /// room.
    pub batch_queue: usize,
    /// `batch_when_idle`: whether a call goes by the batch query even if nothing else is under way;
    /// to try the query.
    pub batch_when_idle: bool,
}

/// `announce`: peers for an announce.
#[derive(Debug, Clone, Default)]
pub struct AnnounceQueries {
    /// `query`.
    pub query: String,
    /// `peer_id_column`, in any case.
    pub peer_id_column: String,
    /// `address_column`, in any case.
    pub address_column: String,
    /// `port_column`, in any case.
    pub port_column: String,
    /// `batch_query`: for many announces at once; optional, not known to MoChi.
    pub batch_query: String,
}

/// `peer`: peers put, deleted, graduated, counted.
#[derive(Debug, Clone, Default)]
pub struct PeerQueries {
    /// `add_query`: an upsert.
    pub add_query: String,
    /// `del_query`.
    pub del_query: String,
    /// `graduate_query`.
    pub graduate_query: String,
    /// `count_query`: over all swarms, or one with the clause after it.
    pub count_query: String,
    /// `by_info_hash_clause`.
    pub by_info_hash_clause: String,
    /// `count_seeders_column`, in any case.
    pub count_seeders_column: String,
    /// `count_leechers_column`, in any case.
    pub count_leechers_column: String,
    /// `newest_query`: the time of the newest announce, for `check`; optional, not known to MoChi.
    pub newest_query: String,
    /// `add_batch_query`: the upsert for many peers at once; optional, not known to MoChi.
    pub add_batch_query: String,
    /// `synchronous_commit`: how long a commit of peers put, deleted or collected waits, by PostgreSQL's
    /// setting of this name; downloads and data wait as the server has it by default. Empty: all do. Not
    /// known to MoChi.
    pub synchronous_commit: String,
    /// `del_batch_query`: removes many peers at once; optional, not known to MoChi.
    pub del_batch_query: String,
    /// `graduate_batch_query`: makes many clients seeders at once and counts their downloads; optional, not known
    /// to MoChi.
    pub graduate_batch_query: String,
    /// `count_batch_query`: the counts of many swarms at once; optional, not known to MoChi.
    pub count_batch_query: String,
    /// `forget_query`: deletes all peers of a swarm; optional, not known to MoChi.
    pub forget_query: String,
}

/// `downloads`: optional as a whole.
#[derive(Debug, Clone, Default)]
pub struct DownloadsQueries {
    /// `get_query`.
    pub get_query: String,
    /// `inc_query`.
    pub inc_query: String,
    /// `del_query`; optional, not known to MoChi.
    pub del_query: String,
}

/// `data`: arbitrary data.
#[derive(Debug, Clone, Default)]
pub struct DataQueries {
    /// `add_query`: an upsert.
    pub add_query: String,
    /// `del_query`: `@key` is an array there.
    pub del_query: String,
    /// `get_query`.
    pub get_query: String,
    /// `contains_batch_query`: which of many keys exist; optional, not known to MoChi.
    pub contains_batch_query: String,
}

/// `export`: pages in the order of keys, each after the key given; optional.
#[derive(Debug, Clone, Default)]
pub struct ExportQueries {
    /// `peers_query`: columns `info_hash`, `peer_id`, `address`, `port`, `is_seeder`, `created`.
    pub peers_query: String,
    /// `downloads_query`: columns `info_hash`, `downloads`.
    pub downloads_query: String,
    /// `data_query`: columns `context`, `key`, `value`.
    pub data_query: String,
}

/// `import`; optional.
#[derive(Debug, Clone, Default)]
pub struct ImportQueries {
    /// `peers_query`: an upsert that keeps the later time, at equal times the seeder.
    pub peers_query: String,
    /// `downloads_query`: an upsert that keeps the greater number.
    pub downloads_query: String,
    /// `data_query`: an insert that keeps what is there.
    pub data_query: String,
    /// `peers_batch_query`: the same for many peers at once, every argument an array.
    pub peers_batch_query: String,
    /// `downloads_batch_query`: likewise.
    pub downloads_batch_query: String,
    /// `data_batch_query`: likewise.
    pub data_batch_query: String,
}

impl Default for PgConfig {
    fn default() -> Self {
        Self {
            connection_string: String::new(),
            announce: AnnounceQueries::default(),
            peer: PeerQueries::default(),
            downloads: DownloadsQueries::default(),
            data: DataQueries::default(),
            export: ExportQueries::default(),
            import: ImportQueries::default(),
            ping_query: "SELECT 1".into(),
            gc_query: String::new(),
            gc_count_query: String::new(),
            info_hash_count_query: String::new(),
            created_zone: "UTC".into(),
            startup_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(10),
            batch_size: 256,
            batches_in_flight: 2,
            batch_queue: 4_096,
            batch_when_idle: false,
        }
    }
}

impl fmt::Debug for PgConfig {
    /// Without the connection string, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgConfig")
            .field("announce", &self.announce)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl PgConfig {
    /// The text of a query.
    pub(crate) fn query(&self, query: Query) -> &str {
        match query {
            Query::Announce => &self.announce.query,
            Query::PutPeer => &self.peer.add_query,
            Query::DeletePeer => &self.peer.del_query,
            Query::GraduatePeer => &self.peer.graduate_query,
            Query::CountPeers => &self.peer.count_query,
            Query::CountSwarm => &self.peer.by_info_hash_clause,
            Query::NewestPeer => &self.peer.newest_query,
            Query::ForgetPeers => &self.peer.forget_query,
            Query::GetDownloads => &self.downloads.get_query,
            Query::IncrementDownloads => &self.downloads.inc_query,
            Query::DeleteDownloads => &self.downloads.del_query,
            Query::Ping => &self.ping_query,
            Query::CollectGarbage => &self.gc_query,
            Query::CountStale => &self.gc_count_query,
            Query::CountInfoHashes => &self.info_hash_count_query,
            Query::PutData => &self.data.add_query,
            Query::DeleteData => &self.data.del_query,
            Query::GetData => &self.data.get_query,
            Query::ContainsDataBatch => &self.data.contains_batch_query,
            Query::ExportPeers => &self.export.peers_query,
            Query::ExportDownloads => &self.export.downloads_query,
            Query::ExportData => &self.export.data_query,
            Query::ImportPeers => &self.import.peers_query,
            Query::ImportDownloads => &self.import.downloads_query,
            Query::ImportData => &self.import.data_query,
            Query::ImportPeersBatch => &self.import.peers_batch_query,
            Query::ImportDownloadsBatch => &self.import.downloads_batch_query,
            Query::ImportDataBatch => &self.import.data_batch_query,
            Query::PutPeerBatch => &self.peer.add_batch_query,
            Query::DeletePeerBatch => &self.peer.del_batch_query,
            Query::GraduatePeerBatch => &self.peer.graduate_batch_query,
            Query::AnnounceBatch => &self.announce.batch_query,
            Query::CountSwarmBatch => &self.peer.count_batch_query,
        }
    }

    /// Reads the settings; what is required is checked when it is known what is opened.
    pub(crate) fn read(section: &mut Section) -> Self {
        let default = Self::default();
        Self {
            connection_string: section.required_text("connection_string"),
            announce: section.within("announce", |announce| AnnounceQueries {
                query: text(announce, "query"),
                peer_id_column: text_or(announce, "peer_id_column", "peer_id"),
                address_column: text_or(announce, "address_column", "address"),
                port_column: text_or(announce, "port_column", "port"),
                batch_query: text(announce, "batch_query"),
            }),
            peer: section.within("peer", |peer| PeerQueries {
                add_query: text(peer, "add_query"),
                del_query: text(peer, "del_query"),
                graduate_query: text(peer, "graduate_query"),
                count_query: text(peer, "count_query"),
                by_info_hash_clause: text(peer, "by_info_hash_clause"),
                count_seeders_column: text_or(peer, "count_seeders_column", "seeders"),
                count_leechers_column: text_or(peer, "count_leechers_column", "leechers"),
                newest_query: text(peer, "newest_query"),
                add_batch_query: text(peer, "add_batch_query"),
                synchronous_commit: text(peer, "synchronous_commit"),
                del_batch_query: text(peer, "del_batch_query"),
                graduate_batch_query: text(peer, "graduate_batch_query"),
                count_batch_query: text(peer, "count_batch_query"),
                forget_query: text(peer, "forget_query"),
            }),
            downloads: section.within("downloads", |downloads| DownloadsQueries {
                get_query: text(downloads, "get_query"),
                inc_query: text(downloads, "inc_query"),
                del_query: text(downloads, "del_query"),
            }),
            data: section.within("data", |data| DataQueries {
                add_query: text(data, "add_query"),
                del_query: text(data, "del_query"),
                get_query: text(data, "get_query"),
                contains_batch_query: text(data, "contains_batch_query"),
            }),
            export: section.within("export", |export| ExportQueries {
                peers_query: text(export, "peers_query"),
                downloads_query: text(export, "downloads_query"),
                data_query: text(export, "data_query"),
            }),
            import: section.within("import", |import| ImportQueries {
                peers_query: text(import, "peers_query"),
                downloads_query: text(import, "downloads_query"),
                data_query: text(import, "data_query"),
                peers_batch_query: text(import, "peers_batch_query"),
                downloads_batch_query: text(import, "downloads_batch_query"),
                data_batch_query: text(import, "data_batch_query"),
            }),
            ping_query: text_or(section, "ping_query", &default.ping_query),
            gc_query: text(section, "gc_query"),
            gc_count_query: text(section, "gc_count_query"),
            info_hash_count_query: text(section, "info_hash_count_query"),
            created_zone: text_or(section, "created_zone", &default.created_zone),
            startup_timeout: section.positive_duration("startup_timeout", default.startup_timeout),
            retry_timeout: section.positive_duration("retry_timeout", default.retry_timeout),
            batch_size: section.number("batch_size", 1..=65_536).unwrap_or(default.batch_size),
            batches_in_flight: section
                .number("batches_in_flight", 1..=1_024)
                .unwrap_or(default.batches_in_flight),
            batch_queue: section.number("batch_queue", 1..=1_000_000).unwrap_or(default.batch_queue),
            batch_when_idle: section.boolean("batch_when_idle").unwrap_or(default.batch_when_idle),
        }
    }
}

fn text(section: &mut Section, key: &str) -> String {
    section.text(key).unwrap_or_default()
}

fn text_or(section: &mut Section, key: &str, default: &str) -> String {
    section.text(key).filter(|text| !text.trim().is_empty()).unwrap_or_else(|| default.to_owned())
}
