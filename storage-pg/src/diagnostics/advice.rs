//! What works on this server and yet does not suit it. A look that fails tells nothing, and fails
//! nothing.

use std::sync::Arc;

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};
use storage_core::{Operation, Result};

use super::tables;
use crate::argument::Argument;
use crate::error::QueryError;
use crate::query_spec::queries;
use crate::retry::{TxMode, with_retries};
use crate::server::Product;
use crate::statement::{Statement, nulls, query};
use crate::storage::PgStorage;

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
    pub(super) async fn advice(&self, product: Product) -> Vec<String> {
        let mut advice = Vec::new();
        let collect = self.core.find(queries::CollectGarbage);
        if product == Product::Cockroach && collect.is_some_and(|collect| !collect.uses(Argument::Limit)) {
            advice.push(
                "`gc_query` removes all stale peers in one transaction, which CockroachDB bears badly: \
                 end it with `LIMIT @limit`, and it is run in pieces"
                    .into(),
            );
        }
        if self.is_superuser().await.unwrap_or(false) {
            advice.push(
                "the role is a superuser: a mistaken query could do anything; \
                 `tracker-storage schema pg` prints what a role for the tracker needs"
                    .into(),
            );
        }
        // Others have no unlogged tables, and reading catalogs is dear there.
        if product == Product::Postgres {
            advice.extend(self.too_few_connections().await.unwrap_or_default());
            advice.extend(tables::advice(&self.core).await.unwrap_or_default());
            let tables = self.unlogged_tables().await.unwrap_or_default();
            advice.extend(tables.into_iter().map(|table| {
                format!(
                    "the table `{table}` is unlogged: after a crash of the server it is empty, and so it \
                     is on every replica"
                )
            }));
        }
        advice
    }

    async fn is_superuser(&self) -> Result<bool> {
        with_retries!(&self.core, Operation::Diagnostics, TxMode::Autocommit, |connection| {
            let setting = sqlx::query_scalar("SELECT current_setting('is_superuser', true)");
            let setting: Option<String> =
                setting.persistent(false).fetch_one(&mut *connection).await.map_err(failed)?;
            Ok(setting.as_deref() == Some("on"))
        })
    }

    /// A pool that is larger than what is allowed: calls that would open one more connection fail.
    async fn too_few_connections(&self) -> Result<Option<String>> {
        let (allowed, who): (i32, String) =
            with_retries!(&self.core, Operation::Diagnostics, TxMode::Autocommit, |connection| {
                let row = sqlx::query(CONNECTIONS).persistent(false).fetch_one(&mut *connection).await;
                let row = row.map_err(failed)?;
                Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))
            })?;
        let wanted = self.core.settings.pool.max_connections;
        Ok(usize::try_from(allowed).ok().filter(|allowed| *allowed < wanted).map(|allowed| {
            format!(
                "`pool_max_conns` is {wanted}, and {who} allows {allowed} connections, all nodes together: calls that \
                 would need a further one fail; lower `pool_max_conns`, or raise the limit"
            )
        }))
    }

    async fn unlogged_tables(&self) -> Result<Vec<String>> {
        with_retries!(&self.core, Operation::Diagnostics, TxMode::Transaction, |connection| {
            for statement in self.core.statements() {
                plan(connection, statement).await.map_err(failed)?;
            }
            let rows = sqlx::query(UNLOGGED).persistent(false).fetch_all(&mut *connection).await;
            rows.map_err(failed)?.iter().map(|row| row.try_get(0).map_err(failed)).collect()
        })
    }
}

/// Makes the server plan a statement, not run it: the locks that it takes for that on tables are kept
/// until the transaction ends.
pub(super) async fn plan(connection: &mut PgConnection, statement: &Statement) -> Result<(), sqlx::Error> {
    let explain: Arc<str> = format!("EXPLAIN {}", statement.sql).into();
    connection.execute("SAVEPOINT look").await?;
    let planned =
        query(&explain, nulls(statement.types().parameters.len()), false).execute(&mut *connection).await;
    let end = if planned.is_ok() { "RELEASE SAVEPOINT look" } else { "ROLLBACK TO SAVEPOINT look" };
    connection.execute(end).await.map(drop)
}

pub(super) fn failed(error: sqlx::Error) -> QueryError {
    QueryError::of("", error)
}
