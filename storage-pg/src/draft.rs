//! Drafts: queries as configured, before the server is asked about them.

use storage_core::config::Problem;

use crate::argument::Argument;
use crate::config::PgConfig;
use crate::rewrite::{Rewritten, rewrite};
use crate::slot::{self, Slot};

/// A configured query, its arguments numbered.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) slot: Slot,
    pub(crate) rewritten: Rewritten,
    /// The names of the result columns; empty where the first column is read.
    pub(crate) columns: Vec<(&'static str, String)>,
}

/// Which part of a storage is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Everything,
    DataAlone,
}

/// Reads the queries of a configuration and collects the problems with them.
pub(crate) struct Drafts {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) problems: Vec<Problem>,
}

impl Drafts {
    pub(crate) fn of(config: &PgConfig, part: Part) -> Self {
        let mut drafts = Self { drafts: Vec::new(), problems: Vec::new() };
        let PgConfig { announce, peer, downloads, data, export, import, .. } = config;

        drafts.required(slot::PUT_DATA, &data.add_query, &[]);
        drafts.required(slot::DELETE_DATA, &data.del_query, &[]);
        drafts.required(slot::GET_DATA, &data.get_query, &[]);
        drafts.optional(slot::CONTAINS_DATA, &data.contains_batch_query, CONTAINS_DATA_COLUMNS);
        drafts.optional(slot::EXPORT_DATA, &export.data_query, EXPORT_DATA_COLUMNS);
        drafts.optional(slot::IMPORT_DATA, &import.data_query, &[]);
        drafts.optional(slot::IMPORT_DATA_BATCH, &import.data_batch_query, &[]);
        drafts.optional(slot::PING, &config.ping_query, &[]);
        if part == Part::DataAlone {
            return drafts;
        }

        let columns = [
            ("announce.peer_id_column", announce.peer_id_column.as_str()),
            ("announce.address_column", &announce.address_column),
            ("announce.port_column", &announce.port_column),
        ];
        drafts.required(slot::ANNOUNCE, &announce.query, &columns);
        drafts.required(slot::PUT_PEER, &peer.add_query, &[]);
        drafts.required(slot::DELETE_PEER, &peer.del_query, &[]);
        drafts.required(slot::GRADUATE, &peer.graduate_query, &[]);
        let counts = [
            ("peer.count_seeders_column", peer.count_seeders_column.as_str()),
            ("peer.count_leechers_column", &peer.count_leechers_column),
        ];
        drafts.required(slot::COUNT_ALL, &peer.count_query, &counts);
        drafts.required(slot::COUNT_SWARM, &peer.by_info_hash_clause, &counts);
        drafts.optional(slot::NEWEST_PEER, &peer.newest_query, &[]);
        drafts.optional(slot::FORGET_PEERS, &peer.forget_query, &[]);
        drafts.optional(slot::GET_DOWNLOADS, &downloads.get_query, &[]);
        drafts.optional(slot::INCREMENT_DOWNLOADS, &downloads.inc_query, &[]);
        drafts.optional(slot::DELETE_DOWNLOADS, &downloads.del_query, &[]);
        drafts.optional(slot::COLLECT_GARBAGE, &config.gc_query, &[]);
        drafts.optional(slot::COUNT_STALE, &config.gc_count_query, &[]);
        drafts.optional(slot::COUNT_INFO_HASHES, &config.info_hash_count_query, &[]);
        drafts.optional(slot::EXPORT_PEERS, &export.peers_query, EXPORT_PEERS_COLUMNS);
        drafts.optional(slot::EXPORT_DOWNLOADS, &export.downloads_query, EXPORT_DOWNLOADS_COLUMNS);
        drafts.optional(slot::IMPORT_PEERS, &import.peers_query, &[]);
        drafts.optional(slot::IMPORT_DOWNLOADS, &import.downloads_query, &[]);
        drafts.optional(slot::IMPORT_PEERS_BATCH, &import.peers_batch_query, &[]);
        drafts.optional(slot::IMPORT_DOWNLOADS_BATCH, &import.downloads_batch_query, &[]);
        drafts.optional(slot::PUT_PEERS, &peer.add_batch_query, &[]);
        drafts.optional(slot::DELETE_PEERS, &peer.del_batch_query, DELETE_PEERS_COLUMNS);
        drafts.optional(slot::GRADUATE_PEERS, &peer.graduate_batch_query, GRADUATE_PEERS_COLUMNS);
        drafts.optional(slot::ANNOUNCE_BATCH, &announce.batch_query, ANNOUNCE_BATCH_COLUMNS);
        drafts.optional(slot::COUNT_BATCH, &peer.count_batch_query, COUNT_BATCH_COLUMNS);
        drafts.append_clause(&peer.count_query);
        drafts
    }

