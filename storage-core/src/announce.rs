//! A whole announce: the write, the peers and the counts of one request of a client.

use futures::future::join;

use crate::{
    AddressFamily, Error, InfoHash, Peer, PeerSelection, PeerStorage, Result, Role, SwarmCounts, When,
};

/// What a client says when it announces (BEP 3, BEP 7, BEP 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce<'a> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The client, once for each address that it is reached at; of a client without any nothing is
    /// written.
    pub peers: &'a [Peer],
    /// Whether it has everything (`left=0`).
    pub role: Role,
    /// Why it announces.
    pub event: AnnounceEvent,
    /// The most peers to return.
    pub num_want: usize,
    /// The families of the peers to return, the one preferred first; the next fills what it leaves.
    pub families: &'a [AddressFamily],
    /// The time of the announce, [`When::Now`].
    pub announced: When,
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

/// An [`Announce`] that owns what it says, for those who queue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedAnnounce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The client, once for each address that it is reached at.
    pub peers: Vec<Peer>,
    /// Whether it has everything.
    pub role: Role,
    /// Why it announces.
    pub event: AnnounceEvent,
    /// The most peers to return.
    pub num_want: usize,
    /// The families of the peers to return, the one preferred first.
    pub families: Vec<AddressFamily>,
    /// The time of the announce.
    pub announced: When,
}

impl OwnedAnnounce {
    /// The announce.
    pub fn as_announce(&self) -> Announce<'_> {
        let Self { info_hash, peers, role, event, num_want, families, announced } = self;
        Announce {
            info_hash: *info_hash,
            peers,
            role: *role,
            event: *event,
            num_want: *num_want,
            families,
            announced: *announced,
        }
    }
}

impl<'a> Announce<'a> {
    /// A copy that owns what it says.
    pub fn to_owned(&self) -> OwnedAnnounce {
        let Self { info_hash, peers, role, event, num_want, families, announced } = *self;
        let (peers, families) = (peers.to_vec(), families.to_vec());
        OwnedAnnounce { info_hash, peers, role, event, num_want, families, announced }
    }

    /// The selections that find the peers, each for `num_want` of them, in order of preference; none
    /// for a client that leaves or wants none.
    pub fn selections(&self) -> impl Iterator<Item = PeerSelection> + 'a {
        let Self { info_hash, peers, role, event, num_want, families, .. } = *self;
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

/// Answers a whole announce by the other methods: what
/// [`PeerStorage::announce`] does unless a backend does it in fewer round trips. After the write, peers and
/// counts are read at the same time.
///
/// # Errors
/// Those of the write.
pub async fn announce_by_parts<S: PeerStorage + ?Sized>(
    storage: &S,
    announce: &Announce<'_>,
) -> Result<AnnounceAnswer> {
    let is_download = write_announce(storage, announce).await?;
    Ok(read_announce(storage, announce, is_download).await)
}

/// The answer to a whole announce whose write went well, by the other methods: peers and counts are read at the same
/// time.
pub async fn read_announce<S: PeerStorage + ?Sized>(
    storage: &S,
    announce: &Announce<'_>,
    is_download: bool,
) -> AnnounceAnswer {
    let (peers, counts) =
        join(peers_for_announce(storage, announce), storage.scrape_swarm(&announce.info_hash)).await;
    AnnounceAnswer::after_write(is_download, peers, counts)
}

/// The peers of a whole announce.
async fn peers_for_announce<S: PeerStorage + ?Sized>(
    storage: &S,
    announce: &Announce<'_>,
) -> Result<Vec<Peer>> {
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
pub async fn write_announce<S: PeerStorage + ?Sized>(storage: &S, announce: &Announce<'_>) -> Result<bool> {
    let Announce { info_hash, peers, role, announced, event, .. } = announce;
    match event {
        AnnounceEvent::Completed if peers.is_empty() => {}
        AnnounceEvent::Completed => return storage.graduate_peers(info_hash, peers, *announced).await,
        AnnounceEvent::Stopped => {
            for peer in *peers {
                storage.remove_peer(info_hash, peer).await?;
            }
        }
        AnnounceEvent::None | AnnounceEvent::Started => {
            for peer in *peers {
                storage.put_peer(info_hash, peer, *role, *announced).await?;
            }
        }
    }
    Ok(false)
}
