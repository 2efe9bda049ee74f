//! The calls that are gathered where a query for many is configured.

use std::ops::Range;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use storage_core::{
    Error, ErrorKind, InfoHash, Operation, Peer, PeerRecord, PeerSelection, Result, Role, SwarmCounts,
};

use crate::attempt::{self, attempt};
use crate::config::PgConfig;
use crate::core::Core;
use crate::gather::{Bounds, Gather, Together};
use crate::slot::{self, Slot};
use crate::statement::{Inputs, Statement};

/// The gatherings of a storage.
pub(crate) struct Batches {
    pub(crate) puts: Option<Gather<Puts>>,
    pub(crate) deletions: Option<Gather<Deletions>>,
    pub(crate) announces: Option<Gather<Announces>>,
    pub(crate) scrapes: Option<Gather<Scrapes>>,
}

impl Batches {
    pub(crate) fn new(core: &Arc<Core>, config: &PgConfig) -> Self {
        let bounds = Bounds {
            size: config.batch_size,
            in_flight: config.batches_in_flight,
            queue: config.batch_queue,
            when_idle: config.batch_when_idle,
        };
        Self {
            puts: core.find(slot::PUT_PEERS).map(|_| Gather::new(core, bounds)),
            deletions: core.find(slot::DELETE_PEERS).map(|_| Gather::new(core, bounds)),
            announces: core.find(slot::ANNOUNCE_BATCH).map(|_| Gather::new(core, bounds)),
            scrapes: core.find(slot::COUNT_BATCH).map(|_| Gather::new(core, bounds)),
        }
    }

    /// Waits until all that was gathered is done.
    pub(crate) async fn drain(&self) {
        if let Some(puts) = &self.puts {
            puts.drain().await;
        }
        if let Some(deletions) = &self.deletions {
            deletions.drain().await;
        }
        if let Some(announces) = &self.announces {
            announces.drain().await;
        }
        if let Some(scrapes) = &self.scrapes {
            scrapes.drain().await;
        }
    }
}

/// Peers that announce.
pub(crate) struct Puts;

impl Together for Puts {
    type Request = PeerRecord;
    type Answer = ();

    const OPERATION: Operation = Operation::PutPeer;
    const KEY: &'static str = slot::PUT_PEERS.key;

    /// In the order of keys, so that no two batches wait for each other; of a peer put twice the last
    /// is written.
    async fn answer(core: &Core, requests: &[PeerRecord]) -> Vec<Result<()>> {
        let key = |request: usize| (&requests[request].info_hash, &requests[request].peer);
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by(|one, other| key(*one).cmp(&key(*other)));
        let mut rows: Vec<Inputs<'_>> = Vec::with_capacity(order.len());
        let mut row_of = vec![0; order.len()];
        for (place, request) in order.iter().enumerate() {
            if place > 0 && key(order[place - 1]) == key(*request) {
                rows.pop();
            }
            row_of[*request] = rows.len();
            rows.push(Inputs::record(&requests[*request]));
        }
        let written = in_pieces(core, Self::OPERATION, slot::PUT_PEERS, &rows, |_, _| {}).await;
        row_of.into_iter().map(|row| written[row].as_ref().map_err(copy).copied()).collect()
    }
}

/// A peer that is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deletion {
    pub(crate) info_hash: InfoHash,
    pub(crate) peer: Peer,
    pub(crate) role: Role,
}

/// Peers that leave.
pub(crate) struct Deletions;

impl Together for Deletions {
    type Request = Deletion;
    type Answer = ();

    const OPERATION: Operation = Operation::DeletePeer;
    const KEY: &'static str = slot::DELETE_PEERS.key;

    /// In the order of keys, as [`Puts`]; of those who delete the same peer one has found it.
    async fn answer(core: &Core, requests: &[Deletion]) -> Vec<Result<()>> {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|request| &requests[*request]);
        let numbered = (0..).zip(order.iter().map(|request| &requests[*request]));
        let rows: Vec<_> = numbered
            .map(|(number, Deletion { info_hash, peer, role })| {
                Inputs::deletion(number, info_hash, peer, *role)
            })
            .collect();
        let mut found = vec![false; rows.len()];
        let done = in_pieces(core, Self::OPERATION, slot::DELETE_PEERS, &rows, |ran, piece| {
            // What took effect, and was repeated because its answer was lost, finds nothing.
            found[piece.clone()].fill(ran.after_loss);
            ran.by_request(piece).for_each(|(request, _)| found[request] = true);
        })
        .await;
        let mut results: Vec<Result<()>> = requests.iter().map(|_| Ok(())).collect();
        for ((request, done), found) in order.into_iter().zip(done).zip(found) {
            let absent = || Error::new(crate::NAME, Self::OPERATION, ErrorKind::NotFound);
            results[request] = done.and_then(|()| if found { Ok(()) } else { Err(absent()) });
        }
        results
    }
}

/// Peers for those who announce.
pub(crate) struct Announces;

impl Together for Announces {
    type Request = PeerSelection;
    type Answer = Vec<Peer>;

    const OPERATION: Operation = Operation::AnnouncePeers;
    const KEY: &'static str = slot::ANNOUNCE_BATCH.key;

