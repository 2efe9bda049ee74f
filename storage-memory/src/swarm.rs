//! One swarm: its peers with their roles and the times of their last announces.

use std::ops::Deref;

use storage_core::{Peer, Role, Timestamp};
use storage_swarms::{PeerGroup, PeerPosition};

/// When a peer last announced: nanoseconds as bytes, so that an entry needs no padding.
#[derive(Clone, Copy)]
pub(crate) struct Announced([u8; 8]);

impl From<Timestamp> for Announced {
    fn from(time: Timestamp) -> Self {
        Self(time.nanoseconds().to_ne_bytes())
    }
}

impl From<Announced> for Timestamp {
    fn from(Announced(nanoseconds): Announced) -> Self {
        Self::from_nanoseconds(i64::from_ne_bytes(nanoseconds))
    }
}

/// The peers of one swarm. None is hidden.
#[derive(Default)]
pub(crate) struct TimedSwarm(storage_swarms::Swarm<Announced>);

impl Deref for TimedSwarm {
    type Target = storage_swarms::Swarm<Announced>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl TimedSwarm {
    /// Puts a peer in or updates it.
    pub(crate) fn put(&mut self, peer: &Peer, role: Role, announced: Timestamp) {
        self.put_at(self.find(peer), peer, role, announced);
    }

    /// Puts a peer in unless it is there with a later time, or with the same time and no lesser
    /// role; whether it did.
    pub(crate) fn put_newer(&mut self, peer: &Peer, role: Role, announced: Timestamp) -> bool {
        let at = self.find(peer);
        let held = at.and_then(|at| self.held(at));
        let newer = held.is_none_or(|(held_role, held)| (announced, role) > (held, held_role));
        if newer {
            self.put_at(at, peer, role, announced);
        }
        newer
    }

    /// The role and time of a peer.
    pub(crate) fn get(&self, peer: &Peer) -> Option<(Role, Timestamp)> {
        self.held(self.find(peer)?)
    }

    pub(crate) fn is_seeder(&self, peer: &Peer) -> bool {
        self.find(peer).is_some_and(|at| self.group(at) == PeerGroup::Seeder)
    }

    /// Removes a peer in whichever role it is; whether it was there.
    pub(crate) fn forget(&mut self, peer: &Peer) -> bool {
        let at = self.find(peer);
        if let Some(at) = at {
            self.0.remove(at);
        }
        at.is_some()
    }

    /// Removes a peer if it is there in that role; whether it was.
    pub(crate) fn remove(&mut self, peer: &Peer, role: Role) -> bool {
        let at = self.find(peer).filter(|at| self.group(*at) == role.into());
        if let Some(at) = at {
            self.0.remove(at);
        }
        at.is_some()
    }

    /// Removes all that last announced at or before the cutoff; how many.
    pub(crate) fn remove_stale(&mut self, cutoff: Timestamp) -> usize {
        self.0.retain(|_, _, announced| Timestamp::from(*announced) > cutoff)
    }

    /// How many last announced at or before the cutoff.
    pub(crate) fn stale(&self, cutoff: Timestamp) -> u64 {
        self.0.iter().filter(|(_, _, announced)| Timestamp::from(**announced) <= cutoff).count() as u64
    }

    /// All peers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Peer, Role, Timestamp)> {
        self.0.iter().filter_map(|(peer, group, announced)| Some((peer, group.role()?, (*announced).into())))
    }

    fn held(&self, at: PeerPosition) -> Option<(Role, Timestamp)> {
        Some((self.group(at).role()?, (*self.state(at)).into()))
    }

    fn put_at(&mut self, at: Option<PeerPosition>, peer: &Peer, role: Role, announced: Timestamp) {
        match at {
            Some(at) => {
                *self.0.state_mut(at) = announced.into();
                self.0.assign(at, role.into());
            }
            None => {
                self.0.insert(peer, role.into(), announced.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use storage_core::PeerId;

    use super::*;

    /// Enough that a list of each family is searched with and without its table.
    const PEERS: u8 = 100;

    #[derive(Debug, Clone)]
    enum TimedStep {
        Put(u8, bool, i64),
        Newer(u8, bool, i64),
        Remove(u8, bool),
        Forget(u8),
        RemoveStale(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<TimedStep>> {
        let step = prop_oneof![
            8 => (0..PEERS, any::<bool>(), 0..50i64).prop_map(|(p, r, t)| TimedStep::Put(p, r, t)),
            2 => (0..PEERS, any::<bool>(), 0..50i64).prop_map(|(p, r, t)| TimedStep::Newer(p, r, t)),
            4 => (0..PEERS, any::<bool>()).prop_map(|(p, r)| TimedStep::Remove(p, r)),
            1 => (0..PEERS).prop_map(TimedStep::Forget),
            1 => (0..50i64).prop_map(TimedStep::RemoveStale),
        ];
        prop::collection::vec(step, 0..400)
    }

    fn peer(number: u8) -> Peer {
        let address = if number.is_multiple_of(2) {
            [192, 0, 2, number].into()
        } else {
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)].into()
        };
        Peer::new(PeerId([number; 20]), address, 6881)
    }

    proptest! {
        // Each looks at all peers after every step.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_swarm_is_a_map_from_peers_to_role_and_time(steps in steps()) {
            let mut swarm = TimedSwarm::default();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    TimedStep::Put(number, seeder, seconds) => {
                        let (role, time) = (Role::from_is_seeder(seeder), Timestamp::from_seconds(seconds));
                        swarm.put(&peer(number), role, time);
                        model.insert(peer(number), (role, time));
                    }
                    TimedStep::Newer(number, seeder, seconds) => {
                        let (role, time) = (Role::from_is_seeder(seeder), Timestamp::from_seconds(seconds));
                        let wins = model.get(&peer(number)).is_none_or(|&(r, t)| (time, role) > (t, r));
                        prop_assert_eq!(swarm.put_newer(&peer(number), role, time), wins);
                        if wins {
                            model.insert(peer(number), (role, time));
                        }
                    }
                    TimedStep::Remove(number, seeder) => {
                        let role = Role::from_is_seeder(seeder);
                        let there = model.get(&peer(number)).is_some_and(|held| held.0 == role);
                        prop_assert_eq!(swarm.remove(&peer(number), role), there);
                        if there {
                            model.remove(&peer(number));
                        }
                    }
                    TimedStep::Forget(number) => {
                        prop_assert_eq!(swarm.forget(&peer(number)), model.remove(&peer(number)).is_some());
                    }
                    TimedStep::RemoveStale(seconds) => {
                        let (before, cutoff) = (model.len(), Timestamp::from_seconds(seconds));
                        model.retain(|_, held| held.1 > cutoff);
                        prop_assert_eq!(swarm.stale(cutoff), (before - model.len()) as u64);
                        prop_assert_eq!(swarm.remove_stale(cutoff), before - model.len());
                    }
                }
                let held: BTreeMap<_, _> = swarm.iter().map(|(peer, role, time)| (peer, (role, time))).collect();
                prop_assert_eq!(&held, &model);
                for number in 0..PEERS {
                    let held = model.get(&peer(number)).copied();
                    prop_assert_eq!(swarm.get(&peer(number)), held);
                    prop_assert_eq!(swarm.is_seeder(&peer(number)), held.is_some_and(|held| held.0.is_seeder()));
                }
            }
        }
    }
}
