//! Records: what a storage holds, as export gives it and import takes it.

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Context, InfoHash, Peer, PeerId, Role, Timestamp};

/// A peer of a swarm with its role and the time of its last announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "PeerText", from = "PeerText")]
pub struct PeerRecord {
    /// Its swarm.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer: Peer,
    /// Its role.
    pub role: Role,
    /// When it last announced.
    pub announced: Timestamp,
}

impl PeerRecord {
    /// Which of two records of one peer stays: the later, at equal times the seeder.
    #[must_use]
    pub fn newer(self, other: Self) -> Self {
        if (other.announced, other.role) > (self.announced, self.role) { other } else { self }
    }
}

/// How often a swarm's torrent was downloaded to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DownloadsRecord {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Its downloads.
    pub downloads: u64,
}

/// An entry of arbitrary data.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DataRecord {
    /// Its namespace.
    pub context: Context,
    /// Any bytes.
    #[serde(with = "hex_bytes")]
    pub key: Bytes,
    /// Any bytes.
    #[serde(with = "hex_bytes")]
    pub value: Bytes,
}

impl std::fmt::Debug for DataRecord {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataRecord")
            .field("context", &self.context.as_str())
            .field("key", &hex::encode(&self.key))
            .field("value", &format_args!("{} bytes", self.value.len()))
            .finish()
    }
}

/// Any record, as text one JSON object:
///
/// - `{"kind":"peer","info_hash":hex,"peer_id":hex,"address":"192.0.2.1","port":6881,"seeder":true,"announced":"2026-11-22T15:28:09.123456Z"}`
/// - `{"kind":"downloads","info_hash":hex,"downloads":3}`
/// - `{"kind":"data","context":"text","key":hex,"value":hex}`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// A peer.
    Peer(PeerRecord),
    /// Downloads of a swarm.
    Downloads(DownloadsRecord),
    /// Data.
    Data(DataRecord),
}

/// Where the next page of an export begins. Its bytes mean something to the storage that made it
/// and to no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Bytes);

impl Cursor {
    /// A cursor of a storage's own making.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// What the storage put in.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For storages that export in the order of keys: after this peer of this swarm.
    pub fn after_peer(info_hash: &InfoHash, peer: &Peer) -> Self {
        let mut bytes = Self::prefixed(info_hash.as_bytes());
        bytes.extend_from_slice(peer.id().as_bytes());
        bytes.extend_from_slice(&peer.port().to_be_bytes());
        match peer.address() {
            IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
        }
        Self::new(bytes)
    }

    /// The swarm and peer of [`after_peer`](Self::after_peer); `None` if the cursor is none of those.
    pub fn peer(&self) -> Option<(InfoHash, Peer)> {
        let (info_hash, rest) = self.split_prefixed()?;
        let (id, rest) = rest.split_first_chunk::<20>()?;
        let (port, address) = rest.split_first_chunk::<2>()?;
        let address = match address.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        };
        let peer = Peer::new(PeerId(*id), address, u16::from_be_bytes(*port));
        Some((InfoHash::try_from(info_hash).ok()?, peer))
    }

    /// For storages that export in the order of keys: after the downloads of this swarm.
    pub fn after_swarm(info_hash: &InfoHash) -> Self {
        Self::new(Self::prefixed(info_hash.as_bytes()))
    }

    /// The swarm of [`after_swarm`](Self::after_swarm); `None` if the cursor is none of those.
    pub fn swarm(&self) -> Option<InfoHash> {
        InfoHash::try_from(self.split_prefixed()?.0).ok()
    }

    /// For lists of swarms: after the swarm of this rank ([`SwarmOrder::rank`](crate::SwarmOrder::rank)).
    pub fn after_ranked_swarm(rank: u64, info_hash: &InfoHash) -> Self {
        let mut bytes = Self::prefixed(info_hash.as_bytes());
        bytes.extend_from_slice(&rank.to_be_bytes());
        Self::new(bytes)
    }

    /// The rank and swarm of [`after_ranked_swarm`](Self::after_ranked_swarm); `None` if the cursor is none of those.
    pub fn ranked_swarm(&self) -> Option<(u64, InfoHash)> {
        let (info_hash, rank) = self.split_prefixed()?;
        let rank = u64::from_be_bytes(rank.try_into().ok()?);
        Some((rank, InfoHash::try_from(info_hash).ok()?))
    }

    /// For storages that export in the order of keys: after this entry of data.
    pub fn after_data(context: &Context, key: &[u8]) -> Self {
        let mut bytes = Self::prefixed(context.as_str().as_bytes());
        bytes.extend_from_slice(key);
        Self::new(bytes)
    }

    /// The context and key of [`after_data`](Self::after_data); `None` if the cursor is none of those.
    pub fn data(&self) -> Option<(Context, Bytes)> {
        let (context, key) = self.split_prefixed()?;
        let context = Context::new(std::str::from_utf8(context).ok()?).ok()?;
        Some((context, Bytes::copy_from_slice(key)))
    }

    fn prefixed(first: &[u8]) -> Vec<u8> {
        let length = u32::try_from(first.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes(), first].concat()
    }

    fn split_prefixed(&self) -> Option<(&[u8], &[u8])> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        rest.split_at_checked(u32::from_be_bytes(*length) as usize)
    }
}

