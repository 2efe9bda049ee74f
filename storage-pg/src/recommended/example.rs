//! The commented configuration file.

use std::fmt::Write;

use super::{AddressColumn, Dialect, Recommendation};

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

    /// A query, left out if it is empty.
    fn query(&mut self, level: usize, comment: &str, key: &str, query: &str) {
        if query.is_empty() {
            return;
        }
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

pub(super) fn example_config(recommendation: &Recommendation) -> String {
    let config = recommendation.config();
    let mut file = File(String::new());
    file.comment(0, &header(recommendation));
    file.line(0, "storage:");
    file.value(1, "name", "pg");
    file.line(1, "config:");
    file.comment(2, CONNECTION);
    file.value(2, "connection_string", "host=127.0.0.1 port=5432 database=tracker user=tracker");
    file.blank();

    file.comment(2, "Peers for an announce.");
    file.line(2, "announce:");
    file.query(3, announce_comment(recommendation), "query", &config.announce.query);
    file.comment(3, "Where the result has them, in any case.");
    file.value(3, "peer_id_column", &config.announce.peer_id_column);
    file.value(3, "address_column", &config.announce.address_column);
    file.value(3, "port_column", &config.announce.port_column);
    if !config.announce.batch_query.is_empty() {
        file.query(3, ANNOUNCE_BATCH, "batch_query", &config.announce.batch_query);
    }
    file.blank();

    let peer = &config.peer;
    file.line(2, "peer:");
    let put_peer = if recommendation.for_mochi { PUT_PEER.into() } else { format!("{PUT_PEER}\n{EXPIRES}") };
    file.query(3, &put_peer, "add_query", &peer.add_query);
    file.query(3, "Touches the peer only if it is there in that role.", "del_query", &peer.del_query);
    file.query(
        3,
        "Makes exactly this leecher a seeder, and sets its time.",
        "graduate_query",
        &peer.graduate_query,
    );
    file.query(
        3,
        match recommendation.dialect {
            Dialect::Postgres => COUNT,
            Dialect::Cockroachdb => "Counts all peers, or with the clause after it those of one swarm.",
        },
        "count_query",
        &peer.count_query,
    );
    file.value(3, "by_info_hash_clause", &peer.by_info_hash_clause);
    file.value(3, "count_seeders_column", &peer.count_seeders_column);
    file.value(3, "count_leechers_column", &peer.count_leechers_column);
    file.query(
        3,
        "Not MoChi's, optional: `check` compares it with the clock.",
        "newest_query",
        &peer.newest_query,
    );
    if !recommendation.for_mochi {
        file.query(3, PUT_PEERS, "add_batch_query", &peer.add_batch_query);
        file.query(3, DELETE_PEERS, "del_batch_query", &peer.del_batch_query);
        file.query(3, GRADUATE_PEERS, "graduate_batch_query", &peer.graduate_batch_query);
        file.query(3, COUNT_BATCH, "count_batch_query", &peer.count_batch_query);
        file.query(3, FORGET_PEERS, "forget_query", &peer.forget_query);
        if !peer.synchronous_commit.is_empty() {
            file.comment(3, COMMIT);
            // Unquoted, YAML's `off` is no text.
            file.line(3, &format!("synchronous_commit: \"{}\"", peer.synchronous_commit));
        }
    }
    file.blank();

    let downloads = &config.downloads;
    file.comment(2, "How often torrents were downloaded to the end. May be left out.");
    file.line(2, "downloads:");
    file.value(3, "get_query", &downloads.get_query);
    file.query(3, "", "inc_query", &downloads.inc_query);
    file.query(
        3,
        "Not MoChi's, optional: needed to remove a swarm altogether.",
        "del_query",
        &downloads.del_query,
    );
    file.blank();

    let data = &config.data;
    file.comment(2, "Arbitrary data. Overwrites what is there.");
    file.line(2, "data:");
    file.query(3, "", "add_query", &data.add_query);
    file.query(3, "@key is an array of keys here.", "del_query", &data.del_query);
    file.value(3, "get_query", &data.get_query);
    file.query(3, CONTAINS_DATA, "contains_batch_query", &data.contains_batch_query);
    file.blank();

    if !recommendation.for_mochi {
        let (export, import) = (&config.export, &config.import);
        file.comment(2, EXPORT);
        file.line(2, "export:");
        file.query(3, "", "peers_query", &export.peers_query);
        file.query(3, "", "downloads_query", &export.downloads_query);
        file.query(3, "", "data_query", &export.data_query);
        file.blank();
        file.comment(2, IMPORT);
        file.line(2, "import:");
        file.query(3, "The later time stays, at equal times the seeder.", "peers_query", &import.peers_query);
        file.query(3, "The greater number stays.", "downloads_query", &import.downloads_query);
        file.query(3, "What is there stays.", "data_query", &import.data_query);
        file.query(
            3,
            "The same for many at once, every argument an array; much faster. May be left out.",
            "peers_batch_query",
            &import.peers_batch_query,
        );
        file.query(3, "", "downloads_batch_query", &import.downloads_batch_query);
        file.query(3, "", "data_batch_query", &import.data_batch_query);
        file.blank();
    }

    file.query(2, "A sign of life.", "ping_query", &config.ping_query);
    file.query(2, gc_comment(recommendation), "gc_query", &config.gc_query);
    if !recommendation.for_mochi {
        file.query(2, GC_COUNT, "gc_count_query", &config.gc_count_query);
    }
    file.comment(2, "How often, and after how long without an announce a peer is stale.");
    file.value(2, "gc_interval", "3m");
    file.value(2, "peer_lifetime", "30m");
    file.query(2, "Counts swarms that have peers.", "info_hash_count_query", &config.info_hash_count_query);
    file.comment(
        2,
        match recommendation.dialect {
            Dialect::Postgres => "How often swarms and peers are counted for the metrics; 0 turns it off.",
            Dialect::Cockroachdb => COUNTING_READS_ALL,
        },
    );
    file.value(2, "prometheus_reporting_interval", "1m");
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
         Queries may be changed to fit other tables; `tracker-storage check` and\n\
         `tracker-storage conformance` tell whether they still do what they must.{for_mochi}"
    )
}

