//! A layer that adds one flaw to a correct storage.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use storage_core::{
    AddressFamily, Announce, AnnounceAnswer, AnnounceEvent, Backend, BulkPeerStorage, Collected, Context,
    Cursor, DataRecord, DataStorage, Diagnostics, DownloadsRecord, Error, ErrorKind, ExportScope, Forgotten,
    Imported, InfoHash, Maintenance, MissingCapabilities, Operation, Page, Peer, PeerChange, PeerRecord,
    PeerSelection, PeerStorage, PeerStorageExt, PeerWrite, Result, Role, Statistics, Storage, SwarmCounts,
    SwarmOrder, SwarmPage, SwarmSnapshot, Timestamp, Transfer, When, Written, announce_by_parts,
};

use super::Flaw;

pub(crate) struct Broken {
    sound: Arc<dyn Storage>,
    flaw: Flaw,
}

impl Broken {
    pub(crate) fn new(sound: Arc<dyn Storage>, flaw: Flaw) -> Self {
        Self { sound, flaw }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// The peers of a swarm.
    async fn peers(&self, scope: ExportScope) -> Result<Vec<PeerRecord>> {
        Ok(self.sound.export_peers(scope, None, 1_000_000).await?.records)
    }

    async fn known(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        let peers = self.peers(ExportScope::Swarm(*info_hash)).await?;
        Ok(peers.into_iter().find(|record| record.peer == *peer))
    }

    /// The context that data is kept in.
    fn shared_context(&self, context: &Context) -> Context {
        if self.is(Flaw::ContextsAreOne) {
            return Context::new("one").expect("a free name");
        }
        context.clone()
    }

    /// The key that data is kept under.
    fn key(&self, key: &[u8]) -> Bytes {
        if self.is(Flaw::KeysInAnyCase) {
            return Bytes::from(key.to_ascii_lowercase());
        }
        Bytes::copy_from_slice(key)
    }

    fn keys(&self, keys: &[Bytes]) -> Vec<Bytes> {
        keys.iter().map(|key| self.key(key)).collect()
    }
}

#[async_trait]
impl Backend for Broken {
    fn name(&self) -> &'static str {
        self.sound.name()
    }

    fn durable(&self) -> bool {
        self.sound.durable()
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        self.sound.missing_capabilities()
    }

    async fn ping(&self) -> Result<()> {
        self.sound.ping().await
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        self.sound.diagnostics().await
    }

    async fn close(&self) -> Result<()> {
        if self.is(Flaw::OpenAfterClose) {
            return Ok(());
        }
        self.sound.close().await
    }
}

