//! Roles that lack a privilege: `check` names the query, the privilege and the object, and leaves nothing behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use storage_core::layer::Limits;
use storage_core::{OpenError, QueryCheck};
use storage_pg::recommended::Recommendation;
use storage_pg::{PgConfig, Query};

use super::{Counter, ensure, on_schema, open, open_with};
use crate::harness::unless_missing;
use crate::runtime::block_on;
use crate::servers::{PgBouncer, PgUrl, Schema, SqlDatabase};

/// The rights of `schema pg`, each of which is needed.
const RIGHTS: [(&str, &[&str]); 4] = [
    ("mo_peers", &ALL_RIGHTS),
    ("mo_downloads", &ALL_RIGHTS),
    ("mo_kv", &ALL_RIGHTS),
    ("mo_swarms", &["SELECT"]),
];

const ALL_RIGHTS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// An operator's own triggers, with the privileges of the role that writes.
const INVOKER: &str = "ALTER FUNCTION mo_count_peers() SECURITY INVOKER; \
    ALTER FUNCTION mo_merge_swarms() SECURITY INVOKER;";

/// Triggers that log what was written.
const NOTES: &str = "
CREATE TABLE notes (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO notes VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON mo_peers FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON mo_downloads FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON mo_kv FOR EACH ROW EXECUTE FUNCTION note();";

/// The same, of rows that are changed or removed alone.
const NOTES_OF_CHANGES: &str = "
CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF TG_OP <> 'INSERT' THEN INSERT INTO notes VALUES (TG_OP); END IF; RETURN NULL; END $$;";

pub(super) fn tests() -> Vec<Trial> {
    let recommended = Recommendation::default();
    vec![
        on_schema("rights: each that is missing is named", recommended, |schema| {
            block_on(each_right(schema))
        }),
        on_schema("rights: those behind the triggers of counts are named", recommended, |schema| {
            block_on(behind_counts(schema))
        }),
        on_schema("rights: those behind an operator's triggers are named", recommended, |schema| {
            block_on(behind_own_triggers(schema))
        }),
        on_schema("rights: a check waits for no lock for long", recommended, |schema| {
            block_on(beside_a_lock(schema))
        }),
        on_schema("rights: a trigger that rejects our rows is reported", recommended, |schema| {
            block_on(a_trigger_that_refuses(schema))
        }),
        Trial::ignorable_test(
            "pg/scenarios/rights: those behind triggers are named through a pooler",
            || {
                let pooler = match PgBouncer::of_a_test("transaction") {
                    Ok(pooler) => pooler,
                    Err(missing) => return unless_missing("pg", missing),
                };
                let database = block_on(pooler.database(&Recommendation::default().schema()))?;
                let result = block_on(through_a_pooler(&database));
                block_on(database.remove())?;
                pooler.stop();
                result.map(|()| Completion::Completed)
            },
        ),
    ]
}

/// A role for one scenario, with the privileges that `schema pg` recommends.
pub(super) struct DatabaseRole<'a> {
    schema: &'a Schema,
    name: String,
}

impl<'a> DatabaseRole<'a> {
    pub(super) async fn create(schema: &'a Schema) -> Result<Self, Failed> {
        let name = format!("{}_role", schema.name());
        let rights = format!(
            "CREATE ROLE {name}; GRANT USAGE ON SCHEMA {} TO {name};
             GRANT SELECT, INSERT, UPDATE, DELETE ON mo_peers, mo_downloads, mo_kv TO {name};
             GRANT SELECT ON mo_swarms TO {name}",
            schema.name()
        );
        schema.execute(&rights).await?;
        Ok(Self { schema, name })
    }

    /// The URL of the tables for this role.
    pub(super) fn url(&self) -> PgUrl {
        PgUrl::parse(&self.schema.connection_string()).with("role", &self.name)
    }

    pub(super) async fn remove(self) -> Result<(), Failed> {
        Ok(self.schema.execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name)).await?)
    }

    /// The problems at opening or by the check after it, as `KEY: MESSAGE`. Nothing may be left behind.
    async fn refused(&self) -> Result<Vec<String>, Failed> {
        let before = self.schema.rows().await?;
        let check = check(&self.url(), Recommendation::default().config()).await?;
        let after = self.schema.rows().await?;
        ensure(before == after, || format!("before {before:?}, after {after:?}"))?;
        ensure(check.unknown.is_empty(), || format!("{check:?}"))?;
        let text = |problem: storage_core::config::Problem| format!("{}: {}", problem.key, problem.message);
        Ok(check.refused.into_iter().map(text).collect())
    }
}

