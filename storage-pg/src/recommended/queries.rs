//! The queries.

use super::{AddressColumn, Dialect, Recommendation};
use crate::config::{PeerSettings, PgConfig};
use crate::connection::SynchronousCommit;
use crate::query_spec::{Query, QueryOrigin};

/// A stretch of the swarm from a random place on, and from its beginning if that is not enough. PostgreSQL
/// shall not know the limit when it plans: it might read whole swarms and sort them.
fn announce(dialect: Dialect) -> String {
    let limit = match dialect {
        Dialect::Postgres => "(SELECT @count::int8)",
        Dialect::Cockroachdb => "@count",
    };
    format!(
        "\
(SELECT peer_id, address, port FROM mo_peers
  WHERE info_hash = @info_hash AND is_seeder = @is_seeder AND is_v6 = @is_v6 AND sample >= @sample
  ORDER BY sample LIMIT {limit})
UNION ALL
(SELECT peer_id, address, port FROM mo_peers
  WHERE info_hash = @info_hash AND is_seeder = @is_seeder AND is_v6 = @is_v6 AND sample < @sample
  ORDER BY sample LIMIT {limit})
LIMIT {limit}"
    )
}

/// The same for MoChi, which has no `@sample`: the server draws the place.
const ANNOUNCE_FOR_MOCHI: &str = "\
WITH start AS MATERIALIZED (SELECT floor(random() * 2147483648)::int8 AS sample)
(SELECT peer_id, address, port FROM mo_peers
  WHERE info_hash = $1 AND is_seeder = $2 AND is_v6 = $3 AND sample >= (SELECT sample FROM start)
  ORDER BY mo_peers.sample LIMIT (SELECT $4::int8))
UNION ALL
(SELECT peer_id, address, port FROM mo_peers
  WHERE info_hash = $1 AND is_seeder = $2 AND is_v6 = $3 AND sample < (SELECT sample FROM start)
  ORDER BY mo_peers.sample LIMIT (SELECT $4::int8))
LIMIT (SELECT $4::int8)";

const PUT_PEER: &str = "\
INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6, created)
SELECT @info_hash, @peer_id, @address, @port, @is_seeder, @is_v6, @created
WHERE clock_timestamp() < @expires
ON CONFLICT (info_hash, peer_id, address, port)
DO UPDATE SET created = EXCLUDED.created, is_seeder = EXCLUDED.is_seeder";

/// The same without `@expires`.
const PUT_PEER_AT_ANY_TIME: &str = "\
INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6, created)
VALUES (@info_hash, @peer_id, @address, @port, @is_seeder, @is_v6, @created)
ON CONFLICT (info_hash, peer_id, address, port)
DO UPDATE SET created = EXCLUDED.created, is_seeder = EXCLUDED.is_seeder";

/// Puts many peers, each argument an array.
fn put_peers(address: AddressColumn) -> String {
    let address = address_type(address);
    format!(
        "\
INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6, created)
SELECT info_hash, peer_id, address, port, is_seeder, is_v6, created
FROM unnest(@info_hash::bytea[], @peer_id::bytea[], @address::{address}[], @port::int4[],
  @is_seeder::bool[], @is_v6::bool[], @created::timestamptz[], @expires::timestamptz[])
  AS r (info_hash, peer_id, address, port, is_seeder, is_v6, created, expires)
WHERE clock_timestamp() < expires
ON CONFLICT (info_hash, peer_id, address, port)
DO UPDATE SET created = EXCLUDED.created, is_seeder = EXCLUDED.is_seeder"
    )
}

/// The same without `@expires`.
fn put_peers_at_any_time(address: AddressColumn) -> String {
    let address = address_type(address);
    format!(
        "\
INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6, created)
SELECT * FROM unnest(@info_hash::bytea[], @peer_id::bytea[], @address::{address}[], @port::int4[],
  @is_seeder::bool[], @is_v6::bool[], @created::timestamptz[])
ON CONFLICT (info_hash, peer_id, address, port)
DO UPDATE SET created = EXCLUDED.created, is_seeder = EXCLUDED.is_seeder"
    )
}

/// Deletes many peers; the result has the number of each call whose peer was there.
fn delete_peers(address: AddressColumn) -> String {
    let address = address_type(address);
    format!(
        "\
DELETE FROM mo_peers AS p
USING unnest(@request::int4[], @info_hash::bytea[], @peer_id::bytea[], @address::{address}[],
  @port::int4[], @is_seeder::bool[], @expires::timestamptz[])
  AS r (request, info_hash, peer_id, address, port, is_seeder, expires)
WHERE p.info_hash = r.info_hash AND p.peer_id = r.peer_id AND p.address = r.address AND p.port = r.port
  AND p.is_seeder = r.is_seeder AND clock_timestamp() < r.expires
RETURNING r.request"
    )
}

