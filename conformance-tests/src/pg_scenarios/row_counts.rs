//! Queries for which the server does not report the number of affected rows: functions, procedures, subqueries.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use storage_core::layer::Limits;
use storage_core::{Capability, InfoHash, Peer, PeerId, PeerStorageExt, Storage, Timestamp};
use storage_pg::Query;
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, on_schema, open_with};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

pub(super) fn tests() -> Vec<Trial> {
    let recommended = Recommendation::default();
    let mut tests = vec![on_schema(
        "row counts: a function of SQL that returns nothing is reported by check",
        recommended,
        |schema| block_on(nothing_is_returned(schema)),
    )];
    for (name, collect) in [
        ("a function", "SELECT gc(@created, @limit)"),
        ("a procedure", "CALL collect(@created, @limit, NULL)"),
        (
            "a subquery",
            "WITH gone AS (DELETE FROM mo_peers WHERE ctid = ANY(ARRAY(SELECT ctid FROM mo_peers WHERE created <= \
             @created LIMIT @limit)) RETURNING 1) SELECT count(*) FROM gone",
        ),
        (
            "the rows of a subquery",
            "WITH gone AS (DELETE FROM mo_peers WHERE ctid = ANY(ARRAY(SELECT ctid FROM mo_peers WHERE created <= \
             @created LIMIT @limit)) RETURNING peer_id) SELECT peer_id FROM gone",
        ),
    ] {
        tests.push(on_schema(
            &format!("row counts: a garbage collection by {name} goes on to its end"),
            recommended,
            move |schema| block_on(all_garbage(schema, collect)),
        ));
    }
    for (name, delete) in [
        ("a function", "SELECT del(@info_hash, @peer_id, @address, @port, @is_seeder)"),
        (
            "a subquery",
            "WITH gone AS (DELETE FROM mo_peers WHERE info_hash = @info_hash AND peer_id = @peer_id AND \
             address = @address AND port = @port AND is_seeder = @is_seeder RETURNING 1) SELECT count(*) FROM gone",
        ),
    ] {
        tests.push(on_schema(
            &format!("row counts: a deletion by {name} knows whether the peer was there"),
            recommended,
            move |schema| block_on(deletions(schema, delete)),
        ));
    }
    tests
}

const FUNCTIONS: &str = "
CREATE FUNCTION gc(cutoff timestamptz, most int8) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE removed bigint;
BEGIN
    DELETE FROM mo_peers WHERE ctid = ANY(ARRAY(SELECT ctid FROM mo_peers WHERE created <= cutoff LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;
CREATE PROCEDURE collect(cutoff timestamptz, most int8, INOUT removed bigint) LANGUAGE plpgsql AS $$
BEGIN removed := gc(cutoff, most); END $$;
CREATE FUNCTION del(bytea, bytea, inet, int4, bool) RETURNS int LANGUAGE sql AS $$
WITH gone AS (DELETE FROM mo_peers WHERE info_hash = $1 AND peer_id = $2 AND address = $3 AND port = $4
    AND is_seeder = $5 RETURNING 1)
SELECT count(*)::int FROM gone $$;
CREATE FUNCTION del_void(bytea, bytea, inet, int4, bool) RETURNS void LANGUAGE sql AS $$
DELETE FROM mo_peers WHERE info_hash = $1 AND peer_id = $2 AND address = $3 AND port = $4 AND is_seeder = $5 $$;
CREATE FUNCTION gc_void(timestamptz, int8) RETURNS void LANGUAGE sql AS $$
DELETE FROM mo_peers WHERE created <= $1 $$;";

async fn storage(schema: &Schema, queries: &[(Query, &str)]) -> Result<Arc<dyn Storage>, Failed> {
    schema.execute(FUNCTIONS).await?;
    let mut config = Recommendation::default().config();
    for (query, text) in queries {
        config.queries[*query] = Some((*text).to_owned());
    }
    let url = PgUrl::parse(&schema.connection_string());
    Ok(open_with(config, &url, Arc::new(Counter::default()), Limits::default()).await?)
}

/// More peers than one batch of a collection has.
async fn all_garbage(schema: &Schema, collect: &str) -> Result<(), Failed> {
    schema
        .execute(
            "INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6, created)
             SELECT decode(repeat('aa', 20), 'hex'), decode(lpad(to_hex(n), 40, '0'), 'hex'), '192.0.2.1', 6881,
                    true, false, '2000-01-01' FROM generate_series(1, 25000) AS n",
        )
        .await?;
    let storage = storage(schema, &[(Query::CollectGarbage, collect)]).await?;
    let removed = storage.collect_garbage(Timestamp::now()).await?;
    let left = storage.scrape_swarm(&InfoHash::V1([0xaa; 20])).await?;
    storage.close().await?;
    ensure((removed.removed, left.seeders) == (25_000, 0), || format!("{removed:?}, {left:?} left"))
}

async fn deletions(schema: &Schema, delete: &str) -> Result<(), Failed> {
    let queries = [(Query::DeletePeer, delete), (Query::DeletePeerBatch, ""), (Query::GraduatePeerBatch, "")];
    let storage = storage(schema, &queries).await?;
    let (swarm, peer) = (InfoHash::V1([7; 20]), Peer::new(PeerId([1; 20]), [10, 0, 0, 1].into(), 6881));
    let lacking = storage.missing_capabilities();
    ensure(lacking.reason(Capability::ExactDownloads).is_none(), || format!("{lacking:?}"))?;
    let warnings = storage.diagnostics().await?.warnings;
    ensure(!warnings.iter().any(|warning| warning.contains("how many rows")), || format!("{warnings:?}"))?;
    storage.put_seeder(&swarm, &peer).await?;
    let deleted = storage.delete_leecher(&swarm, &peer).await;
    ensure(deleted.as_ref().is_err_and(storage_core::Error::is_not_found), || format!("{deleted:?}"))?;
    storage.delete_seeder(&swarm, &peer).await?;
    let deleted = storage.delete_seeder(&swarm, &peer).await;
    ensure(deleted.as_ref().is_err_and(storage_core::Error::is_not_found), || format!("{deleted:?}"))?;
    for is_download in [true, false] {
        let found = storage.graduate_leecher(&swarm, &peer).await?;
        ensure(found == is_download, || format!("a download: {found}"))?;
    }
    Ok(storage.close().await?)
}

async fn nothing_is_returned(schema: &Schema) -> Result<(), Failed> {
    let queries = [
        (Query::DeletePeer, "SELECT del_void(@info_hash, @peer_id, @address, @port, @is_seeder)"),
        (Query::CollectGarbage, "SELECT gc_void(@created, @limit)"),
    ];
    let storage = storage(schema, &queries).await?;
    let (lacking, warnings) = (storage.missing_capabilities(), storage.diagnostics().await?.warnings);
    storage.close().await?;
    let is_told =
        |key: &str| warnings.iter().any(|warning| warning.starts_with(&format!("`{key}` does not say")));
    let reason = lacking.reason(Capability::ExactDownloads).unwrap_or_default();
    ensure(is_told("peer.del_query") && is_told("gc_query") && reason.contains("peer.del_query"), || {
        format!("{warnings:?} {lacking:?}")
    })
}
