//! The contract: the traits that every backend implements, and what each call must do.
//!
//! The letters in brackets (P1, D2, …) name the rules; the conformance suite has at least one case
//! for each of them.
//!
//! Rules that hold for every call (L1, E1): nothing panics; every call ends within a timeout; after
//! `close` every call is [`ErrorKind::Closed`](crate::ErrorKind::Closed); a write is acknowledged
//! after the backend has it, and one whose outcome is unknown is
//! [`ErrorKind::Uncertain`](crate::ErrorKind::Uncertain); errors never carry a password or a stored
//! value. Where a storage, as it is configured, cannot do something, [`Backend::missing_capabilities`] says so by
//! name and the call is [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Serialize;

use crate::announce::{announce_by_parts, announce_each};
use crate::config::Problem;
use crate::{
    AddressFamily, Announce, AnnounceAnswer, BulkPeerStorage, Capability, ClockReading, Context, Cursor,
    DataRecord, DownloadsRecord, Error, ErrorKind, Imported, InfoHash, MissingCapabilities, Operation, Page,
    Peer, PeerRecord, Result, Role, SwarmOrder, SwarmPage, Timestamp, When,
};

/// What every storage has, whatever it stores.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The name by which configurations choose it: `memory`, `pg`.
    fn name(&self) -> &'static str;

    /// Whether what is stored outlives the process (MoChi's `Preservable`).
    fn durable(&self) -> bool;

    /// What this storage, as it is configured, cannot do.
    fn missing_capabilities(&self) -> MissingCapabilities;

    /// The configuration key that decides how an operation behaves, where an operator wrote it:
    /// `peer.graduate_query`.
    fn configuration_key(&self, _operation: Operation) -> Option<&'static str> {
        None
    }

    /// Product and version of the server, as it said when it was last connected to: `PostgreSQL 15.18`.
    /// `None` for a storage without a server, and while it is not known. Asks nobody.
    fn server(&self) -> Option<String> {
        None
    }

    /// How long after a write was acknowledged another node on the same backend may still not see it. The node
    /// that wrote sees it at once. [`Duration::MAX`]: no other node may use the backend.
    fn visible_within(&self) -> Duration {
        Duration::ZERO
    }

    /// The time by which this storage's peers are stale: its server's, the same on every node, or this machine's
    /// where there is no server. Asks nobody.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// What is known of the server's clock; `None` for a storage without a server.
    fn clock(&self) -> Option<ClockReading> {
        None
    }

    /// Acknowledged writes that have not reached every place where they are to be stored. After
    /// [`close`](Self::close): those that never will.
    fn pending_writes(&self) -> PendingWrites {
        PendingWrites::default()
    }

    /// How busy the storage is at this moment. Asks nobody.
    fn utilization(&self) -> Utilization {
        Utilization::default()
    }

    /// Whether the server answers.
    async fn ping(&self) -> Result<()>;

    /// Whether the storage would accept an announce at this time, as far as can be found out without
    /// leaving a trace. A storage that cannot tell more than [`ping`](Self::ping) does the same.
    ///
    /// # Errors
    /// What an announce would fail with.
    async fn probe(&self) -> Result<()> {
        self.ping().await
    }

    /// What the storage runs on and how it is set up, for people to read.
    async fn diagnostics(&self) -> Result<Diagnostics>;

    /// Runs each query that an operator wrote, once, on rows of its own that are taken back, and gives what the server
    /// refuses: rights that are missing, those behind triggers among them. Leaves nothing behind, and waits for no
    /// lock for longer than a second. For people who check a configuration; storages without such queries have nothing
    /// to run.
    async fn check_queries(&self) -> Result<QueryCheck> {
        Ok(QueryCheck::default())
    }

    /// Waits for running work for a bounded time and lets go of everything. Closing twice is no error (L1).
    async fn close(&self) -> Result<()>;
}