/// Graduates many clients of one address each. A row for each that is done, which those are not that became
/// leechers meanwhile. A row that was inserted has the random number that was drawn for it, one that was there has its
/// own. (`xmax` would tell them apart too, but partitioned tables do not return it.) All are locked in the order of keys
/// before any is changed, as batches of puts lock them.
fn graduate_peers(address: AddressColumn) -> String {
    graduate_peers_where(address, "", "EXCLUDED.created")
}

/// The same for those that did not announce later, which keep their times.
fn graduate_peers_by_time(address: AddressColumn) -> String {
    graduate_peers_where(address, " AND p.created <= r.created", "GREATEST(p.created, EXCLUDED.created)")
}

fn graduate_peers_where(address: AddressColumn, unless_later: &str, refreshed: &str) -> String {
    let address = address_type(address);
    format!(
        "\
WITH r AS MATERIALIZED (
  SELECT r.*, floor(random() * 2147483648)::int4 AS sample
  FROM unnest(@request::int4[], @info_hash::bytea[], @peer_id::bytea[], @address::{address}[],
    @port::int4[], @is_v6::bool[], @created::timestamptz[], @expires::timestamptz[])
    AS r (request, info_hash, peer_id, address, port, is_v6, created, expires)
  WHERE clock_timestamp() < expires),
locked AS MATERIALIZED (
  SELECT FROM mo_peers JOIN r USING (info_hash, peer_id, address, port)
  ORDER BY info_hash, peer_id, address, port FOR UPDATE OF mo_peers),
moved AS (
  UPDATE mo_peers AS p SET is_seeder = TRUE, created = r.created FROM r
  WHERE p.info_hash = r.info_hash AND p.peer_id = r.peer_id AND p.address = r.address AND p.port = r.port
    AND NOT p.is_seeder{unless_later} AND (SELECT COUNT(1) FROM locked) >= 0
  RETURNING r.request, r.info_hash),
put AS (
  INSERT INTO mo_peers AS p (info_hash, peer_id, address, port, is_seeder, is_v6, created, sample)
  SELECT info_hash, peer_id, address, port, TRUE, is_v6, created, sample FROM r
  WHERE request NOT IN (SELECT request FROM moved)
  ON CONFLICT (info_hash, peer_id, address, port)
  DO UPDATE SET created = {refreshed} WHERE p.is_seeder
  RETURNING info_hash, peer_id, address, port, sample),
done AS (
  SELECT request, info_hash, TRUE AS is_download FROM moved
  UNION ALL
  SELECT r.request, r.info_hash, put.sample = r.sample
  FROM put JOIN r USING (info_hash, peer_id, address, port)),
counted AS (
  INSERT INTO mo_downloads (info_hash, downloads)
  SELECT info_hash, COUNT(1) FROM done WHERE is_download GROUP BY info_hash ORDER BY info_hash
  ON CONFLICT (info_hash) DO UPDATE SET downloads = mo_downloads.downloads + EXCLUDED.downloads)
SELECT request, is_download FROM done"
    )
}

/// Peers as of a time, which a query changes where they are.
fn peers_as_of_a_time(address: AddressColumn) -> String {
    let address = address_type(address);
    format!(
        "\
unnest(@request::int4[], @info_hash::bytea[], @peer_id::bytea[], @address::{address}[], @port::int4[],
  @created::timestamptz[], @expires::timestamptz[])
  AS r (request, info_hash, peer_id, address, port, created, expires)
WHERE p.info_hash = r.info_hash AND p.peer_id = r.peer_id AND p.address = r.address AND p.port = r.port
  AND clock_timestamp() < r.expires"
    )
}

/// Sets later times of many peers; the result has the number of each that is there.
fn touch_peers(address: AddressColumn) -> String {
    let peers = peers_as_of_a_time(address);
    format!(
        "\
UPDATE mo_peers AS p SET created = GREATEST(p.created, r.created)
FROM {peers}
RETURNING r.request"
    )
}

/// Removes many peers, unless they announced later.
fn delete_peers_by_time(address: AddressColumn) -> String {
    let peers = peers_as_of_a_time(address);
    format!(
        "\
DELETE FROM mo_peers AS p
USING {peers} AND p.created <= r.created
RETURNING r.request"
    )
}

/// Puts many peers as of a time; the result has the number of each that was written.
fn put_peers_by_time(address: AddressColumn) -> String {
    let address = address_type(address);
    format!(
        "\
WITH r AS MATERIALIZED (
  SELECT * FROM unnest(@request::int4[], @info_hash::bytea[], @peer_id::bytea[], @address::{address}[],
    @port::int4[], @is_seeder::bool[], @is_v6::bool[], @created::timestamptz[], @expires::timestamptz[])
    AS r (request, info_hash, peer_id, address, port, is_seeder, is_v6, created, expires)
  WHERE clock_timestamp() < expires),
put AS (
  INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6, created)
  SELECT info_hash, peer_id, address, port, is_seeder, is_v6, created FROM r
  ON CONFLICT (info_hash, peer_id, address, port)
  DO UPDATE SET created = EXCLUDED.created, is_seeder = EXCLUDED.is_seeder
  WHERE (EXCLUDED.created, EXCLUDED.is_seeder) > (mo_peers.created, mo_peers.is_seeder)
  RETURNING info_hash, peer_id, address, port)
