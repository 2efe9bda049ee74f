//! The end of a storage, and of its runtime, while calls hang.

use std::time::Duration;

use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::chaos::client::{peer, swarm};
use crate::chaos::client_log::{CallKind, CallOutcome, ClientLog, RecordedCall};
use crate::chaos::target::{ROLE, TargetBackend, TargetServer};
use crate::chaos::{OPERATION_TIMEOUT, Run, Scenario, ScenarioReport, invariants, runtime_shutdown};
use crate::servers::tcp_proxy::{Direction, NetworkFault};
use crate::servers::{Found, Frozen};
use storage_core::PeerStorageExt;

const CALLS: usize = 200;

pub(super) fn all() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for backend in TargetBackend::ALL {
        scenarios.push(Scenario::new(backend, "close/while calls hang", close));
        scenarios.push(Scenario::new(
            backend,
            "close/runtime dropped while calls hang",
            runtime_shutdown::in_child,
        ));
    }
    scenarios
}

async fn close(mut run: Run) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    run.target.fill_pool(&*storage).await?;
    let frozen = hang(&mut run).await?;
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let storage = storage.clone();
        calls.spawn(async move {
            let (swarm, peer) = (swarm(number % 7), peer(number, 0));
            let begun = Instant::now();
            let (kind, result) = match number % 4 {
                0 => (CallKind::PutLeecher, storage.put_leecher(&swarm, &peer).await),
                1 => (CallKind::Delete, storage.delete_leecher(&swarm, &peer).await),
                2 => (CallKind::Scrape, storage.scrape_swarm(&swarm).await.map(drop)),
                _ => (CallKind::Graduate, storage.graduate_leecher(&swarm, &peer).await.map(drop)),
            };
            let outcome = CallOutcome::of(result.as_ref().err());
            RecordedCall { kind, begun, took: begun.elapsed(), outcome, error: None }
        });
    }
    sleep(Duration::from_millis(run.rng.random_range(50..400))).await;
    let begun = Instant::now();
    run.report.add(invariants::clean_close(&storage).await);
    let closed = begun.elapsed();
    run.report.ensure(closed < Duration::from_secs(10), || format!("close took {closed:?}"));
    let late = storage.scrape_swarm(&swarm(0)).await;
    run.report.ensure(late.is_err(), || "a call after the close succeeds".into());
    let log = ClientLog { calls: calls.join_all().await, ..ClientLog::default() };
    run.report.count(&log);
    run.report.add(invariants::calls_in_time(&log, OPERATION_TIMEOUT));
    let open = async || Found::Ok(run.target.proxy.open());
    run.report.add(invariants::at_most("connections open after the close", 0, open).await);
    drop(frozen);
    Ok(run.report)
}

/// From now on the server answers nothing, on connections old and new.
async fn hang(run: &mut Run) -> Found<Option<Frozen>> {
    let frozen = match &run.target.server {
        TargetServer::Pg(postgres) => Some(postgres.freeze_sessions(ROLE).await?),
        TargetServer::Redis(_) => None,
    };
    run.target.proxy.fault_new(Direction::Both, NetworkFault::Hold);
    run.target.proxy.fault_open(Direction::Both, NetworkFault::Hold, 1.0, &mut run.rng);
    Ok(frozen)
}