/// Swarms: who takes part in which torrent.
///
/// A peer of a swarm is identified by (info hash, peer id, address, port) and has one role at a
/// time (P2).
#[async_trait]
pub trait PeerStorage: Backend {
    /// Puts a peer into a swarm, or sets its role and time of last announce if it is there (P1).
    /// A peer that was in the other role moves: no scrape sees it in both or in neither (P2).
    ///
    /// The time is [`When::Now`] for an announce; any other is stored as it is.
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, announced: When) -> Result<()>;

    /// Takes a peer out of a swarm if it is there in that role.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if it is not there in that role; nothing has changed
    /// then (P3).
    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()>;

    /// Takes a peer out of a swarm in whichever role it is; no error if it is in none (P3). Unlike
    /// [`delete_peer`](Self::delete_peer) it leaves no peer behind when an answer was lost on the way.
    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        // A peer that graduates meanwhile goes from the first role to the second.
        for role in [Role::Leecher, Role::Seeder] {
            match self.delete_peer(info_hash, peer, role).await {
                Err(error) if error.is_not_found() => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Makes a client a seeder at each of its addresses, `peers`, and sets their time of last announce: a
    /// leecher moves, a peer that is not there is put, one that is a seeder already is refreshed. If the client
    /// was a seeder at none of them, the swarm's downloads rise by one. All of it happens, or nothing (P4).
    ///
    /// Gives whether it was a download; after an answer that was lost it may say so of one that was a seeder before.
    /// Repeated, it counts nothing further. Without peers it does nothing.
    ///
    /// What is not known of a client cannot be told apart: one that is removed between two graduations counts
    /// twice, and so does one whose addresses come in calls of their own. A tracker beside this one that counts
    /// each time, such as MoChi, still does.
    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], announced: When) -> Result<bool>;

    /// Peers for one who announces (P5): leechers only for a seeder; for a leecher seeders first,
    /// then leechers; never more than `num_want`, as many as there are, none twice, only of the
    /// family asked for; an empty list if there is none, or none is wanted.
    ///
    /// Which peers come back should vary from call to call when the swarm has more (P6).
    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>>;

    /// Counts of a swarm, both families together. A swarm that is not known has zeros; downloads
    /// outlive the peers (P7, BEP 48).
    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts>;

    /// [`scrape_swarm`](Self::scrape_swarm) for each of these, in their order; a request over UDP asks
    /// for up to 74 (BEP 15).
    async fn scrape_swarms(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        let mut counts = Vec::with_capacity(info_hashes.len());
        for info_hash in info_hashes {
            counts.push(self.scrape_swarm(info_hash).await?);
        }
        Ok(counts)
    }

    /// A whole announce (A1): first the write, then peers and counts.
    ///
    /// A client that begins or goes on is put in its role; one that completed is graduated; one that
    /// stopped is taken out in whichever role it is, and no error if it is in none. The counts have the
    /// client in them unless it stopped. The peers never have it in them; they are those of the family
    /// preferred, and the next family fills what that leaves; none for a client that stopped. That there
    /// are none is no error.
    ///
    /// Any announce may be made again.
    ///
    /// # Errors
    /// Those of the write. What could not be read after it is missing in the answer.
    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        announce_by_parts(self, announce).await
    }

    /// [`announce`](Self::announce) where it can be answered at once, without a server and without waiting: `None`
    /// where it cannot, and nothing has been written then. For callers that would rather not make a future. A storage
    /// that implements it says so by [`answers_at_once`](Self::answers_at_once), or layers do not ask it.
    fn try_announce(&self, _announce: &Announce) -> Option<Result<AnnounceAnswer>> {
        None
    }

    /// Whether [`try_announce`](Self::try_announce) may give an answer.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// Whole announces of several clients at the same time: the answer to each as soon as it is there, with the place
    /// of the announce.
    ///
    /// There is no need to implement it: [layers](crate::layer) see each announce by itself.
    fn announce_many<'a>(
        &'a self,
        announces: &'a [Announce],
    ) -> BoxStream<'a, (usize, Result<AnnounceAnswer>)> {
        announce_each(self, announces)
    }
}

