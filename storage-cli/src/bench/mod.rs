//! Measuring a storage, or a tracker: swarms of the run's own, callers that call one after the other, and
//! how long each call took.

mod announces;
mod callers;
mod filling;
mod gauge;
mod ground;
mod outside;
mod report;
mod resident;
mod scene;
mod tally;

#[cfg(test)]
mod tests;

pub(crate) use gauge::CallPace;
pub(crate) use outside::{AnnounceUrl, RemoteVisit};
pub(crate) use report::{BenchReport, rows};
pub(crate) use resident::bytes_per_peer;
pub(crate) use scene::{BenchRun, Shape};
