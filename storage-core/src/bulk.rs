//! Swarms in bulk: writes and reads for many, each with its time. For storages in front of others, which write
//! later what they were told earlier.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use rand::RngExt;

use crate::{
    Cursor, Error, ExportScope, InfoHash, Operation, Peer, PeerRecord, PeerStorage, PeerStorageExt, Result,
    Role, SwarmCounts, Timestamp, Transfer, When,
};

/// Writes and reads for many (W1, R1).
///
/// The methods given work on every storage that can export and import peers, call by call; a storage has its own
/// where it can do better.
#[async_trait]
pub trait BulkPeerStorage: PeerStorage + Transfer {
    /// Makes writes, each as of its time, and gives what became of each, in their order (W1).
    ///
    /// The later time wins: a write changes nothing where the peer announced later than it says, as precisely as the
    /// storage keeps times. At equal times a seeder wins over a leecher, and a deletion over an announce that is
    /// stored. A peer that was deleted leaves nothing behind: a put that comes after the deletion brings it back,
    /// however old it is. Of several writes of one peer the earlier ones are made first, those of one time in the
    /// order given, but deletions last.
    ///
    /// Each write takes effect by itself; one that fails does not keep others from it. Unless the storage lacks
    /// [`AtomicWrites`](crate::Capability::AtomicWrites), nothing comes between the look at what is stored and the
    /// change. A write may be made again, and so may a list of writes, unless a peer is graduated and then deleted in
    /// it. All together take no longer than one call of a client may.
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        write_peers_one_by_one(self, writes).await
    }

    /// What is stored of a peer; `None` if it is not there.
    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        find_in_pages(self, info_hash, peer).await.map_err(|error| error.of(Operation::FindPeer))
    }

    /// Reads swarms, in the order asked for; a swarm asked for twice is there twice (R1): all peers of a swarm
    /// that has no more than `limit`, or else up to `limit` of each role and family, at random. The counts may be of
    /// another moment than the peers.
    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        let mut snapshots = Vec::with_capacity(info_hashes.len());
        for info_hash in info_hashes {
            snapshots.push(read_swarm_in_pages(self, *info_hash, limit).await?);
        }
        Ok(snapshots)
    }
}

/// A write of a peer as of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerWrite {
    /// Its swarm.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer: Peer,
    /// What happened to it.
    pub change: PeerChange,
    /// When it happened.
    pub announced: Timestamp,
}

impl PeerWrite {
    /// The record that a put or a graduation leaves.
    pub fn record(&self) -> PeerRecord {
        let role = match self.change {
            PeerChange::Put(role) => role,
            _ => Role::Seeder,
        };
        PeerRecord { info_hash: self.info_hash, peer: self.peer, role, announced: self.announced }
    }
}

/// What happened to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerChange {
    /// It announced in this role.
    Put(Role),
    /// It announced again, in the role that it has: its time becomes the later of both. Never inserts.
    Touch,
    /// It left, in whichever role it was.
    Delete,
    /// It has everything now: a download, unless it was a seeder.
    Graduate,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Written {
    /// It took effect. Of a touch: the peer is there. Of a graduation: it was a seeder, and is one as of the
    /// later of both times.
    Applied,
    /// A graduation took effect, and is a download; after an answer that was lost this may be said of one that was a
    /// seeder before.
    Download,
    /// It changed nothing, or had taken effect before. Of a touch: the peer is not there. Of a deletion: it is not
    /// there, or announced later. Of a put: an announce is stored that is later, or as late and not of a leecher
    /// that becomes a seeder. Of a graduation: it announced later as a leecher.
    Unchanged,
}

/// What is stored of a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmSnapshot {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Its peers, or a sample of them; none twice.
    pub peers: Vec<PeerRecord>,
    /// Its counts.
    pub counts: SwarmCounts,
    /// Whether `peers` are all that there are. Entries that cannot be understood are missing.
    pub is_complete: bool,
}

/// The order in which writes are made: of one peer by time, and at equal times deletions last.
///
/// Gives places in `writes`, swarm by swarm and peer by peer.
pub fn write_order(writes: &[PeerWrite]) -> Vec<usize> {
    let key = |place: &usize| {
        let PeerWrite { info_hash, peer, change, announced } = writes[*place];
        (info_hash, peer, announced, change == PeerChange::Delete)
    };
    let mut order: Vec<_> = (0..writes.len()).collect();
    order.sort_by_key(key);
    order
}