/// Shorter calls of [`PeerStorage`], for every storage.
#[async_trait]
pub trait PeerStorageExt: PeerStorage {
    /// [`graduate_peers`](PeerStorage::graduate_peers) for a client with one address.
    async fn graduate_peer(&self, info_hash: &InfoHash, peer: &Peer, announced: When) -> Result<bool> {
        self.graduate_peers(info_hash, std::slice::from_ref(peer), announced).await
    }

    /// [`put_peer`](PeerStorage::put_peer) as seeder, now.
    async fn put_seeder(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        self.put_peer(info_hash, peer, Role::Seeder, When::Now).await
    }

    /// [`put_peer`](PeerStorage::put_peer) as leecher, now.
    async fn put_leecher(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        self.put_peer(info_hash, peer, Role::Leecher, When::Now).await
    }

    /// [`delete_peer`](PeerStorage::delete_peer) as seeder.
    async fn delete_seeder(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        self.delete_peer(info_hash, peer, Role::Seeder).await
    }

    /// [`delete_peer`](PeerStorage::delete_peer) as leecher.
    async fn delete_leecher(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        self.delete_peer(info_hash, peer, Role::Leecher).await
    }

    /// [`graduate_peer`](Self::graduate_peer), now.
    async fn graduate_leecher(&self, info_hash: &InfoHash, peer: &Peer) -> Result<bool> {
        self.graduate_peer(info_hash, peer, When::Now).await
    }
}

impl<S: PeerStorage + ?Sized> PeerStorageExt for S {}

/// Arbitrary data, keyed by (context, key). Keys and values are any bytes; an empty value is not an
/// absent one. Contexts don't see each other (D1, D2).
#[async_trait]
pub trait DataStorage: Backend {
    /// Writes entries, overwriting what is there: all of them or none. Of a key given twice the
    /// last wins.
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()>;

    /// The value of a key; `None` if it is absent.
    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>>;

    /// For each key, in the order given, whether it is there.
    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>>;

    /// Removes keys; those that are absent are ignored.
    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()>;
}

/// Maintenance: what a tracker does now and then. Nothing here runs unless somebody calls it;
/// [`MaintenanceScheduler`](crate::MaintenanceScheduler) is the schedule.
#[async_trait]
pub trait Maintenance: Backend {
    /// Removes the peers that last announced at or before the cutoff, in either role and family, and
    /// nothing else. Safe beside all other calls, and on several nodes at once (U1).
    async fn collect_garbage(&self, cutoff: Timestamp) -> Result<Collected> {
        self.collect_at_most(cutoff, u64::MAX).await
    }

    /// [`collect_garbage`](Self::collect_garbage) if it would remove no more than `most` peers; else it removes
    /// none, and [`Collected::withheld`] says so (U1a).
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected>;

    /// Counts distinct info hashes that have peers, seeders and leechers; exact when nothing writes
    /// meanwhile (U2).
    async fn statistics(&self) -> Result<Statistics>;

    /// A page of up to `limit` swarms with their counts, from the cursor of the page before (U4). It is here, and not
    /// with the exports of [`Transfer`], because operators and sites read it as they read
    /// [`statistics`](Self::statistics): it gives counts, and nothing that could be taken in elsewhere.
    ///
    /// In the list are the swarms that have peers, and for [`SwarmOrder::Downloads`] those that have downloads. Swarms
    /// whose counts do not change meanwhile come exactly once, in the order asked for. The counts are those of a scrape
    /// at [`SwarmPage::as_of`]. A limit of 0 is 1; a page with fewer swarms than `limit` need not be the last. A cursor
    /// that this storage did not make, or made for another order, begins anywhere, and is no error.
    ///
    /// A page may read the counts of every swarm: it is for lists that are read now and then, not for each request of
    /// a site.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the storage lacks
    /// [`ListSwarms`](crate::Capability::ListSwarms), as it does by default.
    async fn list_swarms(
        &self,
        _order: SwarmOrder,
        _from: Option<&Cursor>,
        _limit: usize,
    ) -> Result<SwarmPage> {
        let kind = ErrorKind::Unsupported(Capability::ListSwarms);
        Err(Error::new(self.name(), Operation::ListSwarms, kind))
    }

