//! The commands, a file each.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod conformance;
pub(crate) mod data;
pub(crate) mod example_config;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod import;
pub(crate) mod migrate;
pub(crate) mod ping;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod stats;
pub(crate) mod swarm;
pub(crate) mod verify;
