//! The scenarios.

mod abandoned_calls;
mod close;
mod late_writes;
mod lossy_network;
mod outages;

use super::Scenario;

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    [lossy_network::all(), outages::all(), abandoned_calls::all(), late_writes::all(), close::all()]
        .into_iter()
        .flatten()
        .collect()
}