#[async_trait]
impl PeerStorage for Broken {
    async fn put_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role, at: When) -> Result<()> {
        let known = self.known(info_hash, peer).await?;
        match (self.flaw, known) {
            (Flaw::PutKeepsTime, Some(known)) => {
                self.sound.put_peer(info_hash, peer, role, When::At(known.announced)).await
            }
            (Flaw::PutByAnotherClock, _) if at == When::Now => {
                let time = self.sound.now().after(Duration::from_secs(3_600));
                self.sound.put_peer(info_hash, peer, role, When::At(time)).await
            }
            (Flaw::PutRoundsTime, _) => {
                let time = at.on(self).at_precision(Duration::from_secs(1));
                self.sound.put_peer(info_hash, peer, role, When::At(time)).await
            }
            (Flaw::PutKeepsRole, Some(known)) => self.sound.put_peer(info_hash, peer, known.role, at).await,
            (Flaw::MoveInTwoSteps, Some(known)) if known.role != role => {
                self.sound.delete_peer(info_hash, peer, known.role).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.sound.put_peer(info_hash, peer, role, at).await
            }
            _ => self.sound.put_peer(info_hash, peer, role, at).await,
        }
    }

    async fn delete_peer(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> Result<()> {
        let deleted = self.sound.delete_peer(info_hash, peer, role).await;
        let absent = deleted.as_ref().is_err_and(Error::is_not_found);
        match self.flaw {
            Flaw::DeleteAbsentSucceeds if absent => Ok(()),
            Flaw::DeleteInAnyRole if absent => self.sound.delete_peer(info_hash, peer, role.other()).await,
            Flaw::DownloadsDieWithPeers if !absent => {
                if self.peers(ExportScope::Swarm(*info_hash)).await?.is_empty() {
                    self.sound.forget_swarm(info_hash).await?;
                }
                deleted
            }
            _ => deleted,
        }
    }

    async fn remove_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<()> {
        match self.flaw {
            Flaw::RemoveSeedersOnly => {
                let _ = self.sound.delete_peer(info_hash, peer, Role::Seeder).await;
                Ok(())
            }
            Flaw::RemoveAbsentFails if self.known(info_hash, peer).await?.is_none() => {
                Err(Error::new(self.name(), Operation::RemovePeer, ErrorKind::NotFound))
            }
            _ => self.sound.remove_peer(info_hash, peer).await,
        }
    }

    async fn graduate_peers(&self, info_hash: &InfoHash, peers: &[Peer], at: When) -> Result<bool> {
        let mut known = Vec::new();
        for peer in peers {
            known.extend(self.known(info_hash, peer).await?);
        }
        let leecher = known.iter().find(|known| known.role == Role::Leecher);
        let seeder = known.iter().find(|known| known.role == Role::Seeder);
        match (self.flaw, leecher, seeder) {
            (Flaw::GraduateUncounted, ..) => {
                for peer in peers {
                    self.sound.put_peer(info_hash, peer, Role::Seeder, at).await?;
                }
                return Ok(true);
            }
            (Flaw::GraduateNeedsLeecher, None, _) => return Ok(false),
            (Flaw::GraduateTakesNeighbours, ..) => {
                for neighbour in self.peers(ExportScope::Swarm(*info_hash)).await? {
                    if peers.iter().any(|peer| peer.socket_address() == neighbour.peer.socket_address()) {
                        self.sound.put_peer(info_hash, &neighbour.peer, Role::Seeder, at).await?;
                    }
                }
            }
            (Flaw::GraduateKeepsTime, Some(leecher), _) => {
                return self.sound.graduate_peers(info_hash, peers, When::At(leecher.announced)).await;
            }
            // The peer leaves as a seeder and comes back as one that was not there.
            (Flaw::GraduateCountsSeeders, _, Some(seeder)) => {
                self.sound.delete_peer(info_hash, &seeder.peer, Role::Seeder).await?;
            }
            (Flaw::GraduateLeavesSeeders, _, Some(_)) => return Ok(false),
            (Flaw::GraduateForOneAddress, ..) => {
                return self.sound.graduate_peers(info_hash, &peers[..peers.len().min(1)], at).await;
            }
            (Flaw::GraduateEachAddress, ..) => {
                let mut is_download = false;
                for peer in peers {
                    is_download |= self.sound.graduate_peer(info_hash, peer, at).await?;
                }
                return Ok(is_download);
            }
            (Flaw::GraduateAlwaysADownload, ..) => {
                return self.sound.graduate_peers(info_hash, peers, at).await.map(|_| !peers.is_empty());
            }
            _ => {}
        }
        self.sound.graduate_peers(info_hash, peers, at).await
    }

    async fn announce_peers(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        let mut asked = selection.clone();
        match self.flaw {
            Flaw::AnnounceSeedersToSeeders => asked.for_seeder = false,
            Flaw::AnnounceOneTooMany => asked.num_want += 1,
            Flaw::AnnounceOneself => asked.exclude = None,
            Flaw::AnnounceAlwaysTheSame => asked.num_want = usize::MAX,
            _ => {}
        }
        let mut peers = self.sound.announce_peers(&asked).await?;
        if self.is(Flaw::AnnounceNothingFails) && peers.is_empty() && selection.num_want > 0 {
            return Err(Error::new(self.name(), Operation::AnnouncePeers, ErrorKind::NotFound));
        }
        match self.flaw {
            Flaw::AnnounceTwice => {
                let again = peers.first().copied();
                peers.extend(again.filter(|_| peers.len() < selection.num_want));
            }
            Flaw::AnnounceBothFamilies => {
                let family = match selection.family {
                    AddressFamily::V4 => AddressFamily::V6,
                    AddressFamily::V6 => AddressFamily::V4,
                };
                let num_want = selection.num_want.saturating_sub(peers.len());
                let others = PeerSelection { family, num_want, ..selection.clone() };
                peers.extend(self.sound.announce_peers(&others).await?);
            }
            Flaw::AnnounceLeechersFirst if !selection.for_seeder => {
                let leechers = PeerSelection { for_seeder: true, ..selection.clone() };
                let mut leechers = self.sound.announce_peers(&leechers).await?;
                peers.retain(|peer| !leechers.contains(peer));
                leechers.extend(peers);
                leechers.truncate(selection.num_want);
                peers = leechers;
            }
            Flaw::AnnounceAlwaysTheSame => {
                peers.sort();
                peers.truncate(selection.num_want);
            }
            _ => {}
        }
        Ok(peers)
    }

    async fn scrape_swarm(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let mut counts = self.sound.scrape_swarm(info_hash).await?;
        if self.is(Flaw::ScrapeUnknownFails) && counts == SwarmCounts::default() {
            return Err(Error::new(self.name(), Operation::ScrapeSwarm, ErrorKind::NotFound));
        }
        if self.is(Flaw::ScrapeOneFamily) {
            for record in self.peers(ExportScope::Swarm(*info_hash)).await? {
                match record.role {
                    _ if !record.peer.family().is_v6() => {}
                    Role::Seeder => counts.seeders -= 1,
                    Role::Leecher => counts.leechers -= 1,
                }
            }
        }
        Ok(counts)
    }

    async fn scrape_swarms(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        let mut info_hashes = info_hashes.to_vec();
        if self.is(Flaw::ScrapesInAnyOrder) {
            info_hashes.sort();
        }
        self.sound.scrape_swarms(&info_hashes).await
    }

    fn announce_many<'a>(
        &'a self,
        announces: &'a [Announce],
    ) -> BoxStream<'a, (usize, Result<AnnounceAnswer>)> {
        let is_mixed = self.is(Flaw::AnnouncesTogetherMixed);
        let index = move |index: usize| if is_mixed { announces.len() - 1 - index } else { index };
        self.sound.announce_many(announces).map(move |(of, answer)| (index(of), answer)).boxed()
    }

    async fn announce(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        let Announce { info_hash, role, event, families, announced, .. } = announce;
        let peers = announce.peers();
        let before = self.sound.scrape_swarm(info_hash).await?;
        let mut asked = announce.clone();
        match (self.flaw, event) {
            (Flaw::WholeAnnounceStopsInOneRole, AnnounceEvent::Stopped) => {
                for peer in peers {
                    let _ = self.sound.delete_peer(info_hash, peer, *role).await;
                }
                asked = asked.with_peers([]);
            }
            (Flaw::WholeAnnounceCountsAddresses, AnnounceEvent::Completed) => {
                for peer in peers {
                    self.sound.graduate_peer(info_hash, peer, *announced).await?;
                }
            }
            (Flaw::WholeAnnounceOneFamily, _) => asked.families = &families[..families.len().min(1)],
            _ => {}
        }
        let mut answer = announce_by_parts(self, &asked).await?;
        match self.flaw {
            Flaw::WholeAnnounceCountsFirst => answer.counts = Some(before),
            Flaw::WholeAnnounceOfOneself => answer.peers.get_or_insert_default().extend(peers.first()),
            Flaw::WholeAnnounceWithoutCounts => answer.counts = None,
            Flaw::WholeAnnounceHidesDownloads => answer.is_download = false,
            _ => {}
        }
        Ok(answer)
    }
}

