//! Measures a storage, or a tracker: workers that make one call at a time on their own swarms, and the latency of
//! each call.

mod call_stats;
mod clients;
mod cpu_time;
mod dataset;
mod day;
mod load;
mod local_run;
mod remote;
mod report;
mod runner;
mod workers;

#[cfg(test)]
mod tests;

pub(crate) use cpu_time::missing_processes;
pub(crate) use day::DaySettings;
pub(crate) use load::bytes_per_peer;
pub(crate) use local_run::{LocalRun, SwarmSizes};
pub(crate) use remote::{AnnounceUrl, RemoteRun};
pub(crate) use report::{BenchReport, rows};
pub(crate) use runner::RunSettings;
