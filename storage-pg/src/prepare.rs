//! Asking the server about the queries: the types of their parameters and columns.
//!
//! No query runs: each is prepared, which gives the types, and explained, which shows missing permissions. Both
//! happen in a transaction that is rolled back. Only a server other than PostgreSQL that refuses this runs the
//! query once, with nulls for arguments, in such a transaction: CockroachDB before 22.1 does not have the
//! catalogs that sqlx reads to prepare it.

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgColumn, PgConnection, PgDatabaseError, PgStatement, PgTypeInfo, Postgres};
use sqlx::{
    AssertSqlSafe, Column as _, Connection, Either, Executor, Row, SqlSafeStr, Statement as _, Transaction,
    TypeInfo,
};
use storage_core::SharedObserver;
use storage_core::config::{Problem, ProblemKind};

use crate::error::QueryError;
use crate::parsed_query::{ParsedColumn, ParsedQuery};
use crate::pg_type::PgType;
use crate::pg_type::Zone;
use crate::query_check::INSUFFICIENT_PRIVILEGE;
use crate::query_spec::{Effect, Query};
use crate::row_counts::RowCount;
use crate::server::{Product, Server};
use crate::statement::{Column, Parameter, Statement, Types, nulls, query};

/// How statements are to be sent.
#[derive(Clone)]
pub(crate) struct StatementOptions {
    pub(crate) zone: Zone,
    pub(crate) server: Server,
    pub(crate) pooler_mode: bool,
    pub(crate) observer: SharedObserver,
}

/// Asks about one query. The outer error is a failing connection, the inner one are the problems of
/// the query.
pub(crate) async fn prepare(
    connection: &mut PgConnection,
    parsed: ParsedQuery,
    options: &StatementOptions,
) -> Result<Result<Statement, Vec<Problem>>, sqlx::Error> {
    let types = match ask_types(connection, &parsed, options).await? {
        Ok(types) => types,
        Err(problems) => return Ok(Err(problems)),
    };
    let StatementOptions { zone, pooler_mode, observer, .. } = options.clone();
    // These run rarely. The server plans them anew each time, for the tables as they are then, and a list of swarms for
    // its order.
    let is_kept = !pooler_mode && !matches!(parsed.query, Query::CheckCounts | Query::ListSwarms);
    Ok(Ok(Statement::new(parsed, types, zone, is_kept, observer)))
}

/// The same, of a query that may be known already.
pub(crate) async fn ask_types(
    connection: &mut PgConnection,
    parsed: &ParsedQuery,
    options: &StatementOptions,
) -> Result<Result<Types, Vec<Problem>>, sqlx::Error> {
    let sql: Arc<str> = parsed.rewritten.sql.as_str().into();
    let described = match describe(connection, &sql, parsed.rewritten.arguments.len(), options).await {
        Ok(described) => described,
        Err(error @ sqlx::Error::Database(_)) => {
            let missing = match error.as_database_error() {
                Some(refusal) if has_code(&error, INSUFFICIENT_PRIVILEGE) => {
                    missing_rights(connection, refusal.message(), parsed.query.spec().effect).await
                }
                _ => None,
            };
            let mut problem = refusal(parsed, error);
            problem.message.extend(missing.map(|missing| format!("; {missing}")));
            return Ok(Err(vec![problem]));
        }
        Err(error) => return Err(error),
    };
    let mut problems = Vec::new();
    let parameters = parameters(parsed, &described.parameters, &mut problems);
    let columns = columns(parsed, &described.columns, &mut problems);
    if options.server.is_read_only && parsed.query.spec().effect == Effect::Writes {
        let message = "writes, but the server is read-only (`SHOW transaction_read_only`)";
        problems.push(Problem::new(parsed.query.key(), message).of_kind(ProblemKind::Server));
    }
    if !problems.is_empty() {
        return Ok(Err(problems));
    }
    let row_count = RowCount::of(&sql, &described.columns);
    Ok(Ok(Types { parameters, columns: columns.into(), row_count }))
}

struct Described {
    parameters: Vec<PgTypeInfo>,
    columns: Vec<PgColumn>,
}

impl Described {
    fn of(prepared: &PgStatement) -> Self {
        let parameters = match prepared.parameters() {
            Some(Either::Left(parameters)) => parameters.to_vec(),
            _ => Vec::new(),
        };
        Self { parameters, columns: prepared.columns().to_vec() }
    }
}