#[async_trait]
impl BulkPeerStorage for Broken {
    async fn write_peers(&self, writes: &[PeerWrite]) -> Vec<Result<Written>> {
        if self.is(Flaw::WriteInTheOrderGiven) {
            let mut results = Vec::new();
            for write in writes {
                results.extend(self.sound.write_peers(&[*write]).await);
            }
            return results;
        }
        let mut changed = writes.to_vec();
        for write in &mut changed {
            let known = self.known(&write.info_hash, &write.peer).await.expect("memory can be read");
            self.change(write, known).await;
        }
        let mut results = self.sound.write_peers(&changed).await;
        if self.is(Flaw::WriteResultsBackwards) {
            results.reverse();
        }
        results
    }

    async fn find_peer(&self, info_hash: &InfoHash, peer: &Peer) -> Result<Option<PeerRecord>> {
        let found = self.sound.find_peer(info_hash, peer).await?;
        Ok(found.filter(|record| record.role.is_seeder() || !self.is(Flaw::FindForgetsLeechers)))
    }

    async fn read_swarms(&self, info_hashes: &[InfoHash], limit: usize) -> Result<Vec<SwarmSnapshot>> {
        let limit = if self.is(Flaw::ReadTooMany) { limit + 1 } else { limit };
        let mut snapshots = self.sound.read_swarms(info_hashes, limit).await?;
        if self.is(Flaw::ReadInAnyOrder) {
            snapshots.sort_by_key(|snapshot| snapshot.info_hash);
        }
        for snapshot in &mut snapshots {
            match self.flaw {
                Flaw::ReadOneFamily => snapshot.peers.retain(|record| !record.peer.family().is_v6()),
                Flaw::ReadTimesAreNow => {
                    snapshot.peers.iter_mut().for_each(|record| record.announced = self.sound.now());
                }
                Flaw::ReadIsAlwaysComplete => snapshot.is_complete = true,
                Flaw::ReadWithoutLeechers if !snapshot.is_complete => {
                    snapshot.peers.retain(|record| record.role.is_seeder());
                }
                _ => {}
            }
        }
        Ok(snapshots)
    }
}