    /// Removes a swarm's peers and, unless the storage lacks
    /// [`ForgetDownloads`](crate::Capability::ForgetDownloads), its downloads.
    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten>;

    /// [`forget_swarm`](Self::forget_swarm) for each of these; the peers of all are added up, and the downloads are
    /// gone if those of each are. A storage that can remove many at once needs far fewer round trips. After an
    /// error some may be gone: removing them again changes nothing.
    async fn forget_swarms(&self, info_hashes: &[InfoHash]) -> Result<Forgotten> {
        forget_swarms_one_by_one(self, info_hashes).await
    }

    /// Compares the counts that the storage keeps of about a thousand swarms, taken at random, with the peers that
    /// are there. Cheap enough to be run every few minutes.
    ///
    /// `None` where nothing is kept that could be wrong, or where the storage has no way to compare it. That is the
    /// default.
    async fn check_counts(&self) -> Result<Option<CountCheck>> {
        Ok(None)
    }

    /// Tries each operation that deletes or changes many entries at once on entries of its own, in a
    /// way that leaves no trace, and reports what it touched. For storages whose queries an operator
    /// wrote; others have nothing to check.
    async fn check_query_scope(&self) -> Result<Vec<QueryScopeReport>> {
        Ok(Vec::new())
    }
}

/// Transfer: everything a storage holds, out and in again (T1).
#[async_trait]
pub trait Transfer: Backend {
    /// A page of about `limit` peers of all swarms, or of one, from the cursor of the page before.
    /// Peers that are there all the time come at least once; none comes twice unless it changes
    /// meanwhile.
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>>;

    /// A page of about `limit` swarms' downloads.
    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>>;

    /// A page of about `limit` entries of data, of all contexts.
    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>>;

    /// Takes peers in with their roles and times: the later time wins, at equal times the seeder.
    /// Times are compared at the coarser precision of both sides.
    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported>;

    /// Takes downloads in: the greater number stays.
    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported>;

    /// Sets downloads, whatever they were. A storage that can forget and import downloads should have
    /// it.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) unless the storage has it.
    async fn replace_downloads(&self, _records: &[DownloadsRecord]) -> Result<Imported> {
        let kind = ErrorKind::Unsupported(Capability::ForgetDownloads);
        Err(Error::new(self.name(), Operation::ImportDownloads, kind))
    }

    /// Takes data in: what is there stays.
    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported>;
}

/// A storage with everything.
pub trait Storage: PeerStorage + DataStorage + Maintenance + Transfer + BulkPeerStorage {}

impl<T: PeerStorage + DataStorage + Maintenance + Transfer + BulkPeerStorage + ?Sized> Storage for T {}

/// Which peers an announce asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSelection {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Whether a seeder asks: it needs no other seeders.
    pub for_seeder: bool,
    /// The most peers to return.
    pub num_want: usize,
    /// The family of addresses.
    pub family: AddressFamily,
    /// A peer to leave out: the one that asks.
    pub exclude: Option<Peer>,
}

impl PeerSelection {
    /// Up to `num_want` IPv4 peers for a leecher.
    pub fn new(info_hash: InfoHash, num_want: usize) -> Self {
        Self { info_hash, for_seeder: false, num_want, family: AddressFamily::V4, exclude: None }
    }

