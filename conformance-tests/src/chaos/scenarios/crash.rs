//! A server that is killed under load and started again.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;

use crate::chaos::load::ChaosLoad;
use crate::chaos::target::TargetBackend;
use crate::chaos::{OPERATION_TIMEOUT, Run, Scenario, ScenarioReport};
use crate::servers::Found;

pub(super) fn all() -> Vec<Scenario> {
    TargetBackend::ALL.map(|backend| Scenario::new(backend, "crash/kill -9 and start again", kill)).into()
}

async fn kill(mut run: Run) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let load = ChaosLoad::start(&storage, &mut run.rng);
    sleep(Duration::from_millis(run.rng.random_range(500..1000))).await;
    run.target.kill()?;
    sleep(Duration::from_millis(run.rng.random_range(0..2000))).await;
    run.target.start_again()?;
    run.conclude_after_return(storage, load).await
}
