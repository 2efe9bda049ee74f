//! Info hashes of BitTorrent v1 (20 bytes, BEP 3) and v2 (32 bytes, BEP 52).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a swarm: the SHA-1 (20 bytes, BEP 3) or SHA-256 (32 bytes, BEP 52) of a torrent's
/// info dictionary.
///
/// A storage never truncates an info hash: a v2 hash and the v1 hash that equals its first 20
/// bytes name different swarms. Hashes are ordered as byte strings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum InfoHash {
    /// 20 bytes.
    V1([u8; 20]),
    /// 32 bytes.
    V2([u8; 32]),
}

/// Bytes or text that are no info hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInfoHash {
    /// Neither 20 nor 32 bytes.
    #[error("expected an info hash of 20 or 32 bytes, found {0}{hint}", hint = hint(*.0))]
    Length(usize),
    /// Text that is not so many hexadecimal digits.
    #[error("expected an info hash of 40 or 64 hexadecimal digits")]
    NotHex,
}

/// Hexadecimal digits are what people see of an info hash.
fn hint(length: usize) -> &'static str {
    match length {
        40 | 64 => " (in a URL, write each two hexadecimal digits as %XX)",
        _ => "",
    }
}

impl InfoHash {
    /// The bytes, 20 or 32 of them.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V1(bytes) => bytes,
            Self::V2(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for InfoHash {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl TryFrom<&[u8]> for InfoHash {
    type Error = InvalidInfoHash;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        if let Ok(v1) = <[u8; 20]>::try_from(bytes) {
            return Ok(Self::V1(v1));
        }
        <[u8; 32]>::try_from(bytes).map(Self::V2).map_err(|_| InvalidInfoHash::Length(bytes.len()))
    }
}

impl FromStr for InfoHash {
    type Err = InvalidInfoHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex::decode(text).map_err(|_| InvalidInfoHash::NotHex)?;
        Self::try_from(bytes.as_slice()).map_err(|_| InvalidInfoHash::NotHex)
    }
}

impl TryFrom<String> for InfoHash {
    type Error = InvalidInfoHash;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InfoHash> for String {
    fn from(info_hash: InfoHash) -> Self {
        info_hash.to_string()
    }
}

impl Ord for InfoHash {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for InfoHash {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_20_and_32_bytes_are_taken() {
        for length in 0..64 {
            let bytes = vec![7; length];
            let parsed = InfoHash::try_from(bytes.as_slice());
            assert_eq!(parsed.is_ok(), length == 20 || length == 32, "{length}");
        }
        assert_eq!("zz".parse::<InfoHash>(), Err(InvalidInfoHash::NotHex));
    }

    #[test]
    fn a_v1_hash_sorts_before_the_v2_hash_that_begins_with_it() {
        let v1 = InfoHash::V1([9; 20]);
        let v2 = InfoHash::V2([9; 32]);
        assert!(v1 < v2);
        assert_ne!(v1, v2);
    }

    proptest! {
        #[test]
        fn hex_is_read_back(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 20),
            prop::collection::vec(any::<u8>(), 32),
        ]) {
            let info_hash = InfoHash::try_from(bytes.as_slice()).unwrap();
            prop_assert_eq!(info_hash.as_bytes(), bytes.as_slice());
            prop_assert_eq!(info_hash.to_string().parse::<InfoHash>().unwrap(), info_hash);
            prop_assert_eq!(info_hash.to_string().to_uppercase().parse::<InfoHash>().unwrap(), info_hash);
        }
    }
}
