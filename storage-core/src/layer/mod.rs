//! Layers: what all storages share (limits, traces, schedules, an observer of every call), written once and put around
//! any storage. A storage with a layer around it is a storage itself.
//!
//! A [`Layer`] sees every call pass; [`Layered`] is the storage made of a layer and what it wraps.

mod default_layers;
mod faults;
mod limit;
#[cfg(feature = "prometheus")]
mod metrics;
mod observe;
mod stack;
mod trace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;

pub use default_layers::DefaultLayers;
pub use faults::{Fault, Faults, FaultyStorage};
pub use limit::{Limit, Limits, deadline, time_left, with_time_left};
#[cfg(feature = "prometheus")]
pub use metrics::Metrics;
pub use observe::Observe;
pub use stack::Stack;
pub use trace::Trace;

use crate::{
    Announce, AnnounceAnswer, AnnounceEvent, Backend, BulkPeerStorage, ClockReading, Collected, Context,
    CountCheck, Cursor, DataRecord, DataStorage, Diagnostics, DownloadsRecord, ExportScope, Forgotten,
    Imported, InfoHash, Maintenance, MissingCapabilities, Operation, Page, Peer, PeerChange, PeerRecord,
    PeerSelection, PeerStorage, PeerWrite, PendingWrites, QueryCheck, QueryScopeReport, Result, Role,
    Statistics, SwarmCounts, SwarmOrder, SwarmPage, SwarmSnapshot, Timestamp, Transfer, Utilization, When,
    Written, announce_each, failed_for_each,
};