async fn check(url: &PgUrl, config: PgConfig) -> Result<QueryCheck, Failed> {
    match open_with(config, url, Arc::new(Counter::default()), Limits::default()).await {
        Err(OpenError::Configuration(refused)) => Ok(QueryCheck::new(refused, Vec::new())),
        Err(error) => Err(error.into()),
        Ok(storage) => {
            let check = storage.check_queries().await;
            storage.close().await?;
            Ok(check?)
        }
    }
}

const SOME: &str = r"
    INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6)
    VALUES (decode(repeat('aa', 20), 'hex'), decode(repeat('01', 20), 'hex'), '192.0.2.1', 1, true, false);
    INSERT INTO mo_downloads VALUES (decode(repeat('aa', 20), 'hex'), 3);
    INSERT INTO mo_kv VALUES ('MW', '\x01', '\x02');";

/// Each privilege is revoked in turn; every query that needs one is rejected once.
async fn each_right(schema: &Schema) -> Result<(), Failed> {
    schema.execute(SOME).await?;
    let role = DatabaseRole::create(schema).await?;
    let mut keys = BTreeSet::new();
    for (table, rights) in RIGHTS {
        for right in rights {
            schema.execute(&format!("REVOKE {right} ON {table} FROM {}", role.name)).await?;
            let refused = role.refused().await?;
            let is_named = |problem: &String| {
                problem.contains(&format!("permission denied for table {table}"))
                    && problem.contains(&format!("{right} is missing on table {table}"))
            };
            ensure(!refused.is_empty() && refused.iter().all(is_named), || {
                format!("{table} {right}: {refused:#?}")
            })?;
            keys.extend(refused.iter().filter_map(|problem| problem.split(": ").next().map(str::to_owned)));
            schema.execute(&format!("GRANT {right} ON {table} TO {}", role.name)).await?;
        }
    }
    let refused = role.refused().await?;
    role.remove().await?;
    ensure(refused.is_empty(), || format!("with all of them: {refused:?}"))?;
    let config = Recommendation::default().config();
    // The clause is rejected with the query that it belongs to.
    let needs_none = [Query::Ping, Query::MergeCounts, Query::CountSwarm];
    let missed: Vec<_> = Query::ALL
        .iter()
        .filter(|query| !needs_none.contains(query) && config.queries[**query].is_some())
        .filter(|query| !keys.contains(query.key()))
        .collect();
    ensure(missed.is_empty(), || format!("{missed:?}"))
}

async fn behind_counts(schema: &Schema) -> Result<(), Failed> {
    schema.execute(&format!("{SOME} {INVOKER}")).await?;
    let role = DatabaseRole::create(schema).await?;
    let name = &role.name;
    schema.execute(&format!("GRANT {} ON mo_swarms TO {name}", ALL_RIGHTS.join(", "))).await?;
    let refused = role.refused().await?;
    ensure(refused.is_empty(), || format!("{refused:?}"))?;
    for (right, keys) in [
        ("INSERT", ["peer.add_query", "peer.del_query", "gc_query", "bulk.graduate_query"]),
        ("UPDATE", ["peer.add_query", "peer.add_batch_query", "peer.del_query", "import.peers_query"]),
        ("DELETE", ["peer.del_query", "peer.del_batch_query", "bulk.del_query", "peer.forget_query"]),
    ] {
        schema.execute(&format!("REVOKE {right} ON mo_swarms FROM {name}")).await?;
        let refused = role.refused().await?;
        for key in keys {
            let names = |problem: &String| {
                problem.starts_with(&format!("{key}: "))
                    && problem.contains("permission denied for table mo_swarms")
                    && problem.contains("mo_count_peers()")
                    && problem.contains(&format!("{right} is missing on table mo_swarms"))
            };
            ensure(refused.iter().any(names), || format!("{right}, {key}: {refused:#?}"))?;
        }
        schema.execute(&format!("GRANT {right} ON mo_swarms TO {name}")).await?;
    }
    role.remove().await
}

