//! The queries that an operator writes in the configuration, and what each must take and give: one table.
//!
//! Each row: the key; the part of a storage that uses it; whether it may be left out; whether MoChi knows it; whether it
//! writes; its arguments, and how many of them, as their type lists them, may be used by number; what is read from the
//! result; the capabilities that are missing without it; the operations whose behaviour it decides. Queries are read,
//! checked and shown part by part, the data's first, and within a part in the order of the table.
//!
//! # To add a query
//!
//! 1. A row here. New arguments are types in [`arguments`]; a new `@name` is a variant of [`Argument`].
//! 2. A trial in `query_check` and a recommendation in `recommended::queries`: the compiler asks for both.
//! 3. Its entry in docs/src/pg-queries.md: the test of this file prints what it must have.
//! 4. If it deletes or changes rows: `query_scope::CHECKED`, and a trial there.
//! 5. If it gathers the calls of several tasks: a `BatchKind` in `batch`.

use storage_core::{Capability, Operation};

use crate::arguments::Argument;
use crate::arguments::{self, QueryArguments};
use crate::config::PgConfig;
use crate::pg_type::ColumnType;

/// What the table says of a query.
pub(crate) struct QuerySpec {
    pub(crate) key: &'static str,
    pub(crate) part: StoragePart,
    pub(crate) need: Need,
    pub(crate) origin: QueryOrigin,
    pub(crate) effect: Effect,
    /// Whether it is about one thing or many.
    pub(crate) mode: QueryMode,
    /// What may be used by name.
    pub(crate) named: &'static [Argument],
    /// What may be used by number, in this order. Arguments that MoChi does not have go by name only, so that
    /// a number too high is found out.
    pub(crate) numbered: &'static [Argument],
    pub(crate) columns: Columns,
    /// The capabilities that are lacking without it.
    pub(crate) capabilities: &'static [Capability],
    /// The operations whose behaviour it decides.
    pub(crate) decides: &'static [Operation],
}

/// The part of a storage that uses a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoragePart {
    Data,
    /// Every part.
    Any,
    Peers,
}

/// Whether a query may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
}

/// Who knows the key of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryOrigin {
    /// MoChi does, too.
    Mochi,
    /// MoChi would refuse it.
    Ours,
}

/// What a query does to the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    Writes,
}

/// What a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryMode {
    Single,
    /// Many at once: every argument is an array.
    Batch,
}

/// What is read from the result, in the order in which the code asks for it.
pub(crate) enum Columns {
    None,
    /// The first column, whatever its name.
    First(ColumnType),
    /// The columns of these names.
    Named(&'static [(&'static str, ColumnType)]),
    /// The columns that the operator names.
    Configured(&'static [ConfiguredColumn]),
}

/// A result column that the operator names.
pub(crate) struct ConfiguredColumn {
    /// The configuration key of its name.
    pub(crate) key: &'static str,
    pub(crate) name: fn(&PgConfig) -> &str,
    pub(crate) column_type: ColumnType,
}

/// A query as a type, by which the compiler knows its arguments.
pub(crate) trait TypedQuery: Copy + Send + Sync + 'static {
    const QUERY: Query;

    /// The values of a call, or of each call of a batch.
    type Arguments<'a>: QueryArguments + Send + Sync;
}

/// A query that takes the arguments of one call.
pub(crate) trait Single: TypedQuery {}

/// A query that takes the arguments of many calls.
pub(crate) trait Batch: TypedQuery {}

