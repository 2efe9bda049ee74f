//! Which data was written: small in memory, for the rest in a temporary file.

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use tempfile::SpooledTempFile;

use storage_core::{Context, DataRecord};

/// Beyond this, the entries move to a file.
const IN_MEMORY: usize = 1 << 20;

/// An entry that was written, with a digest of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenEntry {
    pub(super) context: Context,
    pub(super) key: Bytes,
    digest: u64,
}

impl WrittenEntry {
    pub(super) fn of(record: &DataRecord) -> Self {
        let DataRecord { context, key, value } = record;
        Self { context: context.clone(), key: key.clone(), digest: digest(value) }
    }

    /// Whether this is the value that was written.
    pub(super) fn is_of(&self, value: &[u8]) -> bool {
        digest(value) == self.digest
    }
}

fn digest(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

/// The entries that were written, in order.
pub(super) struct WrittenKeys(SpooledTempFile);

impl WrittenKeys {
    pub(super) fn new() -> Self {
        Self(SpooledTempFile::new(IN_MEMORY))
    }

    pub(super) fn note(&mut self, entries: &[WrittenEntry]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for WrittenEntry { context, key, digest } in entries {
            for text in [context.as_str().as_bytes(), key] {
                let length = u32::try_from(text.len()).map_err(io::Error::other)?;
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(text);
            }
            bytes.extend_from_slice(&digest.to_be_bytes());
        }
        self.0.seek(SeekFrom::End(0))?;
        self.0.write_all(&bytes)
    }

    /// Up to so many entries from a place on, and the place after them.
    pub(super) fn read(&mut self, from: u64, count: usize) -> io::Result<(Vec<WrittenEntry>, u64)> {
        let end = self.0.seek(SeekFrom::End(0))?;
        self.0.seek(SeekFrom::Start(from))?;
        let (mut entries, mut at) = (Vec::new(), from);
        let mut file = BufReader::new(&mut self.0);
        while at < end && entries.len() < count {
            let (context, key) = (read_text(&mut file)?, read_text(&mut file)?);
            let digest = u64::from_be_bytes(read_array(&mut file)?);
            at += (context.len() + key.len() + 16) as u64;
            let context = String::from_utf8(context).map_err(io::Error::other)?;
            let context = Context::new(context).map_err(io::Error::other)?;
            entries.push(WrittenEntry { context, key: key.into(), digest });
        }
        Ok((entries, at))
    }
}

fn read_text(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut text = vec![0; u32::from_be_bytes(read_array(file)?) as usize];
    file.read_exact(&mut text)?;
    Ok(text)
}

fn read_array<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    file.read_exact(&mut array)?;
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> WrittenEntry {
        let context = Context::new(if number.is_multiple_of(3) { "" } else { "ключи" }).unwrap();
        let key = Bytes::from(vec![7; (number % 500) as usize]);
        WrittenEntry::of(&DataRecord { context, key, value: Bytes::from(number.to_string()) })
    }

    #[test]
    fn entries_are_read_as_they_were_noted_also_from_a_file() {
        let entries: Vec<_> = (0..10_000).map(entry).collect();
        let mut written = WrittenKeys::new();
        let (mut found, mut from) = (Vec::new(), 0);
        for entries in entries.chunks(1_000) {
            written.note(entries).unwrap();
            let (some, next) = written.read(from, 900).unwrap();
            found.extend(some);
            from = next;
        }
        found.extend(written.read(from, usize::MAX).unwrap().0);
        assert!(found == entries);
    }

    #[test]
    fn another_value_is_not_the_one_that_was_written() {
        assert!(entry(1).is_of(b"1"));
        assert!(!entry(1).is_of(b"2"));
    }
}
