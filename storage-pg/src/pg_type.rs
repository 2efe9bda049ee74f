//! The types of parameters and columns that we understand, and their binary forms.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgTypeKind, Postgres};
use sqlx::{Encode, Type, TypeInfo};

use crate::argument::Argument;
use crate::array;

/// A type of the server that we can feed or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PgType {
    Bool,
    Bytes,
    Text,
    Int2,
    Int4,
    Int8,
    Inet,
    Timestamp,
    TimestampTz,
}

/// The type of an argument that the server is to find out. (Not that named `unknown`, number 705, which
/// CockroachDB before 22.1 takes at its word.)
pub(crate) const UNKNOWN: PgTypeInfo = PgTypeInfo::with_oid(Oid(0));

/// The name of a type of which only the number is known.
const UNRESOLVED: &str = "?";

impl PgType {
    /// The kind of a type that was described when its query was prepared; of an array, that of its elements, and their
    /// type's number. Domains are what they are made of, and `citext` is text.
    pub(crate) fn described(type_info: &PgTypeInfo) -> Option<(Self, Option<u32>)> {
        if let Some(found) = Self::of(type_info) {
            return Some(found);
        }
        // The library knows nothing else of a type that it has not looked up.
        if type_info.name() == UNRESOLVED {
            return None;
        }
        match type_info.kind() {
            PgTypeKind::Domain(base) => Self::described(base),
            PgTypeKind::Array(element) => {
                let (kind, inner) = Self::described(element)?;
                // The binary form of an array names the type of its elements, which may be a domain.
                inner.is_none().then_some((kind, Some(element.oid()?.0)))
            }
            PgTypeKind::Simple if type_info.name().eq_ignore_ascii_case("citext") => Some((Self::Text, None)),
            _ => None,
        }
    }

    /// The kind of a type of the server's own; of an array, that of its elements, and their type's number.
    pub(crate) fn of(type_info: &PgTypeInfo) -> Option<(Self, Option<u32>)> {
        let oid = type_info.oid()?.0;
        let element = Self::element(oid);
        Some(match element.unwrap_or(oid) {
            16 => (Self::Bool, element),
            BYTEA => (Self::Bytes, element),
            20 => (Self::Int8, element),
            21 => (Self::Int2, element),
            23 => (Self::Int4, element),
            19 | 25 | 1042 | 1043 => (Self::Text, element),
            869 => (Self::Inet, element),
            1114 => (Self::Timestamp, element),
            1184 => (Self::TimestampTz, element),
            _ => return None,
        })
    }

    /// Whether a type is that of whole numbers.
    pub(crate) fn is_integer(type_info: &PgTypeInfo) -> bool {
        matches!(Self::of(type_info), Some((Self::Int2 | Self::Int4 | Self::Int8, None)))
    }

    /// The type of an array's elements.
    fn element(oid: u32) -> Option<u32> {
        Some(match oid {
            1000 => 16,
            1001 => BYTEA,
            1005 => 21,
            1007 => 23,
            1009 => 25,
            1015 => 1043,
            1016 => 20,
            1041 => 869,
            1115 => 1114,
            1185 => 1184,
            _ => return None,
        })
    }

    /// What a parameter for this argument may be, with the types in words.
    pub(crate) fn accepted(argument: Argument) -> (&'static [Self], &'static str) {
        match argument {
            Argument::InfoHash | Argument::PeerId | Argument::Key | Argument::Keys | Argument::Value => {
                (&[Self::Bytes], "bytea")
            }
            Argument::Address => (&[Self::Inet, Self::Bytes], "inet or bytea"),
            Argument::Port => {
                (&[Self::Int4, Self::Int8], "int4 or int8 (int2 has no room for ports above 32767)")
            }
            Argument::Sample | Argument::Request => (&[Self::Int4, Self::Int8], "int4 or int8"),
            Argument::Count | Argument::Limit => {
                (&[Self::Int2, Self::Int4, Self::Int8], "int2, int4 or int8")
            }
            Argument::IsSeeder | Argument::IsV6 | Argument::ForSeeder => (&[Self::Bool], "bool"),
            Argument::Created | Argument::Expires => {
                (&[Self::Timestamp, Self::TimestampTz], "timestamp or timestamptz")
            }
            Argument::Context => (&[Self::Text], "varchar or text"),
        }
    }
}

