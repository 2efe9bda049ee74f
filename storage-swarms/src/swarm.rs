//! One swarm: its peers of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use storage_core::{AddressFamily, Announce, Peer, PeerId, PeerSelection, Role};

use crate::peer_list::{PeerGroup, PeerKey, PeerList};

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

/// Where a peer of a [`Swarm`] is. It is valid until a peer is inserted, assigned to another group, or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    family: AddressFamily,
    index: u32,
}

impl Position {
    fn new(family: AddressFamily, index: usize) -> Self {
        Self { family, index: index as u32 }
    }

    fn index(self) -> usize {
        self.index as usize
    }
}

/// The peers of one swarm, each with a state.
///
/// Give the state an alignment of 1, such as that of `[u8; 8]`, so that entries need no padding.
pub struct Swarm<T> {
    v4: PeerList<CompactV4, T>,
    v6: Option<Box<PeerList<CompactV6, T>>>,
}

impl<T> Default for Swarm<T> {
    fn default() -> Self {
        Self { v4: PeerList::default(), v6: None }
    }
}

impl<T: Copy> Swarm<T> {
    /// The position of a peer.
    pub fn find(&self, peer: &Peer) -> Option<Position> {
        match peer.address() {
            IpAddr::V4(address) => {
                let found = self.v4.find(&Compact::new(peer, address.octets()));
                found.map(|index| Position::new(AddressFamily::V4, index))
            }
            IpAddr::V6(address) => {
                let found = self.v6.as_ref()?.find(&Compact::new(peer, address.octets()));
                found.map(|index| Position::new(AddressFamily::V6, index))
            }
        }
    }

    /// The group of the peer at a position.
    pub fn group(&self, at: Position) -> PeerGroup {
        match at.family {
            AddressFamily::V4 => self.v4.group(at.index()),
            AddressFamily::V6 => self.v6().group(at.index()),
        }
    }

    /// The state of the peer at a position.
    pub fn state(&self, at: Position) -> &T {
        match at.family {
            AddressFamily::V4 => self.v4.state(at.index()),
            AddressFamily::V6 => self.v6().state(at.index()),
        }
    }

    /// The state of the peer at a position, to change it.
    pub fn state_mut(&mut self, at: Position) -> &mut T {
        match at.family {
            AddressFamily::V4 => self.v4.state_mut(at.index()),
            AddressFamily::V6 => self.v6_mut().state_mut(at.index()),
        }
    }

    /// Inserts a peer that is not in the swarm, as [`find`](Self::find) says; its position.
    pub fn insert(&mut self, peer: &Peer, group: PeerGroup, state: T) -> Position {
        match peer.address() {
            IpAddr::V4(address) => {
                let index = self.v4.insert(Compact::new(peer, address.octets()), group, state);
                Position::new(AddressFamily::V4, index)
            }
            IpAddr::V6(address) => {
                let list = self.v6.get_or_insert_default();
                Position::new(
                    AddressFamily::V6,
                    list.insert(Compact::new(peer, address.octets()), group, state),
                )
            }
        }
    }

    /// Moves the peer at a position to a group; its new position.
    pub fn assign(&mut self, at: Position, group: PeerGroup) -> Position {
        let index = match at.family {
            AddressFamily::V4 => self.v4.assign(at.index(), group),
            AddressFamily::V6 => self.v6_mut().assign(at.index(), group),
        };
        Position::new(at.family, index)
    }

    /// Removes the peer at a position; gives memory back once most of it is unused.
    pub fn remove(&mut self, at: Position) {
        match at.family {
            AddressFamily::V4 => self.v4.remove(at.index()),
            AddressFamily::V6 => self.v6_mut().remove(at.index()),
        }
        self.shrink();
    }

    /// Keeps the peers for which `keep` is true, and gives memory back once most of it is unused; how many were
    /// removed.
    pub fn retain(&mut self, mut keep: impl FnMut(Peer, PeerGroup, &mut T) -> bool) -> usize {
        let mut removed = self.v4.retain(|peer, group, state| keep(peer.into(), group, state));
        if let Some(v6) = &mut self.v6 {
            removed += v6.retain(|peer, group, state| keep(peer.into(), group, state));
        }
        self.shrink();
        removed
    }