/// The places of writes in rounds, to be made one after the other: none has a peer twice, and each is in the order of
/// keys.
pub fn write_rounds(writes: &[PeerWrite]) -> Vec<Vec<usize>> {
    let key = |place: usize| (writes[place].info_hash, writes[place].peer);
    let (order, mut rounds) = (write_order(writes), Vec::<Vec<usize>>::new());
    for of_peer in order.chunk_by(|one, other| key(*one) == key(*other)) {
        for (round, place) in of_peer.iter().enumerate() {
            match rounds.get_mut(round) {
                Some(places) => places.push(*place),
                None => rounds.push(vec![*place]),
            }
        }
    }
    rounds
}

/// Writes of different peers that [`write_peers_one_by_one`] makes at the same time.
const WRITES_AT_ONCE: usize = 16;

/// Makes writes by the calls for one, each after what is stored of its peer was read: what
/// [`BulkPeerStorage::write_peers`] does unless a storage can do better. Others may come between the two.
pub async fn write_peers_one_by_one<S: BulkPeerStorage + ?Sized>(
    storage: &S,
    writes: &[PeerWrite],
) -> Vec<Result<Written>> {
    let mut results: Vec<_> = writes.iter().map(|_| Ok(Written::Unchanged)).collect();
    for round in write_rounds(writes) {
        let write = async |place| (place, write_one(storage, &writes[place]).await);
        let calls: Vec<_> = round.into_iter().map(write).collect();
        let mut written = stream::iter(calls).buffer_unordered(WRITES_AT_ONCE);
        while let Some((place, result)) = written.next().await {
            results[place] = result.map_err(|error| error.of(Operation::WritePeers));
        }
    }
    results
}

async fn write_one<S: BulkPeerStorage + ?Sized>(storage: &S, write: &PeerWrite) -> Result<Written> {
    let PeerWrite { info_hash, peer, change, announced } = write;
    let import = async |record: PeerRecord| {
        let imported = storage.import_peers(&[record]).await?;
        Ok::<_, Error>(if imported.written > 0 { Written::Applied } else { Written::Unchanged })
    };
    if let PeerChange::Put(_) = change {
        return import(write.record()).await;
    }
    let stored = storage.find_peer(info_hash, peer).await?;
    match (change, stored) {
        (PeerChange::Touch, Some(stored)) => {
            import(PeerRecord { announced: *announced, ..stored }).await?;
            Ok(Written::Applied)
        }
        (PeerChange::Delete, Some(stored)) if stored.announced <= *announced => {
            storage.remove_peer(info_hash, peer).await?;
            Ok(Written::Applied)
        }
        (PeerChange::Graduate, stored) => {
            let is_later = |stored: &PeerRecord| stored.announced > *announced;
            if stored.is_some_and(|stored| stored.role == Role::Leecher && is_later(&stored)) {
                return Ok(Written::Unchanged);
            }
            let later = stored.map_or(*announced, |stored| stored.announced.max(*announced));
            let is_download = storage.graduate_peer(info_hash, peer, When::At(later)).await?;
            Ok(if is_download { Written::Download } else { Written::Applied })
        }
        _ => Ok(Written::Unchanged),
    }
}

/// Records of a page of an export.
const PAGE: usize = 1_000;

/// Calls `take` with each peer of a swarm until it gives false; how many could not be understood.
async fn for_each_peer<S: Transfer + ?Sized>(
    storage: &S,
    info_hash: &InfoHash,
    mut take: impl FnMut(PeerRecord) -> bool + Send,
) -> Result<u64> {
    let (mut from, mut unreadable): (Option<Cursor>, _) = (None, 0);
    loop {
        let page = storage.export_peers(ExportScope::Swarm(*info_hash), from.as_ref(), PAGE).await?;
        unreadable += page.unreadable;
        if !page.records.into_iter().all(&mut take) || page.next.is_none() {
            return Ok(unreadable);
        }
        from = page.next;
    }
}

