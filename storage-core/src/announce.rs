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
/// Those of the method.
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
        announce.fill(&mut peers, storage.announce_peers(&selection).await?);
    }
    Ok(peers)
}

/// The write of a whole announce, by the methods for single peers: a part of [`announce_by_parts`].
///
/// # Errors
/// Those of the methods, but for what is absent.
pub async fn write_announce<S: PeerStorage + ?Sized>(storage: &S, announce: &Announce<'_>) -> Result<()> {
    let Announce { info_hash, role, announced, event, .. } = announce;
    // One client is one download, however many addresses it has. It is counted last: a caller that hears
    // of a failure may then announce again without counting twice.
    let (first, others) = match announce.peers {
        [first, others @ ..] if *event == AnnounceEvent::Completed => (Some(first), others),
        peers => (None, peers),
    };
    for peer in others {
        match event {
            AnnounceEvent::Stopped => leave(storage, info_hash, peer, *role).await?,
            AnnounceEvent::Completed => {
                storage.put_peer(info_hash, peer, Role::Seeder, *announced).await?;
            }
            AnnounceEvent::None | AnnounceEvent::Started => {
                storage.put_peer(info_hash, peer, *role, *announced).await?;
            }
        }
    }
    match first {
        Some(first) => storage.graduate_peer(info_hash, first, *announced).await,
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::{Backend, Error, ErrorKind, Inspection, Lacking, Operation, PeerId};

    /// A storage whose puts fail.
    #[derive(Default)]
    struct PutsFail {
        downloads: AtomicU64,
    }

    #[async_trait]
    impl Backend for PutsFail {
        fn name(&self) -> &'static str {
            "puts-fail"
        }

        fn durable(&self) -> bool {
            false
        }

        fn lacking(&self) -> Lacking {
            Lacking::nothing()
        }

        async fn ping(&self) -> Result<()> {
            Ok(())
        }

        async fn inspect(&self) -> Result<Inspection> {
            Ok(Inspection::default())
        }

        async fn close(&self) -> Result<()> {
            Ok(())
        }
    }

    #[async_trait]
    impl PeerStorage for PutsFail {
        async fn put_peer(&self, _: &InfoHash, _: &Peer, _: Role, _: Timestamp) -> Result<()> {
            Err(Error::new("puts-fail", Operation::PutPeer, ErrorKind::Unavailable))
        }

        async fn delete_peer(&self, _: &InfoHash, _: &Peer, _: Role) -> Result<()> {
            Ok(())
        }

        async fn graduate_peer(&self, _: &InfoHash, _: &Peer, _: Timestamp) -> Result<()> {
            self.downloads.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        async fn announce_peers(&self, _: &PeerSelection) -> Result<Vec<Peer>> {
            Ok(Vec::new())
        }

        async fn scrape_swarm(&self, _: &InfoHash) -> Result<SwarmCounts> {
            Ok(SwarmCounts::default())
        }
    }

    #[tokio::test]
    async fn an_announce_that_fails_counts_no_download() {
        let storage = PutsFail::default();
        let of = |address: &str| Peer::new(PeerId([1; 20]), address.parse().unwrap(), 6881);
        let announce = Announce {
            info_hash: InfoHash::V1([1; 20]),
            peers: &[of("192.0.2.1"), of("2001:db8::1")],
            role: Role::Seeder,
            event: AnnounceEvent::Completed,
            num_want: 0,
            families: &[],
            announced: Timestamp::now(),
        };
        announce_by_parts(&storage, &announce).await.unwrap_err();
        assert_eq!(storage.downloads.load(Ordering::Relaxed), 0);
    }
}
