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
pub struct PeerPosition {
    family: AddressFamily,
    index: u32,
}

impl PeerPosition {
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
    pub fn find(&self, peer: &Peer) -> Option<PeerPosition> {
        match peer.address() {
            IpAddr::V4(address) => {
                let found = self.v4.find(&Compact::new(peer, address.octets()));
                found.map(|index| PeerPosition::new(AddressFamily::V4, index))
            }
            IpAddr::V6(address) => {
                let found = self.v6.as_ref()?.find(&Compact::new(peer, address.octets()));
                found.map(|index| PeerPosition::new(AddressFamily::V6, index))
            }
        }
    }

    /// The group of the peer at a position.
    pub fn group(&self, at: PeerPosition) -> PeerGroup {
        match at.family {
            AddressFamily::V4 => self.v4.group(at.index()),
            AddressFamily::V6 => self.v6().group(at.index()),
        }
    }

    /// The state of the peer at a position.
    pub fn state(&self, at: PeerPosition) -> &T {
        match at.family {
            AddressFamily::V4 => self.v4.state(at.index()),
            AddressFamily::V6 => self.v6().state(at.index()),
        }
    }

    /// The state of the peer at a position, to change it.
    pub fn state_mut(&mut self, at: PeerPosition) -> &mut T {
        match at.family {
            AddressFamily::V4 => self.v4.state_mut(at.index()),
            AddressFamily::V6 => self.v6_mut().state_mut(at.index()),
        }
    }

    /// Inserts a peer that is not in the swarm, as [`find`](Self::find) says; its position.
    pub fn insert(&mut self, peer: &Peer, group: PeerGroup, state: T) -> PeerPosition {
        match peer.address() {
            IpAddr::V4(address) => {
                let index = self.v4.insert(Compact::new(peer, address.octets()), group, state);
                PeerPosition::new(AddressFamily::V4, index)
            }
            IpAddr::V6(address) => {
                let list = self.v6.get_or_insert_default();
                PeerPosition::new(
                    AddressFamily::V6,
                    list.insert(Compact::new(peer, address.octets()), group, state),
                )
            }
        }
    }

    /// Moves the peer at a position to a group; its new position.
    pub fn assign(&mut self, at: PeerPosition, group: PeerGroup) -> PeerPosition {
        let index = match at.family {
            AddressFamily::V4 => self.v4.assign(at.index(), group),
            AddressFamily::V6 => self.v6_mut().assign(at.index(), group),
        };
        PeerPosition::new(at.family, index)
    }

