//! A simple model of a storage.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use storage_core::{
    Announce, AnnounceEvent, Context, DataRecord, DownloadsRecord, InfoHash, Peer, PeerChange, PeerRecord,
    PeerSelection, PeerWrite, Record, Role, Statistics, SwarmCounts, Timestamp, When, Written,
};

use super::run::PRECISION;
use super::step::{SequenceStep, StepAnswer};

#[derive(Default)]
pub(super) struct Model {
    peers: BTreeMap<(InfoHash, Peer), PeerRecord>,
    downloads: BTreeMap<InfoHash, u64>,
    data: BTreeMap<(Context, Bytes), Bytes>,
}

impl Model {
    pub(super) fn run_step(&mut self, step: &SequenceStep) -> StepAnswer {
        match step {
            SequenceStep::Put(record) => {
                self.put(*record);
                StepAnswer::Done
            }
            SequenceStep::Delete(info_hash, peer, role) => self.delete(*info_hash, *peer, *role),
            SequenceStep::Remove(info_hash, peer) => {
                self.peers.remove(&(*info_hash, *peer));
                StepAnswer::Done
            }
            SequenceStep::Graduate(info_hash, peers, announced) => {
                StepAnswer::IsDownload(self.graduate(*info_hash, peers, *announced))
            }
            SequenceStep::WholeAnnounce(announce) => self.announce_whole(announce),
            SequenceStep::Scrapes(info_hashes) => {
                StepAnswer::AllCounts(info_hashes.iter().map(|info_hash| self.scrape(*info_hash)).collect())
            }
            SequenceStep::Announce(selection) => self.announce(selection),
            SequenceStep::Scrape(info_hash) => StepAnswer::Counts(self.scrape(*info_hash)),
            SequenceStep::PutData(context, entries) => {
                for (key, value) in entries {
                    self.data.insert((context.clone(), key.clone()), value.clone());
                }
                StepAnswer::Done
            }
            SequenceStep::Load(context, key) => {
                StepAnswer::Value(self.data.get(&(context.clone(), key.clone())).cloned())
            }
            SequenceStep::Contains(context, keys) => {
                let contains = |key: &Bytes| self.data.contains_key(&(context.clone(), key.clone()));
                StepAnswer::There(keys.iter().map(contains).collect())
            }
            SequenceStep::DeleteData(context, keys) => {
                self.data.retain(|(of, key), _| of != context || !keys.contains(key));
                StepAnswer::Done
            }
            SequenceStep::CollectGarbage(cutoff) => self.remove(|record| record.announced <= *cutoff),
            SequenceStep::Statistics => {
                let info_hashes: BTreeSet<_> = self.peers.values().map(|record| record.info_hash).collect();
                StepAnswer::Statistics(Statistics::new(
                    info_hashes.len() as u64,
                    self.count(|record| record.role.is_seeder()),
                    self.count(|record| !record.role.is_seeder()),
                ))
            }
            SequenceStep::Forget(info_hash) => {
                self.downloads.remove(info_hash);
                self.remove(|record| record.info_hash == *info_hash)
            }
            SequenceStep::ExportSwarm(info_hash) => {
                let of_swarm = self.peers.values().filter(|record| record.info_hash == *info_hash);
                StepAnswer::Records(of_swarm.copied().map(exported).collect())
            }
            SequenceStep::WritePeers(writes) => self.write_peers(writes),
            SequenceStep::ReadSwarms(info_hashes) => {
                let of = |info_hash: &InfoHash| {
                    let of_swarm = self.peers.values().filter(|record| record.info_hash == *info_hash);
                    (of_swarm.copied().map(exported).collect(), self.scrape(*info_hash))
                };
                StepAnswer::Snapshots(info_hashes.iter().map(of).collect())
            }
            SequenceStep::AnnounceMany(announces) => {
                StepAnswer::All(announces.iter().map(|announce| self.announce_whole(announce)).collect())
            }
            SequenceStep::ImportPeers(records) => self.import_peers(records),
            SequenceStep::ImportDownloads(records) => self.import_downloads(records),
            SequenceStep::ImportData(records) => self.import_data(records),
        }
    }

    /// All that it holds, sorted.
    pub(super) fn content(&self) -> Vec<Record> {
        let peers = self.peers.values().map(|record| Record::Peer(exported(*record)));
        let downloads = self.downloads.iter().map(|(info_hash, downloads)| {
            Record::Downloads(DownloadsRecord { info_hash: *info_hash, downloads: *downloads })
        });
        let data = self.data.iter().map(|((context, key), value)| {
            let (context, key, value) = (context.clone(), key.clone(), value.clone());
            Record::Data(DataRecord { context, key, value })
        });
        let mut content: Vec<_> = peers.chain(downloads).chain(data).collect();
        content.sort();
        content
    }

    fn put(&mut self, record: PeerRecord) {
        self.peers.insert((record.info_hash, record.peer), record);
    }

    fn graduate(&mut self, info_hash: InfoHash, peers: &[Peer], announced: Timestamp) -> bool {
        let known = peers.iter().filter_map(|peer| self.peers.get(&(info_hash, *peer)));
        let is_download = !peers.is_empty() && known.filter(|record| record.role.is_seeder()).count() == 0;
        for peer in peers.iter().copied() {
            self.put(PeerRecord { info_hash, peer, role: Role::Seeder, announced });
        }
        if is_download {
            *self.downloads.entry(info_hash).or_default() += 1;
        }
        is_download
    }

    fn delete(&mut self, info_hash: InfoHash, peer: Peer, role: Role) -> StepAnswer {
        if self.peers.get(&(info_hash, peer)).is_none_or(|record| record.role != role) {
            return StepAnswer::NotFound;
        }
        self.peers.remove(&(info_hash, peer));
        StepAnswer::Done
    }

