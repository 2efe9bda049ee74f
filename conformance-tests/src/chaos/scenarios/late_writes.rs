//! Writes that the server reads long after their calls have timed out: later acknowledged writes must stay.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, join_all};
use storage_core::{InfoHash, Peer, PeerStorageExt, Result, Role, Storage};
use tokio::time::{Instant, sleep};

use crate::chaos::client::{context, peer, swarm};
use crate::chaos::invariants::StoredContents;
use crate::chaos::target::{ROLE, TargetBackend, TargetServer};
use crate::chaos::{OPERATION_TIMEOUT, Run, Scenario, ScenarioReport, invariants};
use crate::servers::tcp_proxy::{Direction, NetworkFault};
use crate::servers::{Found, Frozen, Missing};

const NUMBER: usize = 100;
const WARM_UP_ROUNDS: usize = 20;
/// How long the later write is retried.
const TRIED_FOR: Duration = Duration::from_secs(8);

pub(super) fn all() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for (backend, late) in [
        (TargetBackend::Pg, Late::FrozenSessions),
        (TargetBackend::Pg, Late::HeldOnTheWay),
        (TargetBackend::Redis, Late::HeldOnTheWay),
    ] {
        for order in [WriteOrder::PutThenDelete, WriteOrder::DeleteThenPut] {
            let name = format!("late writes/{}, {}", late.name(), order.name());
            scenarios.push(Scenario::with(backend, &name, move |run| write_late(run, late, order)));
        }
    }
    scenarios
}

/// Why the server reads a write late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    FrozenSessions,
    HeldOnTheWay,
}

impl Late {
    fn name(self) -> &'static str {
        match self {
            Self::FrozenSessions => "frozen sessions",
            Self::HeldOnTheWay => "held on the way",
        }
    }
}

/// The write that comes late, and the one that is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteOrder {
    PutThenDelete,
    DeleteThenPut,
}

impl WriteOrder {
    fn name(self) -> &'static str {
        match self {
            Self::PutThenDelete => "put before delete",
            Self::DeleteThenPut => "delete before put",
        }
    }
}

/// What is written: a peer and an entry of data.
#[derive(Clone)]
struct WritePair {
    swarm: InfoHash,
    peer: Peer,
    key: Bytes,
}

impl WritePair {
    fn new(number: usize) -> Self {
        Self { swarm: swarm(number % 10), peer: peer(number, 0), key: format!("late/{number}").into() }
    }

    async fn put_peer(&self, storage: &dyn Storage) -> Result<()> {
        storage.put_leecher(&self.swarm, &self.peer).await
    }

    async fn put_data(&self, storage: &dyn Storage) -> Result<()> {
        storage.put_data(&context(), &[(self.key.clone(), Bytes::from_static(b"value"))]).await
    }

    async fn delete_peer(&self, storage: &dyn Storage) -> Result<()> {
        match storage.delete_peer(&self.swarm, &self.peer, Role::Leecher).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }

    async fn delete_data(&self, storage: &dyn Storage) -> Result<()> {
        storage.delete_data(&context(), std::slice::from_ref(&self.key)).await
    }

    /// Writes the peer and the data at once.
    async fn write(&self, storage: &dyn Storage, puts: bool) -> [Result<()>; 2] {
        let (peer, data) = if puts {
            join(self.put_peer(storage), self.put_data(storage)).await
        } else {
            join(self.delete_peer(storage), self.delete_data(storage)).await
        };
        [peer, data]
    }
}

async fn write_late(mut run: Run, late: Late, order: WriteOrder) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let pairs: Vec<_> = (0..NUMBER).map(WritePair::new).collect();
    run.target.fill_pool(&*storage).await?;
    // A session that knows a statement already needs nothing but its arguments, so that a late write is whole.
    for round in 0..WARM_UP_ROUNDS {
        let writes =
            pairs.iter().enumerate().map(|(number, pair)| pair.write(&*storage, (number + round) % 2 == 0));
        join_all(writes).await;
    }
    // What is there before is the opposite of the late write.
    let late_puts = order == WriteOrder::PutThenDelete;
    write_until_acknowledged(&storage, &pairs, true).await?;
    if late_puts {
        write_until_acknowledged(&storage, &pairs, false).await?;
    }

    let frozen = hold_up(&mut run, late).await?;
    let given_up = join_all(pairs.iter().map(|pair| pair.write(&*storage, late_puts))).await;
    let unknown = given_up.iter().flatten().filter(|result| result.is_err()).count();
    run.report.unknown += unknown as u64;
    run.report.ensure(unknown > 0, || "no write came late".into());
    write_until_acknowledged(&storage, &pairs, !late_puts).await?;
    run.report.acknowledged += 2 * NUMBER as u64;
    run.target.proxy.clear();
    drop(frozen);
    sleep(Duration::from_secs(1)).await;

    let clean = run.target.open_clean().await?;
    let contents = StoredContents::export(&*clean).await.map_err(Missing::failed)?;
    let is_wrong = |is_there: bool| is_there == late_puts;
    let peers = pairs.iter().filter(|pair| is_wrong(contents.peers.contains_key(&(pair.swarm, pair.peer))));
    let data = pairs.iter().filter(|pair| is_wrong(contents.data.contains_key(&pair.key)));
    let (peers, data) = (peers.count(), data.count());
    let (late, later) = if late_puts { ("put", "delete") } else { ("delete", "put") };
    for (what, wrong) in [("peers", peers), ("entries of data", data)] {
        run.report.ensure(wrong == 0, || {
            format!("of {wrong} of {NUMBER} {what} a {late} that was given up undid the later {later}")
        });
    }
    clean.close().await.map_err(Missing::failed)?;
    run.report.add(invariants::clean_close(&storage).await);
    Ok(run.report)
}

/// From now on the server does not read what open connections send it.
async fn hold_up(run: &mut Run, late: Late) -> Found<Option<Frozen>> {
    match (late, &run.target.server) {
        (Late::FrozenSessions, TargetServer::Pg(postgres)) => postgres.freeze_sessions(ROLE).await.map(Some),
        _ => {
            run.target.proxy.fault_open(Direction::ToServer, NetworkFault::Hold, 1.0, &mut run.rng);
            Ok(None)
        }
    }
}

async fn write_until_acknowledged(storage: &Arc<dyn Storage>, pairs: &[WritePair], puts: bool) -> Found<()> {
    let begun = Instant::now();
    let write = async |pair: &WritePair| {
        loop {
            let [peer, data] = pair.write(&**storage, puts).await;
            match peer.and(data) {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > TRIED_FOR => {
                    return Err(Missing::failed(format!("{error:?}")));
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    join_all(pairs.iter().map(write)).await.into_iter().collect()
}
