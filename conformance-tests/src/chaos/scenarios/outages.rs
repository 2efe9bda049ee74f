//! Outages of servers: a server that is killed and started again, one that is frozen for a while, and the failover to
//! a standby.

use std::time::Duration;

use rand::RngExt;
use sqlx::Executor;
use tokio::time::{Instant, sleep};

use crate::chaos::invariants::StoredContents;
use crate::chaos::load::ChaosLoad;
use crate::chaos::target::{POOL, ROLE, TargetBackend, TargetServer, open_clean_at, pg_address};
use crate::chaos::{OPERATION_TIMEOUT, Run, Scenario, ScenarioReport, WATCHED, invariants};
use crate::servers::{Found, Missing, TcpProxy};

const WARM_UP: Duration = Duration::from_millis(700);
/// The standby has what the primary acknowledged, so that the logs hold after the failover.
const SYNCHRONOUS: &str = "ALTER SYSTEM SET synchronous_standby_names = '*'";

pub(super) fn all() -> Vec<Scenario> {
    let mut scenarios = vec![
        Scenario::new(TargetBackend::Pg, "frozen/sessions", freeze_sessions),
        Scenario::new(TargetBackend::Pg, "failover/frozen primary, promoted standby", promote),
    ];
    for backend in TargetBackend::ALL {
        scenarios.push(Scenario::new(backend, "frozen/server", freeze_server));
        scenarios.push(Scenario::new(backend, "crash/kill -9 and start again", kill));
    }
    scenarios
}

/// The server is killed and started again.
async fn kill(mut run: Run) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let load = ChaosLoad::start(&storage, &mut run.rng);
    sleep(Duration::from_millis(run.rng.random_range(500..1000))).await;
    run.target.kill()?;
    sleep(Duration::from_millis(run.rng.random_range(0..2000))).await;
    run.target.start_again()?;
    run.conclude_after_return(storage, load).await
}

/// Sessions are frozen; new sessions work.
async fn freeze_sessions(mut run: Run) -> Found<ScenarioReport> {
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

/// The whole server is frozen.
async fn freeze_server(mut run: Run) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let load = ChaosLoad::start(&storage, &mut run.rng);
    sleep(WARM_UP).await;
    let frozen = run.target.freeze_server()?;
    sleep(OPERATION_TIMEOUT * 2).await;
    frozen.resume();
    run.conclude_after_return(storage, load).await
}

/// The primary is frozen, and its standby is promoted.
async fn promote(mut run: Run) -> Found<ScenarioReport> {
    let TargetServer::Pg(primary) = &run.target.server else {
        return Err(Missing::failed("a standby is PostgreSQL's"));
    };
    let standby = primary.start_standby()?;
    let mut connection = primary.connect().await.map_err(Missing::failed)?;
    connection.execute(SYNCHRONOUS).await.map_err(Missing::failed)?;
    connection.execute("SELECT pg_reload_conf()").await.map_err(Missing::failed)?;
    drop(connection);
    let way_to_standby = TcpProxy::start(pg_address(standby.url())?).await.map_err(Missing::failed)?;
    let way_to_primary = &run.target.proxy;
    let hosts = [way_to_primary.address(), way_to_standby.address()];
    let storage = run.target.open_at(&hosts, OPERATION_TIMEOUT).await?;
    let load = ChaosLoad::start(&storage, &mut run.rng);
    sleep(Duration::from_millis(run.rng.random_range(500..1000))).await;

    let frozen = primary.freeze()?;
    sleep(Duration::from_millis(run.rng.random_range(0..2000))).await;
    // As in any promotion of a standby, the old primary gets no new connections.
    way_to_primary.refuse_new(true);
    standby.promote().await.map_err(Missing::failed)?;
    let promoted = Instant::now();
    sleep(WATCHED).await;
    let end = Instant::now();
    let of_old = async || Found::Ok(way_to_primary.open());
    run.report.add(invariants::at_most("connections to the frozen primary", 0, of_old).await);
    frozen.resume();
    sleep(Duration::from_millis(500)).await;
    let log = load.finish().await;

    let report = &mut run.report;
    report.count(&log);
    report.add(invariants::service_is_back(&log, promoted, OPERATION_TIMEOUT, end));
    report.add(invariants::answers(&log));
    report.add(invariants::calls_in_time(&log, OPERATION_TIMEOUT));
    report.add(invariants::at_most("connections to the old primary", 0, of_old).await);
    let sessions = async || standby.count_sessions(ROLE).await.map_err(Missing::failed);
    report.add(invariants::at_most("sessions on the new primary", POOL, sessions).await);
    report.add(invariants::clean_close(&storage).await);
    report.add(invariants::at_most("sessions after the close", 0, sessions).await);
    let clean = open_clean_at(&standby).await?;
    let contents = StoredContents::export(&*clean).await.map_err(Missing::failed)?;
    report.add(invariants::contents_match(&log, &contents));
    clean.close().await.map_err(Missing::failed)?;
    Ok(run.report)
}