macro_rules! queries {
    ($(
        $(#[$doc:meta])*
        $query:ident = $key:literal, $part:ident, $need:ident, $origin:ident, $effect:ident,
            $mode:ident $arguments:ty, numbered $numbered:literal, columns $columns:expr,
            lacking [$($capability:ident),*], decides [$($operation:ident),*];
    )*) => {
        /// A query that an operator writes in the configuration.
        ///
        /// Arguments, results and what each must do: see the page "Queries of `pg`" of the book, or the commented
        /// output of `tracker-storage example-config pg`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Query {
            $($(#[$doc])* $query,)*
        }

        impl Query {
            /// Every query.
            pub const ALL: &'static [Self] = &[$(Self::$query,)*];

            /// The configuration key: `peer.add_query`.
            pub const fn key(self) -> &'static str {
                self.spec().key
            }

            pub(crate) const fn spec(self) -> &'static QuerySpec {
                match self {
                    $(Self::$query => const { &QuerySpec {
                        key: $key,
                        part: StoragePart::$part,
                        need: Need::$need,
                        origin: QueryOrigin::$origin,
                        effect: Effect::$effect,
                        mode: QueryMode::$mode,
                        named: <<queries::$query as TypedQuery>::Arguments<'static> as QueryArguments>::NAMED,
                        numbered: <<queries::$query as TypedQuery>::Arguments<'static> as QueryArguments>::NAMED
                            .split_at($numbered).0,
                        columns: $columns,
                        capabilities: &[$(Capability::$capability),*],
                        decides: &[$(Operation::$operation),*],
                    } },)*
                }
            }
        }

        /// The queries as types.
        pub(crate) mod queries {
            use super::{Batch, Query, Single, TypedQuery, arguments};

            $(
                #[derive(Clone, Copy)]
                pub(crate) struct $query;

                impl TypedQuery for $query {
                    const QUERY: Query = Query::$query;

                    type Arguments<'a> = $arguments;
                }

                impl $mode for $query {}
            )*
        }
    };
}

