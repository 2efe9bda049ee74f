//! A whole announce: the write, the peers and the counts of one request of a client.

use futures::future::join;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use smallvec::SmallVec;

use crate::{
    AddressFamily, Error, InfoHash, Peer, PeerSelection, PeerStorage, Result, Role, SwarmCounts, When,
};

/// What a client says when it announces (BEP 3, BEP 7, BEP 15).
///
/// ```
/// use storage_core::{Announce, AnnounceEvent, InfoHash, Peer, PeerId, Role};
///
/// let peer = Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), 6881);
/// let announce = Announce::new(InfoHash::V1([1; 20]), [peer])
///     .with_role(Role::Seeder)
///     .with_event(AnnounceEvent::Completed)
///     .with_num_want(30);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    peers: SmallVec<[Peer; 1]>,
    /// Whether it has everything (`left=0`).
    pub role: Role,
    /// Why it announces.
    pub event: AnnounceEvent,
    /// The most peers to return.
    pub num_want: usize,
    /// The families of the peers to return, the one preferred first; the next fills what it leaves.
    pub families: &'static [AddressFamily],
    /// The time of the announce, [`When::Now`].
    pub announced: When,
}

impl Announce {
    /// An announce of a client with these addresses: a leecher that wants 50 peers, of the family of its first
    /// address, now. Of a client without addresses nothing is written.
    pub fn new(info_hash: InfoHash, peers: impl IntoIterator<Item = Peer>) -> Self {
        let peers: SmallVec<[Peer; 1]> = peers.into_iter().collect();
        let families: &[AddressFamily] = match peers.first().map(Peer::family) {
            Some(AddressFamily::V6) => &[AddressFamily::V6],
            _ => &[AddressFamily::V4],
        };
        let (role, event) = (Role::Leecher, AnnounceEvent::None);
        Self { info_hash, peers, role, event, num_want: 50, families, announced: When::Now }
    }

    /// The same with this role.
    #[must_use]
    pub fn with_role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// The same with this event.
    #[must_use]
    pub fn with_event(self, event: AnnounceEvent) -> Self {
        Self { event, ..self }
    }

    /// The same for so many peers at most.
    #[must_use]
    pub fn with_num_want(self, num_want: usize) -> Self {
        Self { num_want, ..self }
    }

    /// The same for peers of these families, the one preferred first.
    #[must_use]
    pub fn with_families(self, families: &'static [AddressFamily]) -> Self {
        Self { families, ..self }
    }

    /// The same of a client with these addresses.
    #[must_use]
    pub fn with_peers(self, peers: impl IntoIterator<Item = Peer>) -> Self {
        Self { peers: peers.into_iter().collect(), ..self }
    }

    /// The same at this time.
    #[must_use]
    pub fn at(self, announced: impl Into<When>) -> Self {
        Self { announced: announced.into(), ..self }
    }

    /// The client, once for each address that it is reached at.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The selections that find the peers, each for `num_want` of them, in order of preference; none
    /// for a client that leaves or wants none.
    pub fn selections(&self) -> impl Iterator<Item = PeerSelection> + '_ {
        let Self { info_hash, ref peers, role, event, num_want, families, .. } = *self;
        let wants_any = num_want > 0 && event != AnnounceEvent::Stopped;
        let families = if wants_any { families } else { &[] };
        families.iter().map(move |family| {
            let mut own = peers.iter().filter(|peer| peer.family() == *family);
            let exclude = own.next().copied();
            // A selection leaves out one peer; where the client has more, they are filtered afterwards.
            let spare = own.count();
            let for_seeder = role.is_seeder() || event == AnnounceEvent::Completed;
            let num_want = num_want.saturating_add(spare);
            PeerSelection { info_hash, for_seeder, num_want, family: *family, exclude }
        })
    }

    /// Adds the peers that a selection found, without the client, up to `num_want`.
    pub fn fill(&self, peers: &mut Vec<Peer>, found: Vec<Peer>) {
        if peers.is_empty() && self.peers.len() < 2 && found.len() <= self.num_want {
            *peers = found;
            return;
        }
        let wanted = self.num_want - peers.len();
        peers.extend(found.into_iter().filter(|peer| !self.peers.contains(peer)).take(wanted));
    }
}