    /// The roles to return, those preferred first.
    pub fn roles(&self) -> &'static [Role] {
        if self.for_seeder { &[Role::Leecher] } else { &Role::BOTH }
    }
}

/// Counts of one swarm (BEP 48).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwarmCounts {
    /// Seeders (`complete`).
    pub seeders: u64,
    /// Leechers (`incomplete`).
    pub leechers: u64,
    /// Times the torrent was downloaded to the end (`downloaded`).
    pub downloads: u64,
}

/// Counts of all swarms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Distinct info hashes that have peers.
    pub info_hashes: u64,
    /// Seeders of all swarms.
    pub seeders: u64,
    /// Leechers of all swarms.
    pub leechers: u64,
}

impl Statistics {
    /// Counts of these.
    pub fn new(info_hashes: u64, seeders: u64, leechers: u64) -> Self {
        Self { info_hashes, seeders, leechers }
    }
}

/// What a comparison of kept counts with the peers that are there found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CountCheck {
    /// How many swarms were compared.
    pub compared: u64,
    /// The swarms whose counts are wrong.
    pub wrong: Vec<WrongCounts>,
    /// What an operator can do about wrong counts, in words.
    pub remedy: &'static str,
}

impl CountCheck {
    /// So many swarms were compared, of which these are wrong; what an operator can do about them.
    pub fn new(compared: u64, wrong: Vec<WrongCounts>, remedy: &'static str) -> Self {
        Self { compared, wrong, remedy }
    }
}

/// A swarm whose kept counts are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongCounts {
    /// The swarm.
    pub info_hash: InfoHash,
    /// What the storage says.
    pub kept: PeerCounts,
    /// What is there.
    pub counted: PeerCounts,
}

/// Numbers of peers. Counts that are kept and wrong may be negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Seeders.
    pub seeders: i64,
    /// Leechers.
    pub leechers: i64,
}

impl CountCheck {
    /// What is wrong, with an example and the remedy; `None` if nothing is.
    pub fn warning(&self) -> Option<String> {
        let first = self.wrong.first()?;
        Some(format!(
            "the counts of {} of {} swarms are wrong, the first: {first}; {}",
            self.wrong.len(),
            self.compared,
            self.remedy
        ))
    }
}

impl fmt::Display for CountCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} swarms, {} wrong", self.compared, self.wrong.len())
    }
}

impl fmt::Display for WrongCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { info_hash, kept, counted } = self;
        write!(
            f,
            "{info_hash} has {} seeders and {} leechers, counted as {} and {}",
            counted.seeders, counted.leechers, kept.seeders, kept.leechers
        )
    }
}

/// What a garbage collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Peers removed.
    pub removed: u64,
    /// Entries left alone because they cannot be understood.
    pub unreadable: u64,
    /// Stale peers that were left, since they are more than the call may remove; a storage need not count
    /// beyond that. 0: none were.
    pub withheld: u64,
}

impl Collected {
    /// So many peers were removed.
    pub fn removed(removed: u64) -> Self {
        Self { removed, ..Self::default() }
    }

    /// So many stale peers were left.
    pub fn withheld(withheld: u64) -> Self {
        Self { withheld, ..Self::default() }
    }
}

/// Forgets swarms by the call for one: what [`Maintenance::forget_swarms`] does unless a storage can do better.
///
/// # Errors
/// The first; the swarms before it are gone.
pub async fn forget_swarms_one_by_one<S: Maintenance + ?Sized>(
    storage: &S,
    info_hashes: &[InfoHash],
) -> Result<Forgotten> {
    let mut all = Forgotten { peers: 0, downloads: true };
    for info_hash in info_hashes {
        let forgotten = storage.forget_swarm(info_hash).await?;
        all.peers += forgotten.peers;
        all.downloads &= forgotten.downloads;
    }
    Ok(all)
}

/// What forgetting a swarm did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Peers removed.
    pub peers: u64,
    /// Whether its downloads are gone too.
    pub downloads: bool,
}

