//! Whole announces that are answered together: one batch of writes, and after it peers and counts at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join;
use storage_core::batcher::BatchCall;
use storage_core::layer::{time_left, with_time_left};
use storage_core::{
    Announce, AnnounceAnswer, InfoHash, Operation, OwnedAnnounce, Peer, PeerRecord, Result, Timestamp,
};

use crate::batch::{Announces, BatchKind, Puts, count};
use crate::query_spec::Query;
use crate::storage::Core;

/// The part of the time left for a batch in which peers and counts are read: what one of them has found is of use
/// where the other hangs.
const READ_FOR: f32 = 0.95;

/// An announce whose answer is read, after its peers are put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WholeAnnounce<'a> {
    pub(crate) announce: &'a Announce<'a>,
    /// When the peers announced; `None` if they have been written.
    pub(crate) put_at: Option<Timestamp>,
    /// Set when they have been written.
    pub(crate) is_written: &'a Arc<AtomicBool>,
}

/// The same in a queue.
#[derive(Debug)]
pub(crate) struct QueuedAnnounce {
    announce: OwnedAnnounce,
    put_at: Option<Timestamp>,
    is_written: Arc<AtomicBool>,
}

impl From<WholeAnnounce<'_>> for QueuedAnnounce {
    fn from(WholeAnnounce { announce, put_at, is_written }: WholeAnnounce<'_>) -> Self {
        Self { announce: announce.to_owned(), put_at, is_written: Arc::clone(is_written) }
    }
}

impl QueuedAnnounce {
    /// What is put.
    fn records(&self) -> impl Iterator<Item = PeerRecord> {
        let OwnedAnnounce { info_hash, peers, role, .. } = &self.announce;
        let (info_hash, role) = (*info_hash, *role);
        let put = self.put_at.map(|announced| {
            peers.iter().map(move |peer| PeerRecord { info_hash, peer: *peer, role, announced })
        });
        put.into_iter().flatten()
    }
}

type Calls = [BatchCall<QueuedAnnounce>];

/// Clients that begin or go on, and the answers to those whose downloads are complete.
pub(crate) struct WholeAnnounces;

impl BatchKind for WholeAnnounces {
    type Request = QueuedAnnounce;
    type Answer = AnnounceAnswer;

    const QUERIES: &'static [Query] = &[Query::PutPeerBatch, Query::AnnounceBatch, Query::CountSwarmBatch];
    const OPERATION: Operation = Operation::Announce;

    async fn answer(core: &Core, calls: &Calls) -> Vec<Result<AnnounceAnswer>> {
        let written = put(core, calls).await;
        for (call, _) in calls.iter().zip(&written).filter(|(_, written)| written.is_ok()) {
            call.request.is_written.store(true, Ordering::Release);
        }
        let info_hashes: Vec<InfoHash> = calls.iter().map(|call| call.request.announce.info_hash).collect();
        let read = join(select(core, calls, &written), count(core, Operation::ScrapeSwarm, &info_hashes));
        let left = time_left().map(|left| left.mul_f32(READ_FOR));
        let (peers, counts) = with_time_left(left, read).await;
        let answers = written.into_iter().zip(peers).zip(counts);
        answers
            .map(|((written, peers), counts)| {
                written.map(|()| AnnounceAnswer::after_write(false, peers, counts))
            })
            .collect()
    }
}

/// Puts the peers of all, and says of each announce whether all of its peers were.
async fn put(core: &Core, calls: &Calls) -> Vec<Result<()>> {
    let (mut puts, mut places) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
    for (place, BatchCall { request, deadline }) in calls.iter().enumerate() {
        for record in request.records() {
            puts.push(BatchCall { request: record, deadline: *deadline });
            places.push(place);
        }
    }
    let mut written: Vec<Result<()>> = calls.iter().map(|_| Ok(())).collect();
    if puts.is_empty() {
        return written;
    }
    for (place, put) in places.into_iter().zip(Puts::answer(core, &puts).await) {
        if put.is_err() {
            written[place] = put;
        }
    }
    written
}

/// Peers for those whose write went well, family by family as each prefers them.
async fn select(core: &Core, calls: &Calls, written: &[Result<()>]) -> Vec<Result<Vec<Peer>>> {
    let announces: Vec<_> = calls.iter().map(|call| call.request.announce.as_announce()).collect();
    let mut selections: Vec<_> = announces.iter().map(|announce| announce.selections()).collect();
    let mut found: Vec<Result<Vec<Peer>>> = calls.iter().map(|_| Ok(Vec::new())).collect();
    loop {
        let (mut asked, mut places) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
        for (place, announce) in announces.iter().enumerate() {
            let Ok(peers) = &found[place] else { continue };
            if written[place].is_err() || peers.len() >= announce.num_want {
                continue;
            }
            let Some(mut request) = selections[place].next() else { continue };
            request.num_want -= peers.len();
            asked.push(BatchCall { request, deadline: calls[place].deadline });
            places.push(place);
        }
        if asked.is_empty() {
            return found;
        }
        for (place, more) in places.into_iter().zip(Announces::answer(core, &asked).await) {
            match (&mut found[place], more) {
                (Ok(peers), Ok(more)) => announces[place].fill(peers, more),
                (found, more) => *found = more,
            }
        }
    }
}
