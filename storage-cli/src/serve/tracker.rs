//! Announces and scrapes on a storage, independent of the protocol.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;
use storage_core::{Announce, AnnounceAnswer, ErrorKind, InfoHash, Peer, Storage, SwarmCounts};

use super::approval::Approval;
use super::health::Health;
use super::metrics::AnnouncesByFamily;
use super::rate_limit::RateLimit;
use super::settings::ClientLimits;

/// A tracker on a storage.
pub(crate) struct Tracker {
    pub(crate) storage: Arc<dyn Storage>,
    /// Which torrents are served; all, if absent.
    pub(crate) approval: Option<Approval>,
    pub(crate) limits: ClientLimits,
    /// A rate for each address.
    pub(crate) rate_limit: RateLimit,
    /// Judges by the outcome of announces.
    pub(crate) health: Arc<Health>,
    pub(crate) by_family: Arc<AnnouncesByFamily>,
}

/// Why a request is refused. Clients see it: no internals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request cannot be understood.
    #[error("{0}")]
    Malformed(String),
    /// The torrent is not one of those that the tracker serves.
    #[error("unapproved torrent")]
    NotApproved,
    /// The address has sent too many requests lately.
    #[error("too many requests from this address")]
    TooMany,
    /// The storage takes no further peers.
    #[error("the tracker is full at this time")]
    Full,
    /// The storage could not answer.
    #[error("the tracker cannot answer at this time")]
    Unavailable,
}

impl From<storage_core::Error> for Refusal {
    fn from(error: storage_core::Error) -> Self {
        // The layers of the storage have logged it.
        if error.kind() == ErrorKind::Full { Self::Full } else { Self::Unavailable }
    }
}

impl Tracker {
    /// Applies the rate limit to a request from this address.
    ///
    /// # Errors
    /// [`Refusal::TooMany`].
    pub(crate) fn admit(&self, from: IpAddr) -> Result<(), Refusal> {
        if self.rate_limit.admits(from) { Ok(()) } else { Err(Refusal::TooMany) }
    }

    /// Adds the client to the swarm, or removes it, and returns peers.
    pub(crate) async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer, Refusal> {
        let answer = self.ask_storage(announce).await;
        let failure = match &answer {
            Ok(answer) => answer.as_ref().and_then(|answer| answer.failure.as_ref()),
            Err(error) => Some(error),
        };
        // A storage that is full works as it should.
        self.health.announced(failure.filter(|error| error.kind() != ErrorKind::Full));
        let answer = answer?.ok_or(Refusal::NotApproved)?;
        self.by_family.count(announce);
        Ok(answer)
    }

    /// Nothing for a torrent that is not served.
    async fn ask_storage(&self, announce: &Announce) -> storage_core::Result<Option<AnnounceAnswer>> {
        if !self.approves(&[announce.info_hash]).await?.contains(&true) {
            return Ok(None);
        }
        let mut answer = match self.storage.try_announce(announce) {
            Some(answer) => answer?,
            None => self.storage.announce(announce).await?,
        };
        // A client that announces over IPv4 and IPv6 would get its own other address.
        if let (Some(peers), [own, ..]) = (&mut answer.peers, announce.peers()) {
            peers.retain(|peer| peer.id() != own.id());
        }
        Ok(Some(answer))
    }

