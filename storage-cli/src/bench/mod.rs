//! Measuring a storage, or a tracker: swarms of the run's own, callers that call one after the other, and
//! how long each call took.

mod call_stats;
mod clients;
mod dataset;
mod load;
mod local_run;
mod memory;
mod remote;
mod report;
mod runner;
mod workers;

#[cfg(test)]
mod tests;

pub(crate) use local_run::{LocalRun, SwarmSizes};
pub(crate) use memory::bytes_per_peer;
pub(crate) use remote::{AnnounceUrl, RemoteRun};
pub(crate) use report::{BenchReport, rows};
pub(crate) use runner::RunSettings;
