//! Servers repeat what they reject: no error may show a password that is in it.

use std::error::Error as _;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use storage_core::OpenError;
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, on_schema, open};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

/// In both cases: a server that changed that would repeat another text.
const PASSWORD: &str = "Hunter2-Hunter2";

pub(super) fn tests() -> Vec<Trial> {
    vec![on_schema("a password that the server repeats is masked", Recommendation::default(), |schema| {
        block_on(repeated(schema))
    })]
}

async fn repeated(schema: &Schema) -> Result<(), Failed> {
    let role = format!("{}_role", schema.name());
    schema.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")).await?;
    let result = all_masked(schema, &role).await;
    schema.execute(&format!("DROP ROLE {role}")).await?;
    result
}

async fn all_masked(schema: &Schema, role: &str) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string()).of_role(role, PASSWORD);
    let of_user = |name: &str| url.clone().of_role(name, PASSWORD);
    let longer = format!("{PASSWORD}{}", "x".repeat(80));
    for (url, expected) in [
        (url.clone().database(PASSWORD), "database \"***\" does not exist"),
        (url.clone().database(&format!("tracker-{PASSWORD}")), "database \"***\" does not exist"),
        // The server cuts names off after 63 bytes.
        (url.clone().database(&longer), "database \"***\" does not exist"),
        (of_user(&format!("{role}-{PASSWORD}")), "authentication failed for user \"***\""),
        (of_user(&longer), "authentication failed for user \"***\""),
        (
            url.clone().with("statement_timeout", PASSWORD),
            "invalid value for parameter \"statement_timeout\": \"***\"",
        ),
        // A word and digits would be a zone.
        (
            url.clone().with("timezone", format!("no/{PASSWORD}")),
            "invalid value for parameter \"TimeZone\": \"***\"",
        ),
        (url.clone().with("role", PASSWORD), "\"***\" does not exist"),
        (url.clone().with("options", format!("-c%20lock_timeout={PASSWORD}")), "\"lock_timeout\": \"***\""),
        (url.clone().with("Hunter2_Hunter2", "on"), "unrecognized configuration parameter \"***\""),
    ] {
        let opened = open(&url, Arc::new(Counter::default())).await;
        let Err(error) = opened else { return Err(format!("opened all the same: {expected}").into()) };
        let shown = shown(&error);
        ensure(!shown.to_lowercase().contains("hunter2"), || format!("it shows the password: {shown}"))?;
        ensure(shown.contains(expected), || format!("expected {expected} in {shown}"))?;
    }
    Ok(())
}

/// Every way to print an error: `Display`, `Debug`, and its sources.
fn shown(error: &OpenError) -> String {
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(below) = source {
        shown += &format!(" {below} {below:?}");
        source = below.source();
    }
    shown
}
