//! Settings of the backend, as an operator or a tracker's author writes them.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use storage_core::config::{Section, Value, deserialize};

use crate::connection::SynchronousCommit;
use crate::query_spec::{self, Query};

/// Settings of the backend `pg`. Queries are those of the operator's own tables; a missing optional
/// one makes the storage lack a capability.
///
/// With serde it has the keys of a configuration file. What is serialized has the connection string with its password
/// in it, `Debug` does not.
///
/// ```
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct TrackerConfig {
///     storage: storage_pg::PgConfig,
/// }
/// # let file = r#"{"storage": {"connection_string": "host=db1 user=tracker", "retry_timeout": "5s"}}"#;
///
/// let config: TrackerConfig = serde_json::from_str(file)?;
/// assert_eq!(config.storage.retry_timeout.as_secs(), 5);
/// # Ok::<_, serde_json::Error>(())
/// ```
///
/// How each query is written, its arguments and what it must do: see the page "Queries of `pg`" of the book, or
/// the commented output of `tracker-storage example-config pg`.
#[derive(Clone, PartialEq, Eq)]
pub struct PgConfig {
    /// `connection_string`: a URL or keywords and values, as libpq and pgx take them. Required.
    pub connection_string: Option<String>,
    /// The queries: `config.queries[Query::PutPeer] = Some("…".into())`.
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
    /// `retry_timeout`: how long a call is retried after a serialization conflict, a deadlock or a lost connection (10 s),
    /// within four fifths of its timeout.
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

/// The text of each query that there is.
///
/// ```
/// use storage_pg::{Queries, Query};
///
/// let mut queries = Queries::default();
/// queries[Query::GetDownloads] = Some("SELECT downloads FROM torrents WHERE info_hash = @info_hash".into());
/// assert_eq!(queries[Query::Ping].as_deref(), Some("SELECT 1"));
/// assert_eq!(queries[Query::PutPeer], None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Queries([Option<String>; Query::ALL.len()]);

impl Default for Queries {
    /// None but [`Query::Ping`].
    fn default() -> Self {
        let mut queries = Self([const { None }; _]);
        queries[Query::Ping] = Some("SELECT 1".into());
        queries
    }
}

impl Index<Query> for Queries {
    type Output = Option<String>;

    fn index(&self, query: Query) -> &Option<String> {
        &self.0[query as usize]
    }
}

impl IndexMut<Query> for Queries {
    fn index_mut(&mut self, query: Query) -> &mut Option<String> {
        &mut self.0[query as usize]
    }
}

impl fmt::Debug for Queries {
    /// Those that are there, by their keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = Query::ALL.iter().filter_map(|query| Some((query.key(), self[*query].as_ref()?)));
        f.debug_map().entries(texts).finish()
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
                self[*query] = Some(text);
            }
        }
    }
}

/// `announce`: what is no query there.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// `count_seeders_column`, in any case.
    pub count_seeders_column: String,
    /// `count_leechers_column`, in any case.
    pub count_leechers_column: String,
    /// `synchronous_commit`: how long a commit of peers put, deleted or collected waits, by PostgreSQL's
    /// setting of this name; downloads and data wait as the server has it by default. `None`: all do. Not
    /// known to MoChi.
    pub synchronous_commit: Option<SynchronousCommit>,
}

impl Default for PeerSettings {
    /// `seeders`, `leechers`; commits wait as the server has it.
    fn default() -> Self {
        Self {
            count_seeders_column: "seeders".into(),
            count_leechers_column: "leechers".into(),
            synchronous_commit: None,
        }
    }
}

