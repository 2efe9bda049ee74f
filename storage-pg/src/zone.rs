//! Between points in time and what columns of type `timestamp` and `timestamptz` hold.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use storage_core::Timestamp;

use crate::pg_type::PgType;

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
}