async fn find_in_pages<S: Transfer + ?Sized>(
    storage: &S,
    info_hash: &InfoHash,
    peer: &Peer,
) -> Result<Option<PeerRecord>> {
    let mut found = None;
    let look = |record: PeerRecord| {
        if record.peer == *peer {
            found = Some(record);
        }
        found.is_none()
    };
    for_each_peer(storage, info_hash, look).await?;
    Ok(found)
}

/// Reads a swarm by the pages of an export: what [`BulkPeerStorage::read_swarms`] does unless a storage can do better.
pub async fn read_swarm_in_pages<S: BulkPeerStorage + ?Sized>(
    storage: &S,
    info_hash: InfoHash,
    limit: usize,
) -> Result<SwarmSnapshot> {
    let mut sampler = SwarmSampler::new(limit);
    let unreadable = for_each_peer(storage, &info_hash, |record| {
        sampler.add(record);
        true
    })
    .await
    .map_err(|error| error.of(Operation::ReadSwarms))?;
    let counts = storage.scrape_swarm(&info_hash).await.map_err(|error| error.of(Operation::ReadSwarms))?;
    let (peers, is_complete) = sampler.finish();
    Ok(SwarmSnapshot { info_hash, peers, counts, is_complete: is_complete && unreadable == 0 })
}

/// Takes the peers of a swarm in any order, and keeps all of a small one and a random sample of each role and
/// family of a larger one.
struct SwarmSampler {
    limit: usize,
    seen: usize,
    /// Up to the limit of each role and family, and how many of it came.
    groups: HashMap<(Role, bool), (Vec<PeerRecord>, usize)>,
}

impl SwarmSampler {
    /// Keeps up to `limit` peers of each role and family.
    fn new(limit: usize) -> Self {
        Self { limit, seen: 0, groups: HashMap::new() }
    }

    /// Takes a peer, which must not come twice.
    fn add(&mut self, record: PeerRecord) {
        self.seen += 1;
        let (kept, seen) = self.groups.entry((record.role, record.peer.family().is_v6())).or_default();
        *seen += 1;
        if kept.len() < self.limit {
            kept.push(record);
        } else if let Some(replaced) = kept.get_mut(rand::rng().random_range(0..*seen)) {
            // The next one is kept as likely as each before it.
            *replaced = record;
        }
    }

    /// The peers that were kept, and whether they are all.
    fn finish(self) -> (Vec<PeerRecord>, bool) {
        let is_complete = self.seen <= self.limit;
        (self.groups.into_values().flat_map(|(kept, _)| kept).collect(), is_complete)
    }
}

/// The result of a call for many that failed as a whole: the same for each of `count`.
pub fn failed_for_each<T>(error: &Error, count: usize) -> Vec<Result<T>> {
    (0..count).map(|_| Err(error.copy())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerId;

    fn peer(number: u8) -> Peer {
        Peer::new(PeerId([number; 20]), [192, 0, 2, number].into(), 6881)
    }

    #[test]
    fn writes_of_one_peer_are_made_in_the_order_of_their_times_and_deletions_last() {
        let write = |peer, change, seconds| PeerWrite {
            info_hash: InfoHash::V1([1; 20]),
            peer,
            change,
            announced: Timestamp::from_seconds(seconds),
        };
        let writes = [
            write(peer(2), PeerChange::Touch, 1),
            write(peer(1), PeerChange::Delete, 5),
            write(peer(1), PeerChange::Put(Role::Seeder), 5),
            write(peer(1), PeerChange::Graduate, 4),
        ];
        assert_eq!(write_order(&writes), [3, 2, 1, 0]);
    }

    #[test]
    fn a_sample_has_up_to_the_limit_of_each_role() {
        let record = |number, role| PeerRecord {
            info_hash: InfoHash::V1([1; 20]),
            peer: peer(number),
            role,
            announced: Timestamp::from_seconds(1),
        };
        for (count, kept, is_all) in [(3, 3, true), (5, 5, true), (6, 6, false), (20, 10, false)] {
            let mut sampler = SwarmSampler::new(5);
            for number in 0..count {
                sampler.add(record(number, Role::from_is_seeder(number % 2 == 0)));
            }
            let (peers, is_complete) = sampler.finish();
            assert_eq!((peers.len(), is_complete), (kept, is_all), "{count}");
        }
    }
}
