//! What `check` shows: the server, the queries as it understood them, and what wants attention.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};
use storage_core::{Diagnostics, Maintenance, Operation, Result, Timestamp};

use crate::arguments::Argument;
use crate::error::QueryError;
use crate::query_spec::queries;
use crate::recommended::{STAMP, TABLES_VERSION};
use crate::retry::{TxMode, with_retries};
use crate::server::{self, Product, ServerAnswer, ask_server};
use crate::statement::{QueryStatement, Statement, nulls, query};
use crate::storage::Core;
use crate::storage::PgStorage;
use crate::{arguments, row_counts};

/// How far two clocks may be apart before somebody should look at them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

struct ServerState {
    version: String,
    clock: Timestamp,
    newest: Option<Timestamp>,
}

impl PgStorage {
    pub(crate) async fn look(&self) -> Result<Diagnostics> {
        let newest = self.core.find(queries::NewestPeer);
        let answers =
            with_retries!(&self.core, Operation::Diagnostics, TxMode::Autocommit, |connection| ask(
                connection, newest
            )
            .await)?;
        let now = answers.clock;
        let (product, server) = server::recognize(&answers.version);
        let mut findings = vec![("connection".to_owned(), self.core.settings.masked())];
        if self.core.pooler_mode() {
            findings.push((
                "mode".to_owned(),
                "behind a connection pooler: every statement in a transaction".to_owned(),
            ));
        }
        let statements = self.core.statements();
        let details = statements
            .iter()
            .map(|statement| (statement.query.key().to_owned(), describe(statement)))
            .collect();

        let mut warnings = self.core.settings.warnings.clone();
        warnings.extend(self.core.pool.time().reading().and_then(|clock| clock.warning(CLOCK_TOLERANCE)));
        if let Some(newest) = answers.newest {
            findings.push(("newest announce".to_owned(), newest.to_string()));
            let ahead = newest.since(now);
            if ahead > CLOCK_TOLERANCE {
                warnings.push(format!(
                    "the newest announce is {} in the future: if the column holds local times, \
                     set `created_zone` to their zone",
                    in_words(ahead)
                ));
            }
        }
        if let Ok(Some(tables)) = tables_version(&self.core, product).await {
            findings.push(("tables".to_owned(), tables.finding));
            warnings.extend(tables.warning);
        }
        match self.check_counts().await {
            Ok(Some(check)) => {
                findings.push(("checked counts".to_owned(), check.to_string()));
                warnings.extend(check.warning());
            }
            Ok(None) => {}
            Err(error) => warnings.push(format!("counts could not be checked: {error}")),
        }
        warnings.extend(row_counts::warnings(self.core.statements()));
        warnings.extend(self.advice(product).await);
        let mut diagnostics = Diagnostics::new(server);
        (diagnostics.findings, diagnostics.details, diagnostics.warnings) = (findings, details, warnings);
        Ok(diagnostics)
    }
}

async fn ask(
    connection: &mut PgConnection,
    newest: Option<QueryStatement<'_, queries::NewestPeer>>,
) -> Result<ServerState, QueryError> {
    let ServerAnswer { time, version, .. } = ask_server(connection).await?;
    let newest = match newest {
        Some(newest) => {
            let row = newest.first(connection, arguments::Nothing {}).await?;
            row.and_then(|row| newest.read_time(&row, 0))
        }
        None => None,
    };
    Ok(ServerState { version, clock: time, newest })
}

/// A duration in the unit that suits it.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Arguments and types of a statement: `@info_hash bytea, @count int8`.
fn describe(statement: &Statement) -> String {
    use sqlx::TypeInfo;

    let types = statement.types();
    let parameters = types
        .parameters
        .iter()
        .map(|parameter| format!("{} {}", parameter.argument, parameter.type_info.name().to_lowercase()));
    let parameters: Vec<_> = parameters.collect();
    if parameters.is_empty() { "no arguments".into() } else { parameters.join(", ") }
}

// What works on this server and yet does not suit it. A look that fails tells nothing, and fails
// nothing.

