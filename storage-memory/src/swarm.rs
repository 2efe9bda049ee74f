//! One swarm: its peers with their roles and the times of their last announces.

use std::ops::Deref;

use storage_core::{Peer, Role, Timestamp};
use storage_swarms::{PeerGroup, Position};

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
pub(crate) struct Swarm(storage_swarms::Swarm<Announced>);

/// What only reads is there under the same name.
impl Deref for Swarm {
    type Target = storage_swarms::Swarm<Announced>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Swarm {
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

    fn held(&self, at: Position) -> Option<(Role, Timestamp)> {
        Some((self.group(at).role()?, (*self.state(at)).into()))
    }

    fn put_at(&mut self, at: Option<Position>, peer: &Peer, role: Role, announced: Timestamp) {
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
