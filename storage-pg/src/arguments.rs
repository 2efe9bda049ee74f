//! The arguments of each query, as types, and their encoding: a call gives every value that its query may
//! use, or it does not compile.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use storage_core::{AddressFamily, Context, InfoHash, Peer, Role, Timestamp};

use crate::error::QueryError;
use crate::pg_type::{PgType, PgValue};
use crate::statement::{Parameter, Statement};

/// A value that we hand to a query, by its name in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    InfoHash,
    PeerId,
    Address,
    Port,
    IsSeeder,
    IsV6,
    Created,
    /// The time by the server's clock from which on a write must not take effect any more.
    Expires,
    Count,
    Context,
    Key,
    /// Several keys as an array; named as [`Argument::Key`] is.
    Keys,
    Value,
    /// A random number from 0 to 2³¹ - 1, new for each call: where a sample begins.
    Sample,
    /// How many rows a piece of a large deletion may have, or the most that any call of a batch wants.
    Limit,
    /// Whether the peers are for a seeder, who needs no other seeders.
    ForSeeder,
    /// The number of a call in its batch, by which its answer is found.
    Request,
    /// The name of the order of a list of swarms.
    Order,
}

impl Argument {
    /// The name, without the `@`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InfoHash => "info_hash",
            Self::PeerId => "peer_id",
            Self::Address => "address",
            Self::Port => "port",
            Self::IsSeeder => "is_seeder",
            Self::IsV6 => "is_v6",
            Self::Created => "created",
            Self::Expires => "expires",
            Self::Count => "count",
            Self::Context => "context",
            Self::Key | Self::Keys => "key",
            Self::Value => "value",
            Self::Sample => "sample",
            Self::Limit => "limit",
            Self::ForSeeder => "for_seeder",
            Self::Request => "request",
            Self::Order => "order",
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.name())
    }
}

/// The values of a call. A statement takes those that it has parameters for.
pub(crate) trait QueryArguments: Copy {
    /// What the query may use by name.
    const NAMED: &'static [Argument];

    /// The value of an argument, if it is one of these.
    fn value(&self, argument: Argument) -> Option<ArgumentValue<'_>>;
}

