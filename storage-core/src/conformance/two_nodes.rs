//! Two nodes on one backend, as one storage: what one node writes the other must find.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::Provider;
use crate::config::Problem;
use crate::{
    Announce, AnnounceAnswer, Backend, BulkPeerStorage, ClockReading, Collected, Context, CountCheck, Cursor,
    DataRecord, DataStorage, Diagnostics, DownloadsRecord, ExportScope, Forgotten, Imported, InfoHash,
    Maintenance, MissingCapabilities, OpenError, Operation, Page, Peer, PeerRecord, PeerSelection,
    PeerStorage, PeerWrite, PendingWrites, QueryCheck, QueryScopeReport, Result, Role, Statistics, Storage,
    SwarmCounts, SwarmOrder, SwarmPage, SwarmSnapshot, Timestamp, Transfer, When, Written,
};

/// Opens a storage twice, and gives both openings as one storage: writes are made by the two in turn, and after a write
/// reads go to the other node, [`Backend::visible_within`] later.
///
/// The whole suite can run on it. Openings must share what they store.
pub struct TwoNodes(Arc<dyn Provider>);

impl TwoNodes {
    /// Two nodes of what this provider opens.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self(provider)
    }
}

#[async_trait]
impl Provider for TwoNodes {
    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
        if self.0.is_private() {
            let message = "each opening is private: two nodes would share nothing";
            return Err(OpenError::Configuration(vec![Problem::new("", message)]));
        }
        let first = self.0.open().await?;
        let second = match self.0.open().await {
            Ok(second) => second,
            Err(error) => {
                let _ = first.close().await;
                return Err(error);
            }
        };
        Ok(Arc::new(NodePair {
            nodes: [first, second],
            writes: AtomicUsize::new(0),
            written: Mutex::default(),
        }))
    }

    fn is_exclusive(&self) -> bool {
        self.0.is_exclusive()
    }

    fn is_private(&self) -> bool {
        self.0.is_private()
    }
}

struct NodePair {
    nodes: [Arc<dyn Storage>; 2],
    writes: AtomicUsize,
    /// When the last write ended.
    written: Mutex<Option<Instant>>,
}

impl NodePair {
    /// The node that did not make the last write, to make one.
    async fn writer(&self) -> Writer<'_> {
        self.wait().await;
        Writer { node: &self.nodes[self.writes.fetch_add(1, Ordering::SeqCst) % 2], written: &self.written }
    }

    /// The node that did not make the last write, when it must see that.
    async fn reader(&self) -> &dyn Storage {
        self.wait().await;
        self.idle()
    }

    fn idle(&self) -> &dyn Storage {
        &*self.nodes[self.writes.load(Ordering::SeqCst) % 2]
    }

    async fn wait(&self) {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = written {
            sleep_until(written + self.idle().visible_within()).await;
        }
    }
}

/// A node that makes a write, until it is dropped.
struct Writer<'a> {
    node: &'a Arc<dyn Storage>,
    written: &'a Mutex<Option<Instant>>,
}

impl Deref for Writer<'_> {
    type Target = dyn Storage;

    fn deref(&self) -> &Self::Target {
        &**self.node
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

#[async_trait]
impl Backend for NodePair {
    fn name(&self) -> &'static str {
        self.idle().name()
    }

    fn durable(&self) -> bool {
        self.idle().durable()
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        self.idle().missing_capabilities()
    }

    fn configuration_key(&self, operation: Operation) -> Option<&'static str> {
        self.idle().configuration_key(operation)
    }

    fn server(&self) -> Option<String> {
        self.idle().server()
    }

    fn now(&self) -> Timestamp {
        self.idle().now()
    }

    fn clock(&self) -> Option<ClockReading> {
        self.idle().clock()
    }

    fn pending_writes(&self) -> PendingWrites {
        let [first, second] = self.nodes.each_ref().map(|node| node.pending_writes());
        PendingWrites {
            count: first.count + second.count,
            oldest: first.oldest.into_iter().chain(second.oldest).max(),
        }
    }

    async fn ping(&self) -> Result<()> {
        self.idle().ping().await
    }

    async fn probe(&self) -> Result<()> {
        self.idle().probe().await
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        self.idle().diagnostics().await
    }

    async fn check_queries(&self) -> Result<QueryCheck> {
        self.idle().check_queries().await
    }

    async fn close(&self) -> Result<()> {
        let [first, second] = &self.nodes;
        let (first, second) = tokio::join!(first.close(), second.close());
        first.and(second)
    }
}

#[async_trait]
impl PeerStorage for NodePair {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()> {
        self.writer().await.put_peer(info_hash, peer, role, announced).await
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        self.writer().await.delete_peer(info_hash, peer, role).await
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        self.writer().await.remove_peer(info_hash, peer).await
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool> {
        self.writer().await.graduate_peers(info_hash, peers, announced).await
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        self.reader().await.announce_peers(selection).await
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        self.reader().await.scrape_swarm(info_hash).await
    }

    async fn scrape_swarms(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        self.reader().await.scrape_swarms(info_hashes).await
    }

    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        self.writer().await.announce(announce).await
    }
}

#[async_trait]
impl DataStorage for NodePair {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        self.writer().await.put_data(context, entries).await
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        self.reader().await.load_data(context, key).await
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        self.reader().await.contains_data(context, keys).await
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        self.writer().await.delete_data(context, keys).await
    }
}

#[async_trait]
impl Maintenance for NodePair {
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        self.writer().await.collect_at_most(cutoff, most).await
    }

    async fn statistics(&self) -> Result<Statistics> {
        self.reader().await.statistics().await
    }

    async fn check_counts(&self) -> Result<Option<CountCheck>> {
        self.reader().await.check_counts().await
    }

    async fn list_swarms(&self, order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Result<SwarmPage> {
        self.reader().await.list_swarms(order, from, limit).await
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        self.writer().await.forget_swarm(info_hash).await
    }

    async fn forget_swarms(&self, info_hashes: &[InfoHash]) -> Result<Forgotten> {
        self.writer().await.forget_swarms(info_hashes).await
    }

    async fn check_query_scope(&self) -> Result<Vec<QueryScopeReport>> {
        self.idle().check_query_scope().await
    }
}

#[async_trait]
impl Transfer for NodePair {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        self.reader().await.export_peers(scope, from, limit).await
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        self.reader().await.export_downloads(from, limit).await
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        self.reader().await.export_data(from, limit).await
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        self.writer().await.import_peers(records).await
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        self.writer().await.import_downloads(records).await
    }

    async fn replace_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        self.writer().await.replace_downloads(records).await
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        self.writer().await.import_data(records).await
    }
}

#[async_trait]
impl BulkPeerStorage for NodePair {
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        self.writer().await.write_peers(writes).await
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        self.reader().await.find_peer(info_hash, peer).await
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        self.reader().await.read_swarms(info_hashes, limit).await
    }
}
