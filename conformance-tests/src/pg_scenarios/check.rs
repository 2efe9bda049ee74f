//! What `check` reports about a server.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use storage_core::Diagnostics;
use storage_pg::recommended::Recommendation;

use super::rights::DatabaseRole;
use super::{Counter, ensure, on_schema, open, test};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

pub(super) fn tests() -> Vec<Trial> {
    let logged = Recommendation::default();
    let unlogged = Recommendation { unlogged: true, ..logged };
    vec![
        test("check names the server", |url| {
            let diagnostics = block_on(diagnostics(url))?;
            let is_named =
                diagnostics.server.starts_with("PostgreSQL ") && !diagnostics.server.contains(" on ");
            ensure(is_named, || diagnostics.server.clone())?;
            let warned = diagnostics.warnings.iter().any(|warning| warning.contains("unlogged"));
            ensure(!warned, || format!("{:?}", diagnostics.warnings))
        }),
        on_schema("check warns of unlogged tables", unlogged, warns_of_unlogged_tables),
        on_schema("check reports what makes re-announces expensive", logged, |schema| {
            block_on(tells_what_makes_re_announces_dear(schema))
        }),
        on_schema("check warns of a superuser and of no other role", logged, |schema| {
            block_on(warns_of_a_superuser(schema))
        }),
    ]
}

fn warns_of_unlogged_tables(schema: &Schema) -> Result<(), Failed> {
    let warnings = block_on(diagnostics(&PgUrl::parse(&schema.connection_string())))?.warnings;
    let warned: Vec<_> = warnings.iter().filter(|warning| warning.contains("is unlogged")).collect();
    let of = |index: usize, table| warned.get(index).is_some_and(|warning| warning.contains(table));
    let is_told = warned.len() == 2 && of(0, "`mo_peers`") && of(1, "`mo_swarms`");
    ensure(is_told, || format!("{warnings:?}"))
}

async fn tells_what_makes_re_announces_dear(schema: &Schema) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string());
    let advice = async || {
        let is_advice = |warning: &String| warning.contains("re-announce");
        Ok::<_, Failed>(diagnostics(&url).await?.warnings.into_iter().filter(is_advice).collect::<Vec<_>>())
    };
    let before = advice().await?;
    ensure(before.is_empty(), || format!("{before:?}"))?;
    schema
        .execute("CREATE INDEX by_time ON mo_peers (created); ALTER TABLE mo_peers RESET (fillfactor)")
        .await?;
    let after = advice().await?;
    let advises = |statement: &str| after.iter().any(|advice| advice.contains(statement));
    let is_told = advises("`DROP INDEX CONCURRENTLY by_time`")
        && advises("`ALTER TABLE mo_peers SET (fillfactor = 85)`");
    ensure(is_told && after.len() == 2, || format!("{after:?}"))
}

/// A role with the privileges in the schema's comment can do all that the storage does.
async fn warns_of_a_superuser(schema: &Schema) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string());
    let warns = |diagnostics: &Diagnostics| {
        diagnostics.warnings.iter().any(|warning| warning.contains("the role is a superuser"))
    };
    ensure(warns(&diagnostics(&url).await?), || "no warning: these tests need a superuser".into())?;

    let role = DatabaseRole::create(schema).await?;
    let inspected = diagnostics(&role.url()).await;
    role.remove().await?;
    let diagnostics = inspected?;
    ensure(!warns(&diagnostics), || format!("{:?}", diagnostics.warnings))
}

async fn diagnostics(url: &PgUrl) -> Result<Diagnostics, Failed> {
    let storage = open(url, Arc::new(Counter::default())).await?;
    let diagnostics = storage.diagnostics().await?;
    storage.close().await?;
    Ok(diagnostics)
}
