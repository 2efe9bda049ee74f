//! Cancelled calls: a dropped call must not cost the server a new session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use sqlx::{Executor, PgConnection};
use storage_core::layer::Limits;
use storage_core::{Context, InfoHash, Peer, PeerStorageExt, Storage};
use tokio::time::{sleep, timeout};

use crate::chaos::client::{context, peer, swarm};
use crate::chaos::target::{POOL, TargetBackend, TargetServer};
use crate::chaos::{Run, Scenario, ScenarioReport, invariants};
use crate::servers::tcp_proxy::{Direction, NetworkFault};
use crate::servers::{Found, Missing};

const CALLERS: usize = 1000;
const AT_ONCE: usize = 100;
const TIMEOUT: Duration = Duration::from_millis(50);
/// The most sessions that replace others.
const MAX_NEW: u32 = 2 * POOL as u32;

/// Holds up writes of every peer and every access to data.
const LOCK: &str = "BEGIN; SELECT 1 FROM mo_peers FOR UPDATE; LOCK TABLE mo_kv IN ACCESS EXCLUSIVE MODE";

pub(super) fn all() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for backend in TargetBackend::ALL {
        for call in [Abandoned::Graduate, Abandoned::Put, Abandoned::ContainsData] {
            let name = format!("abandoned calls/{}", call.name());
            scenarios.push(Scenario::with(backend, &name, move |run| abandon(run, call)));
        }
    }
    scenarios
}

/// A call that is dropped before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abandoned {
    Graduate,
    Put,
    ContainsData,
}

impl Abandoned {
    fn name(self) -> &'static str {
        match self {
            Self::Graduate => "graduate",
            Self::Put => "put",
            Self::ContainsData => "contains_data",
        }
    }

    async fn make(self, storage: &dyn Storage, at: &At) -> storage_core::Result<()> {
        match self {
            Self::Graduate => storage.graduate_leecher(&at.swarm, &at.peer).await.map(drop),
            Self::Put => storage.put_leecher(&at.swarm, &at.peer).await,
            Self::ContainsData => storage.contains_data(&at.context, &at.keys).await.map(drop),
        }
    }
}

struct At {
    swarm: InfoHash,
    peer: Peer,
    context: Context,
    keys: Vec<Bytes>,
}

async fn abandon(mut run: Run, call: Abandoned) -> Found<ScenarioReport> {
    let operation_timeout = Limits::default().operation_timeout;
    let storage = run.target.open(operation_timeout).await?;
    let at = At { swarm: swarm(1), peer: peer(1, 1), context: context(), keys: vec!["key".into()] };
    storage.put_leecher(&at.swarm, &at.peer).await.map_err(Missing::failed)?;
    storage.graduate_leecher(&at.swarm, &at.peer).await.map_err(Missing::failed)?;
    run.target.fill_pool(&*storage).await?;

    let before = run.target.proxy.accepted();
    let lock = delay_answers(&mut run).await?;
    give_up(&storage, call, &at).await;
    run.target.proxy.clear();
    drop(lock);
    sleep(Duration::from_millis(300)).await;
    let after = run.target.proxy.accepted();
    run.report.ensure(after - before <= MAX_NEW, || {
        format!(
            "{} new connections for {CALLERS} calls that were given up, at most {MAX_NEW}",
            after - before
        )
    });
    for again in [Abandoned::Graduate, Abandoned::Put, Abandoned::ContainsData] {
        let result = again.make(&*storage, &at).await;
        run.report.ensure(result.is_ok(), || format!("{} afterwards: {result:?}", again.name()));
        run.report.acknowledged += u64::from(result.is_ok());
    }
    run.report.unknown += CALLERS as u64;
    let sessions = async || run.target.sessions().await;
    run.report.add(invariants::at_most("sessions on the server", POOL, sessions).await);
    run.report.add(invariants::clean_close(&storage).await);
    let open = async || Found::Ok(run.target.proxy.open());
    run.report.add(invariants::at_most("connections open after the close", 0, open).await);
    Ok(run.report)
}

/// Delays answers until what is returned is dropped and the proxy's faults are cleared.
async fn delay_answers(run: &mut Run) -> Found<Option<PgConnection>> {
    match &run.target.server {
        TargetServer::Pg(postgres) => {
            let mut connection = postgres.connect().await.map_err(Missing::failed)?;
            connection.execute(sqlx::raw_sql(LOCK)).await.map_err(Missing::failed)?;
            Ok(Some(connection))
        }
        TargetServer::Redis(_) => {
            run.target.proxy.fault_new(Direction::ToClient, NetworkFault::Hold);
            run.target.proxy.fault_open(Direction::ToClient, NetworkFault::Hold, 1.0, &mut run.rng);
            Ok(None)
        }
    }
}

async fn give_up(storage: &Arc<dyn Storage>, call: Abandoned, at: &At) {
    for _ in 0..CALLERS / AT_ONCE {
        join_all((0..AT_ONCE).map(|_| timeout(TIMEOUT, call.make(&**storage, at)))).await;
    }
}