/// The fewest connections that the role, the database and the server allow; no row where none does.
const CONNECTIONS: &str = "\
SELECT most::int4, what FROM (
  SELECT rolconnlimit, 'the role (`ALTER ROLE … CONNECTION LIMIT`)' FROM pg_roles WHERE rolname = session_user
  UNION ALL
  SELECT datconnlimit, 'the database (`ALTER DATABASE … CONNECTION LIMIT`)' FROM pg_database
    WHERE datname = current_database()
  UNION ALL
  SELECT current_setting('max_connections')::int4, 'the server (`max_connections`)'
) AS limits (most, what) WHERE most >= 0 ORDER BY most LIMIT 1";

/// The tables that this transaction has touched, planning among it, and that are not in the server's log.
const UNLOGGED: &str = "\
SELECT DISTINCT relname::text FROM pg_locks JOIN pg_class ON pg_class.oid = pg_locks.relation
WHERE pid = pg_backend_pid() AND relkind IN ('r', 'p') AND relpersistence = 'u'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1";

impl PgStorage {
    async fn advice(&self, product: Product) -> Vec<String> {
        let mut advice = Vec::new();
        let collect = self.core.find(queries::CollectGarbage);
        if product == Product::Cockroach && collect.is_some_and(|collect| !collect.uses(Argument::Limit)) {
            advice.push(
                "`gc_query` removes all stale peers in one transaction, which is slow on CockroachDB: \
                 end it with `LIMIT @limit`, so that it removes them in batches"
                    .into(),
            );
        }
        if self.is_superuser().await.unwrap_or(false) {
            advice.push(
                "the role is a superuser, so a wrong query could change any table; \
                 `tracker-storage schema pg` prints the grants that a role for the tracker needs"
                    .into(),
            );
        }
        // Others have no unlogged tables, and reading catalogs is dear there.
        if product == Product::Postgres {
            advice.extend(self.too_few_connections().await.unwrap_or_default());
            advice.extend(table_advice(&self.core).await.unwrap_or_default());
            let tables = self.unlogged_tables().await.unwrap_or_default();
            advice.extend(tables.into_iter().map(|table| {
                format!(
                    "the table `{table}` is unlogged: it is empty after a crash of the server, and on every \
                     replica"
                )
            }));
        }
        advice
    }

    async fn is_superuser(&self) -> Result<bool> {
        with_retries!(&self.core, Operation::Diagnostics, TxMode::Autocommit, |connection| {
            let setting = sqlx::query_scalar("SELECT current_setting('is_superuser', true)");
            let setting: Option<String> = setting.persistent(false).fetch_one(&mut *connection).await?;
            Ok(setting.as_deref() == Some("on"))
        })
    }

    /// A pool that is larger than what is allowed: calls that would open one more connection fail.
    async fn too_few_connections(&self) -> Result<Option<String>> {
        let (allowed, who): (i32, String) =
            with_retries!(&self.core, Operation::Diagnostics, TxMode::Autocommit, |connection| {
                let row = sqlx::query(CONNECTIONS).persistent(false).fetch_one(&mut *connection).await?;
                Ok((row.try_get(0)?, row.try_get(1)?))
            })?;
        let wanted = self.core.settings.pool.max_connections;
        Ok(usize::try_from(allowed).ok().filter(|allowed| *allowed < wanted).map(|allowed| {
            format!(
                "`pool_max_conns` is {wanted}, but {who} allows {allowed} connections for all nodes together: calls \
                 that need another connection fail; lower `pool_max_conns`, or raise the limit"
            )
        }))
    }

    async fn unlogged_tables(&self) -> Result<Vec<String>> {
        with_retries!(&self.core, Operation::Diagnostics, TxMode::Transaction, |connection| {
            for statement in self.core.statements() {
                plan(connection, statement).await?;
            }
            let rows = sqlx::query(UNLOGGED).persistent(false).fetch_all(&mut *connection).await?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        })
    }
}

