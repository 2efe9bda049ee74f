//! The storage, what it holds, and what is common to its parts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{
    Backend, Capability, Context, Diagnostics, Error, ErrorKind, InfoHash, MissingCapabilities, Operation,
    Peer, PeerId, Result, Role, Timestamp,
};

use crate::ExampleConfig;

/// A storage in the memory of the process, simple rather than fast.
pub struct ExampleStorage {
    capacity: usize,
    contents: Mutex<Contents>,
}

/// All that is stored. The order of the keys is the order of exports.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) peers: BTreeMap<(InfoHash, Peer), Presence>,
    pub(crate) downloads: BTreeMap<InfoHash, u64>,
    pub(crate) data: BTreeMap<(Context, Bytes), Bytes>,
}

/// A peer's part in a swarm. There is one for each, and so one role (P2). Of two the greater wins an
/// import: the later, at equal times the seeder (T1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Presence {
    pub(crate) announced: Timestamp,
    pub(crate) role: Role,
}

impl Contents {
    /// The peers of a swarm.
    pub(crate) fn swarm(&self, info_hash: InfoHash) -> impl Iterator<Item = (Peer, Presence)> {
        let from_its_first = self.peers.range((info_hash, first_peer())..);
        from_its_first
            .take_while(move |((swarm, _), _)| *swarm == info_hash)
            .map(|((_, peer), presence)| (*peer, *presence))
    }
}

/// The peer that all others come after.
pub(crate) fn first_peer() -> Peer {
    Peer::new(PeerId([0; 20]), IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}

impl ExampleStorage {
    pub(crate) const NAME: &'static str = "example";

    /// An empty storage. Timeouts, limits and an orderly close are layers:
    /// [`storage_core::with_default_layers`].
    pub fn new(config: ExampleConfig) -> Self {
        let ExampleConfig { capacity } = config;
        Self { capacity, contents: Mutex::default() }
    }

    /// What is stored, for one call alone. Never held across an `.await`.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts peers in or updates them, all or none; new ones need room.
    pub(crate) fn put(
        &self,
        contents: &mut Contents,
        operation: Operation,
        (info_hash, peers): (InfoHash, &[Peer]),
        presence: Presence,
    ) -> Result<()> {
        let new = peers.iter().filter(|peer| !contents.peers.contains_key(&(info_hash, **peer))).count();
        if new > 0 && contents.peers.len() + new > self.capacity {
            let message = format!("`capacity` of {} peers is used up: raise it", self.capacity);
            return Err(Self::error(operation, ErrorKind::Full).with_message(message));
        }
        contents.peers.extend(peers.iter().map(|peer| ((info_hash, *peer), presence)));
        Ok(())
    }

    pub(crate) fn error(operation: Operation, kind: ErrorKind) -> Error {
        Error::new(Self::NAME, operation, kind)
    }
}

#[async_trait]
impl Backend for ExampleStorage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn durable(&self) -> bool {
        false
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        MissingCapabilities::none().with(Capability::AtomicWrites, "they are made of the calls for one")
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        let server = concat!("embedded, version ", env!("CARGO_PKG_VERSION"));
        Ok(Diagnostics::new(server).with_finding("capacity", format!("{} peers", self.capacity)))
    }

    async fn close(&self) -> Result<()> {
        *self.lock() = Contents::default();
        Ok(())
    }
}
