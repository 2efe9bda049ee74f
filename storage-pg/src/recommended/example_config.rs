//! The commented configuration file.

use std::fmt::Write;

use super::queries::recommended;
use super::{AddressColumn, Dialect, Recommendation};
use crate::config::PgConfig;
use crate::query_spec::{self, Query};

/// A file being written: keys with the comments before them.
struct File(String);

impl File {
    fn line(&mut self, level: usize, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{:1$}{text}", "", level * 2);
    }

    fn comment(&mut self, level: usize, text: &str) {
        for line in text.lines() {
            self.line(level, format!("# {line}").trim_end());
        }
    }

    fn value(&mut self, level: usize, key: &str, value: &str) {
        self.line(level, &format!("{key}: {value}"));
    }

    /// A query with its comment.
    fn query(&mut self, level: usize, comment: &str, key: &str, query: &str) {
        self.comment(level, comment);
        if query.contains('\n') {
            self.line(level, &format!("{key}: |-"));
            query.lines().for_each(|line| self.line(level + 1, line));
        } else {
            self.value(level, key, query);
        }
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }
}

/// CockroachDB's documentation ("Production checklist").
const POOL_OF_A_CLUSTER: &str = "\
All trackers together should have about four connections for each processor of the cluster;
pool_max_conns is the part of one of them. Name several nodes as hosts, or a load balancer.";

pub(super) fn example_config(recommendation: &Recommendation) -> String {
    let config = recommendation.config();
    let mut file = File(String::new());
    file.comment(0, &header(recommendation));
    file.line(0, "storage:");
    file.value(1, "name", "pg");
    file.line(1, "config:");
    file.comment(2, CONNECTION);
    let connection = match recommendation.dialect {
        Dialect::Postgres => "host=127.0.0.1 port=5432 database=tracker user=tracker",
        Dialect::Cockroachdb => {
            file.comment(2, POOL_OF_A_CLUSTER);
            "host=127.0.0.1 port=26257 database=tracker user=tracker pool_max_conns=16"
        }
    };
    file.value(2, "connection_string", connection);
    file.blank();
    for section in query_spec::sections() {
        if queries_of(Some(section)).iter().all(|query| config.queries[*query].is_none()) {
            continue;
        }
        file.comment(2, section_comment(section));
        file.line(2, &format!("{section}:"));
        queries(&mut file, Some(section), recommendation, &config);
        file.blank();
    }
    queries(&mut file, None, recommendation, &config);
    if !recommendation.for_mochi {
        file.blank();
        file.comment(2, LIMITS);
        for (key, value) in [
            ("startup_timeout", "30s"),
            ("retry_timeout", "10s"),
            ("operation_timeout", "5s"),
            ("maintenance_timeout", "10m"),
            ("max_waiting", "10000"),
        ] {
            file.value(2, key, value);
        }
        file.blank();
        file.comment(2, BATCHES);
        for (key, value) in [("batch_size", "256"), ("batches_in_flight", "2"), ("batch_queue", "4096")] {
            file.value(2, key, value);
        }
    }
    file.0
}

/// The queries of a section, or those that are in none, each with the settings that belong to it.
fn queries(file: &mut File, section: Option<&str>, recommendation: &Recommendation, config: &PgConfig) {
    let level = if section.is_some() { 3 } else { 2 };
    for query in queries_of(section) {
        let (_, key) = query.section_and_key();
        if let Some(sql) = &config.queries[query] {
            file.query(level, &recommended(query, recommendation).comment, key, sql);
        }
        settings_after(file, query, recommendation, config);
    }
}

fn queries_of(section: Option<&str>) -> Vec<Query> {
    let is_there = |query: &Query| query.section_and_key().0 == section;
    let mut queries: Vec<_> = Query::ALL.iter().copied().filter(is_there).collect();
    // What few need comes last.
    queries.sort_by_key(|query| matches!(query, Query::ForgetPeers | Query::ForgetPeersBatch));
    queries
}