queries! {
    /// `announce.query`: peers for an announce, of one role and family.
    SelectPeers = "announce.query", Peers, Required, Mochi, Reads,
        Single arguments::SelectPeers<'a>, numbered 4, columns Columns::Configured(ANNOUNCE_COLUMNS),
        lacking [], decides [AnnouncePeers, Announce];
    /// `peer.add_query`: puts a peer or sets its role and time.
    PutPeer = "peer.add_query", Peers, Required, Mochi, Writes,
        Single arguments::PutPeer<'a>, numbered 7, columns Columns::None,
        lacking [], decides [PutPeer, Probe];
    /// `peer.del_query`: removes a peer if it is there in that role.
    DeletePeer = "peer.del_query", Peers, Required, Mochi, Writes,
        Single arguments::DeletePeer<'a>, numbered 5, columns Columns::None,
        lacking [], decides [DeletePeer, RemovePeer];
    /// `peer.graduate_query`: makes one leecher a seeder and sets its time.
    GraduatePeer = "peer.graduate_query", Peers, Required, Mochi, Writes,
        Single arguments::GraduatePeer<'a>, numbered 5, columns Columns::None,
        lacking [], decides [GraduatePeers];
    /// `peer.count_query`: counts the peers of all swarms.
    CountPeers = "peer.count_query", Peers, Required, Mochi, Reads,
        Single arguments::Nothing, numbered 0, columns Columns::Configured(COUNT_COLUMNS),
        lacking [], decides [];
    /// `peer.by_info_hash_clause`: after `peer.count_query` it counts the peers of one swarm.
    CountSwarm = "peer.by_info_hash_clause", Peers, Required, Mochi, Reads,
        Single arguments::Swarm<'a>, numbered 1, columns Columns::Configured(COUNT_COLUMNS),
        lacking [], decides [ScrapeSwarm, ScrapeSwarms];
    /// `swarm.list_query`: a page of swarms with their counts, in an order of choice; optional, not known to MoChi.
    /// Columns `info_hash`, `seeders`, `leechers`, `downloads`.
    ListSwarms = "swarm.list_query", Peers, Optional, Ours, Reads,
        Single arguments::ListSwarms<'a>, numbered 2,
        columns Columns::Named(&[
            ("info_hash", ColumnType::Bytes),
            ("seeders", ColumnType::Integer),
            ("leechers", ColumnType::Integer),
            ("downloads", ColumnType::Integer),
        ]),
        lacking [ListSwarms], decides [ListSwarms];
    /// `peer.newest_query`: the time of the newest announce, for `check`; optional, not known to MoChi.
    NewestPeer = "peer.newest_query", Peers, Optional, Ours, Reads,
        Single arguments::Nothing, numbered 0, columns Columns::First(ColumnType::Time),
        lacking [], decides [];
    /// `peer.forget_query`: deletes all peers of a swarm; optional, not known to MoChi.
    ForgetPeers = "peer.forget_query", Peers, Optional, Ours, Writes,
        Single arguments::Swarm<'a>, numbered 1, columns Columns::None,
        lacking [], decides [];
    /// `peer.forget_batch_query`: deletes all peers of many swarms; optional, not known to MoChi.
    ForgetPeersBatch = "peer.forget_batch_query", Peers, Optional, Ours, Writes,
        Batch arguments::Swarm<'a>, numbered 1, columns Columns::None,
        lacking [], decides [];
    /// `downloads.get_query`: the downloads of a swarm; optional.
    GetDownloads = "downloads.get_query", Peers, Optional, Mochi, Reads,
        Single arguments::Swarm<'a>, numbered 1, columns Columns::First(ColumnType::Integer),
        lacking [Downloads], decides [];
    /// `downloads.inc_query`: adds one to the downloads of a swarm; optional.
    IncrementDownloads = "downloads.inc_query", Peers, Optional, Mochi, Writes,
        Single arguments::Swarm<'a>, numbered 1, columns Columns::None,
        lacking [Downloads], decides [];
    /// `downloads.del_query`: removes the downloads of a swarm; optional, not known to MoChi.
    DeleteDownloads = "downloads.del_query", Peers, Optional, Ours, Writes,
        Single arguments::Swarm<'a>, numbered 1, columns Columns::None,
        lacking [ForgetDownloads], decides [ForgetSwarm];
    /// `downloads.del_batch_query`: removes the downloads of many swarms; optional, not known to MoChi.
    DeleteDownloadsBatch = "downloads.del_batch_query", Peers, Optional, Ours, Writes,
        Batch arguments::Swarm<'a>, numbered 1, columns Columns::None,
        lacking [], decides [];
    /// `ping_query`: checks that the server responds; `SELECT 1` by default.
    Ping = "ping_query", Any, Optional, Mochi, Reads,
        Single arguments::Nothing, numbered 0, columns Columns::None,
        lacking [], decides [Ping];
    /// `gc_query`: removes stale peers; optional.
    CollectGarbage = "gc_query", Peers, Optional, Mochi, Writes,
        Single arguments::CollectGarbage, numbered 1, columns Columns::None,
        lacking [GarbageCollection], decides [CollectGarbage];
    /// `gc_count_query`: counts stale peers; optional, not known to MoChi.
    CountStale = "gc_count_query", Peers, Optional, Ours, Reads,
        Single arguments::CountStale, numbered 1, columns Columns::First(ColumnType::Integer),
        lacking [], decides [];
    /// `gc_merge_query`: tidies up what triggers keep, after garbage has been collected; optional, not known to MoChi.
    MergeCounts = "gc_merge_query", Peers, Optional, Ours, Writes,
        Single arguments::Nothing, numbered 0, columns Columns::None,
        lacking [], decides [];
    /// `count_check_query`: compares kept counts with the peers that are there, for up to `@limit` swarms from
    /// `@info_hash` on; optional, not known to MoChi. Columns `info_hash`, `kept_seeders`, `kept_leechers`, `seeders`,
    /// `leechers`.
    CheckCounts = "count_check_query", Peers, Optional, Ours, Reads,
        Single arguments::CheckCounts<'a>, numbered 1,
        columns Columns::Named(&[
            ("info_hash", ColumnType::Bytes),
            ("kept_seeders", ColumnType::Integer),
            ("kept_leechers", ColumnType::Integer),
            ("seeders", ColumnType::Integer),
            ("leechers", ColumnType::Integer),
        ]),
        lacking [], decides [CheckCounts];
    /// `info_hash_count_query`: counts swarms that have peers; optional.
    CountInfoHashes = "info_hash_count_query", Peers, Optional, Mochi, Reads,
        Single arguments::Nothing, numbered 0, columns Columns::First(ColumnType::Integer),
        lacking [Statistics], decides [Statistics];
    /// `data.add_query`: puts a value, overwriting.
    PutData = "data.add_query", Data, Required, Mochi, Writes,
        Single arguments::PutData<'a>, numbered 3, columns Columns::None,
        lacking [], decides [PutData];
    /// `data.del_query`: removes keys; `@key` is an array there.
    DeleteData = "data.del_query", Data, Required, Mochi, Writes,
        Single arguments::DeleteData<'a>, numbered 2, columns Columns::None,
        lacking [], decides [DeleteData];
    /// `data.get_query`: the value of a key.
    GetData = "data.get_query", Data, Required, Mochi, Reads,
        Single arguments::GetData<'a>, numbered 2, columns Columns::First(ColumnType::Bytes),
        lacking [], decides [LoadData, ContainsData];
    /// `data.contains_batch_query`: which of many keys exist; optional, not known to MoChi. Column
    /// `request`.
    ContainsDataBatch = "data.contains_batch_query", Data, Optional, Ours, Reads,
        Batch arguments::ContainsDataBatch<'a>, numbered 3,
        columns Columns::Named(&[("request", ColumnType::Integer)]),
        lacking [], decides [];
    /// `export.peers_query`: a page of peers in the order of their keys; optional, not known to MoChi. Columns
    /// `info_hash`, `peer_id`, `address`, `port`, `is_seeder`, `created`.
    ExportPeers = "export.peers_query", Peers, Optional, Ours, Reads,
        Single arguments::ExportPeers<'a>, numbered 5,
        columns Columns::Named(&[
            ("info_hash", ColumnType::Bytes),
            ("peer_id", ColumnType::Bytes),
            ("address", ColumnType::Address),
            ("port", ColumnType::Integer),
            ("is_seeder", ColumnType::Boolean),
            ("created", ColumnType::Time),
        ]),
        lacking [ExportPeers], decides [ExportPeers, FindPeer];
    /// `export.downloads_query`: a page of downloads; optional, not known to MoChi. Columns `info_hash`,
    /// `downloads`.
    ExportDownloads = "export.downloads_query", Peers, Optional, Ours, Reads,
        Single arguments::ExportDownloads<'a>, numbered 2,
        columns Columns::Named(&[("info_hash", ColumnType::Bytes), ("downloads", ColumnType::Integer)]),
        lacking [ExportDownloads], decides [ExportDownloads];
    /// `export.data_query`: a page of data; optional, not known to MoChi. Columns `context`, `key`, `value`.
    ExportData = "export.data_query", Data, Optional, Ours, Reads,
        Single arguments::ExportData<'a>, numbered 3,
        columns Columns::Named(&[
            ("context", ColumnType::Text),
            ("key", ColumnType::Bytes),
            ("value", ColumnType::Bytes),
        ]),
        lacking [ExportData], decides [ExportData];
    /// `import.peers_query`: an upsert that keeps the later time, at equal times the seeder; optional, not
    /// known to MoChi.
    ImportPeers = "import.peers_query", Peers, Optional, Ours, Writes,
        Single arguments::ImportPeer<'a>, numbered 7, columns Columns::None,
        lacking [ImportPeers], decides [ImportPeers];
    /// `import.downloads_query`: an upsert that keeps the greater number; optional, not known to MoChi.
    ImportDownloads = "import.downloads_query", Peers, Optional, Ours, Writes,
        Single arguments::ImportDownloads<'a>, numbered 2, columns Columns::None,
        lacking [ImportDownloads], decides [ImportDownloads];
    /// `import.data_query`: an insert that keeps what is there; optional, not known to MoChi.
    ImportData = "import.data_query", Data, Optional, Ours, Writes,
        Single arguments::ImportData<'a>, numbered 3, columns Columns::None,
        lacking [ImportData], decides [ImportData];
    /// `import.peers_batch_query`: `import.peers_query` for many at once; optional, not known to MoChi.
    ImportPeersBatch = "import.peers_batch_query", Peers, Optional, Ours, Writes,
        Batch arguments::ImportPeer<'a>, numbered 7, columns Columns::None,
        lacking [], decides [];
    /// `import.downloads_batch_query`: likewise.
    ImportDownloadsBatch = "import.downloads_batch_query", Peers, Optional, Ours, Writes,
        Batch arguments::ImportDownloads<'a>, numbered 2, columns Columns::None,
        lacking [], decides [];
    /// `import.data_batch_query`: likewise.
    ImportDataBatch = "import.data_batch_query", Data, Optional, Ours, Writes,
        Batch arguments::ImportData<'a>, numbered 3, columns Columns::None,
        lacking [], decides [];
    /// `peer.add_batch_query`: the upsert for many peers at once; optional, not known to MoChi.
    PutPeerBatch = "peer.add_batch_query", Peers, Optional, Ours, Writes,
        Batch arguments::PutPeer<'a>, numbered 7, columns Columns::None,
        lacking [], decides [];
    /// `peer.del_batch_query`: removes many peers at once; optional, not known to MoChi. Column
    /// `request`.
    DeletePeerBatch = "peer.del_batch_query", Peers, Optional, Ours, Writes,
        Batch arguments::DeletePeerBatch<'a>, numbered 6,
        columns Columns::Named(&[("request", ColumnType::Integer)]),
        lacking [], decides [];
    /// `peer.graduate_batch_query`: makes many clients seeders at once and counts their downloads; optional,
    /// not known to MoChi. Columns `request`, `is_download`.
    GraduatePeerBatch = "peer.graduate_batch_query", Peers, Optional, Ours, Writes,
        Batch arguments::ChangePeerBatch<'a>, numbered 7,
        columns Columns::Named(&[("request", ColumnType::Integer), ("is_download", ColumnType::Boolean)]),
        lacking [], decides [];
    /// `announce.batch_query`: for many announces at once; optional, not known to MoChi. Columns
    /// `request`, and arrays `peer_id`, `address`, `port`.
    SelectPeersBatch = "announce.batch_query", Peers, Optional, Ours, Reads,
        Batch arguments::SelectPeersBatch<'a>, numbered 4,
        columns Columns::Named(&[
            ("request", ColumnType::Integer),
            ("peer_id", ColumnType::ManyBytes),
            ("address", ColumnType::ManyAddresses),
            ("port", ColumnType::ManyIntegers),
        ]),
        lacking [], decides [];
    /// `bulk.add_query`: `import.peers_query` for many peers at once, with those that were written; optional, not known
    /// to MoChi.
    BulkPut = "bulk.add_query", Peers, Optional, Ours, Writes,
        Batch arguments::BulkPut<'a>, numbered 8,
        columns Columns::Named(&[("request", ColumnType::Integer)]),
        lacking [AtomicWrites], decides [];
    /// `bulk.touch_query`: sets later times of many peers at once; optional, not known to MoChi.
    BulkTouch = "bulk.touch_query", Peers, Optional, Ours, Writes,
        Batch arguments::ChangePeerBatch<'a>, numbered 7,
        columns Columns::Named(&[("request", ColumnType::Integer)]),
        lacking [AtomicWrites], decides [];
    /// `bulk.del_query`: removes many peers at once that did not announce later; optional, not known to MoChi.
    BulkDelete = "bulk.del_query", Peers, Optional, Ours, Writes,
        Batch arguments::ChangePeerBatch<'a>, numbered 7,
        columns Columns::Named(&[("request", ColumnType::Integer)]),
        lacking [AtomicWrites], decides [];
    /// `bulk.graduate_query`: makes many clients seeders at once that did not announce later; optional, not known to
    /// MoChi.
    BulkGraduate = "bulk.graduate_query", Peers, Optional, Ours, Writes,
        Batch arguments::ChangePeerBatch<'a>, numbered 7,
        columns Columns::Named(&[("request", ColumnType::Integer), ("is_download", ColumnType::Boolean)]),
        lacking [AtomicWrites], decides [];
    /// `bulk.read_query`: the peers of many swarms at once; optional, not known to MoChi.
    BulkRead = "bulk.read_query", Peers, Optional, Ours, Reads,
        Batch arguments::BulkRead<'a>, numbered 4,
        columns Columns::Named(&[
            ("request", ColumnType::Integer),
            ("peer_id", ColumnType::Bytes),
            ("address", ColumnType::Address),
            ("port", ColumnType::Integer),
            ("created", ColumnType::Time),
        ]),
        lacking [], decides [];
    /// `peer.count_batch_query`: the counts of many swarms at once; optional, not known to MoChi.
    /// Columns `request`, `seeders`, `leechers`, `downloads`.
    CountSwarmBatch = "peer.count_batch_query", Peers, Optional, Ours, Reads,
        Batch arguments::CountSwarmBatch<'a>, numbered 2,
        columns Columns::Named(&[
            ("request", ColumnType::Integer),
            ("seeders", ColumnType::Integer),
            ("leechers", ColumnType::Integer),
            ("downloads", ColumnType::Integer),
        ]),
        lacking [], decides [];
}

