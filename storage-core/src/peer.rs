//! Peers: who takes part in a swarm, and in which role.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The 20 bytes by which a client names itself (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl TryFrom<&[u8]> for PeerId {
    type Error = InvalidPeerId;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| InvalidPeerId(bytes.len()))
    }
}

/// Bytes that are no peer id; holds their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a peer id of 20 bytes, found {0}")]
pub struct InvalidPeerId(pub usize);

impl fmt::Display for PeerId {
    /// Printable characters as they are, all others escaped: `-TR4040-\x01…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a peer does in a swarm. It has one role per swarm at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Still downloads.
    Leecher,
    /// Has everything.
    Seeder,
}

impl Role {
    /// The two roles.
    pub const BOTH: [Self; 2] = [Self::Seeder, Self::Leecher];

    /// The role that this one is not.
    pub fn other(self) -> Self {
        match self {
            Self::Seeder => Self::Leecher,
            Self::Leecher => Self::Seeder,
        }
    }

    /// Whether this is [`Role::Seeder`].
    pub fn is_seeder(self) -> bool {
        self == Self::Seeder
    }

    /// [`Role::Seeder`] if true.
    pub fn from_is_seeder(is_seeder: bool) -> Self {
        if is_seeder { Self::Seeder } else { Self::Leecher }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_seeder() { "seeder" } else { "leecher" })
    }
}

/// The family of a peer's address: an announce asks for one of them (BEP 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// IPv4, also where it was written as an IPv4-mapped IPv6 address.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// The two families.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Both families, this one first.
    pub const fn then_other(self) -> &'static [Self] {
        match self {
            Self::V4 => &[Self::V4, Self::V6],
            Self::V6 => &[Self::V6, Self::V4],
        }
    }

    /// Whether this is [`AddressFamily::V6`].
    pub fn is_v6(self) -> bool {
        self == Self::V6
    }
}

/// A peer of a swarm: peer id, IP address, port. All three together identify it.
///
/// An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    id: PeerId,
    address: IpAddr,
    port: u16,
}

impl Peer {
    /// A peer. Any port is taken, 0 too.
    pub fn new(id: PeerId, address: IpAddr, port: u16) -> Self {
        Self { id, address: address.to_canonical(), port }
    }

    /// Its peer id.
    pub fn id(&self) -> &PeerId {
        &self.id
    }

    /// Its address; never an IPv4-mapped one.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Address and port.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// The family of its address.
    pub fn family(&self) -> AddressFamily {
        match self.address {
            IpAddr::V4(_) => AddressFamily::V4,
            IpAddr::V6(_) => AddressFamily::V6,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.id, self.socket_address())
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_mapped_address_is_ipv4() {
        let id = PeerId(*b"-TR4040-abcdefghijkl");
        let mapped = Peer::new(id, "::ffff:192.0.2.1".parse().unwrap(), 6881);
        let plain = Peer::new(id, "192.0.2.1".parse().unwrap(), 6881);
        assert_eq!(mapped, plain);
        assert_eq!(mapped.family(), AddressFamily::V4);
        assert_eq!(mapped.to_string(), "-TR4040-abcdefghijkl at 192.0.2.1:6881");
    }

    #[test]
    fn a_peer_id_has_20_bytes() {
        assert_eq!(PeerId::try_from(&[0u8; 19][..]), Err(InvalidPeerId(19)));
        assert!(PeerId::try_from(&[0u8; 20][..]).is_ok());
    }
}