/// What a result column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Bytes,
    Text,
    Address,
    Integer,
    Boolean,
    Time,
    ManyBytes,
    ManyAddresses,
    ManyIntegers,
}

impl ColumnType {
    /// Whether it is an array.
    pub(crate) fn is_many(self) -> bool {
        matches!(self, Self::ManyBytes | Self::ManyAddresses | Self::ManyIntegers)
    }

    pub(crate) fn accepts(self, kind: PgType) -> bool {
        match self {
            Self::Bytes | Self::ManyBytes => kind == PgType::Bytes,
            Self::Text => kind == PgType::Text,
            Self::Address | Self::ManyAddresses => matches!(kind, PgType::Inet | PgType::Bytes),
            Self::Integer | Self::ManyIntegers => matches!(kind, PgType::Int2 | PgType::Int4 | PgType::Int8),
            Self::Boolean => kind == PgType::Bool,
            Self::Time => matches!(kind, PgType::Timestamp | PgType::TimestampTz),
        }
    }

    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Bytes => "bytea",
            Self::Text => "varchar or text",
            Self::Address => "inet or bytea",
            Self::Integer => "int2, int4 or int8",
            Self::Boolean => "bool",
            Self::Time => "timestamp or timestamptz",
            Self::ManyBytes => "an array of bytea",
            Self::ManyAddresses => "an array of inet or bytea",
            Self::ManyIntegers => "an array of int2, int4 or int8",
        }
    }
}

/// A value in the binary form of its parameter's type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PgValue<'a> {
    Null,
    Bool(bool),
    Bytes(&'a [u8]),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Inet(IpAddr),
    Address(IpAddr),
    /// An array of bytes.
    Keys(&'a [Bytes]),
    /// Of one dimension; with the number of its elements' type.
    Array(u32, &'a [PgValue<'a>]),
}

impl PgValue<'_> {
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) -> Result<IsNull, BoxDynError> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Bool(value) => buffer.push(u8::from(*value)),
            Self::Bytes(value) => buffer.extend_from_slice(value),
            Self::Int2(value) => buffer.extend_from_slice(&value.to_be_bytes()),
            Self::Int4(value) => buffer.extend_from_slice(&value.to_be_bytes()),
            Self::Int8(value) => buffer.extend_from_slice(&value.to_be_bytes()),
            Self::Inet(address) => write_inet(*address, buffer),
            Self::Address(IpAddr::V4(address)) => buffer.extend_from_slice(&address.octets()),
            Self::Address(IpAddr::V6(address)) => buffer.extend_from_slice(&address.octets()),
            Self::Keys(keys) => array::write(BYTEA, keys.iter().map(|key| PgValue::Bytes(key)), buffer)?,
            Self::Array(element, values) => array::write(*element, values.iter().copied(), buffer)?,
        }
        Ok(IsNull::No)
    }
}

/// An [`PgValue`] value with the type that its parameter has.
pub(crate) struct PgParam<'a>(pub(crate) PgValue<'a>, pub(crate) PgTypeInfo);

impl Type<Postgres> for PgParam<'_> {
    fn type_info() -> PgTypeInfo {
        UNKNOWN
    }
}

impl Encode<'_, Postgres> for PgParam<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.0.write(buffer)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.1.clone())
    }
}

const BYTEA: u32 = 17;

const INET_V4: u8 = 2;
const INET_V6: u8 = 3;

/// Family, bits of the netmask, whether it is a network, length, address.
fn write_inet(address: IpAddr, buffer: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            buffer.extend_from_slice(&[INET_V4, 32, 0, 4]);
            buffer.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            buffer.extend_from_slice(&[INET_V6, 128, 0, 16]);
            buffer.extend_from_slice(&address.octets());
        }
    }
}

/// An address from `inet`; the netmask is not looked at.
pub(crate) fn decode_inet(bytes: &[u8]) -> Option<IpAddr> {
    let (header, address) = bytes.split_first_chunk::<4>()?;
    match header[0] {
        INET_V4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into()),
        INET_V6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into()),
        _ => None,
    }
}

/// An address from 4 or 16 bytes.
pub(crate) fn decode_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// A whole number from 2, 4 or 8 bytes.
pub(crate) fn decode_integer(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        2 => Some(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        4 => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        8 => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