/// Makes the server plan a statement, not run it: the locks that it takes for that on tables are kept
/// until the transaction ends.
async fn plan(connection: &mut PgConnection, statement: &Statement) -> Result<(), sqlx::Error> {
    let explain: Arc<str> = format!("EXPLAIN {}", statement.sql).into();
    connection.execute("SAVEPOINT look").await?;
    let planned =
        query(&explain, nulls(statement.types().parameters.len()), false).execute(&mut *connection).await;
    let end = if planned.is_ok() { "RELEASE SAVEPOINT look" } else { "ROLLBACK TO SAVEPOINT look" };
    connection.execute(end).await.map(drop)
}

// Whether the table of peers bears re-announces well. A look that fails tells nothing, and fails nothing.

/// The tables that this transaction has touched, planning among it: how full their pages are made, and
/// which of their indexes hold times.
const TABLES: &str = "\
SELECT c.oid::regclass::text AS name,
  COALESCE((SELECT option_value::int4 FROM pg_options_to_table(c.reloptions)
    WHERE option_name = 'fillfactor'), 100) AS fillfactor,
  ARRAY(SELECT DISTINCT i.indexrelid::regclass::text FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
    WHERE i.indrelid = c.oid AND NOT i.indisprimary
      AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)) AS indexes_of_times
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND c.relkind = 'r' AND c.relnamespace <> 'pg_catalog'::regnamespace
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1";

/// What to change, each with the statement.
async fn table_advice(core: &Core) -> Result<Vec<String>> {
    let Some(put) = core.find(queries::PutPeer) else { return Ok(Vec::new()) };
    with_retries!(core, Operation::Diagnostics, TxMode::Transaction, |connection| {
        plan(connection, &put).await?;
        let rows = sqlx::query(TABLES).persistent(false).fetch_all(&mut *connection).await?;
        let mut advice = Vec::new();
        for row in rows {
            let table: String = row.try_get(0)?;
            let fillfactor: i32 = row.try_get(1)?;
            let indexes: Vec<String> = row.try_get(2)?;
            advice.extend(indexes.iter().map(|index| {
                format!(
                    "the index `{index}` contains a time that every re-announce changes, so each re-announce \
                     writes all indexes of the table: half the rate, twice the size. Drop it with \
                     `DROP INDEX CONCURRENTLY {index}`; garbage collection then reads the whole table"
                )
            }));
            if fillfactor > 95 {
                advice.push(format!(
                    "the pages of `{table}` have no room for the next version of a row, so that \
                     re-announces write all its indexes: `ALTER TABLE {table} SET (fillfactor = 85)`, \
                     which holds for pages written from then on"
                ));
            }
        }
        Ok(advice)
    })
}

// Which version the recommended tables have, by the comments of tables, triggers and functions. A look that fails
// tells nothing, and fails nothing.

/// What belongs to the tables, if they are the recommended ones, and its comment.
const OBJECTS: &str = "\
WITH counts AS (SELECT to_regclass('mo_peers') AS peers, to_regclass('mo_swarms') AS swarms)
SELECT 'mo_peers' AS name, obj_description(peers, 'pg_class') AS comment FROM counts WHERE swarms IS NOT NULL
UNION ALL
SELECT 'mo_swarms', obj_description(swarms, 'pg_class') FROM counts WHERE swarms IS NOT NULL
UNION ALL
SELECT t.tgname::text, obj_description(t.oid, 'pg_trigger') FROM counts JOIN pg_trigger t ON t.tgrelid IN (peers, swarms)
WHERE swarms IS NOT NULL AND NOT t.tgisinternal AND t.tgname LIKE 'mo\\_%'
UNION ALL
SELECT DISTINCT p.proname::text || '()', obj_description(p.oid, 'pg_proc')
FROM counts JOIN pg_trigger t ON t.tgrelid IN (peers, swarms) JOIN pg_proc p ON p.oid = t.tgfoid
WHERE swarms IS NOT NULL AND NOT t.tgisinternal AND p.proname LIKE 'mo\\_%'";

/// The same where there are no triggers.
const TABLE: &str = "\
SELECT 'mo_peers', obj_description('mo_peers'::regclass, 'pg_class') FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = 'mo_peers' AND column_name = 'sample'";

