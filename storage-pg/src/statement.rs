//! Statements: an operator's query with the types that the server gave its parameters and columns.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use sqlx::postgres::{PgArguments, PgConnection, PgRow, PgTypeInfo};
use sqlx::{Arguments as _, AssertSqlSafe, Executor, Row, ValueRef};
use storage_core::{AddressFamily, Event, Peer, PeerId, SharedObserver, Timestamp};

use crate::argument::Argument;
use crate::arguments::Arguments;
use crate::array;
use crate::failure::Failure;
use crate::kind::{Encoded, Kind, Typed, UNKNOWN, decode_address, decode_inet, decode_integer};
use crate::query_spec::{Batch, Query, Single, TypedQuery};
use crate::zone::Zone;

/// A query that the server has been asked about.
pub(crate) struct Statement {
    pub(crate) query: Query,
    pub(crate) sql: Arc<str>,
    pub(crate) parameters: Vec<Parameter>,
    /// Where each column that is read is.
    pub(crate) columns: Vec<Column>,
    pub(crate) zone: Zone,
    /// Whether the server may keep it prepared for the connection's next call.
    pub(crate) persistent: bool,
    /// Is told how long each run took.
    pub(crate) observer: SharedObserver,
}

/// What is fed where the text has `$1`, `$2`, ….
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) argument: Argument,
    pub(crate) kind: Kind,
    /// The type of an array's elements.
    pub(crate) element: Option<u32>,
    pub(crate) type_info: PgTypeInfo,
}

/// Where a result is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) index: usize,
    pub(crate) kind: Kind,
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
    ) -> Result<u64, Failure> {
        self.affected(connection, self.bind(&arguments)?).await
    }

    /// Runs it; its rows.
    pub(crate) async fn rows(
        self,
        connection: &mut PgConnection,
        arguments: Q::Arguments<'_>,
    ) -> Result<Vec<PgRow>, Failure> {
        self.fetched(connection, self.bind(&arguments)?).await
    }

    /// Runs it; its first row.
    pub(crate) async fn first(
        self,
        connection: &mut PgConnection,
        arguments: Q::Arguments<'_>,
    ) -> Result<Option<PgRow>, Failure> {
        let query = self.bind(&arguments)?;
        self.timed(query.fetch_optional(connection)).await
    }
}

