//! Statements: an operator's query with the types that the server gave its parameters and columns.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, PgTypeInfo};
use sqlx::{Arguments as _, AssertSqlSafe, Column as _, Executor, Row, ValueRef};
use storage_core::{AddressFamily, Event, Peer, PeerId, SharedObserver, Timestamp};

use crate::arguments::Argument;
use crate::arguments::QueryArguments;
use crate::error::QueryError;
use crate::parsed_query::ParsedQuery;
use crate::pg_type::Zone;
use crate::pg_type::{
    PgParam, PgType, PgValue, UNKNOWN, array_elements, decode_address, decode_inet, decode_integer,
};
use crate::query_spec::{Batch, Query, Single, TypedQuery};
use crate::row_counts::RowCount;

/// A query that the server has been asked about.
pub(crate) struct Statement {
    pub(crate) query: Query,
    pub(crate) sql: Arc<str>,
    pub(crate) parsed: ParsedQuery,
    /// Exchanged when the server says that the tables have changed.
    types: RwLock<Arc<Types>>,
    pub(crate) zone: Zone,
    /// Whether the server may keep it prepared for the connection's next call.
    pub(crate) persistent: bool,
    /// Is told how long each run took.
    pub(crate) observer: SharedObserver,
}

/// What the server has said of a query's parameters and columns.
#[derive(Debug, PartialEq)]
pub(crate) struct Types {
    pub(crate) parameters: Vec<Parameter>,
    /// Where each column that is read is.
    pub(crate) columns: Arc<[Column]>,
    /// How it is known how many rows a run touched.
    pub(crate) row_count: RowCount,
}

/// What is fed where the text has `$1`, `$2`, ….
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) argument: Argument,
    pub(crate) kind: PgType,
    /// The type of an array's elements.
    pub(crate) element: Option<u32>,
    pub(crate) type_info: PgTypeInfo,
}

/// Where a result is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: Box<str>,
    pub(crate) index: usize,
    pub(crate) kind: PgType,
    /// The number of its type.
    pub(crate) oid: Option<u32>,
}

/// A row, and where its columns were when it was read.
pub(crate) struct ResultRow {
    row: PgRow,
    columns: Arc<[Column]>,
}

impl ResultRow {
    fn bytes(&self, column: usize) -> Option<&[u8]> {
        let value = self.row.try_get_raw(self.columns.get(column)?.index).ok()?;
        if value.is_null() { None } else { value.as_bytes().ok() }
    }

    fn kind(&self, column: usize) -> Option<PgType> {
        self.columns.get(column).map(|column| column.kind)
    }
}

/// The statement of a query, which takes this query's arguments and no others.
#[derive(Clone, Copy)]
pub(crate) struct QueryStatement<'s, Q> {
    statement: &'s Statement,
    query: PhantomData<Q>,
}

impl<Q> Deref for QueryStatement<'_, Q> {
    type Target = Statement;

    fn deref(&self) -> &Statement {
        self.statement
    }
}

impl<'s, Q> QueryStatement<'s, Q> {
    /// Without its arguments' type.
    pub(crate) fn untyped(self) -> &'s Statement {
        self.statement
    }
}

impl<Q: Single> QueryStatement<'_, Q> {
    /// Runs it; how many rows it affected.
    pub(crate) async fn execute(
        self,
        connection: &mut PgConnection,
        arguments: Q::Arguments<'_>,
    ) -> Result<u64, QueryError> {
        self.affected(connection, self.bind(&arguments)?).await
    }

    /// Runs it; its rows.
    pub(crate) async fn rows(
        self,
        connection: &mut PgConnection,
        arguments: Q::Arguments<'_>,
    ) -> Result<Vec<ResultRow>, QueryError> {
        self.fetched(connection, self.bind(&arguments)?).await
    }

    /// Runs it; its first row.
    pub(crate) async fn first(
        self,
        connection: &mut PgConnection,
        arguments: Q::Arguments<'_>,
    ) -> Result<Option<ResultRow>, QueryError> {
        let (query, types) = self.bind(&arguments)?;
        let row = self.timed(query.fetch_optional(connection)).await?;
        row.map(|row| self.check_row(row, &types)).transpose()
    }
}

