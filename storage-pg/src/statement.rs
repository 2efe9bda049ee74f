//! Statements: an operator's query with the types that the server gave its parameters and columns.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, PgTypeInfo};
use sqlx::{Arguments, AssertSqlSafe, Executor, Row, ValueRef};
use storage_core::{
    AddressFamily, Context, Event, InfoHash, Peer, PeerId, PeerRecord, PeerSelection, Role, SharedObserver,
    Timestamp,
};

use crate::argument::Argument;
use crate::array;
use crate::failure::Failure;
use crate::kind::{Encoded, Kind, Typed, UNKNOWN, decode_address, decode_inet, decode_integer};
use crate::slot::Slot;
use crate::zone::Zone;

/// A query that the server has been asked about.
pub(crate) struct Statement {
    pub(crate) slot: Slot,
    pub(crate) sql: Arc<str>,
    pub(crate) parameters: Vec<Parameter>,
    /// Where each reading of the slot's result is.
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

/// The values of a call; a statement takes those that it has parameters for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inputs<'a> {
    info_hash: &'a [u8],
    peer_id: &'a [u8],
    address: Option<Address<'a>>,
    port: i64,
    role: Option<Role>,
    family: Option<AddressFamily>,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    count: u64,
    context: &'a str,
    key: &'a [u8],
    keys: &'a [Bytes],
    value: &'a [u8],
    sample: i32,
    limit: u64,
    for_seeder: bool,
    request: u32,
}

/// When a write without an expiry expires: in the year 9999, in microseconds since 2000. (CockroachDB does not
/// take PostgreSQL's binary form of infinity.)
const NEVER: i64 = 252_424_080_000_000_000;

#[derive(Debug, Clone, Copy)]
enum Address<'a> {
    Of(IpAddr),
    /// As the server sent it.
    Raw(&'a [u8]),
    /// Below every address.
    Lowest,
}

impl<'a> Inputs<'a> {
    pub(crate) fn swarm(info_hash: &'a InfoHash) -> Self {
        Self::raw_swarm(info_hash.as_bytes())
    }

    pub(crate) fn raw_swarm(info_hash: &'a [u8]) -> Self {
        Self { info_hash, ..Self::default() }
    }

    pub(crate) fn peer(info_hash: &'a InfoHash, peer: &'a Peer, role: Role) -> Self {
        Self {
            peer_id: peer.id().as_bytes(),
            address: Some(Address::Of(peer.address())),
            port: peer.port().into(),
            role: Some(role),
            family: Some(peer.family()),
            ..Self::swarm(info_hash)
        }
    }

    pub(crate) fn announced(
        info_hash: &'a InfoHash,
        peer: &'a Peer,
        role: Role,
        announced: Timestamp,
    ) -> Self {
        Self { created: Some(announced), ..Self::peer(info_hash, peer, role) }
    }

    pub(crate) fn record(record: &'a PeerRecord) -> Self {
        Self::announced(&record.info_hash, &record.peer, record.role, record.announced)
    }

    /// The key of a row of peers, as the server sent it.
    pub(crate) fn raw_peer(info_hash: &'a [u8], peer_id: &'a [u8], address: &'a [u8], port: i64) -> Self {
        Self { peer_id, address: Some(Address::Raw(address)), port, ..Self::raw_swarm(info_hash) }
    }

    /// Before every peer of the swarms from these bytes on.
    pub(crate) fn before_peers(info_hash: &'a [u8]) -> Self {
        Self { address: Some(Address::Lowest), ..Self::raw_swarm(info_hash) }
    }

    pub(crate) fn selection(
        info_hash: &'a InfoHash,
        role: Role,
        family: AddressFamily,
        count: usize,
    ) -> Self {
        let sample = rand::random_range(0..=i32::MAX);
        Self { role: Some(role), family: Some(family), sample, ..Self::swarm(info_hash) }.up_to(count)
    }

    /// A call of a batch of announces, of which none wants more than `limit`.
    pub(crate) fn announce(request: u32, selection: &'a PeerSelection, limit: usize) -> Self {
        let PeerSelection { info_hash, for_seeder, family, .. } = selection;
        let sample = rand::random_range(0..=i32::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX).unsigned_abs();
        let (for_seeder, family) = (*for_seeder, Some(*family));
        Self { request, for_seeder, family, sample, limit, ..Self::swarm(info_hash) }
    }

