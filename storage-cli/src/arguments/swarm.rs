//! The arguments of `swarm`.

use clap::{Args, Subcommand, ValueEnum};
use storage_core::InfoHash;

use super::StorageArguments;

/// Reads and writes of one swarm.
#[derive(Debug, Subcommand)]
pub(crate) enum SwarmAction {
    /// Print the largest swarms: info hash, seeders, leechers, downloads
    List(ListSwarmsArguments),
    /// Print the counts and peers of a swarm; the exit code is 1 if the swarm is unknown
    Show(ShowArguments),
    /// Remove a swarm's peers and, if the storage can, its downloads
    Remove(RemoveArguments),
}

/// Which swarms to list, and how.
#[derive(Debug, Args)]
pub(crate) struct ListSwarmsArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// Sort by this count, largest first, or by info hash
    #[arg(long, value_enum, default_value_t, value_name = "COUNT")]
    pub(crate) sort: SwarmSort,
    /// Maximum number of swarms: 1 to 100000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) limit: u64,
    /// Print one JSON object per swarm
    #[arg(long)]
    pub(crate) json: bool,
}

/// The order of swarms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SwarmSort {
    /// Seeders and leechers together
    #[default]
    Peers,
    /// Seeders
    Seeders,
    /// Leechers
    Leechers,
    /// Completed downloads
    Downloads,
    /// The info hash
    InfoHash,
}

/// Which swarm to show.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// The info hash: 40 hexadecimal digits (v1) or 64 (v2)
    pub(crate) info_hash: InfoHash,
    /// Print JSON objects: the counts, then one per peer
    ///
    /// Peers are in the format of export.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which swarm to remove.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// The info hash: 40 hexadecimal digits (v1) or 64 (v2)
    pub(crate) info_hash: InfoHash,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
}
