//! A server that is killed under load and started again.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;

use crate::campaign::load::Load;
use crate::campaign::target::Backend;
use crate::campaign::{OPERATION_TIMEOUT, Report, Run, Scenario};
use crate::servers::Found;

pub(super) fn all() -> Vec<Scenario> {
    Backend::ALL.map(|backend| Scenario::new(backend, "crash/kill -9 and start again", kill)).into()
}

async fn kill(mut run: Run) -> Found<Report> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let load = Load::start(&storage, &mut run.rng);
    sleep(Duration::from_millis(run.rng.random_range(500..1000))).await;
    run.target.kill()?;
    sleep(Duration::from_millis(run.rng.random_range(0..2000))).await;
    run.target.start_again()?;
    run.conclude_after_return(storage, load).await
}
