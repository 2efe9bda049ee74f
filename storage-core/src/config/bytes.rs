//! Sizes in bytes, with units: `512MiB`, `1GiB`.

/// Units, the longest first.
const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// Reads a whole number of bytes, with or without a unit.
///
/// ```
/// use storage_core::config::parse_bytes;
///
/// assert_eq!(parse_bytes("1GiB"), Some(1 << 30));
/// assert_eq!(parse_bytes("500 MB"), Some(500_000_000));
/// assert_eq!(parse_bytes("4096"), Some(4096));
/// assert_eq!(parse_bytes("much"), None);
/// ```
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let unit = UNITS.into_iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let (number, bytes) = unit.unwrap_or((&text, 1));
    number.trim().parse::<u64>().ok()?.checked_mul(bytes)
}

/// Writes a number of bytes as [`parse_bytes`] reads it.
///
/// ```
/// use storage_core::config::format_bytes;
///
/// assert_eq!(format_bytes(1 << 30), "1GiB");
/// assert_eq!(format_bytes(1_000), "1000");
/// ```
pub fn format_bytes(bytes: u64) -> String {
    let units = [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}