/// Why a client announces (BEP 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum AnnounceEvent {
    /// At the interval.
    #[default]
    None,
    /// It begins.
    Started,
    /// It has everything now.
    Completed,
    /// It leaves.
    Stopped,
}

/// The answer to a whole announce.
#[derive(Debug, Default)]
pub struct AnnounceAnswer {
    /// Peers for the client, never the client itself; `None` if they could not be read.
    pub peers: Option<Vec<Peer>>,
    /// Counts of the swarm after the write, with the client, or without it if it left; `None` if they could
    /// not be read.
    pub counts: Option<SwarmCounts>,
    /// Whether it was a download ([`PeerStorage::graduate_peers`]).
    pub is_download: bool,
    /// Why something could not be read.
    pub failure: Option<Error>,
}

impl AnnounceAnswer {
    /// The answer to an announce whose write went well, out of what was read after it.
    pub fn after_write(is_download: bool, peers: Result<Vec<Peer>>, counts: Result<SwarmCounts>) -> Self {
        let mut answer = Self { is_download, ..Self::default() };
        match peers {
            Ok(peers) => answer.peers = Some(peers),
            Err(error) => answer.failure = Some(error),
        }
        match counts {
            Ok(counts) => answer.counts = Some(counts),
            Err(error) => answer.failure = answer.failure.or(Some(error)),
        }
        answer
    }
}

/// Answers a whole announce by the other methods: what
/// [`PeerStorage::announce`] does unless a backend does it in fewer round trips. After the write, peers and
/// counts are read at the same time.
///
/// # Errors
/// Those of the write.
pub async fn announce_by_parts<S: PeerStorage + ?Sized>(
    storage: &S,
    announce: &Announce,
) -> Result<AnnounceAnswer> {
    let is_download = write_announce(storage, announce).await?;
    let (peers, counts) =
        join(peers_for_announce(storage, announce), storage.scrape_swarm(&announce.info_hash)).await;
    Ok(AnnounceAnswer::after_write(is_download, peers, counts))
}

/// Makes each announce by itself, all at the same time: what
/// [`PeerStorage::announce_many`] does unless a backend does better.
pub fn announce_each<'a, S: PeerStorage + ?Sized>(
    storage: &'a S,
    announces: &'a [Announce],
) -> BoxStream<'a, (usize, Result<AnnounceAnswer>)> {
    let answer = |(place, announce)| storage.announce(announce).map(move |answer| (place, answer));
    announces.iter().enumerate().map(answer).collect::<FuturesUnordered<_>>().boxed()
}

/// The peers of a whole announce.
async fn peers_for_announce<S: PeerStorage + ?Sized>(storage: &S, announce: &Announce) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for mut selection in announce.selections() {
        if peers.len() >= announce.num_want {
            break;
        }
        selection.num_want -= peers.len();
        announce.fill(&mut peers, storage.announce_peers(&selection).await?);
    }
    Ok(peers)
}

/// The write of a whole announce, by the other methods; whether it was a download.
///
/// # Errors
/// Those of the write.
pub async fn write_announce<S: PeerStorage + ?Sized>(storage: &S, announce: &Announce) -> Result<bool> {
    let Announce { info_hash, peers, role, announced, event, .. } = announce;
    match event {
        AnnounceEvent::Completed if peers.is_empty() => {}
        AnnounceEvent::Completed => return storage.graduate_peers(info_hash, peers, *announced).await,
        AnnounceEvent::Stopped => {
            for peer in peers {
                storage.remove_peer(info_hash, peer).await?;
            }
        }
        AnnounceEvent::None | AnnounceEvent::Started => {
            for peer in peers {
                storage.put_peer(info_hash, peer, *role, *announced).await?;
            }
        }
    }
    Ok(false)
}
