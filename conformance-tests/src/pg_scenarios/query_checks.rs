//! Queries are checked at start without running them.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use sqlx::{Connection, Executor, PgConnection};
use storage_core::config::Problem;
use storage_core::layer::Limits;
use storage_core::{Capability, Context, InfoHash, OpenError, Peer, PeerId, PeerStorageExt};
use storage_pg::recommended::Recommendation;
use storage_pg::{PgConfig, Query};

use super::{Counter, ensure, on_schema, open, open_with, test};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

pub(super) fn tests() -> Vec<Trial> {
    let recommended = Recommendation::default();
    vec![
        on_schema("checking queries touches and locks no row", recommended, |schema| {
            block_on(checking_touches_no_row(schema))
        }),
        on_schema("a missing permission is named", recommended, |schema| {
            block_on(a_missing_permission(schema))
        }),
        test("a read-only server is rejected for every query that writes", |url| {
            block_on(a_read_only_server(url))
        }),
        on_schema(
            "graduations by a procedure count each time, and the check reports it",
            recommended,
            |schema| block_on(graduations_by_a_procedure(schema)),
        ),
        test("a query that cannot be explained is accepted", |url| block_on(a_query_without_a_plan(url))),
    ]
}

const PROCEDURE: &str = "
CREATE PROCEDURE graduate(bytea, bytea, inet, int4, timestamptz) LANGUAGE sql AS $$
UPDATE mo_peers SET is_seeder = TRUE, created = $5
WHERE info_hash = $1 AND peer_id = $2 AND address = $3 AND port = $4 AND NOT is_seeder $$";

/// The server does not say how many rows a procedure touched.
async fn graduations_by_a_procedure(schema: &Schema) -> Result<(), Failed> {
    schema.execute(PROCEDURE).await?;
    let mut config = Recommendation::default().config();
    config.queries[Query::GraduatePeer] =
        Some("CALL graduate(@info_hash, @peer_id, @address, @port, @created)".into());
    config.queries[Query::GraduatePeerBatch] = None;
    let url = PgUrl::parse(&schema.connection_string());
    let storage = open_with(config, &url, Arc::new(Counter::default()), Limits::default()).await?;
    let lacking = storage.missing_capabilities();
    let reason = lacking.reason(Capability::ExactDownloads).unwrap_or_default();
    ensure(reason.contains("`peer.graduate_query`"), || format!("{lacking:?}"))?;
    let (swarm, leecher) = (InfoHash::V1([7; 20]), Peer::new(PeerId([1; 20]), [10, 0, 0, 1].into(), 6881));
    let absent = Peer::new(PeerId([2; 20]), [10, 0, 0, 2].into(), 6881);
    storage.put_leecher(&swarm, &leecher).await?;
    for peer in [&leecher, &absent] {
        let is_download = storage.graduate_leecher(&swarm, peer).await?;
        ensure(is_download, || format!("{peer} was no download"))?;
    }
    let counts = storage.scrape_swarm(&swarm).await?;
    ensure((counts.seeders, counts.leechers, counts.downloads) == (2, 0, 2), || format!("{counts:?}"))?;
    Ok(storage.close().await?)
}

/// A sequence counts also what is rolled back: each statement that writes takes a number from it.
const COUNT_STATEMENTS: &str = "
CREATE SEQUENCE statements;
CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM nextval('statements'); RETURN NULL; END $$;
CREATE TRIGGER counted BEFORE INSERT OR UPDATE OR DELETE ON mo_peers EXECUTE FUNCTION count_statement();
CREATE TRIGGER counted BEFORE INSERT OR UPDATE OR DELETE ON mo_downloads EXECUTE FUNCTION count_statement();
CREATE TRIGGER counted BEFORE INSERT OR UPDATE OR DELETE ON mo_kv EXECUTE FUNCTION count_statement()";

