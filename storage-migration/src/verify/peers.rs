//! Peers: swarm by swarm.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::differences::{Differences, Finding};
use super::scan::Sample;
use super::{PRECISION, Verification};
use crate::lookup::CONCURRENT_LOOKUPS;
use crate::retry::with_retries;
use crate::{MigrationError, RecordKind, Side};
use storage_core::{Cursor, ExportScope, InfoHash, Peer, PeerRecord, Role, Timestamp};

/// A swarm as one side has it.
type SwarmPeers = HashMap<Peer, (Role, Timestamp)>;

/// Peers of a swarm that come one after the other, and what the other side has of it.
type RecordPair = (Vec<PeerRecord>, Arc<SwarmPeers>);

/// The swarm at the end of a page, which may go on in the next.
type Last = Option<(InfoHash, Arc<SwarmPeers>)>;

impl Verification {
    pub(super) async fn compare_peers(&self, found: &mut Differences) -> Result<(), MigrationError> {
        for side in [Side::Source, Side::Target] {
            let mut last = None;
            let mut each = async |records| {
                for (records, others) in self.pairs(side, records, &mut last).await? {
                    self.compare_swarm(side, &records, &others, found);
                }
                Ok(())
            };
            let Some(size) = self.options.sample else {
                let page = async |from: Option<&Cursor>| {
                    self.storage(side).export_peers(ExportScope::All, from, self.options.batch).await
                };
                self.scan(side, RecordKind::Peers, page, each).await?;
                continue;
            };
            for info_hash in self.some_swarms(side, size).await? {
                let swarm = self.swarm(side, info_hash, self.options.batch).await?;
                let record = |(peer, (role, announced)): (&Peer, &(Role, Timestamp))| PeerRecord {
                    info_hash,
                    peer: *peer,
                    role: *role,
                    announced: *announced,
                };
                each(swarm.iter().map(record).collect()).await?;
            }
        }
        Ok(())
    }

    async fn some_swarms(&self, side: Side, size: usize) -> Result<Vec<InfoHash>, MigrationError> {
        let (mut sample, mut last) = (Sample::new(size), None);
        let page = async |from: Option<&Cursor>| {
            self.storage(side).export_peers(ExportScope::All, from, self.options.batch).await
        };
        let each = async |records: Vec<PeerRecord>| {
            for record in records {
                if last.replace(record.info_hash) != Some(record.info_hash) {
                    sample.add(record.info_hash);
                }
            }
            Ok(())
        };
        self.scan(side, RecordKind::Peers, page, each).await?;
        Ok(sample.finish())
    }

    /// The swarms of a page, with what the other side has of them.
    async fn pairs(
        &self,
        side: Side,
        records: Vec<PeerRecord>,
        last: &mut Last,
    ) -> Result<Vec<RecordPair>, MigrationError> {
        let groups = records.chunk_by(|one, other| one.info_hash == other.info_hash);
        let known = last.take();
        let load = |records: Vec<PeerRecord>| {
            let known = known.clone();
            async move {
                let Some(first) = records.first() else { return Ok((records, Arc::default())) };
                if let Some((info_hash, others)) = known
                    && info_hash == first.info_hash
                {
                    return Ok((records, others));
                }
                let others = self.swarm(side.other(), first.info_hash, records.len() + 1).await?;
                Ok((records, Arc::new(others)))
            }
        };
        let groups: Vec<Vec<PeerRecord>> = groups.map(<[PeerRecord]>::to_vec).collect();
        let pairs: Vec<RecordPair> =
            stream::iter(groups.into_iter().map(load)).buffered(CONCURRENT_LOOKUPS).try_collect().await?;
        *last =
            pairs.last().and_then(|(records, others)| Some((records.first()?.info_hash, Arc::clone(others))));
        Ok(pairs)
    }

    /// A swarm of a side; `expected` peers, or somewhat more, are asked for at first.
    async fn swarm(
        &self,
        side: Side,
        info_hash: InfoHash,
        expected: usize,
    ) -> Result<SwarmPeers, MigrationError> {
        let (mut swarm, mut from) = (SwarmPeers::new(), None);
        let mut limit = expected.min(self.options.batch).max(1);
        loop {
            let page =
                || self.storage(side).export_peers(ExportScope::Swarm(info_hash), from.as_ref(), limit);
            let page = with_retries(side, &self.stop, page).await?;
            swarm.extend(page.records.iter().map(|record| (record.peer, (record.role, record.announced))));
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(swarm),
            }
            limit = self.options.batch.max(1);
        }
    }

    /// Compares peers of one side with the swarm of the other. What both have is compared where the
    /// source is walked.
    fn compare_swarm(
        &self,
        side: Side,
        records: &[PeerRecord],
        others: &SwarmPeers,
        found: &mut Differences,
    ) {
        let stale_at = self.options.stale_after.map(|lifetime| self.began.before(lifetime));
        let old_at = self.options.peer_lifetime.map(|lifetime| self.began.before(lifetime));
        for record in records {
            if stale_at.is_some_and(|at| record.announced <= at) {
                if side == Side::Source {
                    self.progress.of(RecordKind::Peers).add_stale(1);
                }
                continue;
            }
            if side == Side::Source && old_at.is_some_and(|at| record.announced <= at) {
                self.progress.of(RecordKind::Peers).add_past_lifetime(1);
            }
            let other = others.get(&record.peer);
            let finding = match side {
                Side::Source => {
                    found.compared += 1;
                    self.compare_peer(record, other)
                }
                Side::Target if other.is_some() => None,
                Side::Target if self.is_after_copy(record.announced) => Some(Finding::TargetIsAhead),
                Side::Target => Some(Finding::OnlyAtTarget),
            };
            if let Some(finding) = finding {
                found.note(finding, described(record, other));
            }
        }
    }

    fn compare_peer(&self, source: &PeerRecord, target: Option<&(Role, Timestamp)>) -> Option<Finding> {
        let is_later = self.is_after_copy(source.announced);
        let Some((role, announced)) = target else {
            return Some(if is_later { Finding::AnnouncedAtSource } else { Finding::OnlyAtSource });
        };
        let (here, there) = (source.announced.at_precision(PRECISION), announced.at_precision(PRECISION));
        if there == here {
            return (*role != source.role).then_some(Finding::Different);
        }
        if there < here {
            return Some(if is_later { Finding::AnnouncedAtSource } else { Finding::TargetIsBehind });
        }
        // A time that is still to come was not announced: a zone was mixed up.
        let is_ahead = self.is_after_copy(*announced) || *announced <= self.began;
        Some(if is_ahead { Finding::TargetIsAhead } else { Finding::Different })
    }
}

fn described(record: &PeerRecord, other: Option<&(Role, Timestamp)>) -> String {
    let PeerRecord { info_hash, peer, role, announced } = record;
    let id = hex::encode(peer.id().as_bytes());
    let here = format!("{info_hash} {id} {} {role} {announced}", peer.socket_address());
    match other {
        Some((role, announced)) => format!("{here}; at the target {role} {announced}"),
        None => here,
    }
}