    fn required(&mut self, slot: Slot, text: &str, columns: &[(&'static str, &str)]) {
        if text.trim().is_empty() {
            self.problem(slot.key, "is missing or empty; a query is required here");
        } else {
            self.optional(slot, text, columns);
        }
    }

    fn optional(&mut self, slot: Slot, text: &str, columns: &[(&'static str, &str)]) {
        if text.trim().is_empty() {
            return;
        }
        match rewrite(text, slot.named, numbered(&slot)) {
            Ok(rewritten) => {
                let columns = columns.iter().map(|(key, name)| (*key, (*name).to_owned())).collect();
                self.drafts.push(Draft { slot, rewritten, columns });
            }
            Err(message) => self.problem(slot.key, message),
        }
    }

    /// The query for one swarm is the one for all with a clause after it; without that one the server
    /// cannot be asked about the clause.
    fn append_clause(&mut self, count_query: &str) {
        if !self.drafts.iter().any(|draft| draft.slot.key == slot::COUNT_ALL.key) {
            self.drafts.retain(|draft| draft.slot.key != slot::COUNT_SWARM.key);
        }
        let count_query = count_query.trim().trim_end_matches(';');
        for draft in &mut self.drafts {
            if draft.slot.key == slot::COUNT_SWARM.key {
                draft.rewritten.sql = format!("{count_query} {}", draft.rewritten.sql);
            }
        }
    }

    fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), message: message.into() });
    }
}

/// Arguments that MoChi does not have go by name only, so that a number too high is found out.
fn numbered(slot: &Slot) -> &'static [Argument] {
    let is_ours =
        |argument: &Argument| matches!(argument, Argument::Sample | Argument::Limit | Argument::Expires);
    let end = slot.positional.iter().position(is_ours).unwrap_or(slot.positional.len());
    &slot.positional[..end]
}

const ANNOUNCE_BATCH_COLUMNS: &[(&str, &str)] = &[
    ("announce.batch_query", "request"),
    ("announce.batch_query", "peer_id"),
    ("announce.batch_query", "address"),
    ("announce.batch_query", "port"),
];
const DELETE_PEERS_COLUMNS: &[(&str, &str)] = &[("peer.del_batch_query", "request")];
const GRADUATE_PEERS_COLUMNS: &[(&str, &str)] =
    &[("peer.graduate_batch_query", "request"), ("peer.graduate_batch_query", "is_download")];
const CONTAINS_DATA_COLUMNS: &[(&str, &str)] = &[("data.contains_batch_query", "request")];

const COUNT_BATCH_COLUMNS: &[(&str, &str)] = &[
    ("peer.count_batch_query", "request"),
    ("peer.count_batch_query", "seeders"),
    ("peer.count_batch_query", "leechers"),
    ("peer.count_batch_query", "downloads"),
];
const EXPORT_PEERS_COLUMNS: &[(&str, &str)] = &[
    ("export.peers_query", "info_hash"),
    ("export.peers_query", "peer_id"),
    ("export.peers_query", "address"),
    ("export.peers_query", "port"),
    ("export.peers_query", "is_seeder"),
    ("export.peers_query", "created"),
];
const EXPORT_DOWNLOADS_COLUMNS: &[(&str, &str)] =
    &[("export.downloads_query", "info_hash"), ("export.downloads_query", "downloads")];
const EXPORT_DATA_COLUMNS: &[(&str, &str)] =
    &[("export.data_query", "context"), ("export.data_query", "key"), ("export.data_query", "value")];