SELECT r.request FROM put JOIN r USING (info_hash, peer_id, address, port)"
    )
}

/// Peers of many swarms, each of one role and family: a stretch from a random place on.
const READ_PEERS: &str = "\
SELECT r.request, p.peer_id, p.address, p.port, p.created
FROM unnest(@request::int4[], @info_hash::bytea[], @is_seeder::bool[], @is_v6::bool[], @sample::int4[])
  AS r (request, info_hash, is_seeder, is_v6, sample)
CROSS JOIN LATERAL (
  (SELECT peer_id, address, port, created FROM mo_peers
    WHERE info_hash = r.info_hash AND is_seeder = r.is_seeder AND is_v6 = r.is_v6 AND sample >= r.sample
    ORDER BY sample LIMIT (SELECT @limit::int8))
  UNION ALL
  (SELECT peer_id, address, port, created FROM mo_peers
    WHERE info_hash = r.info_hash AND is_seeder = r.is_seeder AND is_v6 = r.is_v6 AND sample < r.sample
    ORDER BY sample LIMIT (SELECT @limit::int8))
  LIMIT (SELECT @limit::int8)) AS p";

fn address_type(address: AddressColumn) -> &'static str {
    match address {
        AddressColumn::Inet => "inet",
        AddressColumn::Bytea => "bytea",
    }
}

/// For each call seeders, unless it is for a seeder, and then leechers: what comes after enough of them is
/// not read. The server shall not know the limit when it plans: it might read whole swarms and sort them.
const ANNOUNCE_BATCH: &str = "\
SELECT r.request, p.peer_id, p.address, p.port
FROM unnest(@request::int4[], @info_hash::bytea[], @for_seeder::bool[], @is_v6::bool[], @sample::int4[])
  AS r (request, info_hash, for_seeder, is_v6, sample)
CROSS JOIN LATERAL (
  SELECT array_agg(peer_id) AS peer_id, array_agg(address) AS address, array_agg(port) AS port FROM (
    (SELECT peer_id, address, port FROM mo_peers
      WHERE NOT r.for_seeder AND info_hash = r.info_hash AND is_seeder AND is_v6 = r.is_v6
        AND sample >= r.sample ORDER BY sample LIMIT (SELECT @limit::int8))
    UNION ALL
    (SELECT peer_id, address, port FROM mo_peers
      WHERE NOT r.for_seeder AND info_hash = r.info_hash AND is_seeder AND is_v6 = r.is_v6
        AND sample < r.sample ORDER BY sample LIMIT (SELECT @limit::int8))
    UNION ALL
    (SELECT peer_id, address, port FROM mo_peers
      WHERE info_hash = r.info_hash AND NOT is_seeder AND is_v6 = r.is_v6
        AND sample >= r.sample ORDER BY sample LIMIT (SELECT @limit::int8))
    UNION ALL
    (SELECT peer_id, address, port FROM mo_peers
      WHERE info_hash = r.info_hash AND NOT is_seeder AND is_v6 = r.is_v6
        AND sample < r.sample ORDER BY sample LIMIT (SELECT @limit::int8))
    LIMIT (SELECT @limit::int8)) AS found) AS p";

/// Looked up by index, one by one: for a join the server might read all downloads.
const COUNT_BATCH: &str = "\
SELECT r.request, c.seeders, c.leechers,
  COALESCE((SELECT downloads FROM mo_downloads WHERE mo_downloads.info_hash = r.info_hash), 0) AS downloads
FROM unnest(@request::int4[], @info_hash::bytea[]) AS r (request, info_hash)
CROSS JOIN LATERAL (
  SELECT COALESCE(SUM(seeders), 0) AS seeders, COALESCE(SUM(leechers), 0) AS leechers
  FROM mo_swarms WHERE mo_swarms.info_hash = r.info_hash) AS c";

/// The same for CockroachDB: it counts peers, and would plan an inner query anew for each call.
const COUNT_BATCH_COCKROACHDB: &str = "\
SELECT r.request, COUNT(p.port) FILTER (WHERE p.is_seeder) AS seeders,
  COUNT(p.port) FILTER (WHERE NOT p.is_seeder) AS leechers, COALESCE(MAX(d.downloads), 0) AS downloads
FROM unnest(@request::int4[], @info_hash::bytea[]) AS r (request, info_hash)
LEFT LOOKUP JOIN mo_peers AS p ON p.info_hash = r.info_hash
LEFT LOOKUP JOIN mo_downloads AS d ON d.info_hash = r.info_hash
GROUP BY r.request";

/// With this after it, the newer of two records stays, at equal times the seeder.
const IF_NEWER: &str = "
WHERE (EXCLUDED.created, EXCLUDED.is_seeder) > (mo_peers.created, mo_peers.is_seeder)";

