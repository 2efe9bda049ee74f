//! Versions of the recommended tables: upgrade and downgrade, under load.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use storage_pg::recommended::{Recommendation, TABLES_VERSION, from_seed, to_seed};

use super::contention::{one_after_the_other, open_patiently, write_at_once};
use super::counts::{THREE_AND_TWO, counts};
use super::{Counter, ensure, on_design};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};
use crate::storages::backends;
use crate::storages::pg::Design;

/// Everything that a script can change, each in one line of text.
const CATALOG: &str = "
    SELECT format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = current_schema()
    UNION ALL
    SELECT format('%s %s', relname, reloptions) FROM pg_class WHERE relnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE relnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal
    UNION ALL
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL
    SELECT format('%s %s', classoid::regclass, description) FROM pg_description WHERE objoid IN (
      SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace
      UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
      UNION ALL SELECT t.oid FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = current_schema()::regnamespace)
    ORDER BY 1";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("the way up and back ends where it began", Design::tables_1(), |schema| {
            block_on(up_and_back(schema))
        }),
        test("the way from the seed's tables and back ends where it began", Design::seed(), |schema| {
            block_on(from_seed_and_back(schema))
        }),
        test("an upgrade that does not get its locks changes nothing", Design::tables_1(), |schema| {
            block_on(without_locks(schema))
        }),
        test("no call fails while tables are upgraded and downgraded", Design::tables_1(), |schema| {
            block_on(under_load(schema))
        }),
        test("check names the version", Design::tables_1(), |schema| block_on(check(schema))),
    ]
}

fn test(name: &str, design: Design, scenario: fn(&Schema) -> Result<(), Failed>) -> Trial {
    on_design(&format!("versions: {name}"), design, scenario)
}

fn upgrade() -> String {
    Recommendation::default().upgrade()
}

fn downgrade() -> String {
    Recommendation::default().downgrade()
}

async fn up_and_back(schema: &Schema) -> Result<(), Failed> {
    let of_version_1 = catalog(schema).await?;
    schema.execute(THREE_AND_TWO).await?;
    // Of changes at the same time that nobody has joined.
    let apart = "INSERT INTO mo_swarms VALUES (decode(repeat('aa', 20), 'hex'), 1, 0);
        INSERT INTO mo_swarms VALUES (decode(repeat('aa', 20), 'hex'), -1, 0)";
    schema.execute(apart).await?;
    let expected = counts(schema).await?;
    ensure(expected.len() == 2, || format!("{expected:?}"))?;

    // Running it again is safe.
    for script in [upgrade(), upgrade(), Recommendation::default().schema()] {
        schema.execute(&script).await?;
        let found = counts(schema).await?;
        ensure(found == expected, || format!("expected {expected:?}, found {found:?}"))?;
    }
    same(&catalog_of(Design::from(Recommendation::default())).await?, &catalog(schema).await?)?;
    schema.execute("DELETE FROM mo_peers WHERE port = 3; SELECT mo_merge_swarms()").await?;
    let expected = counts(schema).await?;
    schema.execute(&downgrade()).await?;
    let found = counts(schema).await?;
    ensure(found == expected, || format!("expected {expected:?}, found {found:?}"))?;
    same(&of_version_1, &catalog(schema).await?)?;
    schema.execute("DELETE FROM mo_peers").await?;
    let left = counts(schema).await?;
    ensure(left.is_empty(), || format!("{left:?}"))
}

async fn from_seed_and_back(schema: &Schema) -> Result<(), Failed> {
    let of_seed = catalog(schema).await?;
    // In one request they are a transaction, in which this keyword is not allowed.
    schema.execute(&from_seed().replace("CONCURRENTLY", "")).await?;
    schema.execute(THREE_AND_TWO).await?;
    schema.execute(&to_seed().replace("CONCURRENTLY", "")).await?;
    // These serve as they are.
    schema.execute("ALTER TABLE mo_downloads ALTER COLUMN downloads TYPE int").await?;
    same(&of_seed, &catalog(schema).await?)?;
    let rows = schema.rows().await?;
    ensure(rows.values().map(Vec::len).sum::<usize>() == 5, || format!("{rows:?}"))
}