    fn announce(&self, selection: &PeerSelection) -> StepAnswer {
        let is_wanted = |record: &&PeerRecord| {
            record.info_hash == selection.info_hash
                && selection.roles().contains(&record.role)
                && record.peer.family() == selection.family
                && selection.exclude != Some(record.peer)
        };
        StepAnswer::Peers(self.peers.values().filter(is_wanted).map(|record| record.peer).collect())
    }

    fn announce_whole(&mut self, announce: &Announce) -> StepAnswer {
        let Announce { info_hash, role, event, announced: When::At(announced), .. } = *announce else {
            unreachable!("an announce of a sequence names its time");
        };
        let completed = event == AnnounceEvent::Completed;
        let role = if completed { Role::Seeder } else { role };
        let is_download = completed && self.graduate(info_hash, announce.peers(), announced);
        for peer in announce.peers().iter().copied() {
            self.peers.remove(&(info_hash, peer));
            if event != AnnounceEvent::Stopped {
                self.put(PeerRecord { info_hash, peer, role, announced });
            }
        }
        let is_wanted = |record: &&PeerRecord| {
            event != AnnounceEvent::Stopped
                && record.info_hash == info_hash
                && !(role.is_seeder() && record.role.is_seeder())
                && announce.families.contains(&record.peer.family())
                && !announce.peers().contains(&record.peer)
        };
        let peers = self.peers.values().filter(is_wanted).map(|record| record.peer).collect();
        StepAnswer::Announced { peers, counts: self.scrape(info_hash), is_download }
    }

    fn scrape(&self, info_hash: InfoHash) -> SwarmCounts {
        SwarmCounts {
            seeders: self.count(|record| record.info_hash == info_hash && record.role.is_seeder()),
            leechers: self.count(|record| record.info_hash == info_hash && !record.role.is_seeder()),
            downloads: self.downloads.get(&info_hash).copied().unwrap_or_default(),
        }
    }

    fn count(&self, is_counted: impl Fn(&PeerRecord) -> bool) -> u64 {
        self.peers.values().filter(|record| is_counted(record)).count() as u64
    }

    fn remove(&mut self, is_removed: impl Fn(&PeerRecord) -> bool) -> StepAnswer {
        let before = self.peers.len();
        self.peers.retain(|_, record| !is_removed(record));
        StepAnswer::Removed((before - self.peers.len()) as u64)
    }

    fn import_peers(&mut self, records: &[PeerRecord]) -> StepAnswer {
        let mut written = 0;
        for record in records {
            let stays = self.peers.get(&(record.info_hash, record.peer)).map(|known| known.newer(*record));
            if stays.is_none_or(|stays| stays == *record)
                && self.peers.insert((record.info_hash, record.peer), *record) != Some(*record)
            {
                written += 1;
            }
        }
        StepAnswer::Written(written)
    }

    /// By time, those of one time in their order, deletions last.
    fn write_peers(&mut self, writes: &[PeerWrite]) -> StepAnswer {
        let mut order: Vec<_> = writes.iter().enumerate().collect();
        order.sort_by_key(|(_, write)| (write.announced, write.change == PeerChange::Delete));
        let mut written = vec![Written::Unchanged; writes.len()];
        for (index, write) in order {
            written[index] = self.write_peer(write);
        }
        StepAnswer::WrittenEach(written)
    }

    fn write_peer(&mut self, write: &PeerWrite) -> Written {
        let PeerWrite { info_hash, peer, change, announced } = *write;
        let stored = self.peers.get(&(info_hash, peer)).copied();
        let is_late_enough = stored.is_none_or(|stored| stored.announced <= announced);
        match (change, stored) {
            (PeerChange::Put(role), stored) => {
                if stored.is_some_and(|stored| (stored.announced, stored.role) >= (announced, role)) {
                    return Written::Unchanged;
                }
                self.put(PeerRecord { info_hash, peer, role, announced });
            }
            (PeerChange::Delete, Some(_)) if is_late_enough => {
                self.peers.remove(&(info_hash, peer));
            }
            (PeerChange::Touch | PeerChange::Delete, None) | (PeerChange::Delete, Some(_)) => {
                return Written::Unchanged;
            }
            (PeerChange::Graduate, stored) if stored.is_none_or(|stored| !stored.role.is_seeder()) => {
                if !is_late_enough {
                    return Written::Unchanged;
                }
                self.put(PeerRecord { info_hash, peer, role: Role::Seeder, announced });
                *self.downloads.entry(info_hash).or_default() += 1;
                return Written::Download;
            }
            (PeerChange::Touch | PeerChange::Graduate, Some(stored)) => {
                self.put(PeerRecord { announced: announced.max(stored.announced), ..stored });
            }
            (PeerChange::Graduate, None) => unreachable!("an absent peer is put"),
        }
        Written::Applied
    }

    fn import_downloads(&mut self, records: &[DownloadsRecord]) -> StepAnswer {
        let mut written = 0;
        for DownloadsRecord { info_hash, downloads } in records {
            let known = self.downloads.entry(*info_hash).or_default();
            if *downloads > *known {
                *known = *downloads;
                written += 1;
            }
        }
        StepAnswer::Written(written)
    }

    fn import_data(&mut self, records: &[DataRecord]) -> StepAnswer {
        let before = self.data.len();
        for DataRecord { context, key, value } in records {
            self.data.entry((context.clone(), key.clone())).or_insert_with(|| value.clone());
        }
        StepAnswer::Written((self.data.len() - before) as u64)
    }
}

/// The record as an export gives it.
fn exported(record: PeerRecord) -> PeerRecord {
    PeerRecord { announced: record.announced.at_precision(PRECISION), ..record }
}