const DELETE_PEER: &str = "\
DELETE FROM mo_peers
WHERE info_hash = @info_hash AND peer_id = @peer_id AND address = @address AND port = @port
  AND is_seeder = @is_seeder";

const FORGET_PEERS: &str = "DELETE FROM mo_peers WHERE info_hash = @info_hash";

const FORGET_PEERS_BATCH: &str = "DELETE FROM mo_peers WHERE info_hash = ANY(@info_hash::bytea[])";

const DELETE_DOWNLOADS_BATCH: &str = "DELETE FROM mo_downloads WHERE info_hash = ANY(@info_hash::bytea[])";

const DELETE_DATA: &str = "DELETE FROM mo_kv WHERE context = @context AND name = ANY(@key)";

const COUNT: &str = "\
SELECT COALESCE(SUM(seeders), 0) AS seeders, COALESCE(SUM(leechers), 0) AS leechers FROM mo_swarms";

const COUNT_COCKROACHDB: &str = "\
SELECT COUNT(1) FILTER (WHERE is_seeder) AS seeders,
  COUNT(1) FILTER (WHERE NOT is_seeder) AS leechers
FROM mo_peers";

const COUNT_SWARMS: &str = "\
SELECT COUNT(1) AS info_hashes FROM (
  SELECT FROM mo_swarms GROUP BY info_hash HAVING SUM(seeders) + SUM(leechers) > 0) AS swarms";

const INCREMENT_DOWNLOADS: &str = "\
INSERT INTO mo_downloads (info_hash, downloads) VALUES (@info_hash, 1)
ON CONFLICT (info_hash) DO UPDATE SET downloads = mo_downloads.downloads + 1";

const IMPORT_DOWNLOADS: &str = "\
INSERT INTO mo_downloads (info_hash, downloads) VALUES (@info_hash, @count)
ON CONFLICT (info_hash) DO UPDATE SET downloads = EXCLUDED.downloads
WHERE EXCLUDED.downloads > mo_downloads.downloads";

const PUT_DATA: &str = "\
INSERT INTO mo_kv (context, name, value)
SELECT @context, @key, @value WHERE clock_timestamp() < @expires
ON CONFLICT (context, name) DO UPDATE SET value = EXCLUDED.value";

/// The same without `@expires`.
const PUT_DATA_AT_ANY_TIME: &str = "\
INSERT INTO mo_kv (context, name, value) VALUES (@context, @key, @value)
ON CONFLICT (context, name) DO UPDATE SET value = EXCLUDED.value";

const CONTAINS_DATA: &str = "\
SELECT r.request
FROM unnest(@request::int4[], @context::varchar[], @key::bytea[]) AS r (request, context, key)
WHERE EXISTS (SELECT FROM mo_kv WHERE mo_kv.context = r.context AND mo_kv.name = r.key)";

/// The same for CockroachDB, which must be told to look each key up by the index.
const CONTAINS_DATA_COCKROACHDB: &str = "\
SELECT r.request
FROM unnest(@request::int4[], @context::varchar[], @key::bytea[]) AS r (request, context, key)
INNER LOOKUP JOIN mo_kv AS d ON d.context = r.context AND d.name = r.key";

/// Goes from one swarm to the next by the indexes of both tables, from a random place on and round.
const CHECK_COUNTS: &str = "\
WITH RECURSIVE walk AS (
  SELECT 0 AS number, @info_hash::bytea AS info_hash, FALSE AS is_wrapped
  UNION ALL
  SELECT walk.number + 1, next.info_hash, next.is_wrapped
  FROM walk CROSS JOIN LATERAL (
    (SELECT p.info_hash, walk.is_wrapped FROM mo_peers AS p WHERE p.info_hash > walk.info_hash
      ORDER BY p.info_hash LIMIT 1)
    UNION ALL
    (SELECT s.info_hash, walk.is_wrapped FROM mo_swarms AS s WHERE s.info_hash > walk.info_hash
      ORDER BY s.info_hash LIMIT 1)
    UNION ALL
    (SELECT p.info_hash, TRUE FROM mo_peers AS p WHERE NOT walk.is_wrapped ORDER BY p.info_hash LIMIT 1)
    UNION ALL
    (SELECT s.info_hash, TRUE FROM mo_swarms AS s WHERE NOT walk.is_wrapped ORDER BY s.info_hash LIMIT 1)
    ORDER BY 2, 1 LIMIT 1) AS next (info_hash, is_wrapped)
  WHERE walk.number < @limit::int8 AND (NOT next.is_wrapped OR next.info_hash <= @info_hash))
SELECT walk.info_hash, kept.seeders AS kept_seeders, kept.leechers AS kept_leechers, there.seeders, there.leechers
FROM walk
CROSS JOIN LATERAL (
  SELECT COALESCE(SUM(s.seeders), 0) AS seeders, COALESCE(SUM(s.leechers), 0) AS leechers
  FROM mo_swarms AS s WHERE s.info_hash = walk.info_hash) AS kept
