//! Settings of the backend, as an operator or a tracker's author writes them.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use storage_core::config::Section;

use crate::query_spec::{self, Query};

/// Settings of the backend `pg`. Queries are those of the operator's own tables; an empty optional
/// one makes the storage lack a capability.
///
/// How each query is written, its arguments and what it must do: see the README of the project, or
/// the commented output of `tracker-storage example-config pg`.
#[derive(Clone)]
pub struct PgConfig {
    /// `connection_string`: a URL or keywords and values, as libpq and pgx take them.
    pub connection_string: String,
    /// The queries: `config.queries[Query::PutPeer] = "…".into()`.
    pub queries: Queries,
    /// What else is in the section `announce`.
    pub announce: AnnounceSettings,
    /// What else is in the section `peer`.
    pub peer: PeerSettings,
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

/// The text of each query; an empty one is absent.
///
/// ```
/// use storage_pg::{Queries, Query};
///
/// let mut queries = Queries::default();
/// queries[Query::GetDownloads] = "SELECT downloads FROM torrents WHERE info_hash = @info_hash".into();
/// assert_eq!(queries[Query::Ping], "SELECT 1");
/// assert!(queries[Query::PutPeer].is_empty());
/// ```
#[derive(Clone)]
pub struct Queries([String; Query::ALL.len()]);

impl Default for Queries {
    /// None but [`Query::Ping`].
    fn default() -> Self {
        let mut queries = Self([const { String::new() }; _]);
        queries[Query::Ping] = "SELECT 1".into();
        queries
    }
}

impl Index<Query> for Queries {
    type Output = String;

    fn index(&self, query: Query) -> &String {
        &self.0[query as usize]
    }
}

impl IndexMut<Query> for Queries {
    fn index_mut(&mut self, query: Query) -> &mut String {
        &mut self.0[query as usize]
    }
}

impl fmt::Debug for Queries {
    /// Those that are there, by their keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = Query::ALL.iter().map(|query| (query.key(), &self[*query]));
        f.debug_map().entries(texts.filter(|(_, text)| !text.is_empty())).finish()
    }
}

impl Queries {
    /// Reads those of a section, or those that are in none.
    fn read(&mut self, section: &mut Section, name: Option<&str>) {
        for query in Query::ALL {
            let (of, key) = query.section_and_key();
            if of == name
                && let Some(text) = section.text(key).filter(|text| !text.trim().is_empty())
            {
                self[*query] = text;
            }
        }
    }
}

/// `announce`: what is no query there.
#[derive(Debug, Clone)]
pub struct AnnounceSettings {
    /// `peer_id_column`, in any case.
    pub peer_id_column: String,
    /// `address_column`, in any case.
    pub address_column: String,
    /// `port_column`, in any case.
    pub port_column: String,
}

impl Default for AnnounceSettings {
    /// The names of the arguments.
    fn default() -> Self {
        Self {
            peer_id_column: "peer_id".into(),
            address_column: "address".into(),
            port_column: "port".into(),
        }
    }
}

/// `peer`: what is no query there.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// `count_seeders_column`, in any case.
    pub count_seeders_column: String,
    /// `count_leechers_column`, in any case.
    pub count_leechers_column: String,
    /// `synchronous_commit`: how long a commit of peers put, deleted or collected waits, by PostgreSQL's
    /// setting of this name; downloads and data wait as the server has it by default. Empty: all do. Not
    /// known to MoChi.
    pub synchronous_commit: String,
}

impl Default for PeerSettings {
    /// `seeders`, `leechers`; commits wait as the server has it.
    fn default() -> Self {
        Self {
            count_seeders_column: "seeders".into(),
            count_leechers_column: "leechers".into(),
            synchronous_commit: String::new(),
        }
    }
}

impl Default for PgConfig {
    fn default() -> Self {
        Self {
            connection_string: String::new(),
            queries: Queries::default(),
            announce: AnnounceSettings::default(),
            peer: PeerSettings::default(),
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
            .field("queries", &self.queries)
            .field("announce", &self.announce)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl PgConfig {
    /// Reads the settings; what is required is checked when it is known what is opened.
    pub(crate) fn read(section: &mut Section) -> Self {
        let default = Self::default();
        let connection_string = section.required_text("connection_string");
        let Self { mut queries, mut announce, mut peer, .. } = Self::default();
        for name in query_spec::sections() {
            section.within(name, |section| {
                queries.read(section, Some(name));
                match name {
                    "announce" => announce = AnnounceSettings::read(section),
                    "peer" => peer = PeerSettings::read(section),
                    _ => {}
                }
            });
        }
        queries.read(section, None);
        Self {
            connection_string,
            queries,
            announce,
            peer,
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

impl AnnounceSettings {
    fn read(section: &mut Section) -> Self {
        let default = Self::default();
        Self {
            peer_id_column: text_or(section, "peer_id_column", &default.peer_id_column),
            address_column: text_or(section, "address_column", &default.address_column),
            port_column: text_or(section, "port_column", &default.port_column),
        }
    }
}

impl PeerSettings {
    fn read(section: &mut Section) -> Self {
        let default = Self::default();
        Self {
            count_seeders_column: text_or(section, "count_seeders_column", &default.count_seeders_column),
            count_leechers_column: text_or(section, "count_leechers_column", &default.count_leechers_column),
            synchronous_commit: text_or(section, "synchronous_commit", ""),
        }
    }
}

fn text_or(section: &mut Section, key: &str, default: &str) -> String {
    section.text(key).filter(|text| !text.trim().is_empty()).unwrap_or_else(|| default.to_owned())
}

#[cfg(test)]
mod tests {
    use storage_core::config::Value;

    use super::*;

    fn section<const KEYS: usize>(entries: [(&str, Value); KEYS]) -> Value {
        Value::Section(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn each_query_is_read_at_its_key() {
        for query in Query::ALL {
            let (name, key) = query.section_and_key();
            let value = match name {
                Some(name) => section([(name, section([(key, text("SELECT 2"))]))]),
                None => section([(key, text("SELECT 2"))]),
            };
            let mut section = Section::new(value);
            let config = PgConfig::read(&mut section);
            assert_eq!(config.queries[*query], "SELECT 2", "{query:?}");
            assert_eq!(section.finish().slips, [], "{query:?}");
        }
    }

    #[test]
    fn what_is_no_query_is_read_beside_them() {
        let peer = section([("count_seeders_column", text("s")), ("add_query", text(" "))]);
        let wrong = section([("ad_query", text("x"))]);
        let mut section = Section::new(section([("peer", peer), ("data", wrong), ("ping_query", text(""))]));
        let config = PgConfig::read(&mut section);
        assert_eq!(config.peer.count_seeders_column, "s");
        assert_eq!(config.announce.port_column, "port");
        assert_eq!(config.queries[Query::PutPeer], "");
        assert_eq!(config.queries[Query::Ping], "SELECT 1");
        let slips = section.finish().slips;
        assert_eq!(slips.len(), 1, "{slips:?}");
        assert_eq!(slips[0].to_string(), "`data.ad_query`: unknown key; did you mean `add_query`?");
    }
}