async fn describe(
    connection: &mut PgConnection,
    sql: &Arc<str>,
    arguments: usize,
    options: &StatementOptions,
) -> Result<Described, sqlx::Error> {
    let is_postgres = options.server.product == Product::Postgres;
    match explain(connection, sql, arguments, options).await {
        Err(sqlx::Error::Database(_)) if !is_postgres => run(connection, sql, arguments, options).await,
        described => described,
    }
}

/// Prepares and explains a query.
async fn explain(
    connection: &mut PgConnection,
    sql: &Arc<str>,
    arguments: usize,
    options: &StatementOptions,
) -> Result<Described, sqlx::Error> {
    let mut transaction = begin(connection, options).await?;
    let prepared = match transaction.prepare(AssertSqlSafe(Arc::clone(sql)).into_sql_str()).await {
        Ok(prepared) => prepared,
        Err(error) => {
            // What the connection is good for after this, its owner finds out.
            let _ = transaction.rollback().await;
            return Err(error);
        }
    };
    let mut savepoint = transaction.begin().await?;
    let explain = format!("EXPLAIN {sql}").into();
    let explained = query(&explain, nulls(arguments), false).execute(&mut *savepoint).await;
    savepoint.rollback().await?;
    end(transaction, options).await?;
    match explained {
        // The server may not explain such a statement. That it is no SQL would have shown before.
        Err(error) if is_finding(&error) && !has_code(&error, "42601") => Err(error),
        _ => Ok(Described::of(&prepared)),
    }
}

/// Runs a query with nulls. sqlx has the types in its cache then, and prepares it without reading catalogs.
async fn run(
    connection: &mut PgConnection,
    sql: &Arc<str>,
    arguments: usize,
    options: &StatementOptions,
) -> Result<Described, sqlx::Error> {
    let mut transaction = begin(connection, options).await?;
    let mut savepoint = transaction.begin().await?;
    let run = query(sql, nulls(arguments), true).execute(&mut *savepoint).await;
    savepoint.rollback().await?;
    let prepared = match run {
        Err(error) if is_finding(&error) => Err(error),
        run => {
            let prepared = transaction.prepare(AssertSqlSafe(Arc::clone(sql)).into_sql_str()).await;
            // Where both fail, the run says why.
            prepared.map_err(|error| run.err().unwrap_or(error))
        }
    };
    end(transaction, options).await?;
    Ok(Described::of(&prepared?))
}

/// Begins. Behind a pooler the server connection may have statements of other programs, which sqlx would name as it
/// does ours; there nobody can rely on them.
async fn begin<'c>(
    connection: &'c mut PgConnection,
    options: &StatementOptions,
) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    if options.pooler_mode {
        transaction.execute("DEALLOCATE ALL").await?;
    }
    Ok(transaction)
}

/// Rolls back. Behind a pooler the server connection goes to somebody else next, who must not find our statements.
async fn end(
    mut transaction: Transaction<'_, Postgres>,
    options: &StatementOptions,
) -> Result<(), sqlx::Error> {
    if options.pooler_mode {
        transaction.execute("DEALLOCATE ALL").await?;
    }
    transaction.rollback().await
}

/// Whether something is wrong with the query: nulls may well be refused, but not names, types and permissions.
fn is_finding(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(DatabaseError::code) {
        Some(code) => code.starts_with("42") || code == "25006",
        None => true,
    }
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|found| found == code)
}

fn refusal(parsed: &ParsedQuery, error: sqlx::Error) -> Problem {
    let hint = hint(&error);
    let failure = QueryError::of(parsed.query.key(), error);
    let mut message = match failure.code() {
        Some(code) => format!("the server refuses the query: {} (SQLSTATE {code})", failure.message()),
        None => failure.message().to_owned(),
    };
    match failure.code().as_deref() {
        Some("42P01") => {
            message.push_str("; `tracker-storage schema pg` prints the tables of the example configuration")
        }
        Some("42P18") => message.push_str(&untyped(parsed, failure.message())),
        _ => message.push_str(&hint),
    }
    Problem::new(parsed.query.key(), message).of_kind(kind_of_refusal(failure.code().as_deref()))
}