CROSS JOIN LATERAL (
  SELECT COUNT(1) FILTER (WHERE p.is_seeder) AS seeders, COUNT(1) FILTER (WHERE NOT p.is_seeder) AS leechers
  FROM mo_peers AS p WHERE p.info_hash = walk.info_hash) AS there
WHERE walk.number > 0";

/// The order is known when this is planned, and what is for the other orders is left out of the plan.
const LIST_SWARMS: &str = "\
SELECT page.info_hash, counts.seeders, counts.leechers,
  COALESCE((SELECT d.downloads FROM mo_downloads AS d WHERE d.info_hash = page.info_hash), 0) AS downloads
FROM (
  (SELECT info_hash, 0 AS rank FROM mo_swarms
    WHERE @order::text = 'info_hash' AND info_hash > @info_hash::bytea
    GROUP BY info_hash HAVING SUM(seeders) + SUM(leechers) > 0
    ORDER BY info_hash LIMIT @limit::int8)
  UNION ALL
  (SELECT info_hash, rank FROM (
    SELECT info_hash, GREATEST(0, CASE @order::text WHEN 'seeders' THEN SUM(seeders)
      WHEN 'leechers' THEN SUM(leechers) ELSE SUM(seeders) + SUM(leechers) END) AS rank
    FROM mo_swarms WHERE @order::text IN ('peers', 'seeders', 'leechers')
    GROUP BY info_hash HAVING SUM(seeders) + SUM(leechers) > 0) AS ranked
    WHERE (-rank, info_hash) > (-@count::int8, @info_hash::bytea)
    ORDER BY rank DESC, info_hash LIMIT @limit::int8)
  UNION ALL
  (SELECT info_hash, downloads FROM mo_downloads
    WHERE @order::text = 'downloads' AND downloads > 0 AND downloads <= @count::int8
      AND (downloads < @count::int8 OR info_hash > @info_hash::bytea)
    ORDER BY downloads DESC, info_hash LIMIT @limit::int8)) AS page
CROSS JOIN LATERAL (
  SELECT COALESCE(SUM(s.seeders), 0) AS seeders, COALESCE(SUM(s.leechers), 0) AS leechers
  FROM mo_swarms AS s WHERE s.info_hash = page.info_hash) AS counts
ORDER BY page.rank DESC, page.info_hash";

const IMPORT_DATA: &str = "\
INSERT INTO mo_kv (context, name, value) VALUES (@context, @key, @value)
ON CONFLICT (context, name) DO NOTHING";

const IMPORT_DOWNLOADS_BATCH: &str = "\
INSERT INTO mo_downloads (info_hash, downloads)
SELECT * FROM unnest(@info_hash::bytea[], @count::int8[])
ON CONFLICT (info_hash) DO UPDATE SET downloads = EXCLUDED.downloads
WHERE EXCLUDED.downloads > mo_downloads.downloads";

const IMPORT_DATA_BATCH: &str = "\
INSERT INTO mo_kv (context, name, value)
SELECT * FROM unnest(@context::varchar[], @key::bytea[], @value::bytea[])
ON CONFLICT (context, name) DO NOTHING";

const EXPORT_PEERS: &str = "\
SELECT info_hash, peer_id, address, port, is_seeder, created FROM mo_peers
WHERE (info_hash, peer_id, address, port) > (@info_hash, @peer_id, @address, @port)
ORDER BY info_hash, peer_id, address, port LIMIT @count";

const EXPORT_DOWNLOADS: &str = "\
SELECT info_hash, downloads FROM mo_downloads
WHERE info_hash > @info_hash ORDER BY info_hash LIMIT @count";

const EXPORT_DATA: &str = "\
SELECT context, name AS key, value FROM mo_kv
WHERE (context, name) > (@context, @key) ORDER BY context, name LIMIT @count";

/// A query for the recommended tables, with the comment that it has in the example file.
pub(super) struct RecommendedQuery {
    pub(super) comment: String,
    /// Empty where it is better left out.
    pub(super) sql: String,
}

fn commented(comment: impl Into<String>, sql: impl Into<String>) -> RecommendedQuery {
    RecommendedQuery { comment: comment.into(), sql: sql.into() }
}