/// Which peers an export covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportScope {
    /// All swarms.
    All,
    /// One swarm.
    Swarm(InfoHash),
}

/// Acknowledged writes that have not reached every place where they are to be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingWrites {
    /// How many.
    pub count: u64,
    /// How long ago the oldest of them was acknowledged.
    pub oldest: Option<Duration>,
}

impl PendingWrites {
    /// So many, of which the oldest was acknowledged so long ago.
    pub fn new(count: u64, oldest: Option<Duration>) -> Self {
        Self { count, oldest }
    }
}

/// How busy a storage is. What it does not have, or does not know, is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Utilization {
    /// Its calls; known where a [`Limit`](crate::layer::Limit) is around it.
    pub calls: Option<CallUtilization>,
    /// Its connections to its server.
    pub pool: Option<PoolUtilization>,
}

impl Utilization {
    /// Of a storage whose connections are known.
    pub fn of_pool(pool: PoolUtilization) -> Self {
        Self { pool: Some(pool), ..Self::default() }
    }
}

/// The calls of a storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallUtilization {
    /// Calls under way, those that wait for a connection or a batch among them.
    pub in_flight: usize,
    /// The most that may be under way at once; further ones are [`Busy`](crate::ErrorKind::Busy).
    pub max_in_flight: usize,
}

impl CallUtilization {
    /// So many calls are under way, of so many that may be.
    pub fn new(in_flight: usize, max_in_flight: usize) -> Self {
        Self { in_flight, max_in_flight }
    }
}

/// The connections of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolUtilization {
    /// Connections that are open.
    pub open: usize,
    /// Those of them that calls use.
    pub in_use: usize,
    /// The most that may be open.
    pub max_open: usize,
    /// Calls that wait for a connection; `None` where calls share connections and none waits for one.
    pub waiting: Option<usize>,
}

impl PoolUtilization {
    /// So many connections are open, of which so many are used, of so many that may be open; nobody is known to wait.
    pub fn new(open: usize, in_use: usize, max_open: usize) -> Self {
        Self { open, in_use, max_open, waiting: None }
    }

    /// So many calls wait for a connection.
    #[must_use]
    pub fn with_waiting(self, waiting: usize) -> Self {
        Self { waiting: Some(waiting), ..self }
    }
}

/// What a storage runs on and how it is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostics {
    /// Product and version of the server: `PostgreSQL 15.18`; for an embedded backend the crate's.
    pub server: String,
    /// What was found, as (item, finding) in the order to be shown.
    pub findings: Vec<(String, String)>,
    /// What is shown to whom asks for more, as findings are: the arguments of queries and their types.
    pub details: Vec<(String, String)>,
    /// What works and yet wants attention.
    pub warnings: Vec<String>,
}

impl Diagnostics {
    /// Of this server, with nothing found yet.
    pub fn new(server: impl Into<String>) -> Self {
        Self { server: server.into(), ..Self::default() }
    }

    /// Adds a finding.
    #[must_use]
    pub fn with_finding(mut self, item: impl Into<String>, finding: impl Into<String>) -> Self {
        self.findings.push((item.into(), finding.into()));
        self
    }
}

/// What a server says to the queries that an operator wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryCheck {
    /// The queries that it refuses to run, with its reasons.
    pub refused: Vec<Problem>,
    /// The queries of which it is not known whether it would run them.
    pub unknown: Vec<Problem>,
}

impl QueryCheck {
    /// These are refused, and of these it is not known.
    pub fn new(refused: Vec<Problem>, unknown: Vec<Problem>) -> Self {
        Self { refused, unknown }
    }
}

/// What one destructive query touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryScopeReport {
    /// The operation.
    pub operation: Operation,
    /// The configuration key of its query.
    pub key: &'static str,
    /// What it touched beyond what it should, in words; `None` if nothing.
    pub excess_rows: Option<String>,
}