const ANNOUNCE_COLUMNS: &[ConfiguredColumn] = &[
    configured("announce.peer_id_column", |config| &config.announce.peer_id_column, ColumnType::Bytes),
    configured("announce.address_column", |config| &config.announce.address_column, ColumnType::Address),
    configured("announce.port_column", |config| &config.announce.port_column, ColumnType::Integer),
];

const COUNT_COLUMNS: &[ConfiguredColumn] = &[
    configured("peer.count_seeders_column", |config| &config.peer.count_seeders_column, ColumnType::Integer),
    configured(
        "peer.count_leechers_column",
        |config| &config.peer.count_leechers_column,
        ColumnType::Integer,
    ),
];

const fn configured(
    key: &'static str,
    name: fn(&PgConfig) -> &str,
    column_type: ColumnType,
) -> ConfiguredColumn {
    ConfiguredColumn { key, name, column_type }
}

impl Query {
    /// Whether an argument is an array here. The limit of a batch is one for all its calls.
    pub(crate) fn takes_array_of(self, argument: Argument) -> bool {
        argument == Argument::Keys || self.spec().mode == QueryMode::Batch && argument != Argument::Limit
    }

    /// The section of the configuration that it is in, if it is in one, and its key there.
    pub(crate) fn section_and_key(self) -> (Option<&'static str>, &'static str) {
        match self.key().split_once('.') {
            Some((section, key)) => (Some(section), key),
            None => (None, self.key()),
        }
    }
}