/// What is recommended for a query. MoChi has only those that it knows, without our arguments.
pub(super) fn recommended(query: Query, recommendation: &Recommendation) -> RecommendedQuery {
    let Recommendation { dialect, address, for_mochi, .. } = *recommendation;
    let only_on_postgres = |sql: String| match dialect {
        Dialect::Postgres => sql,
        Dialect::Cockroachdb => String::new(),
    };
    match query {
        Query::SelectPeers if for_mochi => {
            commented("Arguments: $1 info hash, $2 is seeder, $3 is IPv6, $4 count.", ANNOUNCE_FOR_MOCHI)
        }
        Query::SelectPeers => commented(ANNOUNCE_COMMENT, announce(dialect)),
        // CockroachDB would plan the inner queries anew for each call: no faster than one by one.
        Query::SelectPeersBatch => commented(ANNOUNCE_BATCH_COMMENT, only_on_postgres(ANNOUNCE_BATCH.into())),
        Query::PutPeer if for_mochi => commented(PUT_PEER_COMMENT, PUT_PEER_AT_ANY_TIME),
        Query::PutPeer => commented(format!("{PUT_PEER_COMMENT}\n{EXPIRES_COMMENT}"), PUT_PEER),
        Query::PutPeerBatch => commented(PUT_PEERS_COMMENT, put_peers(address)),
        Query::DeletePeer => {
            commented("Deletes the peer if it has this role.", unless_expired(DELETE_PEER, for_mochi))
        }
        Query::DeletePeerBatch => commented(DELETE_PEERS_COMMENT, only_on_postgres(delete_peers(address))),
        Query::GraduatePeer => {
            commented("Makes this leecher a seeder and sets its time.", graduate(for_mochi))
        }
        // CockroachDB changes a table once in a statement at most.
        Query::GraduatePeerBatch => {
            commented(GRADUATE_PEERS_COMMENT, only_on_postgres(graduate_peers(address)))
        }
        Query::BulkPut => commented(BULK_PUT_COMMENT, only_on_postgres(put_peers_by_time(address))),
        Query::BulkTouch => commented(BULK_TOUCH_COMMENT, only_on_postgres(touch_peers(address))),
        Query::BulkDelete => commented(
            "Deletes each peer whose last announce is at or before @created. Returns the request of each deleted peer.",
            only_on_postgres(delete_peers_by_time(address)),
        ),
        Query::BulkGraduate => {
            commented(BULK_GRADUATE_COMMENT, only_on_postgres(graduate_peers_by_time(address)))
        }
        Query::BulkRead => commented(
            "Reads up to @limit peers for each @request, which is one swarm, role and address family.",
            only_on_postgres(READ_PEERS.into()),
        ),
        Query::CountPeers => match dialect {
            Dialect::Postgres => commented(COUNT_COMMENT, COUNT),
            Dialect::Cockroachdb => commented(
                "Counts the peers of all swarms; with by_info_hash_clause appended, those of one swarm.",
                COUNT_COCKROACHDB,
            ),
        },
        Query::CountSwarm => commented("", "WHERE info_hash = @info_hash"),
        Query::CountSwarmBatch => commented(
            COUNT_BATCH_COMMENT,
            match dialect {
                Dialect::Postgres => COUNT_BATCH,
                Dialect::Cockroachdb => COUNT_BATCH_COCKROACHDB,
            },
        ),
        Query::NewestPeer => commented(
            "Optional, not in MoChi: `check` compares the result with the clock.",
            "SELECT max(created) FROM mo_peers",
        ),
        Query::ForgetPeers => commented(FORGET_PEERS_COMMENT, FORGET_PEERS),
        Query::GetDownloads => {
            commented("", "SELECT downloads FROM mo_downloads WHERE info_hash = @info_hash")
        }
        Query::IncrementDownloads => commented("", INCREMENT_DOWNLOADS),
        Query::ForgetPeersBatch => commented(
            "Optional, not in MoChi: forget_query for many swarms. Needs downloads.del_batch_query.",
            FORGET_PEERS_BATCH,
        ),
        Query::DeleteDownloadsBatch => {
            commented("Optional, not in MoChi: del_query for many swarms.", DELETE_DOWNLOADS_BATCH)
        }
        Query::DeleteDownloads => commented(
            "Optional, not in MoChi: removes the downloads of a swarm, for `swarm remove`.",
            "DELETE FROM mo_downloads WHERE info_hash = @info_hash",
        ),
        Query::PutData => commented("", if for_mochi { PUT_DATA_AT_ANY_TIME } else { PUT_DATA }),
        Query::DeleteData => commented("@key is an array of keys.", unless_expired(DELETE_DATA, for_mochi)),
        Query::GetData => commented("", "SELECT value FROM mo_kv WHERE context = @context AND name = @key"),
        Query::ContainsDataBatch => commented(
            CONTAINS_DATA_COMMENT,
            match dialect {
                Dialect::Postgres => CONTAINS_DATA,
                Dialect::Cockroachdb => CONTAINS_DATA_COCKROACHDB,
            },
        ),
        Query::ExportPeers => commented("", EXPORT_PEERS),
        Query::ExportDownloads => commented("", EXPORT_DOWNLOADS),
        Query::ExportData => commented("", EXPORT_DATA),
        Query::ImportPeers => commented(
            "The most recent announce wins; at equal times, the seeder.",
            format!("{PUT_PEER_AT_ANY_TIME}{IF_NEWER}"),
        ),
        Query::ImportDownloads => commented("The larger download count wins.", IMPORT_DOWNLOADS),
        Query::ImportData => commented("Existing data is kept.", IMPORT_DATA),
        Query::ImportPeersBatch => commented(
            "Optional: the same for many records, much faster. Every argument is an array.",
            format!("{}{IF_NEWER}", put_peers_at_any_time(address)),
        ),
        Query::ImportDownloadsBatch => commented("", IMPORT_DOWNLOADS_BATCH),
        Query::ImportDataBatch => commented("", IMPORT_DATA_BATCH),
        Query::Ping => commented("Checks that the server responds.", "SELECT 1"),
        Query::CollectGarbage => {
            let comment = if for_mochi { COLLECT_COMMENT_FOR_MOCHI } else { COLLECT_COMMENT };
            commented(comment, collect_garbage(recommendation))
        }
        Query::CountStale => {
            commented(COUNT_STALE_COMMENT, "SELECT COUNT(1) FROM mo_peers WHERE created <= @created")
        }
        Query::MergeCounts => commented(
            "Optional, not in MoChi: merges the count rows of each swarm after a garbage collection.",
            only_on_postgres("SELECT mo_merge_swarms()".into()),
        ),
        // CockroachDB keeps no counts.
        Query::ListSwarms => commented(LIST_SWARMS_COMMENT, only_on_postgres(LIST_SWARMS.into())),
        Query::CheckCounts => commented(CHECK_COUNTS_COMMENT, only_on_postgres(CHECK_COUNTS.into())),
        Query::CountInfoHashes => commented(
            "Counts the swarms that have peers.",
            match dialect {
                Dialect::Postgres => COUNT_SWARMS,
                Dialect::Cockroachdb => "SELECT COUNT(DISTINCT info_hash) AS info_hashes FROM mo_peers",
            },
        ),
    }
}

