//! Locks: writes of the same thing wait for each other, so that both sides see them in one order.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use storage_core::{Context, InfoHash, Peer};

/// Few enough to be small, enough for calls about different things hardly ever to meet.
const STRIPES: usize = 2_048;

/// Locks that are held while the primary writes. Those of swarms are taken before those of
/// entries, and several in the order of their places, so that no two calls wait for each other.
pub(super) struct WriteLocks {
    hasher: RandomState,
    swarms: Box<[RwLock<()>]>,
    entries: Box<[Mutex<()>]>,
}

/// Held while peers of one swarm are written.
pub(super) struct PeerLocks<'a> {
    _swarm: RwLockReadGuard<'a, ()>,
    _peers: Vec<MutexGuard<'a, ()>>,
}

impl WriteLocks {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            swarms: (0..STRIPES).map(|_| RwLock::default()).collect(),
            entries: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    /// A number that is always the same for the same thing.
    pub(super) fn hash(&self, what: impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }

    fn place(&self, what: impl Hash) -> usize {
        (self.hash(what) % STRIPES as u64) as usize
    }

    /// Locks peers of a swarm: after other writes of them, and of the whole swarm.
    pub(super) async fn of_peers(&self, info_hash: &InfoHash, peers: &[Peer]) -> PeerLocks<'_> {
        let swarm = self.swarms[self.place(info_hash)].read().await;
        let places = in_order(peers.iter().map(|peer| self.place((info_hash, peer))));
        PeerLocks { _swarm: swarm, _peers: self.entries_at(places).await }
    }

    /// Locks these swarms: after all writes of their peers.
    pub(super) async fn of_swarms(
        &self,
        info_hashes: impl Iterator<Item = &InfoHash>,
    ) -> Vec<RwLockWriteGuard<'_, ()>> {
        let mut locks = Vec::new();
        for place in in_order(info_hashes.map(|info_hash| self.place(info_hash))) {
            locks.push(self.swarms[place].write().await);
        }
        locks
    }

    /// Locks these entries of data.
    pub(super) async fn of_data(
        &self,
        entries: impl Iterator<Item = (&Context, &[u8])>,
    ) -> Vec<MutexGuard<'_, ()>> {
        self.entries_at(in_order(entries.map(|entry| self.place(entry)))).await
    }

    async fn entries_at(&self, places: Vec<usize>) -> Vec<MutexGuard<'_, ()>> {
        let mut locks = Vec::with_capacity(places.len());
        for place in places {
            locks.push(self.entries[place].lock().await);
        }
        locks
    }
}

fn in_order(places: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut places: Vec<_> = places.collect();
    places.sort_unstable();
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use storage_core::PeerId;

    const SWARM: InfoHash = InfoHash::V1([1; 20]);

    fn peer(port: u16) -> Peer {
        Peer::new(PeerId([0; 20]), [192, 0, 2, 1].into(), port)
    }

    #[tokio::test]
    async fn writes_of_one_peer_wait_for_each_other() {
        let locks = WriteLocks::new();
        let first = locks.of_peers(&SWARM, &[peer(1)]).await;
        assert!(locks.of_peers(&SWARM, &[peer(1)]).now_or_never().is_none());
        drop(first);
        assert!(locks.of_peers(&SWARM, &[peer(1)]).now_or_never().is_some());
    }

    #[tokio::test]
    async fn writes_of_several_peers_are_locked_in_one_order() {
        let locks = WriteLocks::new();
        let ports = [1, 2, 3, 4, 5, 6, 7, 8];
        let (there, back) = (ports.map(peer), ports.map(|port| peer(9 - port)));
        let (there, back) = (&there, &back);
        let writers = (0..200).map(|number| {
            let peers = if number % 2 == 0 { there } else { back };
            let locks = &locks;
            async move {
                let _locks = locks.of_peers(&SWARM, peers).await;
                tokio::task::yield_now().await;
            }
        });
        futures::future::join_all(writers).await;
    }

    #[tokio::test]
    async fn a_write_of_the_swarm_waits_for_its_peers() {
        let locks = WriteLocks::new();
        let first = locks.of_peers(&SWARM, &[peer(1)]).await;
        assert!(locks.of_swarms([&SWARM].into_iter()).now_or_never().is_none());
        drop(first);
        assert!(locks.of_swarms([&SWARM, &SWARM].into_iter()).now_or_never().is_some());
    }
}