/// Sees every call of a storage pass: the operation and the result, not the arguments. What changes arguments or answers,
/// such as a cache, implements the traits of a storage instead.
///
/// `around` may be dropped at any await. A whole announce that is [tried](PeerStorage::try_announce) first is polled once
/// and dropped if it would have to wait, so nothing may happen before the call that must not happen twice.
pub trait Layer: Send + Sync + 'static {
    /// Runs a call, or refuses to; `backend` is the name of the storage inside.
    fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a;

    /// Closes the storage inside.
    fn close<'a>(
        &'a self,
        backend: &'static str,
        close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> impl Future<Output = Result<()>> + Send + 'a {
        self.around(backend, Operation::Close, close)
    }

    /// How busy the storage is, from how busy the storage inside is.
    fn utilization(&self, inside: Utilization) -> Utilization {
        inside
    }

    /// A client told that it has everything; whether it was a download, or told again.
    fn completed(&self, _backend: &'static str, _is_download: bool) {}

    /// Statistics were taken.
    fn counted(&self, _backend: &'static str, _statistics: &Statistics) {}

    /// Kept counts were compared with the peers that are there.
    fn counts_checked(&self, _backend: &'static str, _check: &CountCheck) {}

    /// Garbage was collected, and it took this long.
    fn collected(&self, _backend: &'static str, _collected: &Collected, _took: Duration) {}
}

/// A storage with a layer around it.
pub struct Layered<S: ?Sized, L> {
    storage: Arc<S>,
    layer: L,
}

impl<S: ?Sized, L: Layer> Layered<S, L> {
    /// Puts a layer around a storage.
    pub fn new(storage: Arc<S>, layer: L) -> Self {
        Self { storage, layer }
    }

    /// The layer.
    pub fn layer(&self) -> &L {
        &self.layer
    }
}

impl<S: Backend + ?Sized, L: Layer> Layered<S, L> {
    async fn pass<'a, T: Send + 'a>(
        &'a self,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        self.layer.around(self.storage.name(), operation, call).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Backend + ?Sized, L: Layer> Backend for Layered<S, L> {
    fn name(&self) -> &'static str {
        self.storage.name()
    }

    fn durable(&self) -> bool {
        self.storage.durable()
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        self.storage.missing_capabilities()
    }

    fn configuration_key(&self, operation: Operation) -> Option<&'static str> {
        self.storage.configuration_key(operation)
    }

    fn server(&self) -> Option<String> {
        self.storage.server()
    }

    fn visible_within(&self) -> Duration {
        self.storage.visible_within()
    }

    fn now(&self) -> Timestamp {
        self.storage.now()
    }

    fn clock(&self) -> Option<ClockReading> {
        self.storage.clock()
    }

    fn pending_writes(&self) -> PendingWrites {
        self.storage.pending_writes()
    }

    fn utilization(&self) -> Utilization {
        self.layer.utilization(self.storage.utilization())
    }

    async fn ping(&self) -> Result<()> {
        self.pass(Operation::Ping, self.storage.ping()).await
    }

    async fn probe(&self) -> Result<()> {
        self.pass(Operation::Probe, self.storage.probe()).await
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        self.pass(Operation::Diagnostics, self.storage.diagnostics()).await
    }

    async fn check_queries(&self) -> Result<QueryCheck> {
        self.pass(Operation::CheckQueries, self.storage.check_queries()).await
    }

    async fn close(&self) -> Result<()> {
        self.layer.close(self.storage.name(), self.storage.close()).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: PeerStorage + ?Sized, L: Layer> PeerStorage for Layered<S, L> {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        self.pass(Operation::PutPeer, self.storage.put_peer(info_hash, peer, role, announced)).await
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        self.pass(Operation::DeletePeer, self.storage.delete_peer(info_hash, peer, role)).await
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        self.pass(Operation::RemovePeer, self.storage.remove_peer(info_hash, peer)).await
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        let call = self.storage.graduate_peers(info_hash, peers, announced);
        let is_download = self.pass(Operation::GraduatePeers, call).await?;
        if !peers.is_empty() {
            self.layer.completed(self.storage.name(), is_download);
        }
        Ok(is_download)
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        self.pass(Operation::AnnouncePeers, self.storage.announce_peers(selection)).await
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        self.pass(Operation::ScrapeSwarm, self.storage.scrape_swarm(info_hash)).await
    }

    async fn scrape_swarms(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        self.pass(Operation::ScrapeSwarms, self.storage.scrape_swarms(info_hashes)).await
    }

    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        self.pass_announce(announce, self.storage.announce(announce)).await
    }

    fn answers_at_once(&self) -> bool {
        self.storage.answers_at_once()
    }

    /// The layers of this crate end at once if the call inside does; where one does not, the call is not made.
    fn try_announce(&self, announce: &Announce) -> Option<Result<AnnounceAnswer>> {
        if !self.storage.answers_at_once() {
            return None;
        }
        let answer = async {
            match self.storage.try_announce(announce) {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        };
        self.pass_announce(announce, answer).now_or_never()
    }

    fn announce_many<'a>(
        &'a self,
        announces: &'a [Announce],
    ) -> BoxStream<'a, (usize, Result<AnnounceAnswer>)> {
        // Layers see each announce by itself.
        announce_each(self, announces)
    }
}

impl<S: PeerStorage + ?Sized, L: Layer> Layered<S, L> {
    /// For the layer an answer with something missing is a failure.
    async fn pass_announce(
        &self,
        announce: &Announce,
        answer: impl Future<Output = Result<AnnounceAnswer>> + Send,
    ) -> Result<AnnounceAnswer> {
        let mut incomplete = None;
        let call = async {
            let mut answer = answer.await?;
            let Some(failure) = answer.failure.take() else { return Ok(answer) };
            incomplete = Some(answer);
            Err(failure)
        };
        let answer = match (self.pass(Operation::Announce, call).await, incomplete) {
            (Err(failure), Some(answer)) => AnnounceAnswer { failure: Some(failure), ..answer },
            (answer, _) => answer?,
        };
        if announce.event == AnnounceEvent::Completed && !announce.peers().is_empty() {
            self.layer.completed(self.storage.name(), answer.is_download);
        }
        Ok(answer)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: DataStorage + ?Sized, L: Layer> DataStorage for Layered<S, L> {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        self.pass(Operation::PutData, self.storage.put_data(context, entries)).await
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        self.pass(Operation::LoadData, self.storage.load_data(context, key)).await
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        self.pass(Operation::ContainsData, self.storage.contains_data(context, keys)).await
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        self.pass(Operation::DeleteData, self.storage.delete_data(context, keys)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Maintenance + ?Sized, L: Layer> Maintenance for Layered<S, L> {
    async fn collect_garbage(&self, cutoff: Timestamp) -> Result<Collected> {
        self.collect_at_most(cutoff, u64::MAX).await
    }

    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        let begun = Instant::now();
        let collecting = self.storage.collect_at_most(cutoff, most);
        let collected = self.pass(Operation::CollectGarbage, collecting).await?;
        self.layer.collected(self.storage.name(), &collected, begun.elapsed());
        Ok(collected)
    }

    async fn statistics(&self) -> Result<Statistics> {
        let statistics = self.pass(Operation::Statistics, self.storage.statistics()).await?;
        self.layer.counted(self.storage.name(), &statistics);
        Ok(statistics)
    }

    async fn check_counts(&self) -> Result<Option<CountCheck>> {
        let check = self.pass(Operation::CheckCounts, self.storage.check_counts()).await?;
        if let Some(check) = &check {
            self.layer.counts_checked(self.storage.name(), check);
        }
        Ok(check)
    }

    async fn list_swarms(&self, order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Result<SwarmPage> {
        self.pass(Operation::ListSwarms, self.storage.list_swarms(order, from, limit)).await
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        self.pass(Operation::ForgetSwarm, self.storage.forget_swarm(info_hash)).await
    }

    async fn forget_swarms(&self, info_hashes: &[InfoHash]) -> Result<Forgotten> {
        self.pass(Operation::ForgetSwarm, self.storage.forget_swarms(info_hashes)).await
    }

    async fn check_query_scope(&self) -> Result<Vec<QueryScopeReport>> {
        self.pass(Operation::CheckQueryScope, self.storage.check_query_scope()).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Transfer + ?Sized, L: Layer> Transfer for Layered<S, L> {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        self.pass(Operation::ExportPeers, self.storage.export_peers(scope, from, limit)).await
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        self.pass(Operation::ExportDownloads, self.storage.export_downloads(from, limit)).await
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        self.pass(Operation::ExportData, self.storage.export_data(from, limit)).await
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        self.pass(Operation::ImportPeers, self.storage.import_peers(records)).await
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        self.pass(Operation::ImportDownloads, self.storage.import_downloads(records)).await
    }

    async fn replace_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        self.pass(Operation::ImportDownloads, self.storage.replace_downloads(records)).await
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        self.pass(Operation::ImportData, self.storage.import_data(records)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: BulkPeerStorage + ?Sized, L: Layer> BulkPeerStorage for Layered<S, L> {
    /// For the layer it has failed if no write took effect.
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        if writes.is_empty() {
            return Vec::new();
        }
        let mut written = None;
        let call = async {
            let results = written.insert(self.storage.write_peers(writes).await);
            match results.first() {
                Some(Err(error)) if results.iter().all(Result::is_err) => Err(error.copy()),
                _ => Ok(()),
            }
        };
        let passed = self.pass(Operation::WritePeers, call).await;
        match (written, passed) {
            (Some(results), _) => {
                let graduations = writes.iter().zip(&results);
                for (_, result) in graduations.filter(|(write, _)| write.change == PeerChange::Graduate) {
                    if let Ok(written @ (Written::Applied | Written::Download)) = result {
                        self.layer.completed(self.storage.name(), *written == Written::Download);
                    }
                }
                results
            }
            (None, Err(error)) => failed_for_each(&error, writes.len()),
            (None, Ok(())) => Vec::new(),
        }
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        self.pass(Operation::FindPeer, self.storage.find_peer(info_hash, peer)).await
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        self.pass(Operation::ReadSwarms, self.storage.read_swarms(info_hashes, limit)).await
    }
}
