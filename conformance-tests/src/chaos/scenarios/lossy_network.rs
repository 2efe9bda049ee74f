//! Connections that go silent, and connections that are reset in the middle of an answer.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio::time::{Instant, sleep};

use crate::chaos::load::ChaosLoad;
use crate::chaos::target::TargetBackend;
use crate::chaos::{OPERATION_TIMEOUT, Run, Scenario, ScenarioReport, WATCHED, invariants};
use crate::servers::Found;
use crate::servers::tcp_proxy::{Direction, NetworkFault};

const WARM_UP: Duration = Duration::from_millis(700);
const DIRECTIONS: [Direction; 3] = [Direction::ToServer, Direction::ToClient, Direction::Both];

/// Connections that go silent while new ones work.
struct Silence {
    name: &'static str,
    fault: NetworkFault,
    share: f64,
    times: u32,
}

const SILENCES: [Silence; 4] = [
    Silence { name: "silent/all held once", fault: NetworkFault::Hold, share: 1.0, times: 1 },
    Silence { name: "silent/half held three times", fault: NetworkFault::Hold, share: 0.5, times: 3 },
    Silence { name: "silent/half dropped once", fault: NetworkFault::Drop, share: 0.5, times: 1 },
    Silence { name: "silent/all dropped three times", fault: NetworkFault::Drop, share: 1.0, times: 3 },
];

pub(super) fn all() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for backend in TargetBackend::ALL {
        for silence in &SILENCES {
            scenarios.push(Scenario::with(backend, silence.name, move |run| silent(run, silence)));
        }
        scenarios.push(Scenario::new(backend, "reset/answers cut in the middle", resets));
    }
    scenarios
}

async fn silent(mut run: Run, silence: &Silence) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let load = ChaosLoad::start(&storage, &mut run.rng);
    sleep(WARM_UP).await;
    let mut faults = Vec::new();
    for _ in 0..silence.times {
        let direction = *DIRECTIONS.choose(&mut run.rng).unwrap_or(&Direction::Both);
        faults.push(Instant::now());
        run.target.proxy.fault_open(direction, silence.fault, silence.share, &mut run.rng);
        sleep(WATCHED).await;
    }
    faults.push(Instant::now());
    // Held data flows, too late for the calls that it belonged to.
    run.target.proxy.clear();
    let log = load.finish().await;
    for pair in faults.windows(2) {
        run.report.add(invariants::service_is_back(&log, pair[0], OPERATION_TIMEOUT, pair[1]));
    }
    run.conclude(storage, log, OPERATION_TIMEOUT).await
}

async fn resets(mut run: Run) -> Found<ScenarioReport> {
    let storage = run.target.open(OPERATION_TIMEOUT).await?;
    let load = ChaosLoad::start(&storage, &mut run.rng);
    sleep(WARM_UP).await;
    for _ in 0..10 {
        run.target.proxy.fault_open(Direction::ToClient, NetworkFault::Reset, 0.4, &mut run.rng);
        let pause = Duration::from_millis(run.rng.random_range(50..300));
        sleep(pause).await;
    }
    run.target.proxy.clear();
    run.conclude_after_return(storage, load).await
}
