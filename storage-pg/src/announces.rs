//! Whole announces that are answered together: one batch of writes, and after it peers and counts at the same time.

use futures::future::join;
use storage_core::batcher::BatchCall;
use storage_core::layer::{time_left, with_time_left};
use storage_core::{Announce, AnnounceAnswer, InfoHash, Operation, Peer, PeerRecord, Result};

use crate::batch::{BatchKind, Puts, Selections, count};
use crate::query_spec::Query;
use crate::storage::Core;

/// The part of the time left for a batch in which peers and counts are read: what one of them has found is of use
/// where the other hangs.
const READ_FOR: f32 = 0.95;

type Calls = [BatchCall<Announce>];

/// Announces of clients that begin or go on, each with its time.
pub(crate) struct Announces;

impl BatchKind for Announces {
    type Request = Announce;
    type Answer = AnnounceAnswer;

    const QUERIES: &'static [Query] = &[Query::PutPeerBatch, Query::SelectPeersBatch, Query::CountSwarmBatch];
    const OPERATION: Operation = Operation::Announce;

    async fn answer(core: &Core, calls: &Calls) -> Vec<Result<AnnounceAnswer>> {
        let written = put(core, calls).await;
        let info_hashes: Vec<InfoHash> = calls.iter().map(|call| call.request.info_hash).collect();
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

/// Puts the peers of all announces; for each, whether all of its peers were put.
async fn put(core: &Core, calls: &Calls) -> Vec<Result<()>> {
    let now = core.pool.time().now();
    let (mut puts, mut places) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
    for (place, BatchCall { request, deadline }) in calls.iter().enumerate() {
        let (info_hash, role, announced) = (request.info_hash, request.role, request.announced.or(now));
        for peer in request.peers() {
            let record = PeerRecord { info_hash, peer: *peer, role, announced };
            puts.push(BatchCall { request: record, deadline: *deadline });
            places.push(place);
        }
    }
    let mut written: Vec<Result<()>> = calls.iter().map(|_| Ok(())).collect();
    for (place, put) in places.into_iter().zip(Puts::answer(core, &puts).await) {
        if put.is_err() {
            written[place] = put;
        }
    }
    written
}

/// Peers for those whose write went well, family by family as each prefers them.
async fn select(core: &Core, calls: &Calls, written: &[Result<()>]) -> Vec<Result<Vec<Peer>>> {
    let mut selections: Vec<_> = calls.iter().map(|call| call.request.selections()).collect();
    let mut found: Vec<Result<Vec<Peer>>> = calls.iter().map(|_| Ok(Vec::new())).collect();
    loop {
        let (mut asked, mut places) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
        for (place, BatchCall { request, deadline }) in calls.iter().enumerate() {
            let Ok(peers) = &found[place] else { continue };
            if written[place].is_err() || peers.len() >= request.num_want {
                continue;
            }
            let Some(mut selection) = selections[place].next() else { continue };
            selection.num_want -= peers.len();
            asked.push(BatchCall { request: selection, deadline: *deadline });
            places.push(place);
        }
        if asked.is_empty() {
            return found;
        }
        for (place, more) in places.into_iter().zip(Selections::answer(core, &asked).await) {
            match (&mut found[place], more) {
                (Ok(peers), Ok(more)) => calls[place].request.fill(peers, more),
                (found, more) => *found = more,
            }
        }
    }
}