    /// A call of a batch of deletions.
    pub(crate) fn deletion(request: u32, info_hash: &'a InfoHash, peer: &'a Peer, role: Role) -> Self {
        Self::peer(info_hash, peer, role).numbered(request)
    }

    /// As the call of that number in a batch.
    pub(crate) fn numbered(self, request: u32) -> Self {
        Self { request, ..self }
    }

    /// A call of a batch of scrapes.
    pub(crate) fn scrape(request: u32, info_hash: &'a InfoHash) -> Self {
        Self::swarm(info_hash).numbered(request)
    }

    /// A key of a batch of those that are looked for.
    pub(crate) fn lookup(request: u32, context: &'a Context, key: &'a [u8]) -> Self {
        Self::raw_entry(context.as_str(), key).numbered(request)
    }

    pub(crate) fn stale(cutoff: Timestamp, limit: u64) -> Self {
        Self { created: Some(cutoff), limit, ..Self::default() }
    }

    pub(crate) fn entry(context: &'a Context, key: &'a [u8], value: &'a [u8]) -> Self {
        Self { value, ..Self::raw_entry(context.as_str(), key) }
    }

    pub(crate) fn raw_entry(context: &'a str, key: &'a [u8]) -> Self {
        Self { context, key, ..Self::default() }
    }

    pub(crate) fn keys(context: &'a Context, keys: &'a [Bytes]) -> Self {
        Self { context: context.as_str(), keys, ..Self::default() }
    }

    pub(crate) fn counting(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// From this time on, by the server's clock, a query that uses `@expires` affects no row.
    pub(crate) fn expiring(self, expires: Timestamp) -> Self {
        Self { expires: Some(expires), ..self }
    }

    /// Up to so many rows.
    pub(crate) fn up_to(self, rows: usize) -> Self {
        self.counting(i64::try_from(rows).unwrap_or(i64::MAX).unsigned_abs())
    }

    fn encode(&self, statement: &Statement, parameter: &Parameter) -> Result<Encoded<'a>, Failure> {
        Ok(match parameter.argument {
            Argument::InfoHash => Encoded::Bytes(self.info_hash),
            Argument::PeerId => Encoded::Bytes(self.peer_id),
            Argument::Address => self.encode_address(parameter.kind),
            Argument::Port => return fit(self.port.into(), statement, parameter),
            Argument::IsSeeder => self.role.map_or(Encoded::Null, |role| Encoded::Bool(role.is_seeder())),
            Argument::IsV6 => self.family.map_or(Encoded::Null, |family| Encoded::Bool(family.is_v6())),
            Argument::Created => self.created.map_or(Encoded::Null, |created| {
                Encoded::Int8(statement.zone.encode(created, parameter.kind))
            }),
            Argument::Expires => Encoded::Int8(
                self.expires.map_or(NEVER, |expires| statement.zone.encode(expires, parameter.kind)),
            ),
            Argument::Count => return fit(self.count.into(), statement, parameter),
            Argument::Context => Encoded::Bytes(self.context.as_bytes()),
            Argument::Key => Encoded::Bytes(self.key),
            Argument::Keys => Encoded::Keys(self.keys),
            Argument::Value => Encoded::Bytes(self.value),
            Argument::Sample => return fit(self.sample.into(), statement, parameter),
            Argument::Limit => return fit(self.limit.into(), statement, parameter),
            Argument::ForSeeder => Encoded::Bool(self.for_seeder),
            Argument::Request => return fit(self.request.into(), statement, parameter),
        })
    }

    fn encode_address(&self, kind: Kind) -> Encoded<'a> {
        match (self.address, kind) {
            (Some(Address::Of(address)), Kind::Inet) => Encoded::Inet(address),
            (Some(Address::Of(address)), _) => Encoded::Address(address),
            (Some(Address::Raw(bytes)), _) => Encoded::Bytes(bytes),
            (Some(Address::Lowest), Kind::Inet) => Encoded::Inet(IpAddr::from([0, 0, 0, 0])),
            (Some(Address::Lowest), _) => Encoded::Bytes(&[]),
            (None, _) => Encoded::Null,
        }
    }
}