/// A value, before it is known which type its parameter has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ArgumentValue<'a> {
    Bytes(&'a [u8]),
    Address(AddressArgument<'a>),
    Integer(i128),
    Bool(bool),
    Time(Timestamp),
    /// When a write expires; a time in the far future if it never does.
    Expiry(Option<Timestamp>),
    Keys(&'a [Bytes]),
}

/// An address, or what stands for one where an export goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AddressArgument<'a> {
    Of(IpAddr),
    /// As the server sent it.
    Raw(&'a [u8]),
    /// Below every address.
    Lowest,
}

/// When a write without an expiry expires: in the year 9999, in microseconds since 2000. (CockroachDB does
/// not take PostgreSQL's binary form of infinity.)
const NEVER: i64 = 252_424_080_000_000_000;

/// What an argument of this name is made of, unless the type says otherwise.
macro_rules! value {
    ($of:ident, InfoHash) => {
        ArgumentValue::Bytes($of.info_hash.as_bytes())
    };
    ($of:ident, PeerId) => {
        ArgumentValue::Bytes($of.peer.id().as_bytes())
    };
    ($of:ident, Address) => {
        ArgumentValue::Address(AddressArgument::Of($of.peer.address()))
    };
    ($of:ident, Port) => {
        ArgumentValue::Integer($of.peer.port().into())
    };
    ($of:ident, IsSeeder) => {
        ArgumentValue::Bool($of.role.is_seeder())
    };
    ($of:ident, IsV6) => {
        ArgumentValue::Bool($of.peer.family().is_v6())
    };
    ($of:ident, Created) => {
        ArgumentValue::Time($of.announced)
    };
    ($of:ident, Expires) => {
        ArgumentValue::Expiry($of.expires)
    };
    ($of:ident, Request) => {
        ArgumentValue::Integer($of.request.into())
    };
    ($of:ident, Sample) => {
        ArgumentValue::Integer($of.sample.into())
    };
    ($of:ident, Count) => {
        ArgumentValue::rows($of.count)
    };
    ($of:ident, Limit) => {
        ArgumentValue::rows($of.limit)
    };
    ($of:ident, Context) => {
        ArgumentValue::Bytes($of.context.as_str().as_bytes())
    };
    ($of:ident, Key) => {
        ArgumentValue::Bytes($of.key)
    };
    ($of:ident, Value) => {
        ArgumentValue::Bytes($of.value)
    };
    ($of:ident, $argument:ident, $variant:ident, $field:ident) => {
        ArgumentValue::$variant($of.$field.into())
    };
}

/// Types of arguments: their fields, and the arguments that are made of these. The compiler warns of a field
/// of which no argument is made.
macro_rules! arguments {
    ($(
        $(#[$doc:meta])*
        $name:ident $(<$lifetime:lifetime>)? { $($field:ident: $type:ty),* $(,)? }
        => [$($argument:ident $(: $variant:ident($from:ident))?),* $(,)?]
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name $(<$lifetime>)? {
                $(pub(crate) $field: $type,)*
            }

            impl $(<$lifetime>)? QueryArguments for $name $(<$lifetime>)? {
                const NAMED: &'static [Argument] = &[$(Argument::$argument,)*];

                fn value(&self, argument: Argument) -> Option<ArgumentValue<'_>> {
                    match argument {
                        $(Argument::$argument => Some(value!(self, $argument $(, $variant, $from)?)),)*
                        _ => None,
                    }
                }
            }
        )*
    };
}

// `expires`: from this time on, by the server's clock, the write has no effect on its row.
// `sample`: where the sample begins, a `random_sample`.
arguments! {
    /// No arguments.
    Nothing {} => []

    /// A swarm.
    Swarm<'a> { info_hash: &'a InfoHash } => [InfoHash]

    /// Up to so many peers of a swarm, of one role and family.
    SelectPeers<'a> { info_hash: &'a InfoHash, role: Role, family: AddressFamily, count: usize, sample: i32 }
    => [InfoHash, IsSeeder, IsV6: of_family(family), Count, Sample]

    /// An announce of a batch, of which none wants more than `limit`.
    SelectPeersBatch<'a> {
        request: u32, info_hash: &'a InfoHash, for_seeder: bool, family: AddressFamily, sample: i32, limit: usize,
    } => [Request, InfoHash, ForSeeder: Bool(for_seeder), IsV6: of_family(family), Sample, Limit]

    /// A peer that announced.
    PutPeer<'a> {
        info_hash: &'a InfoHash, peer: &'a Peer, role: Role, announced: Timestamp, expires: Option<Timestamp>,
    } => [InfoHash, PeerId, Address, Port, IsSeeder, IsV6, Created, Expires]

    /// A peer that leaves a role.
    DeletePeer<'a> { info_hash: &'a InfoHash, peer: &'a Peer, role: Role, expires: Option<Timestamp> }
    => [InfoHash, PeerId, Address, Port, IsSeeder, IsV6, Expires]

    /// A peer of a batch of those that leave a role.
    DeletePeerBatch<'a> {
        request: u32, info_hash: &'a InfoHash, peer: &'a Peer, role: Role, expires: Option<Timestamp>,
    } => [Request, InfoHash, PeerId, Address, Port, IsSeeder, IsV6, Expires]

    /// A leecher that has everything.
    GraduatePeer<'a> { info_hash: &'a InfoHash, peer: &'a Peer, announced: Timestamp }
    => [InfoHash, PeerId, Address, Port, Created, IsV6]

    /// A peer of a batch of those that something happens to, as of a time.
    ChangePeerBatch<'a> {
        request: u32, info_hash: &'a InfoHash, peer: &'a Peer, announced: Timestamp, expires: Option<Timestamp>,
    } => [Request, InfoHash, PeerId, Address, Port, IsV6, Created, Expires]

    /// A peer of a batch of those that announced, as of a time.
    BulkPut<'a> {
        request: u32, info_hash: &'a InfoHash, peer: &'a Peer, role: Role, announced: Timestamp,
        expires: Option<Timestamp>,
    } => [Request, InfoHash, PeerId, Address, Port, IsSeeder, IsV6, Created, Expires]

    /// Up to so many peers of a swarm, of one role and family, in a batch.
    BulkRead<'a> {
        request: u32, info_hash: &'a InfoHash, role: Role, family: AddressFamily, sample: i32, limit: usize,
    } => [Request, InfoHash, IsSeeder, IsV6: of_family(family), Sample, Limit]

    /// A swarm of a batch of those that are counted.
    CountSwarmBatch<'a> { request: u32, info_hash: &'a InfoHash } => [Request, InfoHash]

    /// The peers last announced at or before a time.
    CountStale { cutoff: Timestamp } => [Created: Time(cutoff)]

    /// Up to so many swarms from a place in the order of info hashes on.
    CheckCounts<'a> { info_hash: &'a InfoHash, limit: usize } => [InfoHash, Limit]

    /// Up to so many swarms of a list, after the swarm that has this count in the order.
    ListSwarms<'a> { info_hash: &'a [u8], count: i64, limit: usize, order: &'a [u8] }
    => [InfoHash: Bytes(info_hash), Count: Integer(count), Limit, Order: Bytes(order)]

    /// The peers last announced at or before a time, at most so many where the query takes a limit.
    CollectGarbage { cutoff: Timestamp, limit: u64 } => [Created: Time(cutoff), Limit: Integer(limit)]

    /// A value and its key.
    PutData<'a> { context: &'a Context, key: &'a [u8], value: &'a [u8], expires: Option<Timestamp> }
    => [Context, Key, Value, Expires]

    /// Keys that are to be removed.
    DeleteData<'a> { context: &'a Context, keys: &'a [Bytes], expires: Option<Timestamp> }
    => [Context, Keys: Keys(keys), Expires]

    /// A key.
    GetData<'a> { context: &'a Context, key: &'a [u8] } => [Context, Key]

    /// A key of a batch of those that are looked for.
    ContainsDataBatch<'a> { request: u32, context: &'a Context, key: &'a [u8] } => [Request, Context, Key]

    /// Up to so many peers after that of a key, which is as the server sent it.
    ExportPeers<'a> {
        info_hash: &'a [u8], peer_id: &'a [u8], address: AddressArgument<'a>, port: i64, count: usize,
    } => [
        InfoHash: Bytes(info_hash), PeerId: Bytes(peer_id), Address: Address(address), Port: Integer(port), Count,
    ]

    /// Up to so many downloads after those of a swarm.
    ExportDownloads<'a> { info_hash: &'a [u8], count: usize } => [InfoHash: Bytes(info_hash), Count]

    /// Up to so many entries of data after that of a key.
    ExportData<'a> { context: &'a str, key: &'a [u8], count: usize } => [Context: of_text(context), Key, Count]

    /// A peer from elsewhere.
    ImportPeer<'a> { info_hash: &'a InfoHash, peer: &'a Peer, role: Role, announced: Timestamp }
    => [InfoHash, PeerId, Address, Port, IsSeeder, IsV6, Created]

    /// Downloads of a swarm from elsewhere.
    ImportDownloads<'a> { info_hash: &'a InfoHash, downloads: u64 } => [InfoHash, Count: Integer(downloads)]

    /// A value and its key from elsewhere.
    ImportData<'a> { context: &'a Context, key: &'a [u8], value: &'a [u8] } => [Context, Key, Value]
}