async fn behind_own_triggers(schema: &Schema) -> Result<(), Failed> {
    schema.execute(&format!("{NOTES} {SOME}")).await?;
    let role = DatabaseRole::create(schema).await?;
    let refused = role.refused().await?;
    for key in ["peer.add_query", "downloads.inc_query", "data.add_query"] {
        let names = |problem: &String| {
            problem.starts_with(&format!("{key}: "))
                && problem.contains("INSERT, UPDATE, DELETE are missing on table notes")
        };
        ensure(refused.iter().any(names), || format!("{key}: {refused:#?}"))?;
    }
    // The rows that a query changes or removes exist when it is checked.
    schema.execute(NOTES_OF_CHANGES).await?;
    let refused = role.refused().await?;
    let config = Recommendation::default().config();
    let changing = Query::ALL.iter().filter(|query| {
        let sql = config.queries[**query].as_deref().unwrap_or_default();
        ["DELETE FROM mo_", "UPDATE mo_", "DO UPDATE"].iter().any(|words| sql.contains(words))
    });
    let is_refused =
        |query: &&Query| refused.iter().any(|problem| problem.starts_with(&format!("{}: ", query.key())));
    let missed: Vec<_> = changing.filter(|query| !is_refused(query)).collect();
    ensure(missed.is_empty(), || format!("{missed:?}, {refused:#?}"))?;
    schema.execute(&format!("GRANT INSERT ON notes TO {}", role.name)).await?;
    let refused = role.refused().await?;
    role.remove().await?;
    ensure(refused.is_empty(), || format!("{refused:?}"))
}

/// Another session locks a table for longer than the check takes.
async fn beside_a_lock(schema: &Schema) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string());
    let storage = open(&url, Arc::new(Counter::default())).await?;
    let held = schema.execute("BEGIN; LOCK TABLE mo_kv IN EXCLUSIVE MODE; SELECT pg_sleep(16); ROLLBACK");
    let looked = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        let found = storage.check_queries().await?;
        Ok::<_, Failed>((found, begun.elapsed()))
    };
    let (held, looked) = tokio::join!(held, looked);
    held?;
    let (found, took) = looked?;
    ensure(found.refused.is_empty() && took.as_secs() < 14, || format!("{took:?}: {found:?}"))?;
    let names = |key: &str| {
        found.unknown.iter().any(|problem| problem.key == key && problem.message.contains("lock timeout"))
    };
    ensure(names("data.add_query") && !names("peer.add_query"), || format!("{found:?}"))?;
    Ok(storage.close().await?)
}

/// A table may accept only rows of the tracker's own torrents: that is not known to be wrong.
async fn a_trigger_that_refuses(schema: &Schema) -> Result<(), Failed> {
    let refusing = "
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'this torrent is not ours'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON mo_peers FOR EACH ROW EXECUTE FUNCTION refuse();
        ALTER TABLE mo_kv ADD CHECK (context = 'ours')";
    schema.execute(refusing).await?;
    let found = check(&PgUrl::parse(&schema.connection_string()), Recommendation::default().config()).await?;
    ensure(found.refused.is_empty(), || format!("{found:?}"))?;
    let names = |key: &str, words: &str| {
        found.unknown.iter().any(|problem| problem.key == key && problem.message.contains(words))
    };
    let is_told =
        names("peer.add_query", "this torrent is not ours") && names("data.add_query", "mo_kv_context_check");
    ensure(is_told, || format!("{found:?}"))
}

async fn through_a_pooler(database: &SqlDatabase) -> Result<(), Failed> {
    let url = database.url().with("default_query_exec_mode", "exec");
    let found = check(&url, Recommendation::default().config()).await?;
    ensure(found == QueryCheck::default(), || format!("{found:?}"))?;
    // The role that the pooler logs in as has all privileges; a trigger that rejects stands for a missing one.
    let refusing = "CREATE OR REPLACE FUNCTION mo_count_peers() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied for table mo_swarms'; END $$";
    database.execute(refusing).await?;
    let found = check(&url, Recommendation::default().config()).await?;
    let is_named = |key: &str| found.refused.iter().any(|problem| problem.key == key);
    ensure(is_named("peer.add_query") && !is_named("data.add_query"), || format!("{found:?}"))
}
