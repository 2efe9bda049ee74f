//! What a tracker does with a storage, whichever protocol a request came by: the one file of `serve` that
//! calls it for clients.

use std::fmt;
use std::sync::Arc;

use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use storage_core::{
    AddressFamily, Announce, AnnounceAnswer, AnnounceEvent, InfoHash, Peer, PeerId, Role, Storage,
    SwarmCounts, When,
};

use super::approval::Approval;
use super::health::Health;
use super::settings::Limits;

/// A tracker on a storage.
pub(crate) struct Tracker {
    storage: Arc<dyn Storage>,
    approval: Option<Approval>,
    limits: Limits,
    health: Arc<Health>,
}

/// What a client says when it announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientAnnounce {
    /// The swarm.
    pub(crate) info_hash: InfoHash,
    /// How the client names itself.
    pub(crate) peer_id: PeerId,
    /// The client at each address where it is reached.
    pub(crate) peers: Vec<Peer>,
    /// Whether it has everything.
    pub(crate) role: Role,
    /// Why it announces.
    pub(crate) event: AnnounceEvent,
    /// The most peers that it wants, if it says so.
    pub(crate) num_want: Option<usize>,
    /// The families of the peers that it can be told, the one preferred first.
    pub(crate) families: &'static [AddressFamily],
}

/// Why a request that is well formed gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The torrent is not one of those that the tracker serves.
    NotApproved,
    /// The storage could not answer.
    Unavailable,
}

impl fmt::Display for Refusal {
    /// For the client: nothing about the inside of the tracker.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApproved => "unapproved torrent",
            Self::Unavailable => "the tracker cannot answer at this time",
        })
    }
}

impl From<storage_core::Error> for Refusal {
    fn from(_: storage_core::Error) -> Self {
        // The storage's layers have told of it already.
        Self::Unavailable
    }
}