pub(super) fn config(recommendation: &Recommendation) -> PgConfig {
    let for_mochi = recommendation.for_mochi;
    let mut config = PgConfig {
        peer: PeerSettings {
            synchronous_commit: match recommendation.dialect {
                Dialect::Postgres if !recommendation.unlogged && !for_mochi => Some(SynchronousCommit::Off),
                _ => None,
            },
            ..PeerSettings::default()
        },
        ..PgConfig::default()
    };
    for query in Query::ALL.iter().filter(|query| !for_mochi || query.spec().origin == QueryOrigin::Mochi) {
        config.queries[*query] = Some(recommended(*query, recommendation).sql).filter(|sql| !sql.is_empty());
    }
    config
}

/// A deletion that finds nothing once it has expired. MoChi has no `@expires`.
fn unless_expired(deletion: &str, for_mochi: bool) -> String {
    let unless_expired = if for_mochi { "" } else { " AND clock_timestamp() < @expires" };
    format!("{deletion}{unless_expired}")
}

/// MoChi hands no time to a graduation: the server's clock gives it.
fn graduate(for_mochi: bool) -> String {
    let created = if for_mochi { "current_timestamp" } else { "@created" };
    format!(
        "\
UPDATE mo_peers SET is_seeder = TRUE, created = {created}
WHERE info_hash = @info_hash AND peer_id = @peer_id AND address = @address AND port = @port
  AND NOT is_seeder"
    )
}

/// A large deletion is cut into pieces, so that no put waits for long behind it.
///
/// On PostgreSQL a piece goes on where the scan before it ended, as scans of tables larger than a quarter
/// of `shared_buffers` do by themselves (`synchronize_seqscans`); smaller ones are quickly read. Rows
/// that others have in hand are theirs: most are announced anew at this moment.
fn collect_garbage(recommendation: &Recommendation) -> &'static str {
    match recommendation.dialect {
        _ if recommendation.for_mochi => "DELETE FROM mo_peers WHERE created <= @created",
        Dialect::Cockroachdb => "DELETE FROM mo_peers WHERE created <= @created LIMIT @limit",
        Dialect::Postgres => {
            "\
DELETE FROM mo_peers WHERE created <= @created AND ctid = ANY(ARRAY(
  SELECT ctid FROM mo_peers WHERE created <= @created LIMIT @limit FOR UPDATE SKIP LOCKED))"
        }
    }
}

const PUT_PEER_COMMENT: &str = "\
Inserts a peer, or updates its role and time. Arguments here and below: @info_hash, @peer_id (bytes),
@address (inet or bytes), @port, @is_seeder, @is_v6, @created (time of the announce).";

const EXPIRES_COMMENT: &str = "\
@expires (optional, not in MoChi) is the deadline of the write, by the server's clock. After it the query
must change nothing, so that a write that timed out cannot overwrite a newer one later.";

const ANNOUNCE_BATCH_COMMENT: &str = "\
Optional, not in MoChi: answers many announces, much faster under load. Every argument but @limit (the
largest number of peers wanted) is an array. The result has a row for each @request, with arrays of its
peers: only leechers for @for_seeder, otherwise seeders first.";

const GRADUATE_PEERS_COMMENT: &str = "\
Optional, not in MoChi: graduate_query for many peers, including those not stored yet, with their downloads.
The result has a row with is_download for each @request that was completed; the rest are done one by one.";

