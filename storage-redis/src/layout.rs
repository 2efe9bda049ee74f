//! MoChi's layout: the names of keys, and how peers and times are written in them.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use storage_core::{AddressFamily, Context, InfoHash, Peer, PeerId, Role, Timestamp};

/// The set of swarm keys.
pub(crate) const SWARMS: &[u8] = b"CHI_I";

/// The hash of info hash to downloads.
pub(crate) const DOWNLOADS: &[u8] = b"CHI_D";

/// What the keys of all swarms match.
pub(crate) const SWARM_PATTERN: &str = "CHI_[SL][46]_*";

/// What the keys of all contexts match, and those of the peers with them.
pub(crate) const CONTEXT_PATTERN: &str = "CHI_*";

const PREFIX: &[u8] = b"CHI_";
const PEER_ID_LENGTH: usize = 20;
const PORT_LENGTH: usize = 2;

/// The peers of a swarm that have an address of one family; they may be in two keys, one a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SwarmKey {
    pub(crate) info_hash: InfoHash,
    pub(crate) family: AddressFamily,
}

impl SwarmKey {
    pub(crate) fn new(info_hash: InfoHash, family: AddressFamily) -> Self {
        Self { info_hash, family }
    }

    /// The swarm's key of a role: `CHI_S4_<raw info hash>`.
    pub(crate) fn key(&self, role: Role) -> Vec<u8> {
        let kind: &[u8; 3] = match (role, self.family) {
            (Role::Seeder, AddressFamily::V4) => b"S4_",
            (Role::Seeder, AddressFamily::V6) => b"S6_",
            (Role::Leecher, AddressFamily::V4) => b"L4_",
            (Role::Leecher, AddressFamily::V6) => b"L6_",
        };
        [PREFIX, kind, self.info_hash.as_bytes()].concat()
    }

    /// Reads a swarm's key; `None` if it is none.
    pub(crate) fn read_key(key: &[u8]) -> Option<(Self, Role)> {
        let (kind, info_hash) = key.strip_prefix(PREFIX)?.split_at_checked(3)?;
        let (role, family) = match kind {
            b"S4_" => (Role::Seeder, AddressFamily::V4),
            b"S6_" => (Role::Seeder, AddressFamily::V6),
            b"L4_" => (Role::Leecher, AddressFamily::V4),
            b"L6_" => (Role::Leecher, AddressFamily::V6),
            _ => return None,
        };
        Some((Self::new(InfoHash::try_from(info_hash).ok()?, family), role))
    }

    /// A name by which exports order swarms.
    pub(crate) fn name(&self) -> Vec<u8> {
        let family = if self.family.is_v6() { b'6' } else { b'4' };
        [self.info_hash.as_bytes(), &[family]].concat()
    }

    /// Reads what [`name`](Self::name) gave.
    pub(crate) fn read_name(name: &[u8]) -> Option<Self> {
        let (family, info_hash) = name.split_last()?;
        let family = match family {
            b'4' => AddressFamily::V4,
            b'6' => AddressFamily::V6,
            _ => return None,
        };
        Some(Self::new(InfoHash::try_from(info_hash).ok()?, family))
    }
}

/// The counter of all peers in a role, which MoChi reads and we don't.
pub(crate) fn counter(role: Role) -> &'static [u8] {
    match role {
        Role::Seeder => b"CHI_C_S",
        Role::Leecher => b"CHI_C_L",
    }
}

/// The length of a peer key, in bytes.
pub(crate) fn peer_key_length(family: AddressFamily) -> usize {
    PEER_ID_LENGTH + PORT_LENGTH + if family.is_v6() { 16 } else { 4 }
}

/// A peer as a field of its swarm's hash: 20 bytes peer id, 2 bytes port (big endian), 4 or 16 bytes
/// address.
pub(crate) fn peer_key(peer: &Peer) -> Vec<u8> {
    let mut key = Vec::with_capacity(peer_key_length(peer.family()));
    key.extend_from_slice(peer.id().as_bytes());
    key.extend_from_slice(&peer.port().to_be_bytes());
    match peer.address() {
        IpAddr::V4(address) => key.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => key.extend_from_slice(&address.octets()),
    }
    key
}

/// Reads a peer key; `None` if it is not one that [`peer_key`] writes for that family.
pub(crate) fn read_peer_key(key: &[u8], family: AddressFamily) -> Option<Peer> {
    let (id, rest) = key.split_at_checked(PEER_ID_LENGTH)?;
    let (port, address) = rest.split_first_chunk::<PORT_LENGTH>()?;
    let address = match family {
        AddressFamily::V4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
        AddressFamily::V6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
    };
    let peer = Peer::new(PeerId::try_from(id).ok()?, address, u16::from_be_bytes(*port));
    (peer.family() == family).then_some(peer)
}

/// Reads a time of last announce: nanoseconds since the Unix epoch, in decimal.
pub(crate) fn read_time(text: &[u8]) -> Option<Timestamp> {
    read_decimal(text).map(Timestamp::from_nanoseconds)
}

/// Reads a number in decimal, written as Redis and MoChi write it: no plus, no leading zeros.
pub(crate) fn read_decimal<T: std::str::FromStr + ToString>(text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text).ok()?;
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The key of a context's data.
pub(crate) fn context_key(context: &str) -> Vec<u8> {
    [PREFIX, context.as_bytes()].concat()
}

/// The name in a context's key; `None` if the key belongs to the peers, or to no tracker at all.
pub(crate) fn read_context_key(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(PREFIX).filter(|name| !Context::is_reserved(name))
}