    /// The number of peers of a role, of both families.
    pub fn count(&self, role: Role) -> usize {
        self.v4.count(role) + self.v6.as_ref().map_or(0, |list| list.count(role))
    }

    /// The number of peers of all three groups.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.as_ref().map_or(0, |list| list.len())
    }

    /// The number of hidden peers.
    pub fn hidden(&self) -> usize {
        self.v4.hidden() + self.v6.as_ref().map_or(0, |list| list.hidden())
    }

    /// Whether there are no peers, not even hidden ones.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_none()
    }

    /// The peers of a selection, chosen at random; no hidden ones.
    pub fn select(&self, selection: &PeerSelection) -> Vec<Peer> {
        match (selection.family, &self.v6) {
            (AddressFamily::V4, _) => select(&self.v4, selection),
            (AddressFamily::V6, Some(list)) => select(list, selection),
            (AddressFamily::V6, None) => Vec::new(),
        }
    }

    /// The peers that a whole announce asks for: of the family preferred, and then of the next.
    pub fn peers_for(&self, announce: &Announce) -> Vec<Peer> {
        let mut peers = Vec::new();
        for mut selection in announce.selections() {
            selection.num_want -= peers.len();
            announce.fill(&mut peers, self.select(&selection));
            if peers.len() >= announce.num_want {
                break;
            }
        }
        peers
    }

    /// Calls `take` with up to `limit` peers of each role and family, chosen at random where there are more; with no
    /// hidden ones.
    pub fn sample(&self, limit: usize, mut take: impl FnMut(Peer, Role, &T)) {
        for role in Role::BOTH {
            self.v4.sample(role, limit, |peer, state| take(peer.into(), role, state));
            if let Some(v6) = &self.v6 {
                v6.sample(role, limit, |peer, state| take(peer.into(), role, state));
            }
        }
    }

    /// All peers, hidden ones too.
    pub fn iter(&self) -> impl Iterator<Item = (Peer, PeerGroup, &T)> {
        let v6 = self.v6.iter().flat_map(|list| list.iter());
        let v6 = v6.map(|(peer, group, state)| (Peer::from(peer), group, state));
        self.v4.iter().map(|(peer, group, state)| (Peer::from(peer), group, state)).chain(v6)
    }

    /// Calls `visit` with each peer from the one of this number on, hidden ones too, until it gives false; the number of
    /// the next one, or none after the last.
    ///
    /// Numbers count over both families, and change as those of [`Position`] do: a peer that was visited may come again
    /// under a later number, and one that was not may get an earlier one.
    pub fn visit_from(
        &mut self,
        start: usize,
        mut visit: impl FnMut(Peer, PeerGroup, &mut T) -> bool,
    ) -> Option<usize> {
        let v4 = self.v4.len();
        let mut next = start;
        let finished = self.v4.visit_from(&mut next, |peer, group, state| visit(peer.into(), group, state));
        if finished && let Some(v6) = &mut self.v6 {
            next -= v4;
            v6.visit_from(&mut next, |peer, group, state| visit(peer.into(), group, state));
            next += v4;
        }
        (next < self.len()).then_some(next)
    }

    /// The bytes that the swarm has allocated, without those of the `Swarm` itself. It takes the same time for any
    /// size.
    pub fn heap_bytes(&self) -> usize {
        let boxed = |list: &PeerList<CompactV6, T>| size_of_val(list) + list.heap_bytes();
        self.v4.heap_bytes() + self.v6.as_deref().map_or(0, boxed)
    }

    fn v6(&self) -> &PeerList<CompactV6, T> {
        self.v6.as_deref().unwrap_or_else(|| no_such_position())
    }

    fn v6_mut(&mut self) -> &mut PeerList<CompactV6, T> {
        self.v6.as_deref_mut().unwrap_or_else(|| no_such_position())
    }

    fn shrink(&mut self) {
        if self.v6.as_ref().is_some_and(|list| list.is_empty()) {
            self.v6 = None;
        }
    }
}

/// As an index out of range does.
#[cold]
fn no_such_position() -> ! {
    unreachable!("a position is used after the swarm changed")
}

fn select<P: PeerKey + Into<Peer>, T: Copy>(list: &PeerList<P, T>, selection: &PeerSelection) -> Vec<Peer> {
    let mut peers = Vec::with_capacity(selection.num_want.min(list.listed()));
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
