//! Points in time, as fine as Redis keeps them in MoChi's layout.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since the Unix epoch, between the years 1677 and 2262.
///
/// Backends keep it as finely as they can (Redis: nanoseconds; PostgreSQL: microseconds).
/// As text it is RFC 3339 in UTC: `2026-11-22T15:28:09.123456Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(i64);

/// Text that is no point in time of RFC 3339, or one out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 2026-11-22T15:28:09.123456Z, between the years 1677 and 2262")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// The machine's clock.
    pub fn now() -> Self {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => Self(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n)),
        }
    }

    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// From microseconds since the Unix epoch; what is out of range becomes the nearest end of it.
    pub const fn from_microseconds(microseconds: i64) -> Self {
        Self(microseconds.saturating_mul(1_000))
    }

    /// From seconds since the Unix epoch; what is out of range becomes the nearest end of it.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }

    /// Whole microseconds since the Unix epoch, rounded down.
    pub const fn microseconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The time a while before this one.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// The time a while after this one.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        u64::try_from(self.0.saturating_sub(earlier.0)).map_or(Duration::ZERO, Duration::from_nanos)
    }

    /// This time rounded down to whole multiples of `precision`.
    pub fn at_precision(self, precision: Duration) -> Self {
        match i64::try_from(precision.as_nanos()) {
            Ok(step @ 1..) => Self(self.0.saturating_sub(self.0.rem_euclid(step))),
            _ => self,
        }
    }
}

impl From<Timestamp> for jiff::Timestamp {
    fn from(timestamp: Timestamp) -> Self {
        Self::from_nanosecond(i128::from(timestamp.0)).unwrap_or(Self::UNIX_EPOCH)
    }
}

impl TryFrom<jiff::Timestamp> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(timestamp: jiff::Timestamp) -> Result<Self, Self::Error> {
        i64::try_from(timestamp.as_nanosecond()).map(Self).map_err(|_| InvalidTimestamp)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        jiff::Timestamp::from(*self).fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map_err(|_| InvalidTimestamp)?.try_into()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

/// When a peer announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As the storage carries the call out, by [its clock](crate::Backend::now).
    Now,
    /// At this time, which is stored as it is.
    At(Timestamp),
}

impl When {
    /// The time, by the clock of this storage.
    pub fn on<B: crate::Backend + ?Sized>(self, storage: &B) -> Timestamp {
        match self {
            Self::Now => storage.now(),
            Self::At(time) => time,
        }
    }

    /// The time, where now is this one.
    pub fn or(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::At(time) => time,
        }
    }
}

impl From<Timestamp> for When {
    fn from(time: Timestamp) -> Self {
        Self::At(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_rfc_3339_in_utc() {
        let parsed: Timestamp = "2026-11-22T15:28:09.123456Z".parse().unwrap();
        assert_eq!(parsed.to_string(), "2026-11-22T15:28:09.123456Z");
        assert_eq!("2026-11-22T16:28:09.123456+01:00".parse(), Ok(parsed));
        assert_eq!("yesterday".parse::<Timestamp>(), Err(InvalidTimestamp));
        assert_eq!("2500-01-01T00:00:00Z".parse::<Timestamp>(), Err(InvalidTimestamp));
    }

    proptest! {
        #[test]
        fn text_is_read_back(nanoseconds: i64) {
            let timestamp = Timestamp::from_nanoseconds(nanoseconds);
            prop_assert_eq!(timestamp.to_string().parse(), Ok(timestamp));
        }

        #[test]
        fn microseconds_round_down(nanoseconds in (i64::MIN + 1_000)..) {
            let timestamp = Timestamp::from_nanoseconds(nanoseconds);
            let rounded = Timestamp::from_microseconds(timestamp.microseconds());
            prop_assert!(rounded <= timestamp);
            prop_assert_eq!(rounded, timestamp.at_precision(Duration::from_micros(1)));
        }
    }
}