/// The sections of the configuration that queries are in.
pub(crate) fn sections() -> Vec<&'static str> {
    let mut sections = Vec::new();
    for (section, _) in Query::ALL.iter().map(|query| query.section_and_key()) {
        sections.extend(section.filter(|section| !sections.contains(section)));
    }
    sections
}

/// The query that decides how an operation behaves.
pub(crate) fn responsible_for(operation: Operation) -> Option<Query> {
    Query::ALL.iter().copied().find(|query| query.spec().decides.contains(&operation))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_key_is_given_once() {
        let keys: HashSet<_> = Query::ALL.iter().map(|query| query.key()).collect();
        assert_eq!(keys.len(), Query::ALL.len());
        assert!(keys.iter().all(|key| key.matches('.').count() <= 1), "{keys:?}");
    }

    #[test]
    fn one_query_decides_an_operation() {
        for operation in Operation::ALL {
            let decide = Query::ALL.iter().filter(|query| query.spec().decides.contains(operation));
            assert!(decide.count() <= 1, "{operation:?}");
        }
    }

    /// What the entry of a query in the book must have.
    fn entry(query: Query) -> [String; 4] {
        let spec = query.spec();
        let listed = |names: &[&str], mark: &str| {
            names.iter().map(|name| format!("`{mark}{name}`")).collect::<Vec<_>>().join(", ")
        };
        let names =
            |arguments: &[Argument]| arguments.iter().map(|argument| argument.name()).collect::<Vec<_>>();
        let (numbered, others) = spec.named.split_at(spec.numbered.len());
        let (numbered, others) = (listed(&names(numbered), "@"), listed(&names(others), "@"));
        let mut arguments = match (numbered.is_empty(), others.is_empty()) {
            (true, true) => "none".to_owned(),
            (true, false) => format!("by name only {others}"),
            (false, true) => numbered,
            (false, false) => format!("{numbered}; by name only {others}"),
        };
        if spec.mode == QueryMode::Batch {
            let limit = if spec.named.contains(&Argument::Limit) { ", except `@limit`" } else { "" };
            arguments.push_str(&format!(" (arrays{limit})"));
        }
        let result = match spec.columns {
            Columns::None => "none is read".to_owned(),
            Columns::First(_) => "the first column of the first row".to_owned(),
            Columns::Named(columns) => {
                let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
                format!("columns {}", listed(&names, ""))
            }
            Columns::Configured(columns) => {
                let keys: Vec<_> = columns.iter().map(|column| column.key).collect();
                format!("the columns named by {}", listed(&keys, ""))
            }
        };
        let lacking: Vec<_> = spec.capabilities.iter().map(|capability| capability.name()).collect();
        let lacking = match lacking[..] {
            [] => String::new(),
            _ => format!("- Without it the storage lacks: {}\n", listed(&lacking, "")),
        };
        let recommended = crate::recommended::Recommendation::default().config();
        let sql = recommended.queries[query].clone().unwrap_or_default();
        [
            format!("- Arguments: {arguments}\n"),
            format!("- Result: {result}\n"),
            lacking,
            format!("\n```sql\n{}\n```\n", sql.trim_matches('\n')),
        ]
    }

    #[test]
    fn the_book_describes_each_query() {
        const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/pg-queries.md");
        let page = std::fs::read_to_string(PAGE).expect(PAGE);
        for query in Query::ALL {
            let spec = query.spec();
            let heading = format!("\n### `{}`\n", spec.key);
            let (_, after) =
                page.split_once(&heading).unwrap_or_else(|| panic!("{PAGE} has no entry {heading}"));
            let text = after.split("\n### ").next().unwrap_or_default();
            let need = match (query, spec.need) {
                (Query::Ping, _) => "default `SELECT 1`",
                (_, Need::Required) => "required",
                (_, Need::Optional) => "optional",
            };
            assert!(text.contains(&format!("*query, {need}*")), "{heading}expected: {need}");
            let is_ours = spec.origin == QueryOrigin::Ours;
            assert_eq!(text.contains("Not in MoChi."), is_ours, "{heading}MoChi knows it: {}", !is_ours);
            for part in entry(*query) {
                assert!(text.contains(&part), "{heading}expected:\n{part}");
            }
        }
    }

    #[test]
    fn arguments_that_mochi_does_not_have_go_by_name() {
        for query in Query::ALL {
            let ours = [Argument::Sample, Argument::Limit, Argument::Expires, Argument::Order];
            assert!(!query.spec().numbered.iter().any(|argument| ours.contains(argument)), "{query:?}");
        }
    }
}
