//! The queries.

use super::{AddressColumn, Dialect, Recommendation};
use crate::config::{
    AnnounceQueries, DataQueries, DownloadsQueries, ExportQueries, ImportQueries, PeerQueries, PgConfig,
};

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
/// leechers meanwhile. A row that was inserted has no `xmax`, one that was there has.
fn graduate_peers(address: AddressColumn) -> String {
    let address = address_type(address);
    format!(
        "\
WITH r AS MATERIALIZED (
  SELECT * FROM unnest(@request::int4[], @info_hash::bytea[], @peer_id::bytea[], @address::{address}[],
    @port::int4[], @is_v6::bool[], @created::timestamptz[], @expires::timestamptz[])
    AS r (request, info_hash, peer_id, address, port, is_v6, created, expires)
  WHERE clock_timestamp() < expires),
moved AS (
  UPDATE mo_peers AS p SET is_seeder = TRUE, created = r.created FROM r
  WHERE p.info_hash = r.info_hash AND p.peer_id = r.peer_id AND p.address = r.address AND p.port = r.port
    AND NOT p.is_seeder
  RETURNING r.request, r.info_hash),
put AS (
  INSERT INTO mo_peers AS p (info_hash, peer_id, address, port, is_seeder, is_v6, created)
  SELECT info_hash, peer_id, address, port, TRUE, is_v6, created FROM r
  WHERE request NOT IN (SELECT request FROM moved)
  ON CONFLICT (info_hash, peer_id, address, port)
  DO UPDATE SET created = EXCLUDED.created WHERE p.is_seeder
  RETURNING info_hash, peer_id, address, port, xmax = 0 AS is_new),
done AS (
  SELECT request, info_hash, TRUE AS is_download FROM moved
  UNION ALL
  SELECT r.request, r.info_hash, put.is_new
  FROM put JOIN r USING (info_hash, peer_id, address, port)),
counted AS (
  INSERT INTO mo_downloads (info_hash, downloads)
  SELECT info_hash, COUNT(1) FROM done WHERE is_download GROUP BY info_hash ORDER BY info_hash
  ON CONFLICT (info_hash) DO UPDATE SET downloads = mo_downloads.downloads + EXCLUDED.downloads)
SELECT request, is_download FROM done"
    )
}

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

const DELETE_DATA: &str = "DELETE FROM mo_kv WHERE context = @context AND name = ANY(@key)";

/// Put after a deletion: from that time on it finds nothing.
const UNLESS_EXPIRED: &str = " AND clock_timestamp() < @expires";

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

pub(super) fn config(recommendation: &Recommendation) -> PgConfig {
    let for_mochi = recommendation.for_mochi;
    let config = PgConfig {
        announce: AnnounceQueries {
            query: if for_mochi { ANNOUNCE_FOR_MOCHI.into() } else { announce(recommendation.dialect) },
            peer_id_column: "peer_id".into(),
            address_column: "address".into(),
            port_column: "port".into(),
            batch_query: match recommendation.dialect {
                Dialect::Postgres => ANNOUNCE_BATCH.into(),
                // It would plan the inner queries anew for each call: no faster than one by one.
                Dialect::Cockroachdb => String::new(),
            },
        },
        peer: PeerQueries {
            add_query: PUT_PEER.into(),
            del_query: format!("{DELETE_PEER}{UNLESS_EXPIRED}"),
            graduate_query: graduate(for_mochi),
            count_query: match recommendation.dialect {
                Dialect::Postgres => COUNT,
                Dialect::Cockroachdb => COUNT_COCKROACHDB,
            }
            .into(),
            by_info_hash_clause: "WHERE info_hash = @info_hash".into(),
            count_seeders_column: "seeders".into(),
            count_leechers_column: "leechers".into(),
            newest_query: "SELECT max(created) FROM mo_peers".into(),
            add_batch_query: put_peers(recommendation.address),
            synchronous_commit: match recommendation.dialect {
                Dialect::Postgres if !recommendation.unlogged => "off".into(),
                _ => String::new(),
            },
            del_batch_query: match recommendation.dialect {
                Dialect::Postgres => delete_peers(recommendation.address),
                Dialect::Cockroachdb => String::new(),
            },
            graduate_batch_query: match recommendation.dialect {
                Dialect::Postgres => graduate_peers(recommendation.address),
                // It has no `xmax`.
                Dialect::Cockroachdb => String::new(),
            },
            count_batch_query: match recommendation.dialect {
                Dialect::Postgres => COUNT_BATCH,
                Dialect::Cockroachdb => COUNT_BATCH_COCKROACHDB,
            }
            .into(),
            forget_query: FORGET_PEERS.into(),
        },
        downloads: DownloadsQueries {
            get_query: "SELECT downloads FROM mo_downloads WHERE info_hash = @info_hash".into(),
            inc_query: INCREMENT_DOWNLOADS.into(),
            del_query: "DELETE FROM mo_downloads WHERE info_hash = @info_hash".into(),
        },
        data: DataQueries {
            add_query: PUT_DATA.into(),
            del_query: format!("{DELETE_DATA}{UNLESS_EXPIRED}"),
            get_query: "SELECT value FROM mo_kv WHERE context = @context AND name = @key".into(),
            contains_batch_query: match recommendation.dialect {
                Dialect::Postgres => CONTAINS_DATA,
                Dialect::Cockroachdb => CONTAINS_DATA_COCKROACHDB,
            }
            .into(),
        },
        export: ExportQueries {
            peers_query: EXPORT_PEERS.into(),
            downloads_query: EXPORT_DOWNLOADS.into(),
            data_query: EXPORT_DATA.into(),
        },
        import: ImportQueries {
            peers_query: format!("{PUT_PEER_AT_ANY_TIME}{IF_NEWER}"),
            downloads_query: IMPORT_DOWNLOADS.into(),
            data_query: IMPORT_DATA.into(),
            peers_batch_query: format!("{}{IF_NEWER}", put_peers_at_any_time(recommendation.address)),
            downloads_batch_query: IMPORT_DOWNLOADS_BATCH.into(),
            data_batch_query: IMPORT_DATA_BATCH.into(),
        },
        gc_query: collect_garbage(recommendation).into(),
        gc_count_query: "SELECT COUNT(1) FROM mo_peers WHERE created <= @created".into(),
        info_hash_count_query: match recommendation.dialect {
            Dialect::Postgres => COUNT_SWARMS,
            Dialect::Cockroachdb => "SELECT COUNT(DISTINCT info_hash) AS info_hashes FROM mo_peers",
        }
        .into(),
        ..PgConfig::default()
    };
    if for_mochi { without_what_mochi_refuses(config) } else { config }
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

fn without_what_mochi_refuses(config: PgConfig) -> PgConfig {
    PgConfig {
        announce: AnnounceQueries { batch_query: String::new(), ..config.announce },
        peer: PeerQueries {
            add_query: PUT_PEER_AT_ANY_TIME.into(),
            del_query: DELETE_PEER.into(),
            newest_query: String::new(),
            add_batch_query: String::new(),
            del_batch_query: String::new(),
            graduate_batch_query: String::new(),
            synchronous_commit: String::new(),
            count_batch_query: String::new(),
            forget_query: String::new(),
            ..config.peer
        },
        downloads: DownloadsQueries { del_query: String::new(), ..config.downloads },
        data: DataQueries {
            add_query: PUT_DATA_AT_ANY_TIME.into(),
            del_query: DELETE_DATA.into(),
            contains_batch_query: String::new(),
            ..config.data
        },
        export: ExportQueries::default(),
        import: ImportQueries::default(),
        gc_count_query: String::new(),
        ..config
    }
}
