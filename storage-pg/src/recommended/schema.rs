//! The tables.

use super::versions::{counts, stamps};
use super::{AddressColumn, Dialect, Recommendation};

const HEADER: &str = "\
-- Tables for tracker-storage. Running this again changes nothing.
";

const DOWNLOADS_AND_DATA: &str = "
-- Completed downloads of each torrent. They remain when the peers are gone.
CREATE TABLE IF NOT EXISTS mo_downloads (
  info_hash bytea PRIMARY KEY NOT NULL,
  downloads int8 NOT NULL DEFAULT 1
);

-- Arbitrary data, such as approval lists. Keys are bytes, since many are raw info hashes.
CREATE TABLE IF NOT EXISTS mo_kv (
  context varchar NOT NULL,
  name bytea NOT NULL,
  value bytea NOT NULL,
  PRIMARY KEY (context, name)
);
";

/// What to look at on a cluster before other statements are taken.
const EXPLAIN_ON_COCKROACHDB: &str = "
-- Try these statements on your cluster, with your peers, before you use them in the configuration. The plan must show
-- `lookup join` or `scan` with spans, never FULL SCAN.
--
-- Many announces in one plan. It reads every peer of the swarms, so it suits swarms of up to a few thousand peers.
-- EXPLAIN ANALYZE SELECT request, peer_id, address, port FROM (
--   SELECT r.request, p.peer_id, p.address, p.port,
--     row_number() OVER (PARTITION BY r.request ORDER BY NOT p.is_seeder, p.sample < r.sample, p.sample) AS place
--   FROM (SELECT row_number() OVER () AS request, info_hash, 0 AS sample
--     FROM (SELECT DISTINCT info_hash FROM mo_peers LIMIT 32) AS s) AS r
--   INNER LOOKUP JOIN mo_peers AS p ON p.info_hash = r.info_hash) AS found
-- WHERE place <= 50;
--
-- Stale peers, by the index on times, hash-sharded or not.
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
            "-- UNLOGGED: cheaper writes that bypass the server's log. After a crash of the server the table is\n\
             -- empty, and it is always empty on replicas. Peers return as they announce.\n",
            " UNLOGGED",
        ),
        (true, Dialect::Cockroachdb) => ("-- CockroachDB has no unlogged tables.\n", ""),
        (false, _) => ("", ""),
    };
    let (announces, more_rights) = match dialect {
        Dialect::Postgres => ("Selects peers for announces.", "\n-- GRANT SELECT ON mo_swarms TO tracker;"),
        Dialect::Cockroachdb => ("Selects peers for announces, and counts them.", ""),
    };
    let explain = match dialect {
        Dialect::Postgres => "",
        Dialect::Cockroachdb => EXPLAIN_ON_COCKROACHDB,
    };
    let (options, more) = match dialect {
        Dialect::Postgres => (
            "\n-- fillfactor leaves room on each page for the next version of a row, so that a re-announce updates no\n\
             -- index. autovacuum_vacuum_scale_factor reclaims the space of removed peers sooner.\n\
             WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05)",
            format!("-- Counts of swarms.\n{}", counts()),
        ),
        Dialect::Cockroachdb => (
            "",
            "-- Finds stale peers for garbage collection, which otherwise reads the whole table. On a cluster of several\n\
             -- nodes, all announces write to the end of this index: use a hash-sharded one instead (22.1 or later;\n\
             -- earlier versions also need WITH BUCKET_COUNT = 8 and experimental_enable_hash_sharded_indexes):\n\
             --   CREATE INDEX … ON mo_peers (created) USING HASH\n\
             CREATE INDEX IF NOT EXISTS mo_peers_created_idx ON mo_peers (created);\n"
                .to_owned()
                + &stamps(dialect),
        ),
    };
    format!(
        "{HEADER}
-- The peers of each swarm. The columns are ordered so that no space is lost to alignment.
{unlogged_note}CREATE{unlogged} TABLE IF NOT EXISTS mo_peers (
  -- Time of the last announce.
  created timestamptz NOT NULL DEFAULT current_timestamp,
  -- A random number: an announce reads the peers of a swarm in this order, starting at a random number.
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
-- The grants that the role of the tracker needs (replace `tracker` with its name). The tables should belong to
-- another role, which cannot log in: CREATE ROLE tracker_tables NOLOGIN.
-- GRANT SELECT, INSERT, UPDATE, DELETE ON mo_peers, mo_downloads, mo_kv TO tracker;{more_rights}
{explain}"
    )
}