/// Some of the queries delete everything where an argument is null.
async fn checking_touches_no_row(schema: &Schema) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string());
    let storage = open(&url, Arc::new(Counter::default())).await?;
    let swarm = InfoHash::V1([7; 20]);
    storage.graduate_leecher(&swarm, &Peer::new(PeerId([1; 20]), [10, 0, 0, 1].into(), 6881)).await?;
    storage.put_data(&Context::new("c")?, &[("k".into(), "v".into())]).await?;
    storage.close().await?;
    schema.execute(COUNT_STATEMENTS).await?;

    let mut holder = connect(schema).await?;
    let mut held = holder.begin().await?;
    for table in ["mo_peers", "mo_downloads", "mo_kv"] {
        held.execute(sqlx::AssertSqlSafe(format!("SELECT FROM {table} FOR UPDATE"))).await?;
    }
    let mut config = Recommendation::default().config();
    config.queries[Query::CollectGarbage] =
        Some("DELETE FROM mo_peers WHERE created <= @created OR @created IS NULL".into());
    config.queries[Query::DeleteDownloads] =
        Some("DELETE FROM mo_downloads WHERE info_hash = @info_hash OR @info_hash IS NULL".into());
    config.queries[Query::DeleteData] =
        Some("DELETE FROM mo_kv WHERE context = @context AND name = ANY(@key) OR @context IS NULL".into());
    let storage = open_with(config, &url, Arc::new(Counter::default()), Limits::default()).await?;
    let findings = storage.diagnostics().await?.details;
    storage.close().await?;
    held.rollback().await?;

    let is_typed = |key: &str, types: &str| findings.contains(&(key.to_owned(), types.to_owned()));
    let types_are_known = is_typed("gc_query", "@created timestamptz")
        && is_typed("downloads.del_query", "@info_hash bytea")
        && is_typed("data.del_query", "@context text, @key bytea[]");
    ensure(types_are_known, || format!("{findings:?}"))?;
    let has_counted: bool =
        sqlx::query_scalar("SELECT is_called FROM statements").fetch_one(&mut holder).await?;
    ensure(!has_counted, || "a query that writes ran".into())?;
    // The triggers do count.
    schema.execute("DELETE FROM mo_kv").await?;
    let has_counted: bool =
        sqlx::query_scalar("SELECT is_called FROM statements").fetch_one(&mut holder).await?;
    ensure(has_counted, || "a query that ran was not counted".into())
}

async fn a_missing_permission(schema: &Schema) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string());
    let role = format!("{}_role", schema.name());
    let rights = format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {} TO {role};
         GRANT SELECT, INSERT, UPDATE ON mo_peers, mo_swarms, mo_downloads, mo_kv TO {role}",
        schema.name()
    );
    schema.execute(&rights).await?;
    let refused = problems(&url.with("role", &role), Recommendation::default().config()).await;
    schema.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await?;
    let refused = refused?;
    let is_denied = |problem: &Problem| problem.message.contains("permission denied for table");
    let keys: Vec<_> =
        refused.iter().filter(|problem| is_denied(problem)).map(|it| it.key.as_str()).collect();
    let deletions = [
        "data.del_query",
        "peer.del_query",
        "peer.forget_query",
        "peer.forget_batch_query",
        "downloads.del_query",
        "downloads.del_batch_query",
        "gc_query",
        "peer.del_batch_query",
        "bulk.del_query",
    ];
    ensure(keys == deletions && refused.len() == deletions.len(), || format!("{refused:?}"))
}

async fn a_read_only_server(url: &PgUrl) -> Result<(), Failed> {
    let url = url.clone().with("default_transaction_read_only", "on");
    let refused = problems(&url, Recommendation::default().config()).await?;
    let is_told = |problem: &Problem| problem.message.contains("the server is read-only");
    ensure(refused.iter().all(is_told), || format!("{refused:?}"))?;
    let names = |key: &str| refused.iter().any(|problem| problem.key == key);
    for key in ["peer.add_query", "peer.del_batch_query", "gc_query", "data.add_query", "import.data_query"] {
        ensure(names(key), || format!("{key}: {refused:?}"))?;
    }
    for key in ["announce.query", "peer.count_batch_query", "data.get_query", "ping_query"] {
        ensure(!names(key), || format!("{key}: {refused:?}"))?;
    }
    Ok(())
}

/// The server explains only some kinds of statements.
async fn a_query_without_a_plan(url: &PgUrl) -> Result<(), Failed> {
    let mut config = Recommendation::default().config();
    config.queries[Query::Ping] = Some("SHOW server_version".into());
    let storage = open_with(config, url, Arc::new(Counter::default()), Limits::default()).await?;
    storage.ping().await?;
    Ok(storage.close().await?)
}

/// The error of opening.
async fn problems(url: &PgUrl, config: PgConfig) -> Result<Vec<Problem>, Failed> {
    match open_with(config, url, Arc::new(Counter::default()), Limits::default()).await {
        Err(OpenError::Configuration(problems)) => Ok(problems),
        Err(error) => Err(error.into()),
        Ok(storage) => {
            storage.close().await?;
            Err("it was opened".into())
        }
    }
}

async fn connect(schema: &Schema) -> Result<PgConnection, Failed> {
    // As sqlx writes a setting of the session.
    let url = schema.connection_string().replace("search_path=", "options[search_path]=");
    Ok(PgConnection::connect(&url).await?)
}
