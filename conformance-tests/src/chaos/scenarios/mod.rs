//! The scenarios.

mod abandoned_calls;
mod close;
mod crash;
mod failover;
mod frozen;
mod late_writes;
mod lossy_network;

use super::Scenario;

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    [
        lossy_network::all(),
        frozen::all(),
        failover::all(),
        abandoned_calls::all(),
        late_writes::all(),
        close::all(),
        crash::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
