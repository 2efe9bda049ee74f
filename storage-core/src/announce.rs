//! A whole announce: the write, the peers and the counts of one request of a client.

use crate::{
    AddressFamily, InfoHash, Peer, PeerSelection, PeerStorage, Result, Role, SwarmCounts, Timestamp,
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
    /// The time of the announce, [`Timestamp::now`].
    pub announced: Timestamp,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnounceAnswer {
    /// Peers for the client, never the client itself.
    pub peers: Vec<Peer>,
    /// Counts of the swarm after the write: with the client, or without it if it left.
    pub counts: SwarmCounts,
}

impl<'a> Announce<'a> {
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
/// [`PeerStorage::announce`] does unless a backend does it in fewer round trips.
///
/// # Errors
/// Those of the methods used, but for what is absent.
pub async fn announce_by_parts<S: PeerStorage + ?Sized>(
    storage: &S,
    announce: &Announce<'_>,
) -> Result<AnnounceAnswer> {
    write_announce(storage, announce).await?;
    let peers = peers_for_announce(storage, announce).await?;
    let counts = storage.scrape_swarm(&announce.info_hash).await?;
    Ok(AnnounceAnswer { peers, counts })
}

/// The peers of a whole announce, by [`PeerStorage::announce_peers`]: a part of [`announce_by_parts`].
///
/// # Errors
/// Those of the method, but for what is absent.
pub async fn peers_for_announce<S: PeerStorage + ?Sized>(
    storage: &S,
    announce: &Announce<'_>,
) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for mut selection in announce.selections() {
        if peers.len() >= announce.num_want {
            break;
        }
        selection.num_want -= peers.len();
        match storage.announce_peers(&selection).await {
            Ok(found) => announce.fill(&mut peers, found),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(peers)
}

/// The write of a whole announce, by the methods for single peers: a part of [`announce_by_parts`].
///
/// # Errors
/// Those of the methods, but for what is absent.
pub async fn write_announce<S: PeerStorage + ?Sized>(storage: &S, announce: &Announce<'_>) -> Result<()> {
    let Announce { info_hash, role, announced, event, .. } = announce;
    for (place, peer) in announce.peers.iter().enumerate() {
        match event {
            AnnounceEvent::Stopped => leave(storage, info_hash, peer, *role).await?,
            // One client is one download, however many addresses it has.
            AnnounceEvent::Completed if place == 0 => {
                storage.graduate_peer(info_hash, peer, *announced).await?;
            }
            AnnounceEvent::Completed => {
                storage.put_peer(info_hash, peer, Role::Seeder, *announced).await?;
            }
            AnnounceEvent::None | AnnounceEvent::Started => {
                storage.put_peer(info_hash, peer, *role, *announced).await?;
            }
        }
    }
    Ok(())
}

/// Takes a peer out in whichever role it is: one that completed and stopped before it said so is still a
/// leecher here.
pub(crate) async fn leave<S: PeerStorage + ?Sized>(
    storage: &S,
    info_hash: &InfoHash,
    peer: &Peer,
    role: Role,
) -> Result<()> {
    for role in [role, role.other()] {
        match storage.delete_peer(info_hash, peer, role).await {
            Err(error) if error.is_not_found() => {}
            done => return done,
        }
    }
    Ok(())
}
