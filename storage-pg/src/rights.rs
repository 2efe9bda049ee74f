//! Which rights are missing, in words: the server says only on what.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use crate::query_spec::Effect;

/// What a message names (its words are translated, names are not), with the rights on it that the role does not have.
/// Those that the path finds, or else any.
const MISSING: &str = "\
WITH relations AS (
  SELECT oid, relkind, oid::regclass::text AS name, pg_table_is_visible(oid) AS visible FROM pg_class
  WHERE relnamespace <> 'pg_catalog'::regnamespace AND strpos($1, ' ' || relname || ' ') > 0),
named AS (
  SELECT 'table ' || name AS name, visible,
    ARRAY(SELECT need FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS need
      WHERE NOT has_table_privilege(oid, need)) AS missing
  FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL
  SELECT 'sequence ' || name, visible, ARRAY['USAGE'] FROM relations
  WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(oid, 'USAGE') END
  UNION ALL
  SELECT 'function ' || oid::regprocedure, pg_function_is_visible(oid), ARRAY['EXECUTE'] FROM pg_proc
  WHERE strpos($1, ' ' || proname || ' ') > 0 AND NOT has_function_privilege(oid, 'EXECUTE')
  UNION ALL
  SELECT 'schema ' || quote_ident(nspname), TRUE, ARRAY['USAGE'] FROM pg_namespace
  WHERE strpos($1, ' ' || nspname || ' ') > 0 AND NOT has_schema_privilege(oid, 'USAGE'))
SELECT name, missing FROM named
WHERE cardinality(missing) > 0 AND (visible OR NOT EXISTS (SELECT FROM named AS found WHERE found.visible))
ORDER BY 1 LIMIT 3";

/// The rights that this role needs where the server said so, as in ``INSERT is missing on table notes``. `None` if
/// nothing is found out; whoever runs a function with rights of its owner may lack none himself.
pub(crate) async fn missing_rights(
    connection: &mut PgConnection,
    message: &str,
    effect: Effect,
) -> Option<String> {
    let words: String = message.chars().map(|c| if "\"«»“”„'".contains(c) { ' ' } else { c }).collect();
    let mut transaction = connection.begin().await.ok()?;
    let rows = sqlx::query(MISSING).bind(format!(" {words} ")).persistent(false);
    let rows = rows.fetch_all(&mut *transaction).await;
    transaction.rollback().await.ok()?;
    let mut missing = Vec::new();
    for row in rows.ok()? {
        let (name, mut rights): (String, Vec<String>) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
        if effect == Effect::Reads && rights.first().is_some_and(|right| right == "SELECT") {
            rights.truncate(1);
        }
        let is = if rights.len() == 1 { "is" } else { "are" };
        missing.push(format!("{} {is} missing on {name}", rights.join(", ")));
    }
    (!missing.is_empty()).then(|| missing.join("; "))
}