impl Tracker {
    /// A tracker on this storage, for all torrents or for those approved. What becomes of announces is told
    /// to `health`.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        approval: Option<Approval>,
        limits: Limits,
        health: Arc<Health>,
    ) -> Self {
        Self { storage, approval, limits, health }
    }

    /// Its intervals and limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether clients are served, by what became of their announces.
    pub(crate) fn is_healthy(&self) -> bool {
        self.health.is_healthy()
    }

    /// Puts the client into the swarm, or takes it out, and finds peers for it.
    pub(crate) async fn announce(&self, client: &ClientAnnounce) -> Result<AnnounceAnswer, Refusal> {
        match self.approves(&[client.info_hash]).await {
            Ok(approved) if approved.contains(&true) => {
                self.finish(client, self.storage.announce(&self.announce_of(client)).await)
            }
            Ok(_) => {
                self.health.announced(None);
                Err(Refusal::NotApproved)
            }
            Err(error) => self.finish(client, Err(error)),
        }
    }

    /// The same for several clients: the answer to each as soon as it is there, with the client's place.
    /// `announces` is what [`announces`](Self::announces) gave for these.
    pub(crate) fn announce_many<'a>(
        &'a self,
        clients: &'a [ClientAnnounce],
        announces: &'a [Announce<'a>],
    ) -> BoxStream<'a, (usize, Result<AnnounceAnswer, Refusal>)> {
        if self.approval.is_some() {
            // Each is looked up by itself: one that takes long holds up no other.
            let answer = |(place, client)| self.announce(client).map(move |answer| (place, answer));
            return clients.iter().enumerate().map(answer).collect::<FuturesUnordered<_>>().boxed();
        }
        let answers = self.storage.announce_many(announces);
        answers.map(|(place, answer)| (place, self.finish(&clients[place], answer))).boxed()
    }

    /// What these clients ask of the storage.
    pub(crate) fn announces<'a>(&self, clients: &'a [ClientAnnounce]) -> Vec<Announce<'a>> {
        clients.iter().map(|client| self.announce_of(client)).collect()
    }

    fn announce_of<'a>(&self, client: &'a ClientAnnounce) -> Announce<'a> {
        Announce {
            info_hash: client.info_hash,
            peers: &client.peers,
            role: client.role,
            event: client.event,
            num_want: self.limits.num_want(client.num_want),
            families: client.families,
            announced: When::Now,
        }
    }

    /// Tells `health` what became of an announce.
    fn finish(
        &self,
        client: &ClientAnnounce,
        answer: storage_core::Result<AnnounceAnswer>,
    ) -> Result<AnnounceAnswer, Refusal> {
        self.health.announced(match &answer {
            Ok(answer) => answer.failure.as_ref(),
            Err(error) => Some(error),
        });
        let mut answer = answer?;
        // One that announces over IPv4 and over IPv6 would meet itself at its other address.
        answer.peers.iter_mut().for_each(|peers| peers.retain(|peer| *peer.id() != client.peer_id));
        Ok(answer)
    }

    /// Counts of these swarms, in their order; zeros for those not approved. No more than the limit are
    /// looked at.
    pub(crate) async fn scrape(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>, Refusal> {
        let asked = &info_hashes[..info_hashes.len().min(self.limits.max_scrape_infohashes)];
        let approved = self.approves(asked).await?;
        let mut counts = self.storage.scrape_swarms(asked).await?;
        for (counts, approved) in counts.iter_mut().zip(approved) {
            if !approved {
                *counts = SwarmCounts::default();
            }
        }
        Ok(counts)
    }

    async fn approves(&self, info_hashes: &[InfoHash]) -> storage_core::Result<Vec<bool>> {
        match &self.approval {
            Some(approval) => approval.of(&*self.storage, info_hashes).await,
            None => Ok(vec![true; info_hashes.len()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::IntGauge;
    use storage_core::{Context, guarded};
    use storage_memory::{MemoryConfig, MemoryStorage};

    const INFO_HASH: InfoHash = InfoHash::V1([1; 20]);

    fn announce() -> ClientAnnounce {
        ClientAnnounce {
            info_hash: INFO_HASH,
            peer_id: PeerId([2; 20]),
            peers: vec![Peer::new(PeerId([2; 20]), [192, 0, 2, 1].into(), 6881)],
            role: Role::Seeder,
            event: AnnounceEvent::None,
            num_want: None,
            families: &[AddressFamily::V4],
        }
    }

    fn health() -> Arc<Health> {
        Health::new(IntGauge::new("healthy", "healthy").unwrap())
    }

    fn storage() -> Arc<dyn Storage> {
        guarded(Arc::new(MemoryStorage::new(MemoryConfig::default())), storage_core::layer::Limits::default())
    }

    fn approved_by(storage: &Arc<dyn Storage>, inverted: bool) -> Tracker {
        let context = Context::new("approved").unwrap();
        let approval = Some(Approval { context, inverted });
        Tracker::new(Arc::clone(storage), approval, Limits::default(), health())
    }

    #[tokio::test]
    async fn a_storage_that_cannot_answer_approves_of_nothing() {
        let storage = storage();
        storage.close().await.unwrap();
        for inverted in [false, true] {
            let tracker = approved_by(&storage, inverted);
            assert_eq!(tracker.announce(&announce()).await.unwrap_err(), Refusal::Unavailable);
            assert_eq!(tracker.scrape(&[INFO_HASH]).await, Err(Refusal::Unavailable));
        }
    }

    #[tokio::test]
    async fn announces_that_fail_are_told_to_health_and_refused_ones_are_no_failures() {
        let storage = storage();
        let (everybody, nobody) = (
            Tracker::new(Arc::clone(&storage), None, Limits::default(), health()),
            approved_by(&storage, false),
        );
        for tracker in [&everybody, &nobody] {
            for _ in 0..30 {
                let _ = tracker.announce(&announce()).await;
            }
            assert!(tracker.is_healthy());
        }
        storage.close().await.unwrap();
        for tracker in [&everybody, &nobody] {
            for _ in 0..30 {
                assert_eq!(tracker.announce(&announce()).await.unwrap_err(), Refusal::Unavailable);
            }
            assert!(!tracker.is_healthy());
        }
    }

    #[tokio::test]
    async fn a_swarm_that_is_not_approved_is_not_shown() {
        let storage = storage();
        let everybody = Tracker::new(Arc::clone(&storage), None, Limits::default(), health());
        everybody.announce(&announce()).await.unwrap();
        assert_eq!(everybody.scrape(&[INFO_HASH]).await.unwrap()[0].seeders, 1);
        let nobody = approved_by(&storage, false);
        assert_eq!(nobody.announce(&announce()).await.unwrap_err(), Refusal::NotApproved);
        assert_eq!(nobody.scrape(&[INFO_HASH]).await.unwrap(), [SwarmCounts::default()]);
    }

    /// The first announce takes until the others are answered.
    #[derive(Default)]
    struct FirstIsSlow(std::sync::atomic::AtomicBool);

    impl storage_core::layer::Layer for FirstIsSlow {
        async fn around<'a, T: Send + 'a>(
            &'a self,
            _backend: &'static str,
            operation: storage_core::Operation,
            call: impl Future<Output = storage_core::Result<T>> + Send + 'a,
        ) -> storage_core::Result<T> {
            let is_announce = operation == storage_core::Operation::Announce;
            if is_announce && !self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            call.await
        }
    }

    #[tokio::test]
    async fn of_announces_together_none_waits_for_another() {
        for approval in [None, Some(Approval { context: Context::new("banned").unwrap(), inverted: true })] {
            let memory = Arc::new(MemoryStorage::new(MemoryConfig::default()));
            let slow = Arc::new(storage_core::layer::Layered::new(memory, FirstIsSlow::default()));
            let tracker = Tracker::new(slow, approval, Limits::default(), health());
            let clients: Vec<_> = (1..=3)
                .map(|byte| ClientAnnounce { info_hash: InfoHash::V1([byte; 20]), ..announce() })
                .collect();
            let announces = tracker.announces(&clients);
            let answers: Vec<_> = tracker.announce_many(&clients, &announces).collect().await;
            let mut places: Vec<_> = answers.iter().map(|(place, _)| *place).collect();
            assert!(answers.iter().all(|(_, answer)| answer.is_ok()));
            assert_eq!(places.pop(), Some(0), "the slow one is the last");
            places.sort_unstable();
            assert_eq!(places, [1, 2]);
        }
    }

    #[tokio::test]
    async fn a_client_never_meets_itself() {
        let tracker = Tracker::new(storage(), None, Limits::default(), health());
        let leecher = ClientAnnounce { role: Role::Leecher, families: &AddressFamily::BOTH, ..announce() };
        let there = ClientAnnounce {
            peers: vec![Peer::new(PeerId([2; 20]), "2001:db8::1".parse().unwrap(), 6881)],
            ..leecher.clone()
        };
        tracker.announce(&there).await.unwrap();
        assert_eq!(tracker.announce(&leecher).await.unwrap().peers, Some(Vec::new()));
    }
}