/// Where a sample begins.
pub(crate) fn random_sample() -> i32 {
    rand::random_range(0..=i32::MAX)
}

impl<'a> ArgumentValue<'a> {
    fn of_family(family: AddressFamily) -> Self {
        Self::Bool(family.is_v6())
    }

    fn of_text(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }

    /// A number of rows; more than the server can count are as many as it can.
    fn rows(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX).into())
    }

    /// In the form that the parameter has.
    pub(crate) fn encode(
        self,
        statement: &Statement,
        parameter: &Parameter,
    ) -> Result<PgValue<'a>, QueryError> {
        let time = |time| PgValue::Int8(statement.zone.encode(time, parameter.kind));
        Ok(match self {
            Self::Bytes(bytes) => PgValue::Bytes(bytes),
            Self::Address(address) => address.encode(parameter.kind),
            Self::Integer(number) => return fit(number, statement, parameter),
            Self::Bool(value) => PgValue::Bool(value),
            Self::Time(at) => time(at),
            Self::Expiry(expires) => expires.map_or(PgValue::Int8(NEVER), time),
            Self::Keys(keys) => PgValue::Keys(keys),
        })
    }
}

impl<'a> AddressArgument<'a> {
    fn encode(self, kind: PgType) -> PgValue<'a> {
        match (self, kind) {
            (Self::Of(address), PgType::Inet) => PgValue::Inet(address),
            (Self::Of(address), _) => PgValue::Address(address),
            (Self::Raw(bytes), _) => PgValue::Bytes(bytes),
            (Self::Lowest, PgType::Inet) => PgValue::Inet(IpAddr::from([0, 0, 0, 0])),
            (Self::Lowest, _) => PgValue::Bytes(&[]),
        }
    }
}

/// A whole number as wide as its parameter.
fn fit<'a>(number: i128, statement: &Statement, parameter: &Parameter) -> Result<PgValue<'a>, QueryError> {
    let misfit = || {
        let Parameter { argument, kind, .. } = parameter;
        let message = format!("`{argument}` is {kind:?} in the query, too small for {number}");
        QueryError::misfit(statement.query.key(), message)
    };
    match parameter.kind {
        PgType::Int2 => i16::try_from(number).map(PgValue::Int2).map_err(|_| misfit()),
        PgType::Int4 => i32::try_from(number).map(PgValue::Int4).map_err(|_| misfit()),
        _ => i64::try_from(number).map(PgValue::Int8).map_err(|_| misfit()),
    }
}