    /// Counts of these swarms, in their order, up to the limit; zeros for unapproved ones.
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

/// The peers with distinct address and port: without their ids the others are duplicates.
pub(crate) fn distinct(peers: &[Peer]) -> impl Iterator<Item = &Peer> {
    let mut told = HashSet::with_capacity(peers.len());
    peers.iter().filter(move |peer| told.insert((peer.address(), peer.port())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::rate_limit::Rate;
    use prometheus::IntGauge;
    use storage_core::{AddressFamily, Context, PeerId, Role, with_default_layers};
    use storage_memory::{MemoryConfig, MemoryStorage};

    const INFO_HASH: InfoHash = InfoHash::V1([1; 20]);

    fn peer(id: u8, address: &str) -> Peer {
        Peer::new(PeerId([id; 20]), address.parse().unwrap(), 6881)
    }

    fn announce() -> Announce {
        Announce::new(INFO_HASH, [peer(2, "192.0.2.1")]).with_role(Role::Seeder)
    }

    fn health() -> Arc<Health> {
        Health::new(IntGauge::new("healthy", "healthy").unwrap())
    }

    fn storage() -> Arc<dyn Storage> {
        with_default_layers(
            Arc::new(MemoryStorage::new(MemoryConfig::default())),
            storage_core::layer::Limits::default(),
        )
    }

    fn tracker(storage: &Arc<dyn Storage>, approval: Option<Approval>) -> Tracker {
        let rate_limit = RateLimit::new(Rate::default(), Vec::new());
        let (storage, limits, health) = (Arc::clone(storage), ClientLimits::default(), health());
        Tracker { storage, approval, limits, rate_limit, health, by_family: Arc::default() }
    }

    fn approved_by(storage: &Arc<dyn Storage>, inverted: bool) -> Tracker {
        let context = Context::new("approved").unwrap();
        tracker(storage, Some(Approval { context, inverted }))
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
    async fn failed_announces_count_as_unhealthy_and_refused_ones_do_not() {
        let storage = storage();
        let (everybody, nobody) = (tracker(&storage, None), approved_by(&storage, false));
        for tracker in [&everybody, &nobody] {
            for _ in 0..30 {
                let _ = tracker.announce(&announce()).await;
            }
            assert!(tracker.health.is_healthy());
        }
        storage.close().await.unwrap();
        for tracker in [&everybody, &nobody] {
            for _ in 0..30 {
                assert_eq!(tracker.announce(&announce()).await.unwrap_err(), Refusal::Unavailable);
            }
            assert!(!tracker.health.is_healthy());
        }
    }

    #[tokio::test]
    async fn a_swarm_that_is_not_approved_is_not_shown() {
        let storage = storage();
        let everybody = tracker(&storage, None);
        everybody.announce(&announce()).await.unwrap();
        assert_eq!(everybody.scrape(&[INFO_HASH]).await.unwrap()[0].seeders, 1);
        let nobody = approved_by(&storage, false);
        assert_eq!(nobody.announce(&announce()).await.unwrap_err(), Refusal::NotApproved);
        assert_eq!(nobody.scrape(&[INFO_HASH]).await.unwrap(), [SwarmCounts::default()]);
    }

    #[tokio::test]
    async fn a_storage_that_is_full_refuses_new_peers_alone_and_is_healthy() {
        let memory = MemoryStorage::new(MemoryConfig { max_peers: 1, ..MemoryConfig::default() });
        let storage: Arc<dyn Storage> =
            with_default_layers(Arc::new(memory), storage_core::layer::Limits::default());
        let tracker = tracker(&storage, None);
        tracker.announce(&announce()).await.unwrap();
        let new = announce().with_peers([peer(3, "192.0.2.1")]);
        for _ in 0..30 {
            assert_eq!(tracker.announce(&new).await.unwrap_err(), Refusal::Full);
        }
        assert!(tracker.health.is_healthy());
        assert_eq!(tracker.announce(&announce()).await.unwrap().counts.unwrap().seeders, 1);
    }

    #[tokio::test]
    async fn a_client_never_meets_itself() {
        let tracker = tracker(&storage(), None);
        let leecher = announce().with_role(Role::Leecher).with_families(&AddressFamily::BOTH);
        let there = leecher.clone().with_peers([peer(2, "2001:db8::1")]);
        tracker.announce(&there).await.unwrap();
        assert_eq!(tracker.announce(&leecher).await.unwrap().peers, Some(Vec::new()));
    }
}