impl<Q: Batch> QueryStatement<'_, Q> {
    /// Runs it for many at once; how many rows it affected.
    pub(crate) async fn execute_batch(
        self,
        connection: &mut PgConnection,
        batch: &[Q::Arguments<'_>],
    ) -> Result<u64, Failure> {
        self.affected(connection, self.bind_batch(batch)?).await
    }

    /// Runs it for many at once; its rows.
    pub(crate) async fn rows_of_batch(
        self,
        connection: &mut PgConnection,
        batch: &[Q::Arguments<'_>],
    ) -> Result<Vec<PgRow>, Failure> {
        self.fetched(connection, self.bind_batch(batch)?).await
    }
}

/// A query with its arguments bound.
type Bound = sqlx::query::Query<'static, sqlx::Postgres, PgArguments>;

impl Statement {
    /// Whether the query uses an argument.
    pub(crate) fn uses(&self, argument: Argument) -> bool {
        self.parameters.iter().any(|parameter| parameter.argument == argument)
    }

    /// As the statement of a query, if it is that.
    pub(crate) fn of<Q: TypedQuery>(&self, _: Q) -> Option<QueryStatement<'_, Q>> {
        (self.query == Q::QUERY).then_some(QueryStatement { statement: self, query: PhantomData })
    }

    async fn affected(&self, connection: &mut PgConnection, query: Bound) -> Result<u64, Failure> {
        Ok(self.timed(query.execute(connection)).await?.rows_affected())
    }

    async fn fetched(&self, connection: &mut PgConnection, query: Bound) -> Result<Vec<PgRow>, Failure> {
        self.timed(query.fetch_all(connection)).await
    }

    async fn timed<T>(&self, run: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Failure> {
        let begun = Instant::now();
        let result = run.await;
        self.observer.observe(crate::NAME, Event::Ran { key: self.query.key(), took: begun.elapsed() });
        result.map_err(|error| self.failed(error))
    }

    fn bind(&self, arguments: &impl Arguments) -> Result<Bound, Failure> {
        let mut bound = PgArguments::default();
        for parameter in &self.parameters {
            self.add(&mut bound, self.encode(arguments, parameter)?, parameter)?;
        }
        Ok(query(&self.sql, bound, self.persistent))
    }

    fn bind_batch(&self, batch: &[impl Arguments]) -> Result<Bound, Failure> {
        let mut bound = PgArguments::default();
        let mut values = Vec::with_capacity(batch.len());
        for parameter in &self.parameters {
            values.clear();
            for arguments in batch {
                values.push(self.encode(arguments, parameter)?);
            }
            let value = match parameter.element {
                Some(element) => Encoded::Array(element, &values),
                None => values.first().copied().unwrap_or(Encoded::Null),
            };
            self.add(&mut bound, value, parameter)?;
        }
        Ok(query(&self.sql, bound, self.persistent))
    }

    fn encode<'a>(
        &self,
        arguments: &'a impl Arguments,
        parameter: &Parameter,
    ) -> Result<Encoded<'a>, Failure> {
        let argument = parameter.argument;
        let value = arguments.value(argument).ok_or_else(|| {
            Failure::misfit(self.query.key(), format!("`{argument}` is no argument of this query"))
        })?;
        value.encode(self, parameter)
    }

    fn add(
        &self,
        arguments: &mut PgArguments,
        value: Encoded<'_>,
        parameter: &Parameter,
    ) -> Result<(), Failure> {
        let added = arguments.add(Typed(value, parameter.type_info.clone()));
        added.map_err(|error| self.failed(sqlx::Error::Encode(error)))
    }

    fn failed(&self, error: sqlx::Error) -> Failure {
        Failure::of(self.query.key(), error)
    }

    fn bytes<'r>(&self, row: &'r PgRow, reading: usize) -> Option<&'r [u8]> {
        let value = row.try_get_raw(self.columns.get(reading)?.index).ok()?;
        if value.is_null() { None } else { value.as_bytes().ok() }
    }

    pub(crate) fn read_bytes<'r>(&self, row: &'r PgRow, reading: usize) -> Option<&'r [u8]> {
        self.bytes(row, reading)
    }

    pub(crate) fn read_text<'r>(&self, row: &'r PgRow, reading: usize) -> Option<&'r str> {
        std::str::from_utf8(self.bytes(row, reading)?).ok()
    }

    pub(crate) fn read_address(&self, row: &PgRow, reading: usize) -> Option<IpAddr> {
        let bytes = self.bytes(row, reading)?;
        if self.columns[reading].kind == Kind::Inet { decode_inet(bytes) } else { decode_address(bytes) }
    }

    /// The peers of a row with an array for each part of them; how many could not be understood.
    pub(crate) fn read_peers(
        &self,
        row: &PgRow,
        [id, address, port]: [usize; 3],
        family: AddressFamily,
    ) -> (Vec<Peer>, usize) {
        let elements = |reading| self.bytes(row, reading).and_then(array::elements);
        let (Some(ids), Some(addresses), Some(ports)) = (elements(id), elements(address), elements(port))
        else {
            return (Vec::new(), 0);
        };
        let decode = if self.columns[address].kind == Kind::Inet { decode_inet } else { decode_address };
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

    pub(crate) fn read_integer(&self, row: &PgRow, reading: usize) -> Option<i64> {
        decode_integer(self.bytes(row, reading)?)
    }

    /// A number that is never negative; a null or negative one counts as none.
    pub(crate) fn read_count(&self, row: &PgRow, reading: usize) -> u64 {
        self.read_integer(row, reading).and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
    }

    pub(crate) fn read_boolean(&self, row: &PgRow, reading: usize) -> Option<bool> {
        self.bytes(row, reading)?.first().map(|byte| *byte != 0)
    }

    pub(crate) fn read_time(&self, row: &PgRow, reading: usize) -> Option<Timestamp> {
        let microseconds = decode_integer(self.bytes(row, reading)?)?;
        Some(self.zone.decode(microseconds, self.columns[reading].kind))
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
pub(crate) async fn tell(connection: &mut PgConnection, sql: &str) -> Result<(), Failure> {
    let told = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
    told.map(drop).map_err(|error| Failure::of("", error))
}

/// As many nulls, of types that the server is to find out.
pub(crate) fn nulls(count: usize) -> PgArguments {
    let mut arguments = PgArguments::default();
    for _ in 0..count {
        // A null is encoded without anything that could fail.
        let _ = arguments.add(Typed(Encoded::Null, UNKNOWN));
    }
    arguments
}
