//! Sessions, and servers, that are stopped for a while and run on.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::chaos::load::ChaosLoad;
use crate::chaos::target::{ROLE, TargetBackend, TargetServer};
use crate::chaos::{OPERATION_TIMEOUT, Run, Scenario, ScenarioReport, WATCHED, invariants};
use crate::servers::{Found, Missing};

const WARM_UP: Duration = Duration::from_millis(700);
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(TargetBackend::Pg, "frozen/sessions", sessions),
        Scenario::new(TargetBackend::Pg, "frozen/server", server),
        Scenario::new(TargetBackend::Redis, "frozen/server", server),
    ]
}

/// New sessions work meanwhile.
async fn sessions(mut run: Run) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let load = ChaosLoad::start(&storage, &mut run.rng);
    sleep(WARM_UP).await;
    let TargetServer::Pg(postgres) = &run.target.server else {
        return Err(Missing::failed("only PostgreSQL has a process for each session"));
    };
    let fault = Instant::now();
    let frozen = postgres.freeze_sessions(ROLE).await?;
    run.report.ensure(!frozen.is_empty(), || "there were no sessions to freeze".into());
    sleep(WATCHED).await;
    let end = Instant::now();
    frozen.resume();
    sleep(WARM_UP).await;
    let log = load.finish().await;
    run.report.add(invariants::service_is_back(&log, fault, OPERATION_TIMEOUT, end));
    run.conclude(storage, log, OPERATION_TIMEOUT).await
}

/// Nothing works meanwhile.
async fn server(mut run: Run) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let load = ChaosLoad::start(&storage, &mut run.rng);
    sleep(WARM_UP).await;
    let frozen = run.target.freeze_server()?;
    sleep(OPERATION_TIMEOUT * 2).await;
    frozen.resume();
    run.conclude_after_return(storage, load).await
}