async fn without_locks(schema: &Schema) -> Result<(), Failed> {
    let before = catalog(schema).await?;
    let mut reader = PgConnection::connect(&schema.connection_string()).await?;
    let read = format!("BEGIN; SELECT FROM {}.mo_peers", schema.name());
    reader.execute(sqlx::raw_sql(AssertSqlSafe(read))).await?;
    let refused = schema.execute(&upgrade()).await;
    let code = refused.err().and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
    ensure(code.as_deref() == Some("55P03"), || format!("{code:?}"))?;
    same(&before, &catalog(schema).await?)?;
    reader.close().await?;
    Ok(schema.execute(&upgrade()).await?)
}

/// On two nodes, one with the queries of each release.
async fn under_load(schema: &Schema) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string());
    let of_tables_1 = backends().open(Design::tables_1().config_for(schema)).await?.storage;
    schema.execute(&upgrade()).await?;
    let of_this = open_patiently(&url, Arc::new(Counter::default())).await?;
    schema.execute(&downgrade()).await?;
    let _alone = one_after_the_other().await;
    let changes = async {
        for script in [upgrade(), downgrade()].iter().cycle().take(6) {
            tokio::time::sleep(Duration::from_millis(400)).await;
            // As the script says: if it gives up, run it again.
            while let Err(error) = schema.execute(script).await {
                println!("a script gives up: {error}");
            }
        }
        Ok::<_, Failed>(())
    };
    let storages = [of_this, of_tables_1];
    let ((_, longest, expected), ()) =
        tokio::try_join!(write_at_once(&storages, Duration::from_secs(5)), changes)?;
    println!("the longest call took {longest:?}");
    for (swarm, expected) in &expected {
        for storage in &storages {
            let found = storage.scrape_swarm(swarm).await?;
            ensure(found == *expected, || format!("{swarm}: expected {expected:?}, found {found:?}"))?;
        }
    }
    let found = counts(schema).await?;
    schema.execute("SELECT mo_count_all_swarms()").await?;
    let recounted = counts(schema).await?;
    ensure(found == recounted, || format!("kept {found:?}, counted {recounted:?}"))?;
    for storage in storages {
        storage.close().await?;
    }
    Ok(())
}

async fn check(schema: &Schema) -> Result<(), Failed> {
    let newer =
        format!("COMMENT ON TABLE mo_peers IS 'tracker-storage tables, version {}'", TABLES_VERSION + 1);
    let current = format!("version {TABLES_VERSION}");
    for (script, version, warning) in [
        (String::new(), "version 1", Some("schema pg --upgrade")),
        (upgrade(), &*current, None),
        (
            "COMMENT ON TRIGGER mo_peers_came ON mo_peers IS NULL".into(),
            &*current,
            Some("`mo_peers_came` version 1"),
        ),
        (newer, &*format!("version {}", TABLES_VERSION + 1), Some("--downgrade")),
        (format!("{}{}", upgrade(), downgrade()), "version 1", Some("--upgrade")),
    ] {
        schema.execute(&script).await?;
        // The queries of version 1 run on each of them.
        let storage = backends().open(Design::tables_1().config_for(schema)).await?.storage;
        let found = storage.diagnostics().await?;
        storage.close().await?;
        let named = found.findings.iter().any(|(name, value)| name == "tables" && value == version);
        let warned: Vec<_> =
            found.warnings.iter().filter(|warning| warning.contains("the tables have")).collect();
        let is_told = match warning {
            Some(text) => warned.len() == 1 && warned[0].contains(text),
            None => warned.is_empty(),
        };
        ensure(named && is_told, || format!("{script}: {found:?}"))?;
    }
    Ok(())
}

/// The catalog of other tables.
async fn catalog_of(design: Design) -> Result<Vec<String>, Failed> {
    let other = tokio::task::spawn_blocking(move || design.schema())
        .await?
        .map_err(|missing| format!("{missing:?}"))?;
    let catalog = catalog(&other).await;
    other.remove().await?;
    catalog
}

async fn catalog(schema: &Schema) -> Result<Vec<String>, Failed> {
    let found = schema.texts(CATALOG).await?;
    let key = format!("SELECT hashtext('{}.mo_swarms')::text", schema.name());
    let key = schema.texts(&key).await?.concat();
    let plain = |text: &String| text.replace(schema.name(), "the_schema").replace(&key, "the_key");
    let mut found: Vec<_> = found.iter().map(plain).collect();
    found.sort();
    Ok(found)
}

fn same(expected: &[String], found: &[String]) -> Result<(), Failed> {
    let lacking: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    let more: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
    ensure(lacking.is_empty() && more.is_empty(), || format!("lacking: {lacking:#?}\nmore: {more:#?}"))
}
