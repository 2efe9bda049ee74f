//! Whether the table of peers bears re-announces well. A look that fails tells nothing, and fails nothing.

use sqlx::Row;
use storage_core::{Operation, Result};

use super::advice::{failed, plan};
use crate::core::Core;
use crate::query_spec::queries;
use crate::retry::{TxMode, with_retries};

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
pub(super) async fn advice(core: &Core) -> Result<Vec<String>> {
    let Some(put) = core.find(queries::PutPeer) else { return Ok(Vec::new()) };
    with_retries!(core, Operation::Diagnostics, TxMode::Transaction, |connection| {
        plan(connection, &put).await.map_err(failed)?;
        let rows = sqlx::query(TABLES).persistent(false).fetch_all(&mut *connection).await.map_err(failed)?;
        let mut advice = Vec::new();
        for row in rows {
            let table: String = row.try_get(0).map_err(failed)?;
            let fillfactor: i32 = row.try_get(1).map_err(failed)?;
            let indexes: Vec<String> = row.try_get(2).map_err(failed)?;
            advice.extend(indexes.iter().map(|index| {
                format!(
                    "the index `{index}` holds a time that every re-announce changes, which makes each of \
                     them write all indexes of the table, at half the rate and twice the size: \
                     `DROP INDEX CONCURRENTLY {index}`; garbage collection then reads the table"
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