    /// Removes the peer at a position; gives memory back once most of it is unused.
    pub fn remove(&mut self, at: PeerPosition) {
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

    /// Calls `visit` with each peer from the one of this number on, hidden ones too, until it gives false; the number
    /// of the next one, or none after the last. The peer for which it gave false is visited.
    ///
    /// Numbers count over both families. Peers move when others are inserted, assigned to another group, or removed:
    /// if that happens between two calls, a peer may be visited twice or not at all.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use storage_core::InfoHash;

    use super::*;

    /// Enough that a list of each family is searched with and without its table.
    const PEERS: u8 = 120;

    #[derive(Debug, Clone)]
    enum SwarmStep {
        Put(u8, PeerGroup, u8),
        Assign(u8, PeerGroup),
        Remove(u8),
        Retain(u8),
        Visit(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<SwarmStep>> {
        let group = || prop::sample::select(vec![PeerGroup::Seeder, PeerGroup::Leecher, PeerGroup::Hidden]);
        let step = prop_oneof![
            16 => (0..PEERS, group(), any::<u8>()).prop_map(|(peer, group, state)| SwarmStep::Put(peer, group, state)),
            6 => (0..PEERS, group()).prop_map(|(peer, group)| SwarmStep::Assign(peer, group)),
            8 => (0..PEERS).prop_map(SwarmStep::Remove),
            1 => any::<u8>().prop_map(SwarmStep::Retain),
            1 => (1..100u8).prop_map(SwarmStep::Visit),
        ];
        prop::collection::vec(step, 0..400)
    }

    /// Every third has an IPv6 address.
    fn peer(number: u8) -> Peer {
        let address = if number.is_multiple_of(3) {
            Ipv6Addr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]).into()
        } else {
            Ipv4Addr::from([192, 0, 2, number]).into()
        };
        Peer::new(PeerId([number; 20]), address, u16::from(number))
    }

    type Model = BTreeMap<Peer, (PeerGroup, [u8; 1])>;

    fn check(swarm: &Swarm<[u8; 1]>, model: &Model) -> Result<(), TestCaseError> {
        let held: Vec<_> = swarm.iter().map(|(peer, group, state)| (peer, (group, *state))).collect();
        prop_assert_eq!(held.len(), model.len());
        prop_assert_eq!(&Model::from_iter(held), model);
        let of = |group| model.values().filter(|held| held.0 == group).count();
        for role in Role::BOTH {
            prop_assert_eq!(swarm.count(role), of(role.into()));
        }
        prop_assert_eq!(swarm.hidden(), of(PeerGroup::Hidden));
        prop_assert_eq!(swarm.len(), model.len());
        prop_assert_eq!(swarm.is_empty(), model.is_empty());
        for number in 0..PEERS {
            let found = swarm.find(&peer(number));
            let found = found.map(|at| (swarm.group(at), *swarm.state(at)));
            prop_assert_eq!(found, model.get(&peer(number)).copied());
        }
        Ok(())
    }

    /// All peers if `limit` allows, or else `limit` of each role and family; nobody twice, and with the right state.
    fn check_sample(swarm: &Swarm<[u8; 1]>, model: &Model, limit: usize) -> Result<(), TestCaseError> {
        let mut sample = BTreeMap::new();
        let mut calls = 0;
        swarm.sample(limit, |peer, role, state| {
            calls += 1;
            sample.insert(peer, (role.into(), *state));
        });
        prop_assert_eq!(sample.len(), calls);
        prop_assert!(sample.iter().all(|(peer, held)| model.get(peer) == Some(held)));
        for role in Role::BOTH {
            for family in AddressFamily::BOTH {
                let of = |peers: &Model| {
                    peers
                        .iter()
                        .filter(|(peer, held)| peer.family() == family && held.0 == role.into())
                        .count()
                };
                prop_assert_eq!(of(&sample), of(model).min(limit));
            }
        }
        for (for_seeder, family) in
            [(false, AddressFamily::V4), (true, AddressFamily::V4), (false, AddressFamily::V6)]
        {
            let mut selection = PeerSelection::new(InfoHash::V1([1; 20]), limit);
            (selection.for_seeder, selection.family) = (for_seeder, family);
            selection.exclude = model.keys().next().copied();
            let selected = swarm.select(&selection);
            let eligible = |peer: &Peer| {
                let role = model.get(peer).and_then(|held| held.0.role());
                role.is_some_and(|role| selection.roles().contains(&role))
                    && peer.family() == family
                    && Some(*peer) != selection.exclude
            };
            prop_assert!(selected.iter().all(eligible));
            prop_assert_eq!(selected.len(), model.keys().filter(|peer| eligible(peer)).count().min(limit));
        }
        Ok(())
    }

    proptest! {
        // Each looks at all peers after every step.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_swarm_is_a_map_from_peers_to_group_and_state(steps in steps()) {
            let (mut swarm, mut model) = (Swarm::<[u8; 1]>::default(), Model::new());
            for step in steps {
                match step {
                    SwarmStep::Put(number, group, state) => {
                        let at = match swarm.find(&peer(number)) {
                            Some(at) => {
                                *swarm.state_mut(at) = [state];
                                swarm.assign(at, group)
                            }
                            None => swarm.insert(&peer(number), group, [state]),
                        };
                        prop_assert_eq!(Some(at), swarm.find(&peer(number)));
                        model.insert(peer(number), (group, [state]));
                    }
                    SwarmStep::Assign(number, group) => {
                        if let Some(at) = swarm.find(&peer(number)) {
                            prop_assert_eq!(Some(swarm.assign(at, group)), swarm.find(&peer(number)));
                        }
                        model.entry(peer(number)).and_modify(|held| held.0 = group);
                    }
                    SwarmStep::Remove(number) => {
                        if let Some(at) = swarm.find(&peer(number)) {
                            swarm.remove(at);
                        }
                        model.remove(&peer(number));
                    }
                    SwarmStep::Retain(least) => {
                        // Each is asked for once, and its state may change.
                        let keep = |group, state: &mut [u8; 1]| {
                            state[0] = state[0].wrapping_add(1);
                            state[0] >= least || group == PeerGroup::Hidden
                        };
                        let before = model.len();
                        model.retain(|_, (group, state)| keep(*group, state));
                        prop_assert_eq!(swarm.retain(|_, group, state| keep(group, state)), before - model.len());
                    }
                    SwarmStep::Visit(batch) => {
                        let (mut next, mut visited) = (Some(0), Model::new());
                        while let Some(start) = next {
                            let mut calls = 0;
                            next = swarm.visit_from(start, |peer, group, state| {
                                visited.insert(peer, (group, *state));
                                state[0] = state[0].wrapping_add(1);
                                calls += 1;
                                calls < batch
                            });
                            prop_assert_eq!(next, Some(start + usize::from(calls)).filter(|next| *next < swarm.len()));
                        }
                        prop_assert_eq!(&visited, &model);
                        model.values_mut().for_each(|(_, state)| state[0] = state[0].wrapping_add(1));
                    }
                }
                check(&swarm, &model)?;
            }
            for limit in [0, 1, 7, 40, usize::MAX] {
                check_sample(&swarm, &model, limit)?;
            }
        }
    }

