//! Durations as Go writes them: `3m`, `1h30m`, `1.5s`, `300ms`.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Designator, Spacing, SpanPrinter};

/// Reads a duration as Go writes it; negative ones become zero.
///
/// ```
/// use std::time::Duration;
/// use storage_core::config::parse_duration;
///
/// assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
/// assert_eq!(parse_duration("300ms"), Some(Duration::from_millis(300)));
/// assert_eq!(parse_duration("-1s"), Some(Duration::ZERO));
/// assert_eq!(parse_duration("soon"), None);
/// ```
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let parsed: SignedDuration = text.parse().ok()?;
    Some(Duration::try_from(parsed).unwrap_or(Duration::ZERO))
}

/// Writes a duration as [`parse_duration`] reads it.
///
/// ```
/// use std::time::Duration;
/// use storage_core::config::format_duration;
///
/// assert_eq!(format_duration(Duration::from_secs(5400)), "1h30m");
/// assert_eq!(format_duration(Duration::ZERO), "0s");
/// ```
pub fn format_duration(duration: Duration) -> String {
    let printer = SpanPrinter::new().designator(Designator::Compact).spacing(Spacing::None);
    printer.duration_to_string(&SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for milliseconds in [0, 1, 300, 1_500, 5_000, 60_000, 5_400_000, 86_400_000, 1_000_000_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration), "{duration:?}");
        }
    }

    #[test]
    fn go_notation_is_read() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("3m", 180_000_000),
            ("1m0.5s", 60_500_000),
            ("1h30m0s", 5_400_000_000),
            ("1.5s", 1_500_000),
            ("300ms", 300_000),
            ("7us", 7),
            ("7µs", 7),
            ("-3m", 0),
        ];
        for (text, microseconds) in cases {
            assert_eq!(parse_duration(text), Some(Duration::from_micros(microseconds)), "{text}");
        }
        for text in ["", "3", "m", "3 parsecs", "1.5"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