    async fn answer(core: &Core, requests: &[PeerSelection]) -> Vec<Result<Vec<Peer>>> {
        // One more than wanted, in case the one to leave out comes.
        let wanted = |selection: &PeerSelection| {
            selection.num_want.saturating_add(usize::from(selection.exclude.is_some()))
        };
        let limit = requests.iter().map(wanted).max().unwrap_or(0);
        let numbered = (0..).zip(requests);
        let rows: Vec<_> =
            numbered.map(|(request, selection)| Inputs::announce(request, selection, limit)).collect();
        let read = |statement: &Statement, row: &PgRow, answer: &mut Vec<Peer>, request: usize| {
            let selection = &requests[request];
            let (peers, unreadable) = statement.read_peers(row, [1, 2, 3], selection.family);
            core.skipped(statement, unreadable as u64);
            *answer = peers;
            answer.retain(|peer| Some(*peer) != selection.exclude);
            answer.truncate(selection.num_want);
        };
        answers(core, Self::OPERATION, slot::ANNOUNCE_BATCH, &rows, read).await
    }
}

/// Counts of swarms.
pub(crate) struct Scrapes;

impl Together for Scrapes {
    type Request = InfoHash;
    type Answer = SwarmCounts;

    const OPERATION: Operation = Operation::ScrapeSwarm;
    const KEY: &'static str = slot::COUNT_BATCH.key;

    async fn answer(core: &Core, requests: &[InfoHash]) -> Vec<Result<SwarmCounts>> {
        count(core, Self::OPERATION, requests).await
    }
}

/// The counts of these swarms in their order. One that is asked for several times is counted once.
pub(crate) async fn count(
    core: &Core,
    operation: Operation,
    info_hashes: &[InfoHash],
) -> Vec<Result<SwarmCounts>> {
    let mut swarms = info_hashes.to_vec();
    swarms.sort_unstable();
    swarms.dedup();
    let rows: Vec<_> =
        (0..).zip(&swarms).map(|(request, info_hash)| Inputs::scrape(request, info_hash)).collect();
    let read = |statement: &Statement, row: &PgRow, answer: &mut SwarmCounts, _| {
        let read = |reading| statement.read_count(row, reading);
        *answer = SwarmCounts { seeders: read(1), leechers: read(2), downloads: read(3) };
    };
    let counts = answers(core, operation, slot::COUNT_BATCH, &rows, read).await;
    let of = |info_hash| match swarms.binary_search(info_hash).map(|place| &counts[place]) {
        Ok(Ok(counts)) => Ok(*counts),
        Ok(Err(error)) => Err(copy(error)),
        Err(_) => Ok(SwarmCounts::default()),
    };
    info_hashes.iter().map(of).collect()
}

/// Runs a query that returns a row for each call, with the call's number in its first column.
async fn answers<T: Default>(
    core: &Core,
    operation: Operation,
    slot: Slot,
    rows: &[Inputs<'_>],
    read: impl Fn(&Statement, &PgRow, &mut T, usize),
) -> Vec<Result<T>> {
    let mut answers: Vec<T> = rows.iter().map(|_| T::default()).collect();
    let done = in_pieces(core, operation, slot, rows, |ran, piece| {
        for (request, row) in ran.by_request(piece) {
            read(ran.statement, row, &mut answers[request], request);
        }
    })
    .await;
    done.into_iter().zip(answers).map(|(done, answer)| done.map(|()| answer)).collect()
}

/// A query that was run for a piece of a batch.
struct Ran<'a> {
    statement: &'a Statement,
    rows: Vec<PgRow>,
    /// Whether it may have been carried out before, and its answer lost.
    after_loss: bool,
}

impl Ran<'_> {
    /// Its rows, each with the call that the first column names.
    fn by_request(&self, piece: &Range<usize>) -> impl Iterator<Item = (usize, &PgRow)> {
        self.rows.iter().filter_map(|row| {
            let request = usize::try_from(self.statement.read_integer(row, 0)?).ok()?;
            piece.contains(&request).then_some((request, row))
        })
    }
}

/// Runs a query for all these rows, and where the server refuses, for either half of them, until those
/// that it refuses are alone: they fail, the others do not.
async fn in_pieces(
    core: &Core,
    operation: Operation,
    slot: Slot,
    rows: &[Inputs<'_>],
    mut read: impl FnMut(&Ran<'_>, &Range<usize>),
) -> Vec<Result<()>> {
    let mut done: Vec<Result<()>> = rows.iter().map(|_| Ok(())).collect();
    let mut pieces = vec![Range { start: 0, end: rows.len() }];
    while let Some(piece) = pieces.pop() {
        match run(core, operation, slot, &rows[piece.clone()]).await {
            Ok(ran) => read(&ran, &piece),
            Err(error) if error.kind() == ErrorKind::Rejected && piece.len() > 1 => {
                let middle = piece.start + piece.len() / 2;
                pieces.extend([middle..piece.end, piece.start..middle]);
            }
            Err(error) => done[piece].iter_mut().for_each(|done| *done = Err(copy(&error))),
        }
    }
    done
}

async fn run<'a>(core: &'a Core, operation: Operation, slot: Slot, rows: &[Inputs<'_>]) -> Result<Ran<'a>> {
    let statement = core.statement(slot, operation)?;
    attempt!(core, operation, attempt::Together::No, |connection, after_loss| {
        let rows = if slot.result.is_empty() {
            statement.execute_batch(connection, rows).await.map(|_| Vec::new())
        } else {
            statement.rows_of_batch(connection, rows).await
        };
        rows.map(|rows| Ran { statement, rows, after_loss })
    })
}

/// One failure for several callers.
fn copy(error: &Error) -> Error {
    Error::new(crate::NAME, error.operation(), error.kind()).with_message(error.message())
}
