//! Lines of the standard input, read by a thread of their own, so that Ctrl-C can end the wait.

use std::io::{self, BufRead, Read};

use storage_core::Record;
use tokio::sync::mpsc;

use crate::commands::export::ExportHeader;

/// The longest line, in bytes; the value of an entry is half of it.
const LONGEST: usize = 64 << 20;

/// Lines that wait to be taken in.
const QUEUE: usize = 1_000;

/// A line that is not empty.
pub(super) struct ImportLine {
    pub(super) number: u64,
    /// What it says, or why it cannot be read.
    pub(super) record: Result<Record, String>,
}

/// Reads the standard input to its end.
pub(super) fn read() -> mpsc::Receiver<ImportLine> {
    let (lines, read) = mpsc::channel(QUEUE);
    std::thread::spawn(move || each(io::stdin().lock(), LONGEST, |line| lines.blocking_send(line).is_ok()));
    read
}

/// Hands over lines until the end of the input, or until `take` returns false.
fn each(mut input: impl BufRead, longest: usize, mut take: impl FnMut(ImportLine) -> bool) {
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
        let record = match input.by_ref().take(limit).read_until(b'\n', &mut bytes) {
            Ok(0) => return,
            Ok(_) if bytes.len() > longest => {
                let reason = format!("longer than {longest} bytes");
                if input.skip_until(b'\n').is_err() { Err("cannot be read".into()) } else { Err(reason) }
            }
            Ok(_) if bytes.trim_ascii().is_empty() => continue,
            Ok(_) => match serde_json::from_slice(&bytes).map_err(|error| (error, header(&bytes))) {
                Ok(record) => Ok(record),
                Err((_, Some(header))) if header.version > ExportHeader::VERSION => {
                    take(ImportLine { number, record: Err(header.refusal()) });
                    return;
                }
                Err((_, Some(_))) => continue,
                Err((error, None)) => Err(reason(&error)),
            },
            Err(error) => {
                take(ImportLine { number, record: Err(format!("the input cannot be read: {error}")) });
                return;
            }
        };
        if !take(ImportLine { number, record }) {
            return;
        }
    }
}

fn header(line: &[u8]) -> Option<ExportHeader> {
    serde_json::from_slice(line).ok()
}

/// What is wrong with a line, without the place: the line is all there is.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => format!("{reason} (column {})", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &str, longest: usize) -> Vec<(u64, Result<Record, String>)> {
        let mut lines = Vec::new();
        each(input.as_bytes(), longest, |line| {
            lines.push((line.number, line.record));
            true
        });
        lines
    }

    const DOWNLOADS: &str =
        r#"{"kind":"downloads","info_hash":"0909090909090909090909090909090909090909","downloads":3}"#;

    #[test]
    fn an_unreadable_line_is_reported_with_its_number_and_the_rest_is_read() {
        let read = lines(&format!("{DOWNLOADS}\n\nnonsense\n{DOWNLOADS}"), 1_000);
        let numbers: Vec<_> = read.iter().map(|(number, record)| (*number, record.is_ok())).collect();
        assert_eq!(numbers, [(1, true), (3, false), (4, true)]);
    }

    #[test]
    fn a_header_is_read_wherever_it_is_and_one_of_a_newer_format_ends_it() {
        let header = serde_json::to_string(&ExportHeader::new()).unwrap();
        let newer = header.replace(&ExportHeader::VERSION.to_string(), "99");
        let read = lines(&format!("{header}\n{DOWNLOADS}\n{header}\n{newer}\n{DOWNLOADS}\n"), 1_000);
        assert_eq!(read.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 4]);
        assert!(read[1].1.as_ref().unwrap_err().contains("version 99"), "{read:?}");
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let read = lines(&format!("{}\n{DOWNLOADS}\n", "x".repeat(500)), 100);
        assert_eq!(read[0].1, Err("longer than 100 bytes".into()));
        assert!(read[1].1.is_ok());
    }
}