/// What a SQLSTATE says about a query: undefined_table, undefined_column, invalid_schema_name; insufficient_privilege.
fn kind_of_refusal(code: Option<&str>) -> ProblemKind {
    match code {
        Some("42P01" | "42703" | "3F000") => ProblemKind::Table,
        Some(INSUFFICIENT_PRIVILEGE) => ProblemKind::Permission,
        _ => ProblemKind::Query,
    }
}

/// What the server itself suggests: a name like the one that it does not know.
fn hint(error: &sqlx::Error) -> String {
    let refusal = error.as_database_error().and_then(|refusal| refusal.try_downcast_ref::<PgDatabaseError>());
    let hint = refusal.and_then(PgDatabaseError::hint).and_then(|hint| hint.lines().next());
    hint.map(|hint| format!("; {}", hint.trim_end_matches('.'))).unwrap_or_default()
}

/// The server speaks of `$2`, which the operator may have written by name.
fn untyped(parsed: &ParsedQuery, message: &str) -> String {
    let number = message.rsplit_once('$').and_then(|(_, number)| number.parse::<usize>().ok());
    let argument = number.and_then(|number| parsed.rewritten.arguments.get(number.checked_sub(1)?));
    match argument {
        Some(argument) => format!(
            ": `{argument}` is not used, or its type cannot be inferred; cast it where it is used, to {}",
            PgType::accepted(*argument).1
        ),
        None => "; cast the arguments where they are used, as in `$1::bytea`".into(),
    }
}

fn parameters(parsed: &ParsedQuery, types: &[PgTypeInfo], problems: &mut Vec<Problem>) -> Vec<Parameter> {
    let mut parameters = Vec::with_capacity(types.len());
    for (argument, type_info) in parsed.rewritten.arguments.iter().zip(types) {
        let (accepted, expected) = PgType::accepted(*argument);
        let wants_array = parsed.query.takes_array_of(*argument);
        match PgType::described(type_info) {
            Some((kind, element)) if accepted.contains(&kind) && element.is_some() == wants_array => {
                let type_info = type_info.clone();
                parameters.push(Parameter { argument: *argument, kind, element, type_info });
            }
            _ => {
                let found = type_info.name().to_lowercase();
                let array = if wants_array { "an array of " } else { "" };
                let message =
                    format!("`{argument}` has the type {found} in the query; expected {array}{expected}");
                problems.push(Problem::new(parsed.query.key(), message).of_kind(ProblemKind::Table));
            }
        }
    }
    parameters
}

fn columns(parsed: &ParsedQuery, found: &[PgColumn], problems: &mut Vec<Problem>) -> Vec<Column> {
    let mut columns = Vec::new();
    for ParsedColumn { key, name, column_type } in &parsed.columns {
        let (column, missing) = match name {
            Some(name) => {
                let column = found.iter().find(|column| column.name().eq_ignore_ascii_case(name));
                (column, missing_column(parsed, key, name, found))
            }
            None => (found.first(), "expected a column in the result, found none".into()),
        };
        let Some(column) = column else {
            problems.push(Problem::new(*key, missing).of_kind(ProblemKind::Query));
            continue;
        };
        let kind = PgType::described(column.type_info()).filter(|(kind, element)| {
            column_type.accepts(*kind) && element.is_some() == column_type.is_many()
        });
        match kind {
            Some((kind, _)) => {
                let oid = column.type_info().oid().map(|oid| oid.0);
                columns.push(Column { name: column.name().into(), index: column.ordinal(), kind, oid })
            }
            None => {
                let found = column.type_info().name().to_lowercase();
                let expected = column_type.expected();
                let message = format!("column `{}` is {found}; expected {expected}", column.name());
                problems.push(Problem::new(*key, message).of_kind(ProblemKind::Table));
            }
        }
    }
    columns
}

fn missing_column(parsed: &ParsedQuery, key: &str, name: &str, found: &[PgColumn]) -> String {
    let names: Vec<_> = found.iter().map(|column| format!("`{}`", column.name())).collect();
    let there = if names.is_empty() { "none".into() } else { names.join(", ") };
    if key == parsed.query.key() {
        format!("has no column `{name}` in its result; it has {there}")
    } else {
        // The clause has no result of its own.
        let query = if parsed.query == Query::CountSwarm { Query::CountPeers } else { parsed.query }.key();
        format!("names the column `{name}`, which the result of `{query}` does not have; it has {there}")
    }
}

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