impl Broken {
    /// Changes a write by the flaw; `known` is the record of the peer, if it is stored.
    async fn change(&self, write: &mut PeerWrite, known: Option<PeerRecord>) {
        let later = write.announced.after(Duration::from_secs(3_600));
        match (self.flaw, write.change, known) {
            (Flaw::WritePutsOlder, PeerChange::Put(role), Some(_)) => {
                let put = self.sound.put_peer(&write.info_hash, &write.peer, role, When::At(write.announced));
                put.await.expect("memory can be written");
            }
            (Flaw::WriteKeepsLeecher, PeerChange::Put(Role::Seeder), Some(known))
                if known.announced == write.announced =>
            {
                write.change = PeerChange::Put(known.role);
            }
            (Flaw::WriteTouchDoesNothing, PeerChange::Touch, Some(known)) => {
                write.announced = known.announced
            }
            (Flaw::WriteTouchInserts, PeerChange::Touch, None) => {
                write.change = PeerChange::Put(Role::Leecher)
            }
            (Flaw::WriteTouchPutsBack, PeerChange::Touch, Some(known)) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                write.change = PeerChange::Put(known.role);
            }
            (Flaw::WriteTouchAges, PeerChange::Touch, Some(known)) => {
                let put =
                    self.sound.put_peer(&write.info_hash, &write.peer, known.role, When::At(write.announced));
                put.await.expect("memory can be written");
            }
            (Flaw::WriteDeletesLeechersOnly, PeerChange::Delete, Some(known)) if known.role.is_seeder() => {
                write.change = PeerChange::Touch;
            }
            (Flaw::WriteDeletesNewer, PeerChange::Delete, _) => write.announced = later,
            (Flaw::WriteGraduatesTwice, PeerChange::Graduate, Some(known)) if known.role.is_seeder() => {
                let removed = self.sound.remove_peer(&write.info_hash, &write.peer);
                removed.await.expect("memory can be written");
            }
            (Flaw::WriteGraduatesOlder, PeerChange::Graduate, Some(_)) => write.announced = later,
            _ => {}
        }
    }
}

