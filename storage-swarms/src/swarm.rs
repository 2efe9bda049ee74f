//! One swarm: its peers of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use storage_core::{AddressFamily, Peer, PeerId, PeerSelection, Role, Timestamp};

use crate::peer_list::PeerList;

/// A peer without its family: as small as it can be.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Compact<const ADDRESS: usize> {
    id: [u8; 20],
    address: [u8; ADDRESS],
    port: [u8; 2],
}

type CompactV4 = Compact<4>;
type CompactV6 = Compact<16>;

impl<const ADDRESS: usize> Compact<ADDRESS> {
    fn new(peer: &Peer, address: [u8; ADDRESS]) -> Self {
        Self { id: *peer.id().as_bytes(), address, port: peer.port().to_be_bytes() }
    }

    fn peer(self, address: IpAddr) -> Peer {
        Peer::new(PeerId(self.id), address, u16::from_be_bytes(self.port))
    }
}

impl From<CompactV4> for Peer {
    fn from(compact: CompactV4) -> Self {
        compact.peer(Ipv4Addr::from(compact.address).into())
    }
}

impl From<CompactV6> for Peer {
    fn from(compact: CompactV6) -> Self {
        compact.peer(Ipv6Addr::from(compact.address).into())
    }
}

/// The peers of one swarm.
#[derive(Default)]
pub struct Swarm {
    v4: PeerList<CompactV4>,
    v6: Option<Box<PeerList<CompactV6>>>,
}

impl Swarm {
    /// Puts a peer in or updates it.
    pub fn put(&mut self, peer: &Peer, role: Role, announced: Timestamp) {
        match peer.address() {
            IpAddr::V4(address) => self.v4.put(Compact::new(peer, address.octets()), role, announced),
            IpAddr::V6(address) => {
                self.v6.get_or_insert_default().put(Compact::new(peer, address.octets()), role, announced);
            }
        }
    }

    /// Puts a peer in unless it is there with a later time, or with the same time and no lesser role; whether it did.
    pub fn put_newer(&mut self, peer: &Peer, role: Role, announced: Timestamp) -> bool {
        match peer.address() {
            IpAddr::V4(address) => self.v4.put_newer(Compact::new(peer, address.octets()), role, announced),
            IpAddr::V6(address) => self.v6.get_or_insert_default().put_newer(
                Compact::new(peer, address.octets()),
                role,
                announced,
            ),
        }
    }

    /// The role and time of a peer.
    pub fn get(&self, peer: &Peer) -> Option<(Role, Timestamp)> {
        match (peer.address(), &self.v6) {
            (IpAddr::V4(address), _) => self.v4.get(&Compact::new(peer, address.octets())),
            (IpAddr::V6(address), Some(list)) => list.get(&Compact::new(peer, address.octets())),
            (IpAddr::V6(_), None) => None,
        }
    }

    /// Whether a peer is there as a seeder.
    pub fn is_seeder(&self, peer: &Peer) -> bool {
        self.get(peer).is_some_and(|(role, _)| role.is_seeder())
    }

    /// Takes a peer out in whichever role it is; whether it was there.
    pub fn forget(&mut self, peer: &Peer) -> bool {
        Role::BOTH.into_iter().any(|role| self.remove(peer, role))
    }

    /// Takes a peer out if it is there in that role; whether it was.
    pub fn remove(&mut self, peer: &Peer, role: Role) -> bool {
        let removed = match peer.address() {
            IpAddr::V4(address) => self.v4.remove(&Compact::new(peer, address.octets()), role),
            IpAddr::V6(address) => {
                self.v6.as_mut().is_some_and(|list| list.remove(&Compact::new(peer, address.octets()), role))
            }
        };
        self.shrink();
        removed
    }

    /// Takes out all that last announced at or before the cutoff; how many.
    pub fn remove_stale(&mut self, cutoff: Timestamp) -> usize {
        let v6 = self.v6.as_mut().map_or(0, |list| list.remove_stale(cutoff));
        let removed = self.v4.remove_stale(cutoff) + v6;
        self.shrink();
        removed
    }

    /// How many last announced at or before the cutoff.
    pub fn stale(&self, cutoff: Timestamp) -> u64 {
        let v6 = self.v6.as_ref().map_or(0, |list| list.stale(cutoff));
        (self.v4.stale(cutoff) + v6) as u64
    }

    /// The number of peers of a role.
    pub fn count(&self, role: Role) -> usize {
        self.v4.count(role) + self.v6.as_ref().map_or(0, |list| list.count(role))
    }

    /// The number of peers.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.as_ref().map_or(0, |list| list.len())
    }

    /// Whether there are no peers.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_none()
    }

    /// The peers of a selection, chosen at random.
    pub fn select(&self, selection: &PeerSelection) -> Vec<Peer> {
        match (selection.family, &self.v6) {
            (AddressFamily::V4, _) => select(&self.v4, selection),
            (AddressFamily::V6, Some(list)) => select(list, selection),
            (AddressFamily::V6, None) => Vec::new(),
        }
    }

    /// Calls `take` with all peers if there are no more than `limit`, or else with up to so many of each role and
    /// family, at random.
    pub fn sample(&self, limit: usize, mut take: impl FnMut(Peer, Role, Timestamp)) {
        for role in Role::BOTH {
            self.v4.sample(role, limit, |peer, announced| take(peer.into(), role, announced));
            if let Some(v6) = &self.v6 {
                v6.sample(role, limit, |peer, announced| take(peer.into(), role, announced));
            }
        }
    }

    /// All peers.
    pub fn iter(&self) -> impl Iterator<Item = (Peer, Role, Timestamp)> {
        let v6 = self.v6.iter().flat_map(|list| list.iter());
        let v6 = v6.map(|(peer, role, announced)| (Peer::from(peer), role, announced));
        self.v4.iter().map(|(peer, role, announced)| (Peer::from(peer), role, announced)).chain(v6)
    }

    fn shrink(&mut self) {
        if self.v6.as_ref().is_some_and(|list| list.is_empty()) {
            self.v6 = None;
        }
    }
}

fn select<P: crate::peer_list::PeerKey + Into<Peer>>(
    list: &PeerList<P>,
    selection: &PeerSelection,
) -> Vec<Peer> {
    let mut peers = Vec::with_capacity(selection.num_want.min(list.len()));
    for role in selection.roles() {
        let wanted = selection.num_want - peers.len();
        if wanted == 0 {
            break;
        }
        // One more than wanted, in case the one to leave out is drawn.
        let spare = usize::from(selection.exclude.is_some());
        list.sample(*role, wanted.saturating_add(spare), |peer, _| {
            let peer = peer.into();
            if Some(peer) != selection.exclude && peers.len() < selection.num_want {
                peers.push(peer);
            }
        });
    }
    peers
}
