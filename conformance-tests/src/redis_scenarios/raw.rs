//! The content of Redis, key by key, and MoChi's layout independent of the backend's code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult};
use storage_core::{InfoHash, Peer};

/// Bytes that are shown as text where possible.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text(pub(super) Vec<u8>);

impl<T: AsRef<[u8]>> From<T> for Text {
    fn from(bytes: T) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Hash(BTreeMap<Text, Text>),
    Set(BTreeSet<Text>),
    String(Text),
}

/// All keys of a database with their values.
pub(super) type Keys = BTreeMap<Text, Content>;

/// Reads all keys.
pub(super) async fn all(connection: &mut MultiplexedConnection) -> RedisResult<Keys> {
    let names: Vec<Vec<u8>> = connection.keys("*").await?;
    let mut keys = Keys::new();
    for name in names {
        let kind: String = connection.key_type(&name).await?;
        let content = match kind.as_str() {
            "hash" => {
                let fields: BTreeMap<Vec<u8>, Vec<u8>> = connection.hgetall(&name).await?;
                hash(fields)
            }
            "set" => set(connection.smembers::<_, BTreeSet<Vec<u8>>>(&name).await?),
            "string" => string(connection.get::<_, Vec<u8>>(&name).await?),
            other => panic!("{:?} is a {other}", Text(name)),
        };
        keys.insert(Text(name), content);
    }
    Ok(keys)
}

/// Fails with the keys that differ.
pub(super) fn assert_same(found: &Keys, expected: &Keys) {
    let names: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differing = names.into_iter().filter(|name| found.get(name) != expected.get(name));
    let differing: Vec<_> = differing
        .map(|name| format!("{name:?}\n  found {:?}\n  expected {:?}", found.get(name), expected.get(name)))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// A hash of these fields and values.
pub(super) fn hash<F: AsRef<[u8]>, V: AsRef<[u8]>>(fields: impl IntoIterator<Item = (F, V)>) -> Content {
    Content::Hash(fields.into_iter().map(|(field, value)| (field.into(), value.into())).collect())
}

/// A set of these members.
pub(super) fn set<M: AsRef<[u8]>>(members: impl IntoIterator<Item = M>) -> Content {
    Content::Set(members.into_iter().map(Text::from).collect())
}

/// A string.
pub(super) fn string(value: impl AsRef<[u8]>) -> Content {
    Content::String(value.into())
}

/// The key of a swarm: `swarm_key("S4", …)` is `CHI_S4_<raw info hash>`.
pub(super) fn swarm_key(kind: &str, info_hash: &InfoHash) -> Vec<u8> {
    [b"CHI_", kind.as_bytes(), b"_", info_hash.as_bytes()].concat()
}

/// The field of a peer: 20 bytes peer id, 2 bytes port (big endian), 4 or 16 bytes address.
pub(super) fn peer_key(peer: &Peer) -> Vec<u8> {
    let address = match peer.address() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    [peer.id().as_bytes(), peer.port().to_be_bytes().as_slice(), &address].concat()
}

/// Whether a key is a swarm's.
pub(super) fn is_swarm_key(key: &Text) -> bool {
    let kind = key.0.strip_prefix(b"CHI_").and_then(|rest| rest.get(..3));
    kind.is_some_and(|kind| [b"S4_", b"S6_", b"L4_", b"L6_"].iter().any(|known| known.as_slice() == kind))
}