#[async_trait]
impl DataStorage for Broken {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        let context = &self.shared_context(context);
        let mut entries: Vec<_> = entries.iter().map(|(key, value)| (self.key(key), value.clone())).collect();
        match self.flaw {
            Flaw::EmptyValueIsAbsent => entries.retain(|(_, value)| !value.is_empty()),
            Flaw::FirstOfTwiceWins => entries.reverse(),
            Flaw::PutDataKeeps => {
                let records = entries.into_iter().map(|(key, value)| DataRecord {
                    context: context.clone(),
                    key,
                    value,
                });
                self.sound.import_data(&records.collect::<Vec<_>>()).await?;
                return Ok(());
            }
            _ => {}
        }
        self.sound.put_data(context, &entries).await
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        self.sound.load_data(&self.shared_context(context), &self.key(key)).await
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        let mut found = self.sound.contains_data(&self.shared_context(context), &self.keys(keys)).await?;
        if self.is(Flaw::ContainsBackwards) {
            found.reverse();
        }
        Ok(found)
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        let (context, keys) = (&self.shared_context(context), self.keys(keys));
        if !self.is(Flaw::DeleteDataNeedsAll) {
            return self.sound.delete_data(context, &keys).await;
        }
        for key in &keys {
            if self.sound.load_data(context, key).await?.is_none() {
                break;
            }
            self.sound.delete_data(context, std::slice::from_ref(key)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Maintenance for Broken {
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        match self.flaw {
            Flaw::GarbageBeforeCutoff => {
                self.sound.collect_at_most(cutoff.before(Duration::from_nanos(1)), most).await
            }
            Flaw::GarbageTakesAll => {
                self.sound.collect_at_most(Timestamp::from_nanoseconds(i64::MAX), most).await
            }
            Flaw::GarbageOverTheLimit => self.sound.collect_garbage(cutoff).await,
            Flaw::GarbageBelowTheLimit => self.sound.collect_at_most(cutoff, most.saturating_sub(1)).await,
            Flaw::GarbageUpToTheLimit if most < u64::MAX => {
                let mut collected = self.sound.collect_at_most(cutoff, most).await?;
                if collected.withheld > 0 {
                    let stale = self.peers(ExportScope::All).await?;
                    let stale = stale.into_iter().filter(|record| record.announced <= cutoff);
                    for record in stale.take(most as usize) {
                        self.sound.delete_peer(&record.info_hash, &record.peer, record.role).await?;
                        collected.removed += 1;
                    }
                }
                Ok(collected)
            }
            Flaw::GarbageMiscounted => {
                let mut collected = self.sound.collect_at_most(cutoff, most).await?;
                collected.removed += 1;
                Ok(collected)
            }
            Flaw::GarbageSeedersOnly => {
                let mut collected = Collected::default();
                for record in self.peers(ExportScope::All).await? {
                    if record.role == Role::Seeder && record.announced <= cutoff {
                        self.sound.delete_peer(&record.info_hash, &record.peer, record.role).await?;
                        collected.removed += 1;
                    }
                }
                Ok(collected)
            }
            _ => self.sound.collect_at_most(cutoff, most).await,
        }
    }

    async fn statistics(&self) -> Result<Statistics> {
        let mut statistics = self.sound.statistics().await?;
        if self.is(Flaw::StatisticsCountPeers) {
            let mut swarms: Vec<_> =
                self.peers(ExportScope::All).await?.iter().map(|peer| (peer.info_hash, peer.role)).collect();
            swarms.sort();
            swarms.dedup();
            statistics.info_hashes = swarms.len() as u64;
        }
        Ok(statistics)
    }

    async fn list_swarms(&self, order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Result<SwarmPage> {
        let order = if self.is(Flaw::ListInOneOrder) { SwarmOrder::InfoHash } else { order };
        let mut page = self.sound.list_swarms(order, from, limit).await?;
        if self.is(Flaw::ListSkips) && page.next.is_some() && page.swarms.len() > 1 {
            page.swarms.pop();
        }
        if self.is(Flaw::ListWithoutDownloads) {
            page.swarms.iter_mut().for_each(|swarm| swarm.counts.downloads = 0);
        }
        Ok(page)
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        self.sound.forget_swarm(info_hash).await
    }
}

#[async_trait]
impl Transfer for Broken {
    async fn export_peers(
        &self,
        scope: ExportScope,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<PeerRecord>> {
        let mut page = self.sound.export_peers(scope, from, limit).await?;
        if self.is(Flaw::ExportForgetsLeechers) {
            page.records.retain(|record| record.role == Role::Seeder);
        }
        Ok(page)
    }

    async fn export_downloads(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DownloadsRecord>> {
        self.sound.export_downloads(from, limit).await
    }

    async fn export_data(&self, from: Option<&Cursor>, limit: usize) -> Result<Page<DataRecord>> {
        self.sound.export_data(from, limit).await
    }

    async fn import_peers(&self, records: &[PeerRecord]) -> Result<Imported> {
        if !self.is(Flaw::ImportOverwrites) {
            return self.sound.import_peers(records).await;
        }
        for record in records {
            self.sound
                .put_peer(&record.info_hash, &record.peer, record.role, When::At(record.announced))
                .await?;
        }
        Ok(Imported { written: records.len() as u64, kept: 0 })
    }

    async fn import_downloads(&self, records: &[DownloadsRecord]) -> Result<Imported> {
        if self.is(Flaw::ImportLowersDownloads) {
            for record in records {
                let peers = self.peers(ExportScope::Swarm(record.info_hash)).await?;
                self.sound.forget_swarm(&record.info_hash).await?;
                self.sound.import_peers(&peers).await?;
            }
        }
        self.sound.import_downloads(records).await
    }

    async fn import_data(&self, records: &[DataRecord]) -> Result<Imported> {
        if self.is(Flaw::ImportReplacesData) {
            for record in records {
                self.sound.delete_data(&record.context, std::slice::from_ref(&record.key)).await?;
            }
        }
        self.sound.import_data(records).await
    }
}