fn announce_comment(recommendation: &Recommendation) -> &'static str {
    if recommendation.for_mochi {
        "Arguments: $1 info hash, $2 is seeder, $3 is IPv6, $4 count."
    } else {
        "Up to @count peers of one role and family. @sample is a random number from 0 to 2147483647,\n\
         new for each call (not MoChi's): here the swarm is read from that place on."
    }
}

const GC_COUNT: &str = "\
Counts them first: where more than gc_max_share (0.5) of all peers are stale, none is removed. Without it they
are removed in one transaction, which is taken back then.";

fn gc_comment(recommendation: &Recommendation) -> &'static str {
    if recommendation.for_mochi {
        "Removes the peers last announced at or before @created."
    } else {
        "Removes the peers last announced at or before @created. With @limit (not MoChi's) at most so many,\n\
         and it is run again until there are fewer: no call waits for long behind it."
    }
}

const CONNECTION: &str = "\
A URL (postgres://…) or keywords and values; several hosts are tried in order. PG* environment
variables and the password file fill in what is missing. Pool: pool_max_conns, pool_min_conns,
pool_max_conn_lifetime, pool_max_conn_idle_time. Behind PgBouncer in transaction mode:
default_query_exec_mode=exec.";

const PUT_PEER: &str = "\
Puts a peer, or sets its role and time. Arguments here and below: @info_hash, @peer_id (bytes),
@address (inet or bytes), @port, @is_seeder, @is_v6, @created (time).";

const EXPIRES: &str = "\
@expires (not MoChi's, optional): the time by the server's clock from which on the write must change
nothing. A write that timed out then cannot take effect later, over a newer one.";

const ANNOUNCE_BATCH: &str = "\
Not MoChi's, optional: many announces at once, much faster under load. Arguments are arrays, but for
@limit, the most that any of them wants; the result has a row for each @request with arrays of its
peers, seeders first unless it is @for_seeder.";

const PUT_PEERS: &str = "\
Not MoChi's, optional: add_query for many peers at once, every argument an array; much faster under load.";

const DELETE_PEERS: &str = "\
Not MoChi's, optional: del_query for many peers at once; the result has the @request of each that was there.";

const GRADUATE_PEERS: &str = "\
Not MoChi's, optional: graduate_query for many clients at once, with the peers that are not there and the downloads;
the result has a row for each @request that is done, with is_download. The others are done one by one.";

const COUNT_BATCH: &str = "\
Not MoChi's, optional: seeders, leechers and downloads of many swarms at once, a row for each @request.";

const FORGET_PEERS: &str = "\
Not MoChi's, optional: deletes all peers of a swarm at once, which del_query otherwise does one by one.";

const CONTAINS_DATA: &str = "\
Not MoChi's, optional: which of many keys exist, a row for each @request that does. Without it get_query reads
every key with its value.";

const COUNT: &str = "\
Seeders and leechers of all swarms, or with the clause after it of one. Without a table of counts:
SELECT COUNT(1) FILTER (WHERE is_seeder) AS seeders, COUNT(1) FILTER (WHERE NOT is_seeder) AS leechers
FROM mo_peers";

const COUNTING_READS_ALL: &str = "\
How often swarms and peers are counted for the metrics; 0 turns it off. Counting reads the whole table:
choose an interval that the server can bear.";

const COMMIT: &str = "\
Not MoChi's: writes of peers don't wait for the disk. After a crash of the server the announces of its last
second may be missing, and come again; downloads and data wait. \"on\" makes all wait, at half the rate.";

const BATCHES: &str = "\
Not MoChi's: calls that come while others are under way are sent together by the batch queries: at most
so many, in at most so many batches at a time; how many may wait.";

const EXPORT: &str = "\
Not MoChi's, optional: everything in pages, in the order of keys, after the key given. Needed for
export, migration and verification.";

const IMPORT: &str = "Not MoChi's, optional: needed to take in what another storage exported.";

const LIMITS: &str = "\
Not MoChi's: how long an unreachable server is tried at start; how long a transaction is tried again
that others got in the way of; how long a call may take with all its attempts, one that a peer waits for
and one of upkeep or transfer; how many may be under way.";
