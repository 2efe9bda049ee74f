//! The types of parameters and columns that we understand, and their binary forms.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgTypeKind, Postgres};
use sqlx::{Encode, Type, TypeInfo};
use storage_core::Timestamp;

use crate::arguments::Argument;

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
            Argument::Context | Argument::Order => (&[Self::Text], "varchar or text"),
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
            Self::Keys(keys) => write_array(BYTEA, keys.iter().map(|key| PgValue::Bytes(key)), buffer)?,
            Self::Array(element, values) => write_array(*element, values.iter().copied(), buffer)?,
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

/// Microseconds from the Unix epoch to the server's epoch, the beginning of the year 2000.
const SERVER_EPOCH: i64 = 946_684_800_000_000;

/// The zone in which a column of type `timestamp` holds local times: UTC, or that of the key
/// `created_zone`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zone(Option<TimeZone>);

impl Zone {
    /// The zone of an IANA name, `local` for the machine's own.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("utc") {
            return Some(Self(None));
        }
        if name.eq_ignore_ascii_case("local") {
            return Some(Self(Some(TimeZone::system())));
        }
        TimeZone::get(name).ok().map(|zone| Self(Some(zone)))
    }

    /// Microseconds since the server's epoch, as the column holds them.
    pub(crate) fn encode(&self, timestamp: Timestamp, kind: PgType) -> i64 {
        let microseconds = match (&self.0, kind) {
            (Some(zone), PgType::Timestamp) => {
                let local = zone.to_datetime(timestamp.into());
                TimeZone::UTC
                    .to_timestamp(local)
                    .map_or(timestamp.microseconds(), jiff::Timestamp::as_microsecond)
            }
            _ => timestamp.microseconds(),
        };
        microseconds.saturating_sub(SERVER_EPOCH)
    }

    /// The point in time of what the column holds. A local time that a change of clocks repeats is
    /// the earlier one.
    pub(crate) fn decode(&self, microseconds: i64, kind: PgType) -> Timestamp {
        let microseconds = microseconds.saturating_add(SERVER_EPOCH);
        let as_utc = Timestamp::from_microseconds(microseconds);
        match (&self.0, kind) {
            (Some(zone), PgType::Timestamp) => {
                let local: DateTime = TimeZone::UTC.to_datetime(as_utc.into());
                let instant = zone.to_ambiguous_timestamp(local).compatible();
                instant.ok().and_then(|instant| Timestamp::try_from(instant).ok()).unwrap_or(as_utc)
            }
            _ => as_utc,
        }
    }
}

/// Dimensions, whether there are nulls, the type of elements; for each dimension its length and first
/// index; for each element its length, -1 for null, and its bytes.
fn write_array<'a>(
    element: u32,
    values: impl ExactSizeIterator<Item = PgValue<'a>>,
    buffer: &mut Vec<u8>,
) -> Result<(), BoxDynError> {
    let dimensions = i32::from(values.len() > 0);
    buffer.extend_from_slice(&dimensions.to_be_bytes());
    buffer.extend_from_slice(&0_i32.to_be_bytes());
    buffer.extend_from_slice(&element.to_be_bytes());
    if dimensions == 1 {
        buffer.extend_from_slice(&i32::try_from(values.len())?.to_be_bytes());
        buffer.extend_from_slice(&1_i32.to_be_bytes());
    }
    for value in values {
        let start = buffer.len();
        buffer.extend_from_slice(&(-1_i32).to_be_bytes());
        if matches!(value.write(buffer)?, IsNull::No) {
            let length = i32::try_from(buffer.len() - start - 4)?;
            buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

/// The elements of an array; those that are null are none.
pub(crate) fn array_elements(bytes: &[u8]) -> Option<Elements<'_>> {
    let (dimensions, rest) = split_number(bytes)?;
    let (_has_nulls, rest) = split_number(rest)?;
    let (_element, rest) = split_number(rest)?;
    if dimensions == 0 {
        return Some(Elements { rest: &[] });
    }
    let (_length, rest) = split_number(rest)?;
    let (_first, rest) = split_number(rest)?;
    (dimensions == 1).then_some(Elements { rest })
}

/// Iterates over the elements of an array.
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = split_number(self.rest)?;
        let Ok(length) = usize::try_from(length) else {
            self.rest = rest;
            return Some(None);
        };
        let (element, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(element))
    }
}

fn split_number(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_timestamp_column_holds_the_local_time_of_its_zone() {
        let noon: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let utc = Zone::default().encode(noon, PgType::Timestamp);
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.encode(noon, PgType::Timestamp) - utc, 2 * 3_600_000_000);
        assert_eq!(berlin.encode(noon, PgType::TimestampTz), utc);
        assert!(Zone::named("Atlantis/Capital").is_none());
    }

    proptest! {
        #[test]
        fn times_are_read_back_to_the_microsecond(seconds in 0..4_000_000_000i64, micros in 0..1_000_000i64) {
            let timestamp = Timestamp::from_microseconds(seconds * 1_000_000 + micros);
            for zone in [Zone::default(), Zone::named("Asia/Tokyo").unwrap()] {
                for kind in [PgType::Timestamp, PgType::TimestampTz] {
                    prop_assert_eq!(zone.decode(zone.encode(timestamp, kind), kind), timestamp);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..20)) {
            let encoded = values.iter().map(|value| value.as_deref().map_or(PgValue::Null, PgValue::Bytes));
            let mut bytes = Vec::new();
            write_array(17, encoded, &mut bytes).unwrap();
            let read: Vec<_> = array_elements(&bytes).unwrap().map(|element| element.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = array_elements(&bytes).map(Iterator::count);
        }
    }
}