impl Default for PgConfig {
    fn default() -> Self {
        Self {
            connection_string: None,
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

impl From<&PgConfig> for Value {
    /// The settings as a configuration file has them, the connection string with its password among them.
    fn from(config: &PgConfig) -> Self {
        let PgConfig { announce, peer, .. } = config;
        let queries = |section: Option<&str>| -> Vec<(&str, Self)> {
            let of_section =
                Query::ALL.iter().map(|query| (query.section_and_key(), &config.queries[*query]));
            let of_section = of_section.filter(|((of, _), _)| *of == section);
            of_section.map(|((_, key), text)| (key, text.as_ref().into())).collect()
        };
        let sections = query_spec::sections().into_iter().map(|name| {
            let mut entries = queries(Some(name));
            match name {
                "announce" => entries.extend([
                    ("peer_id_column", Self::from(&announce.peer_id_column)),
                    ("address_column", (&announce.address_column).into()),
                    ("port_column", (&announce.port_column).into()),
                ]),
                "peer" => entries.extend([
                    ("count_seeders_column", Self::from(&peer.count_seeders_column)),
                    ("count_leechers_column", (&peer.count_leechers_column).into()),
                    ("synchronous_commit", peer.synchronous_commit.map(SynchronousCommit::name).into()),
                ]),
                _ => {}
            }
            (name, Self::section(entries))
        });
        let others = [
            ("connection_string", config.connection_string.as_ref().into()),
            ("created_zone", (&config.created_zone).into()),
            ("startup_timeout", config.startup_timeout.into()),
            ("retry_timeout", config.retry_timeout.into()),
            ("batch_size", config.batch_size.into()),
            ("batches_in_flight", config.batches_in_flight.into()),
            ("batch_queue", config.batch_queue.into()),
            ("batch_when_idle", config.batch_when_idle.into()),
        ];
        Self::section(others.into_iter().chain(sections).chain(queries(None)))
    }
}

impl Serialize for PgConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Value::from(self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for PgConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize(from, Self::read)
    }
}

impl PgConfig {
    /// Reads the settings; what is required is checked when it is known what is opened.
    pub fn read(section: &mut Section) -> Self {
        let default = Self::default();
        let connection_string = Some(section.required_text("connection_string"));
        let connection_string = connection_string.filter(|text| !text.trim().is_empty());
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
            synchronous_commit: read_commit(section),
        }
    }
}

fn read_commit(section: &mut Section) -> Option<SynchronousCommit> {
    let given = section.text("synchronous_commit").filter(|text| !text.trim().is_empty())?;
    let named = SynchronousCommit::named(&given);
    if named.is_none() {
        let names = SynchronousCommit::ALL.map(SynchronousCommit::name).join(", ");
        section.problem("synchronous_commit", format!("expected one of {names}"));
    }
    named
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
            assert_eq!(config.queries[*query].as_deref(), Some("SELECT 2"), "{query:?}");
            assert_eq!(section.finish().probable_typos, [], "{query:?}");
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
        assert_eq!(config.queries[Query::PutPeer], None);
        assert_eq!(config.queries[Query::Ping].as_deref(), Some("SELECT 1"));
        let probable_typos = section.finish().probable_typos;
        assert_eq!(probable_typos.len(), 1, "{probable_typos:?}");
        assert_eq!(probable_typos[0].to_string(), "`data.ad_query`: unknown key; did you mean `add_query`?");
    }

    #[test]
    fn a_config_is_read_back_with_its_password() {
        let mut queries = Queries::default();
        for query in Query::ALL {
            queries[*query] = Some(format!("SELECT '{query:?}'"));
        }
        let full = PgConfig {
            connection_string: Some("host=db1 password=hunter2".into()),
            queries,
            announce: AnnounceSettings {
                peer_id_column: "a".into(),
                address_column: "b".into(),
                port_column: "c".into(),
            },
            peer: PeerSettings {
                count_seeders_column: "d".into(),
                count_leechers_column: "e".into(),
                synchronous_commit: Some(SynchronousCommit::RemoteWrite),
            },
            created_zone: "Europe/Berlin".into(),
            startup_timeout: Duration::from_millis(1_500),
            retry_timeout: Duration::from_secs(90),
            batch_size: 1,
            batches_in_flight: 3,
            batch_queue: 5,
            batch_when_idle: true,
        };
        let plain = PgConfig { connection_string: Some("host=db1".into()), ..PgConfig::default() };
        for config in [&full, &plain] {
            let json = serde_json::to_string(config).unwrap();
            assert_eq!(serde_json::from_str::<PgConfig>(&json).unwrap(), *config, "{json}");
            let mut section = Section::new(Value::from(config));
            assert_eq!(PgConfig::read(&mut section), *config);
            assert_eq!(section.finish(), Default::default());
        }
        let defaults = serde_json::from_str::<PgConfig>(r#"{"connection_string": "host=db1"}"#).unwrap();
        assert_eq!(defaults, plain);
        assert!(!format!("{full:?}").contains("hunter2"));
    }

    #[test]
    fn a_config_with_mistakes_is_refused_without_its_values() {
        let json = r#"{"connection_string": " ", "retry_timeuot": "hunter2", "peer": {"synchronous_commit": "hunter2"}}"#;
        let error = serde_json::from_str::<PgConfig>(json).unwrap_err().to_string();
        for key in [
            "`connection_string`: is empty",
            "`retry_timeuot`",
            "`peer.synchronous_commit`: expected one of off",
        ] {
            assert!(error.contains(key), "{error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
}
