//! The tables.

use super::versions::{counts, stamps};
use super::{AddressColumn, Dialect, Recommendation};

const HEADER: &str = "\
-- Tables for tracker-storage. Running this again changes nothing.
";

const DOWNLOADS_AND_DATA: &str = "
-- How often each torrent was downloaded to the end; outlives the peers.
CREATE TABLE IF NOT EXISTS mo_downloads (
  info_hash bytea PRIMARY KEY NOT NULL,
  downloads int8 NOT NULL DEFAULT 1
);

-- Arbitrary data. Names are bytes, since many are raw info hashes.
CREATE TABLE IF NOT EXISTS mo_kv (
  context varchar NOT NULL,
  name bytea NOT NULL,
  value bytea NOT NULL,
  PRIMARY KEY (context, name)
);
";

/// What to look at on a cluster before other statements are taken.
const EXPLAIN_ON_COCKROACHDB: &str = "
-- Statements to try on your cluster, with your peers, before you take them into the configuration. The plan must say
-- `lookup join` or `scan` with spans, never FULL SCAN.
--
-- Announces for many, planned once. It reads every peer of the swarms: for swarms of less than some thousand.
-- EXPLAIN ANALYZE SELECT request, peer_id, address, port FROM (
--   SELECT r.request, p.peer_id, p.address, p.port,
--     row_number() OVER (PARTITION BY r.request ORDER BY NOT p.is_seeder, p.sample < r.sample, p.sample) AS place
--   FROM (SELECT row_number() OVER () AS request, info_hash, 0 AS sample
--     FROM (SELECT DISTINCT info_hash FROM mo_peers LIMIT 32) AS s) AS r
--   INNER LOOKUP JOIN mo_peers AS p ON p.info_hash = r.info_hash) AS found
-- WHERE place <= 50;
--
-- Stale peers, by the index of times or by the hash-sharded one.
-- EXPLAIN DELETE FROM mo_peers WHERE created < now() - INTERVAL '31 minutes' LIMIT 1000;
";

pub(super) fn schema(recommendation: &Recommendation) -> String {
    let Recommendation { dialect, address, unlogged, .. } = *recommendation;
    let address = match address {
        AddressColumn::Inet => "inet",
        AddressColumn::Bytea => "bytea",
    };
    let (unlogged_note, unlogged) = match (unlogged, dialect) {
        (true, Dialect::Postgres) => (
            "-- UNLOGGED: writes are not in the server's log, which makes them cheaper. After a crash of the\n\
             -- server the table is empty, and it is empty on every replica; peers come back as they announce.\n",
            " UNLOGGED",
        ),
        (true, Dialect::Cockroachdb) => ("-- CockroachDB has no unlogged tables.\n", ""),
        (false, _) => ("", ""),
    };
    let (announces, more_rights) = match dialect {
        Dialect::Postgres => ("For announces.", "\n-- GRANT SELECT ON mo_swarms TO tracker;"),
        Dialect::Cockroachdb => ("For announces and counts.", ""),
    };
    let explain = match dialect {
        Dialect::Postgres => "",
        Dialect::Cockroachdb => EXPLAIN_ON_COCKROACHDB,
    };
    let (options, more) = match dialect {
        Dialect::Postgres => (
            "\n-- Room on each page for the next version of a row: a re-announce then touches no index. Space of\n\
             -- peers that left is found sooner than by default.\n\
             WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05)",
            format!("-- Counts of swarms.\n{}", counts()),
        ),
        Dialect::Cockroachdb => (
            "",
            "-- Garbage collection finds stale peers by this; without it, it would read the whole table. On a\n\
             -- cluster of several nodes, where all announces would meet at its end, use a hash-sharded one\n\
             -- (22.1 or newer; before, also WITH BUCKET_COUNT = 8 and experimental_enable_hash_sharded_indexes):\n\
             --   CREATE INDEX … ON mo_peers (created) USING HASH\n\
             CREATE INDEX IF NOT EXISTS mo_peers_created_idx ON mo_peers (created);\n"
                .to_owned()
                + &stamps(dialect),
        ),
    };
    format!(
        "{HEADER}
-- Who takes part in which swarm; columns in an order that leaves no gaps between them.
{unlogged_note}CREATE{unlogged} TABLE IF NOT EXISTS mo_peers (
  -- When the peer last announced.
  created timestamptz NOT NULL DEFAULT current_timestamp,
  -- A random number: an announce reads the peers of a swarm in its order, from a random place on.
  sample int4 NOT NULL DEFAULT floor(random() * 2147483648)::int4,
  port int4 NOT NULL,
  is_seeder bool NOT NULL,
  is_v6 bool NOT NULL,
  info_hash bytea NOT NULL,
  peer_id bytea NOT NULL,
  address {address} NOT NULL,
  PRIMARY KEY (info_hash, peer_id, address, port)
){options};

-- {announces}
CREATE INDEX IF NOT EXISTS mo_peers_announce_idx ON mo_peers (info_hash, is_seeder, is_v6, sample);
{more}{DOWNLOADS_AND_DATA}
-- What a role for the tracker needs, and no more (put its name in place of tracker). The tables best belong to
-- another one, without login: CREATE ROLE tracker_tables NOLOGIN.
-- GRANT SELECT, INSERT, UPDATE, DELETE ON mo_peers, mo_downloads, mo_kv TO tracker;{more_rights}
{explain}"
    )
}
