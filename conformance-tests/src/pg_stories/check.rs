//! What `check` tells of a server and of what does not suit it.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use storage_core::Inspection;
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, on_schema, open, test};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

pub(super) fn tests() -> Vec<Trial> {
    let unlogged = Recommendation { unlogged: true, ..Recommendation::default() };
    vec![
        test("check names the server", |url| {
            let inspection = inspect(url)?;
            let is_named =
                inspection.server.starts_with("PostgreSQL ") && !inspection.server.contains(" on ");
            ensure(is_named, || inspection.server.clone())?;
            let warned = inspection.warnings.iter().any(|warning| warning.contains("unlogged"));
            ensure(!warned, || format!("{:?}", inspection.warnings))
        }),
        on_schema("check warns of an unlogged table", unlogged, warns_of_mo_peers),
    ]
}

fn warns_of_mo_peers(schema: &Schema) -> Result<(), Failed> {
    let warnings = inspect(&PgUrl::parse(&schema.connection_string()))?.warnings;
    let warned: Vec<_> = warnings.iter().filter(|warning| warning.contains("is unlogged")).collect();
    ensure(warned.len() == 1 && warned[0].contains("`mo_peers`"), || format!("{warnings:?}"))
}

fn inspect(url: &PgUrl) -> Result<Inspection, Failed> {
    block_on(async {
        let storage = open(url, Arc::new(Counter::default())).await?;
        let inspection = storage.inspect().await?;
        storage.close().await?;
        Ok(inspection)
    })
}