/// The settings that are no queries, after the one that they belong to.
fn settings_after(file: &mut File, query: Query, recommendation: &Recommendation, config: &PgConfig) {
    let PgConfig { announce, peer, .. } = config;
    match query {
        Query::SelectPeers => {
            file.comment(3, "Names of the columns in the result; case does not matter.");
            file.value(3, "peer_id_column", &announce.peer_id_column);
            file.value(3, "address_column", &announce.address_column);
            file.value(3, "port_column", &announce.port_column);
        }
        Query::CountSwarm => {
            file.value(3, "count_seeders_column", &peer.count_seeders_column);
            file.value(3, "count_leechers_column", &peer.count_leechers_column);
        }
        Query::ForgetPeersBatch => {
            if let Some(commit) = peer.synchronous_commit {
                file.comment(3, COMMIT);
                // Unquoted, YAML's `off` is no text.
                file.line(3, &format!("synchronous_commit: \"{}\"", commit.name()));
            }
        }
        Query::CountStale => {
            file.comment(2, STALE);
            file.value(2, "gc_interval", "3m");
            file.value(2, "peer_lifetime", "31m");
        }
        Query::CountInfoHashes => {
            let comment = match recommendation.dialect {
                Dialect::Postgres => {
                    "How often swarms and peers are counted for the metrics; 0 turns this off."
                }
                Dialect::Cockroachdb => COUNTING_READS_ALL,
            };
            file.comment(2, comment);
            file.value(2, "prometheus_reporting_interval", "1m");
        }
        _ => {}
    }
}

fn section_comment(section: &str) -> &'static str {
    match section {
        "announce" => "Peers for an announce.",
        "downloads" => "Optional: completed downloads of each torrent.",
        "data" => "Arbitrary data, such as approval lists. A put overwrites existing data.",
        "swarm" => "Optional, not in MoChi: lists of swarms, such as the largest.",
        "export" => EXPORT,
        "import" => IMPORT,
        "bulk" => BULK,
        _ => "",
    }
}

fn header(recommendation: &Recommendation) -> String {
    let server = match recommendation.dialect {
        Dialect::Postgres => "PostgreSQL",
        Dialect::Cockroachdb => "CockroachDB",
    };
    let mut flags = String::new();
    if recommendation.dialect == Dialect::Cockroachdb {
        flags.push_str(" --dialect cockroachdb");
    }
    if recommendation.address == AddressColumn::Bytea {
        flags.push_str(" --address bytea");
    }
    if recommendation.unlogged {
        flags.push_str(" --unlogged");
    }
    let for_mochi = if recommendation.for_mochi { "\nMoChi itself can run this configuration." } else { "" };
    format!(
        "A storage on {server}, with the tables that `tracker-storage schema pg{flags}` prints.\n\
         Change the queries to fit your own tables, then run `tracker-storage check` and\n\
         `tracker-storage conformance` to verify them.{for_mochi}"
    )
}

const CONNECTION: &str = "\
A URL (postgres://…) or keywords and values. Several hosts are tried in order. PG* environment variables
and the password file supply what is missing. Pool: pool_max_conns, pool_min_conns,
pool_max_conn_lifetime, pool_max_conn_idle_time. Behind PgBouncer in transaction mode set
default_query_exec_mode=exec, or cache_statement if PgBouncer (1.21 or later) has max_prepared_statements.";

const COUNTING_READS_ALL: &str = "\
How often swarms and peers are counted for the metrics; 0 turns this off. Counting reads the whole table:
choose an interval that your server can handle.";

const STALE: &str = "\
How often stale peers are removed, and the age at which a peer is stale: slightly more than the tracker's
announce interval.";

const COMMIT: &str = "\
Not in MoChi: writes of peers do not wait for the disk. A crash of the server can lose the announces of its
last second; clients announce again. Downloads and data always wait. \"on\" makes peers wait too, at half the rate.";

const BATCHES: &str = "\
Not in MoChi: calls that arrive while others are in progress are sent together by the batch queries. The
largest batch, the batches in flight at a time, and the calls that may wait.";

const EXPORT: &str = "\
Optional, not in MoChi: reads everything in pages, ordered by key, after the given key. Needed for `export`,
`migrate` and `verify`.";

const IMPORT: &str = "Optional, not in MoChi: needed for `import` and `migrate`.";

const BULK: &str = "\
Optional, not in MoChi: for caches in front of this storage, which write many peers together, each with the
time of its announce (@created). Every argument but @limit is an array; @request numbers the rows, and the
result lists those that took effect. Without these queries peers are written one by one, by the queries of
export and import.";

const LIMITS: &str = "\
Not in MoChi: how long to retry an unreachable server at start; how long to retry a transaction after a
serialization conflict or deadlock; the time limit of a call that a peer waits for, and of maintenance and
transfers, all attempts included; the calls that may be in progress.";