impl<Q: Batch> QueryStatement<'_, Q> {
    /// Runs it for many at once; how many rows it affected.
    pub(crate) async fn execute_batch(
        self,
        connection: &mut PgConnection,
        batch: &[Q::Arguments<'_>],
    ) -> Result<u64, QueryError> {
        self.affected(connection, self.bind_batch(batch)?).await
    }

    /// Runs it for many at once; its rows.
    pub(crate) async fn rows_of_batch(
        self,
        connection: &mut PgConnection,
        batch: &[Q::Arguments<'_>],
    ) -> Result<Vec<ResultRow>, QueryError> {
        self.fetched(connection, self.bind_batch(batch)?).await
    }
}

/// A query with its arguments bound, and the types by which they are.
type Bound = (sqlx::query::Query<'static, sqlx::Postgres, PgArguments>, Arc<Types>);

impl Statement {
    pub(crate) fn new(
        parsed: ParsedQuery,
        types: Types,
        zone: Zone,
        persistent: bool,
        observer: SharedObserver,
    ) -> Self {
        let (query, sql) = (parsed.query, parsed.rewritten.sql.as_str().into());
        let types = RwLock::new(Arc::new(types));
        Self { query, sql, parsed, types, zone, persistent, observer }
    }

    /// The types of parameters and columns, as far as is known.
    pub(crate) fn types(&self) -> Arc<Types> {
        Arc::clone(&self.types.read())
    }

    /// Exchanges the types; whether they are others.
    pub(crate) fn set_types(&self, types: Types) -> bool {
        let is_news = *self.types() != types;
        if is_news {
            *self.types.write() = Arc::new(types);
        }
        is_news
    }

    /// Whether columns of a result are read.
    pub(crate) fn has_result(&self) -> bool {
        !self.parsed.columns.is_empty()
    }

    /// Whether the query uses an argument.
    pub(crate) fn uses(&self, argument: Argument) -> bool {
        self.parsed.rewritten.arguments.contains(&argument)
    }

    /// As the statement of a query, if it is that.
    pub(crate) fn of<Q: TypedQuery>(&self, _: Q) -> Option<QueryStatement<'_, Q>> {
        (self.query == Q::QUERY).then_some(QueryStatement { statement: self, query: PhantomData })
    }

    async fn affected(
        &self,
        connection: &mut PgConnection,
        (query, types): Bound,
    ) -> Result<u64, QueryError> {
        if types.row_count != RowCount::Returned {
            return Ok(self.timed(query.execute(connection)).await?.rows_affected());
        }
        let rows = self.timed(query.fetch_all(connection)).await?;
        let [row] = &rows[..] else { return Ok(rows.len() as u64) };
        if !row.columns().first().is_some_and(|column| PgType::is_integer(column.type_info())) {
            return Err(QueryError::other_columns(self.query.key()));
        }
        let returned = row.try_get_raw(0).ok().filter(|value| !value.is_null());
        let returned = returned.and_then(|value| decode_integer(value.as_bytes().ok()?));
        Ok(returned.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    async fn fetched(
        &self,
        connection: &mut PgConnection,
        (query, types): Bound,
    ) -> Result<Vec<ResultRow>, QueryError> {
        let rows = self.timed(query.fetch_all(connection)).await?;
        let mut checked = Vec::with_capacity(rows.len());
        for row in rows {
            let row = match checked.first() {
                // All rows of a result have the same columns.
                Some(ResultRow { columns, .. }) => ResultRow { row, columns: Arc::clone(columns) },
                None => self.check_row(row, &types)?,
            };
            checked.push(row);
        }
        Ok(checked)
    }

    /// A connection that prepares the query only now may find other columns than were described.
    fn check_row(&self, row: PgRow, types: &Types) -> Result<ResultRow, QueryError> {
        let is_there = |column: &Column| {
            row.columns().get(column.index).is_some_and(|found| {
                found.name() == &*column.name
                    && (found.type_info().oid().map(|oid| oid.0) == column.oid
                        || PgType::of(found.type_info()).is_some_and(|(kind, _)| kind == column.kind))
            })
        };
        if types.columns.iter().all(is_there) {
            return Ok(ResultRow { row, columns: Arc::clone(&types.columns) });
        }
        Err(QueryError::other_columns(self.query.key()))
    }

    async fn timed<T>(&self, run: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, QueryError> {
        let begun = Instant::now();
        let result = run.await;
        self.observer.observe(crate::NAME, Event::Ran { key: self.query.key(), took: begun.elapsed() });
        result.map_err(|error| self.failed(error))
    }

    fn bind(&self, arguments: &impl QueryArguments) -> Result<Bound, QueryError> {
        let (mut bound, types) = (PgArguments::default(), self.types());
        for parameter in &types.parameters {
            self.add(&mut bound, self.encode(arguments, parameter)?, parameter)?;
        }
        Ok((query(&self.sql, bound, self.persistent), types))
    }

    fn bind_batch(&self, batch: &[impl QueryArguments]) -> Result<Bound, QueryError> {
        let (mut bound, types) = (PgArguments::default(), self.types());
        let mut values = Vec::with_capacity(batch.len());
        for parameter in &types.parameters {
            values.clear();
            for arguments in batch {
                values.push(self.encode(arguments, parameter)?);
            }
            let value = match parameter.element {
                Some(element) => PgValue::Array(element, &values),
                None => values.first().copied().unwrap_or(PgValue::Null),
            };
            self.add(&mut bound, value, parameter)?;
        }
        Ok((query(&self.sql, bound, self.persistent), types))
    }

    fn encode<'a>(
        &self,
        arguments: &'a impl QueryArguments,
        parameter: &Parameter,
    ) -> Result<PgValue<'a>, QueryError> {
        let argument = parameter.argument;
        let value = arguments.value(argument).ok_or_else(|| {
            QueryError::misfit(self.query.key(), format!("`{argument}` is not an argument of this query"))
        })?;
        value.encode(self, parameter)
    }

    fn add(
        &self,
        arguments: &mut PgArguments,
        value: PgValue<'_>,
        parameter: &Parameter,
    ) -> Result<(), QueryError> {
        let added = arguments.add(PgParam(value, parameter.type_info.clone()));
        added.map_err(|error| self.failed(sqlx::Error::Encode(error)))
    }

    fn failed(&self, error: sqlx::Error) -> QueryError {
        QueryError::of(self.query.key(), error)
    }

    pub(crate) fn read_bytes<'r>(&self, row: &'r ResultRow, column: usize) -> Option<&'r [u8]> {
        row.bytes(column)
    }

    pub(crate) fn read_text<'r>(&self, row: &'r ResultRow, column: usize) -> Option<&'r str> {
        std::str::from_utf8(row.bytes(column)?).ok()
    }

    pub(crate) fn read_address(&self, row: &ResultRow, column: usize) -> Option<IpAddr> {
        let bytes = row.bytes(column)?;
        if row.kind(column) == Some(PgType::Inet) { decode_inet(bytes) } else { decode_address(bytes) }
    }

    /// The peers of a row with an array for each part of them; how many could not be understood.
    pub(crate) fn read_peers(
        &self,
        row: &ResultRow,
        [id, address, port]: [usize; 3],
        family: AddressFamily,
    ) -> (Vec<Peer>, usize) {
        let elements = |column| row.bytes(column).and_then(array_elements);
        let (Some(ids), Some(addresses), Some(ports)) = (elements(id), elements(address), elements(port))
        else {
            return (Vec::new(), 0);
        };
        let decode = if row.kind(address) == Some(PgType::Inet) { decode_inet } else { decode_address };
        let peer = |id: Option<&[u8]>, address: Option<&[u8]>, port: Option<&[u8]>| {
            let port = u16::try_from(decode_integer(port?)?).ok()?;
            let peer = Peer::new(PeerId::try_from(id?).ok()?, decode(address?)?, port);
            (peer.family() == family).then_some(peer)
        };
        let (mut peers, mut unreadable) = (Vec::new(), 0);
        for ((id, address), port) in ids.zip(addresses).zip(ports) {
            match peer(id, address, port) {
                Some(peer) => peers.push(peer),
                None => unreadable += 1,
            }
        }
        (peers, unreadable)
    }

    pub(crate) fn read_integer(&self, row: &ResultRow, column: usize) -> Option<i64> {
        decode_integer(row.bytes(column)?)
    }

    /// A number that is never negative; a null or negative one counts as none.
    pub(crate) fn read_count(&self, row: &ResultRow, column: usize) -> u64 {
        self.read_integer(row, column).and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
    }

    pub(crate) fn read_boolean(&self, row: &ResultRow, column: usize) -> Option<bool> {
        row.bytes(column)?.first().map(|byte| *byte != 0)
    }

    pub(crate) fn read_time(&self, row: &ResultRow, column: usize) -> Option<Timestamp> {
        let microseconds = decode_integer(row.bytes(column)?)?;
        Some(self.zone.decode(microseconds, row.kind(column)?))
    }
}

/// A query of a text that the operator wrote and with arguments bound.
pub(crate) fn query(
    sql: &Arc<str>,
    arguments: PgArguments,
    persistent: bool,
) -> sqlx::query::Query<'static, sqlx::Postgres, PgArguments> {
    sqlx::query_with(AssertSqlSafe(Arc::clone(sql)), arguments).persistent(persistent)
}

/// Runs a statement that has neither arguments nor a result.
pub(crate) async fn tell(connection: &mut PgConnection, sql: &str) -> Result<(), QueryError> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    Ok(())
}

/// As many nulls, of types that the server is to find out.
pub(crate) fn nulls(count: usize) -> PgArguments {
    let mut arguments = PgArguments::default();
    for _ in 0..count {
        // A null is encoded without anything that could fail.
        let _ = arguments.add(PgParam(PgValue::Null, UNKNOWN));
    }
    arguments
}
