//! Peers, times and announces as cases use them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::{AddressFamily, InfoHash, Peer, PeerId, PeerSelection, Timestamp};

/// The start of 1990: the last announce of a peer that is stale beyond doubt.
pub const STALE: Timestamp = Timestamp::from_seconds(631_152_000);

/// The start of 1991: a cutoff that no living peer is older than.
pub const CUTOFF: Timestamp = Timestamp::from_seconds(662_688_000);

/// A time a few seconds ago, in whole microseconds, as coarse as every backend keeps it.
pub fn ago(seconds: u64) -> Timestamp {
    let now = Timestamp::from_microseconds(Timestamp::now().microseconds());
    now.before(Duration::from_secs(seconds))
}

/// A peer id as a real client makes it: a prefix that all its users share, then random bytes.
pub fn peer_id(number: u32) -> PeerId {
    let mut id = *b"-TR4040-............";
    // Multiplying by an odd number spreads consecutive numbers without making two of them equal.
    let spread = u64::from(number).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for (digit, byte) in id[8..].iter_mut().enumerate() {
        let value = (spread >> (digit * 5)) & 31;
        *byte = b"0123456789abcdefghijklmnopqrstuv"[value as usize];
    }
    PeerId(id)
}

/// The IPv4 peer of this number.
pub fn peer(number: u32) -> Peer {
    let address = Ipv4Addr::from(0x0A00_0001_u32.wrapping_add(number % 0x00FF_0000));
    Peer::new(peer_id(number), IpAddr::V4(address), 6881)
}

/// The IPv6 peer of this number.
pub fn peer_v6(number: u32) -> Peer {
    let address = Ipv6Addr::from((0x2001_0db8_u128 << 96) | (u128::from(number) + 1));
    Peer::new(peer_id(number), IpAddr::V6(address), 6881)
}

/// An announce of a leecher for IPv4 peers.
pub fn for_leecher(info_hash: InfoHash, num_want: usize) -> PeerSelection {
    PeerSelection::new(info_hash, num_want)
}

/// An announce of a seeder for IPv4 peers.
pub fn for_seeder(info_hash: InfoHash, num_want: usize) -> PeerSelection {
    PeerSelection { for_seeder: true, ..PeerSelection::new(info_hash, num_want) }
}

/// The same announce for IPv6 peers.
pub fn over_v6(selection: PeerSelection) -> PeerSelection {
    PeerSelection { family: AddressFamily::V6, ..selection }
}

/// The same announce by this peer.
pub fn by(peer: Peer, selection: PeerSelection) -> PeerSelection {
    PeerSelection { exclude: Some(peer), ..selection }
}