/// A version of tables, and what is amiss with it.
#[derive(Debug, PartialEq, Eq)]
struct TablesVersion {
    finding: String,
    warning: Option<String>,
}

/// The version; none of tables that are not the recommended ones.
async fn tables_version(core: &Core, product: Product) -> Result<Option<TablesVersion>> {
    with_retries!(core, Operation::Diagnostics, TxMode::Autocommit, |connection| {
        let objects = if product == Product::Cockroach { TABLE } else { OBJECTS };
        let rows = sqlx::query(objects).persistent(false).fetch_all(&mut *connection).await?;
        let mut versions = Vec::new();
        for row in rows {
            let comment: Option<String> = row.try_get(1)?;
            versions.push((row.try_get(0)?, version(comment.as_deref())));
        }
        Ok(judge(&versions))
    })
}

/// The version that a comment names; version 1 has no comments.
fn version(comment: Option<&str>) -> u32 {
    let named = comment.and_then(|comment| comment.strip_prefix(STAMP));
    let digits =
        named.map(|named| named.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(1)
}

/// `versions` has a name and a version each.
fn judge(versions: &[(String, u32)]) -> Option<TablesVersion> {
    let oldest = versions.iter().map(|(_, version)| *version).min()?;
    let newest = versions.iter().map(|(_, version)| *version).max()?;
    let warning = if newest > TABLES_VERSION {
        Some(format!(
            "the tables have version {newest}, but this program expects version {TABLES_VERSION}: use a newer release, or \
             downgrade the tables with the output of `tracker-storage schema pg --downgrade` of that release"
        ))
    } else if oldest < newest {
        let of_oldest = versions.iter().filter(|(_, version)| *version == oldest);
        let names: Vec<_> = of_oldest.map(|(name, _)| format!("`{name}`")).collect();
        Some(format!(
            "the tables have version {newest}, but {} version {oldest}: run what `tracker-storage schema pg --upgrade` \
             prints",
            names.join(", ")
        ))
    } else if newest < TABLES_VERSION {
        Some(format!(
            "the tables have version {newest}, but this program expects version {TABLES_VERSION}: run what \
             `tracker-storage schema pg --upgrade` prints; see UPGRADING.md"
        ))
    } else {
        None
    };
    Some(TablesVersion { finding: format!("version {newest}"), warning })
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn durations_are_told_in_the_unit_that_suits_them() {
        for (seconds, words) in [
            (7.9, "7 seconds"),
            (119.0, "119 seconds"),
            (3_600.04, "60 minutes"),
            (7_200.0, "2 hours"),
            (7_427_758_076.88, "85969 days"),
        ] {
            assert_eq!(in_words(Duration::from_secs_f64(seconds)), words);
        }
    }

    fn judged(versions: &[(&str, u32)]) -> Option<TablesVersion> {
        let versions: Vec<_> =
            versions.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
        judge(&versions)
    }

    #[test]
    fn a_version_is_what_the_comment_begins_with() {
        assert_eq!(version(None), 1);
        assert_eq!(version(Some("our peers")), 1);
        assert_eq!(version(Some(&format!("{STAMP}12; do not touch"))), 12);
    }

    #[test]
    fn tables_of_this_version_need_nothing_and_others_are_not_known() {
        assert_eq!(judged(&[]), None);
        let current = judged(&[("mo_peers", TABLES_VERSION), ("mo_swarms", TABLES_VERSION)]).unwrap();
        assert_eq!(current.warning, None);
    }

    #[test]
    fn other_versions_are_told_with_the_way_out() {
        let warning = |versions: &[(&str, u32)]| judged(versions).unwrap().warning.unwrap();
        assert!(warning(&[("mo_peers", 1), ("mo_swarms", 1)]).contains("--upgrade"));
        assert!(warning(&[("mo_peers", TABLES_VERSION), ("mo_peers_came", 1)]).contains("`mo_peers_came`"));
        assert!(warning(&[("mo_peers", TABLES_VERSION + 1)]).contains("--downgrade"));
    }
}