    #[test]
    fn a_group_is_a_role_or_none() {
        for role in Role::BOTH {
            assert_eq!(PeerGroup::from(role).role(), Some(role));
        }
        assert_eq!(PeerGroup::Hidden.role(), None);
    }

    #[test]
    fn a_visit_beyond_the_end_visits_nobody() {
        let mut swarm = Swarm::default();
        assert_eq!(swarm.visit_from(0, |_, _, _: &mut [u8; 1]| true), None);
        for number in 0..10 {
            swarm.insert(&peer(number), PeerGroup::Leecher, [0]);
        }
        let mut calls = 0;
        let mut visit = |start| {
            swarm.visit_from(start, |_, _, _| {
                calls += 1;
                false
            })
        };
        assert_eq!([visit(9), visit(10), visit(usize::MAX)], [None; 3]);
        assert_eq!(calls, 1);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn peers_and_swarms_are_small() {
        assert_eq!(size_of::<CompactV4>(), 26);
        assert_eq!(size_of::<CompactV6>(), 38);
        assert_eq!(size_of::<Swarm<[u8; 8]>>(), 48);
        assert_eq!(size_of::<PeerPosition>(), 8);
    }

    #[test]
    fn the_bytes_grow_with_the_peers_and_are_given_back() {
        let mut swarm = Swarm::default();
        assert_eq!(swarm.heap_bytes(), 0);
        for number in 0..=255 {
            swarm.insert(&peer(number), PeerGroup::Hidden, [0u8; 8]);
        }
        let (v4, v6) = (170, 86);
        let entries = v4 * 34 + v6 * 46;
        let bytes = swarm.heap_bytes();
        assert!((entries + 256 * 5..entries * 9 / 8 + 256 * 16 + 400).contains(&bytes), "{bytes}: {entries}");
        assert_eq!(swarm.retain(|_, _, _| false), 256);
        assert!(swarm.is_empty());
        assert_eq!(swarm.heap_bytes(), 0);
    }
}