/// A whole number as wide as its parameter.
fn fit<'a>(number: i128, statement: &Statement, parameter: &Parameter) -> Result<Encoded<'a>, Failure> {
    let misfit = || {
        let Parameter { argument, kind, .. } = parameter;
        Failure::misfit(statement.slot.key, format!("`{argument}` is {kind:?} there, too small for {number}"))
    };
    match parameter.kind {
        Kind::Int2 => i16::try_from(number).map(Encoded::Int2).map_err(|_| misfit()),
        Kind::Int4 => i32::try_from(number).map(Encoded::Int4).map_err(|_| misfit()),
        _ => i64::try_from(number).map(Encoded::Int8).map_err(|_| misfit()),
    }
}

impl Statement {
    /// Whether the query uses an argument.
    pub(crate) fn uses(&self, argument: Argument) -> bool {
        self.parameters.iter().any(|parameter| parameter.argument == argument)
    }

    /// Runs it; how many rows it affected.
    pub(crate) async fn execute(
        &self,
        connection: &mut PgConnection,
        inputs: Inputs<'_>,
    ) -> Result<u64, Failure> {
        let query = self.query(inputs)?;
        Ok(self.timed(query.execute(connection)).await?.rows_affected())
    }

    /// Runs it for many at once; how many rows it affected.
    pub(crate) async fn execute_batch(
        &self,
        connection: &mut PgConnection,
        batch: &[Inputs<'_>],
    ) -> Result<u64, Failure> {
        let query = self.query_batch(batch)?;
        Ok(self.timed(query.execute(connection)).await?.rows_affected())
    }

    /// Runs it for many at once; its rows.
    pub(crate) async fn rows_of_batch(
        &self,
        connection: &mut PgConnection,
        batch: &[Inputs<'_>],
    ) -> Result<Vec<PgRow>, Failure> {
        self.timed(self.query_batch(batch)?.fetch_all(connection)).await
    }

    /// Runs it; its rows.
    pub(crate) async fn rows(
        &self,
        connection: &mut PgConnection,
        inputs: Inputs<'_>,
    ) -> Result<Vec<PgRow>, Failure> {
        self.timed(self.query(inputs)?.fetch_all(connection)).await
    }

    /// Runs it; its first row.
    pub(crate) async fn first(
        &self,
        connection: &mut PgConnection,
        inputs: Inputs<'_>,
    ) -> Result<Option<PgRow>, Failure> {
        self.timed(self.query(inputs)?.fetch_optional(connection)).await
    }

    async fn timed<T>(&self, run: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Failure> {
        let begun = Instant::now();
        let result = run.await;
        self.observer.observe(crate::NAME, Event::Ran { key: self.slot.key, took: begun.elapsed() });
        result.map_err(|error| self.failed(error))
    }

    fn query(
        &self,
        inputs: Inputs<'_>,
    ) -> Result<sqlx::query::Query<'static, sqlx::Postgres, PgArguments>, Failure> {
        let mut arguments = PgArguments::default();
        for parameter in &self.parameters {
            self.add(&mut arguments, inputs.encode(self, parameter)?, parameter)?;
        }
        Ok(query(&self.sql, arguments, self.persistent))
    }

    fn query_batch(
        &self,
        batch: &[Inputs<'_>],
    ) -> Result<sqlx::query::Query<'static, sqlx::Postgres, PgArguments>, Failure> {
        let mut arguments = PgArguments::default();
        let mut values = Vec::with_capacity(batch.len());
        for parameter in &self.parameters {
            values.clear();
            for inputs in batch {
                values.push(inputs.encode(self, parameter)?);
            }
            let value = match parameter.element {
                Some(element) => Encoded::Array(element, &values),
                None => values.first().copied().unwrap_or(Encoded::Null),
            };
            self.add(&mut arguments, value, parameter)?;
        }
        Ok(query(&self.sql, arguments, self.persistent))
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
        Failure::of(self.slot.key, error)
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