const BULK_PUT_COMMENT: &str = "\
Inserts or updates each peer unless a later announce is stored; at equal times a seeder wins. Returns the
request of each peer that was written.";

const BULK_TOUCH_COMMENT: &str = "\
Sets the time of each stored peer to the later of both times; inserts none. Returns the request of each peer
that is stored.";

const BULK_GRADUATE_COMMENT: &str = "\
Makes each peer a seeder and counts its download. A leecher that announced after @created remains a leecher; a
seeder keeps the later time. Returns request and is_download.";

const CONTAINS_DATA_COMMENT: &str = "\
Optional, not in MoChi: returns the @request of each key that exists. Without it, get_query reads every key with
its value.";

const COUNT_COMMENT: &str = "\
Counts the seeders and leechers of all swarms; with by_info_hash_clause appended, of one swarm. Without a
table of counts:
SELECT COUNT(1) FILTER (WHERE is_seeder) AS seeders, COUNT(1) FILTER (WHERE NOT is_seeder) AS leechers
FROM mo_peers";

const COUNT_STALE_COMMENT: &str = "\
Counts the stale peers first: if they are more than gc_max_share (0.5) of all peers, none is removed. Without
this query, the removal is one transaction, which is rolled back in that case.";

const ANNOUNCE_COMMENT: &str = "\
Selects up to @count peers of one role and address family. @sample (not in MoChi) is a random number from 0
to 2147483647, different for each call: this query starts reading the swarm there.";

const COLLECT_COMMENT: &str = "\
Removes the peers whose last announce is at or before @created. With @limit (not in MoChi), it is run
repeatedly, for at most that many peers each time, so that no call waits long behind it.";

const COLLECT_COMMENT_FOR_MOCHI: &str = "Removes the peers whose last announce is at or before @created.";

const PUT_PEERS_COMMENT: &str = "\
Optional, not in MoChi: add_query for many peers, much faster under load. Every argument is an array.";

const DELETE_PEERS_COMMENT: &str = "\
Optional, not in MoChi: del_query for many peers. Returns the @request of each peer that was deleted.";

const COUNT_BATCH_COMMENT: &str = "\
Optional, not in MoChi: the seeders, leechers and downloads of many swarms, a row for each @request.";

const CHECK_COUNTS_COMMENT: &str = "\
Optional, not in MoChi: compares the counts that the triggers keep with the stored peers, for up to @limit swarms
starting at a random @info_hash. Returns a row for each swarm that has counts or peers.";

const LIST_SWARMS_COMMENT: &str = "\
Lists up to @limit swarms that follow the swarm with @count and @info_hash in the given @order: 'info_hash'
(@count is 0), or 'peers', 'seeders', 'leechers', 'downloads' (largest first, then by info hash). Swarms
without peers are left out; in the order 'downloads', those without downloads. The order 'info_hash' reads
one page, the others all counts; 'downloads' reads all downloads unless (downloads DESC, info_hash) has an index.";

const FORGET_PEERS_COMMENT: &str = "\
Optional, not in MoChi: deletes all peers of a swarm. Without it, del_query deletes them one by one.";

#[cfg(test)]
mod tests {
    use super::super::AddressColumn;
    use super::*;
    use crate::arguments::Argument;
    use crate::parsed_query::{OpenedParts, ParsedQueries};

    fn recommendations() -> impl Iterator<Item = Recommendation> {
        let dialects = [Dialect::Postgres, Dialect::Cockroachdb];
        let addresses = [AddressColumn::Inet, AddressColumn::Bytea];
        dialects.into_iter().flat_map(move |dialect| {
            addresses.into_iter().flat_map(move |address| {
                [false, true].map(|for_mochi| Recommendation { dialect, address, unlogged: false, for_mochi })
            })
        })
    }

    #[test]
    fn what_is_recommended_is_understood() {
        for recommendation in recommendations() {
            let ParsedQueries { queries, problems } =
                ParsedQueries::of(&recommendation.config(), OpenedParts::Everything);
            assert!(problems.is_empty(), "{recommendation:?}: {problems:?}");
            let known_to_mochi = |query: &Query| query.spec().origin == QueryOrigin::Mochi;
            assert!(queries.len() >= Query::ALL.iter().filter(|query| known_to_mochi(query)).count());
        }
    }

    #[test]
    fn mochi_is_given_what_it_knows() {
        for recommendation in recommendations().filter(|recommendation| recommendation.for_mochi) {
            for parsed in ParsedQueries::of(&recommendation.config(), OpenedParts::Everything).queries {
                assert_eq!(parsed.query.spec().origin, QueryOrigin::Mochi);
                for argument in [Argument::Sample, Argument::Limit, Argument::Expires, Argument::Order] {
                    assert!(
                        !parsed.rewritten.arguments.contains(&argument),
                        "{:?}: {argument}",
                        parsed.query
                    );
                }
            }
        }
    }
}