/// A key for people to read: that of a swarm with its info hash in hexadecimal, others as they are, escaped.
pub(crate) fn key_text(key: &[u8]) -> String {
    let kinds = [b"CHI_S4_", b"CHI_S6_", b"CHI_L4_", b"CHI_L6_"];
    let Some(info_hash) = kinds.into_iter().find_map(|kind| key.strip_prefix(kind.as_slice())) else {
        return std::str::from_utf8(key)
            .map_or(key.escape_ascii().to_string(), |key| key.escape_debug().to_string());
    };
    let mut text = key[..key.len() - info_hash.len()].escape_ascii().to_string();
    for byte in info_hash {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: [u8; 20] = *b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x09abcdefghij";

    #[test]
    fn keys_are_those_of_mochi() {
        let swarm = SwarmKey::new(InfoHash::V1(HASH), AddressFamily::V6);
        assert_eq!(swarm.key(Role::Leecher), [b"CHI_L6_".as_slice(), &HASH].concat());
        assert_eq!(context_key("MW"), b"CHI_MW");
        assert_eq!(context_key(""), b"CHI_");
    }

    #[test]
    fn keys_are_shown_as_text_and_info_hashes_in_hexadecimal() {
        let swarm = SwarmKey::new(InfoHash::V1(HASH), AddressFamily::V4);
        let hash = "000102030405060708096162636465666768696a";
        assert_eq!(key_text(&swarm.key(Role::Seeder)), format!("CHI_S4_{hash}"));
        assert_eq!(key_text(b"CHI_S4_\xFF"), "CHI_S4_ff");
        assert_eq!(key_text(DOWNLOADS), "CHI_D");
        assert_eq!(key_text("CHI_grün\n".as_bytes()), "CHI_grün\\n");
        assert_eq!(key_text(b"CHI_\xFF\0"), "CHI_\\xff\\x00");
    }

    #[test]
    fn a_peer_key_is_id_port_and_address() {
        let peer = Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), IpAddr::from([192, 0, 2, 1]), 0x1AE1);
        assert_eq!(peer_key(&peer), b"-TR4040-abcdefghijkl\x1A\xE1\xC0\x00\x02\x01");
    }

    #[test]
    fn a_mapped_address_among_ipv6_peers_is_unreadable() {
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        let key = [b"-TR4040-abcdefghijkl\x1A\xE1".as_slice(), &mapped.octets()].concat();
        assert_eq!(read_peer_key(&key, AddressFamily::V6), None);
    }

    #[test]
    fn a_time_is_a_plain_decimal_number() {
        let time = Timestamp::from_nanoseconds(1_795_361_289_097_667_485);
        assert_eq!(read_time(b"1795361289097667485"), Some(time));
        assert_eq!(read_time(b"-5"), Some(Timestamp::from_nanoseconds(-5)));
        for text in ["", "+5", "007", "-0", "1.5", " 5", "5\n", "soon", "9223372036854775808"] {
            assert_eq!(read_time(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn keys_of_the_peers_are_no_contexts() {
        for key in ["CHI_I", "CHI_D", "CHI_C_S", "CHI_C_L", "CHI_S4_x", "other"] {
            assert_eq!(read_context_key(key.as_bytes()), None, "{key}");
        }
        assert_eq!(read_context_key(b"CHI_MW"), Some(b"MW".as_slice()));
        assert_eq!(read_context_key(b"CHI_"), Some(b"".as_slice()));
    }

    fn family() -> impl Strategy<Value = AddressFamily> {
        prop_oneof![Just(AddressFamily::V4), Just(AddressFamily::V6)]
    }

    fn info_hash() -> impl Strategy<Value = InfoHash> {
        prop_oneof![any::<[u8; 20]>().prop_map(InfoHash::V1), any::<[u8; 32]>().prop_map(InfoHash::V2)]
    }

    proptest! {
        #[test]
        fn a_peer_is_read_back(id: [u8; 20], address: IpAddr, port: u16) {
            let peer = Peer::new(PeerId(id), address, port);
            let key = peer_key(&peer);
            prop_assert_eq!(key.len(), peer_key_length(peer.family()));
            prop_assert_eq!(read_peer_key(&key, peer.family()), Some(peer));
        }

        #[test]
        fn what_is_read_as_a_peer_is_written_the_same(
            key in prop::collection::vec(any::<u8>(), 0..48),
            family in family(),
        ) {
            if let Some(peer) = read_peer_key(&key, family) {
                prop_assert_eq!(peer_key(&peer), key);
            }
        }

        #[test]
        fn a_swarm_is_read_back(info_hash in info_hash(), family in family(), seeder: bool) {
            let (swarm, role) = (SwarmKey::new(info_hash, family), Role::from_is_seeder(seeder));
            prop_assert_eq!(SwarmKey::read_key(&swarm.key(role)), Some((swarm, role)));
            prop_assert_eq!(SwarmKey::read_name(&swarm.name()), Some(swarm));
        }

        #[test]
        fn any_bytes_are_a_swarms_key_or_none(key in prop::collection::vec(any::<u8>(), 0..48)) {
            let key = [b"CHI_S4_".as_slice(), &key].concat();
            if let Some((swarm, role)) = SwarmKey::read_key(&key) {
                prop_assert_eq!(swarm.key(role), key);
            }
        }

        #[test]
        fn a_time_is_read_back(nanoseconds: i64) {
            let read = read_time(nanoseconds.to_string().as_bytes());
            prop_assert_eq!(read, Some(Timestamp::from_nanoseconds(nanoseconds)));
        }
    }
}
