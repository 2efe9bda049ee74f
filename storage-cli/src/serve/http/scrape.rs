//! Scrapes over HTTP (BEP 48): which swarms are asked for.

use storage_core::InfoHash;

use super::malformed::Malformed;
use super::query::parameters;

/// Reads the info hashes of a scrape, each once, up to `most`. Counts of all swarms are given to nobody.
pub(super) fn read(query: &[u8], most: usize) -> Result<Vec<InfoHash>, Malformed> {
    let mut info_hashes = Vec::new();
    for (name, value) in parameters(query) {
        if *name != *b"info_hash" {
            continue;
        }
        let bytes = value.decode().map_err(|_| Malformed::NotEncoded("info_hash"))?;
        let info_hash = InfoHash::try_from(&bytes[..])?;
        if info_hashes.len() < most && !info_hashes.contains(&info_hash) {
            info_hashes.push(info_hash);
        }
    }
    if info_hashes.is_empty() { Err(Malformed::Missing("info_hash")) } else { Ok(info_hashes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn several_info_hashes_are_read_each_once_and_no_more_than_the_limit() {
        let (a, b, c) = ("a".repeat(20), "b".repeat(32), "c".repeat(20));
        let query = format!("info_hash={a}&x=y&info_hash={b}&info_hash={a}&info_hash={c}");
        let [a, b, c] = [InfoHash::V1([b'a'; 20]), InfoHash::V2([b'b'; 32]), InfoHash::V1([b'c'; 20])];
        assert_eq!(read(query.as_bytes(), 50).unwrap(), [a, b, c]);
        assert_eq!(read(query.as_bytes(), 2).unwrap(), [a, b]);
    }

    #[test]
    fn a_scrape_of_everything_or_of_nonsense_is_refused() {
        assert_eq!(read(b"", 50), Err(Malformed::Missing("info_hash")));
        assert_eq!(read(b"passkey=1", 50), Err(Malformed::Missing("info_hash")));
        assert_eq!(read(b"info_hash=%zz", 50), Err(Malformed::NotEncoded("info_hash")));
        assert!(matches!(read(b"info_hash=aaa", 50), Err(Malformed::InfoHash(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(query: Vec<u8>) {
            let _ = read(&query, 50);
        }
    }
}