/// A page of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The records; a page that is not the last may be empty.
    pub records: Vec<T>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
    /// Entries that could not be understood and are left out.
    pub unreadable: u64,
    /// Names of the first of those, as the server has them; may be empty.
    pub unreadable_names: Vec<Bytes>,
    /// Peers that were found in both roles; their record is the one that stays (T1).
    pub in_both_roles: u64,
}

impl<T> Page<T> {
    /// The most names of unreadable entries that a page has.
    pub const UNREADABLE_NAMES: usize = 5;
}

impl<T> Default for Page<T> {
    /// An empty page, and the last.
    fn default() -> Self {
        Self {
            records: Vec::new(),
            next: None,
            unreadable: 0,
            unreadable_names: Vec::new(),
            in_both_roles: 0,
        }
    }
}

/// What came of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records that were written.
    pub written: u64,
    /// Records that were not: what the storage had is newer, greater, or there already.
    pub kept: u64,
}

#[derive(Serialize, Deserialize)]
struct PeerText {
    info_hash: InfoHash,
    #[serde(with = "hex_peer_id")]
    peer_id: PeerId,
    address: IpAddr,
    port: u16,
    seeder: bool,
    announced: Timestamp,
}

impl From<PeerText> for PeerRecord {
    fn from(text: PeerText) -> Self {
        Self {
            info_hash: text.info_hash,
            peer: Peer::new(text.peer_id, text.address, text.port),
            role: Role::from_is_seeder(text.seeder),
            announced: text.announced,
        }
    }
}

impl From<PeerRecord> for PeerText {
    fn from(record: PeerRecord) -> Self {
        Self {
            info_hash: record.info_hash,
            peer_id: *record.peer.id(),
            address: record.peer.address(),
            port: record.peer.port(),
            seeder: record.role.is_seeder(),
            announced: record.announced,
        }
    }
}

mod hex_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        hex::decode(text).map(Bytes::from).map_err(|_| D::Error::custom("expected hexadecimal digits"))
    }
}

mod hex_peer_id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::PeerId;

    pub(super) fn serialize<S: Serializer>(id: &PeerId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(id.as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PeerId, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = hex::decode(text).map_err(|_| D::Error::custom("expected hexadecimal digits"))?;
        PeerId::try_from(bytes.as_slice()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_of_json() {
        let lines = [
            r#"{"kind":"peer","info_hash":"0909090909090909090909090909090909090909","peer_id":"2d5452343034302d6162636465666768696a6b6c","address":"192.0.2.1","port":6881,"seeder":true,"announced":"2026-11-22T15:28:09.123456Z"}"#,
            r#"{"kind":"downloads","info_hash":"0909090909090909090909090909090909090909","downloads":3}"#,
            r#"{"kind":"data","context":"MW","key":"0000fffe","value":""}"#,
        ];
        for line in lines {
            let record: Record = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&record).unwrap(), line);
        }
    }

    #[test]
    fn cursors_lead_back_to_their_keys() {
        let info_hash = InfoHash::V2([7; 32]);
        for address in ["192.0.2.1", "2001:db8::1"] {
            let peer = Peer::new(PeerId([3; 20]), address.parse().unwrap(), 6881);
            assert_eq!(Cursor::after_peer(&info_hash, &peer).peer(), Some((info_hash, peer)));
        }
        assert_eq!(Cursor::after_swarm(&info_hash).swarm(), Some(info_hash));
        let context = Context::new("a b").unwrap();
        let cursor = Cursor::after_data(&context, b"\0key");
        assert_eq!(cursor.data(), Some((context, Bytes::from_static(b"\0key"))));
        assert_eq!(Cursor::new(&b"junk"[..]).peer(), None);
    }

    #[test]
    fn a_value_is_not_printed() {
        let record = DataRecord {
            context: Context::new("tokens").unwrap(),
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"secret"),
        };
        assert!(!format!("{record:?}").contains("secret"));
        assert!(!format!("{record:?}").contains(&hex::encode("secret")));
    }

    #[test]
    fn of_two_records_the_later_stays_and_at_equal_times_the_seeder() {
        let at = |seconds, role| PeerRecord {
            info_hash: InfoHash::V1([1; 20]),
            peer: Peer::new(PeerId([2; 20]), IpAddr::from([192, 0, 2, 1]), 1),
            role,
            announced: Timestamp::from_seconds(seconds),
        };
        let (old, new) = (at(1, Role::Seeder), at(2, Role::Leecher));
        assert_eq!(old.newer(new), new);
        assert_eq!(new.newer(old), new);
        let (seeder, leecher) = (at(2, Role::Seeder), at(2, Role::Leecher));
        assert_eq!(seeder.newer(leecher), seeder);
        assert_eq!(leecher.newer(seeder), seeder);
    }
}
