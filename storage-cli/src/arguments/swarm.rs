//! The arguments of `swarm`.

use clap::{Args, Subcommand};
use storage_core::InfoHash;

use super::StorageArguments;

pub(super) const HELP: &str = "\
Example: tracker-storage swarm show -c tracker.yaml 0123456789abcdef0123456789abcdef01234567";

/// What to do with a swarm.
#[derive(Debug, Args)]
pub(crate) struct SwarmArguments {
    #[command(subcommand)]
    pub(crate) action: SwarmAction,
}

/// Reads and writes of one swarm.
#[derive(Debug, Subcommand)]
pub(crate) enum SwarmAction {
    /// Print the counts of a swarm and its peers; the exit code is 1 if the storage does not know it
    Show(ShowArguments),
    /// Remove a swarm's peers and, where the storage can, its downloads
    Remove(RemoveArguments),
}

/// Which swarm to show.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// The info hash: 40 hexadecimal digits (v1) or 64 (v2)
    pub(crate) info_hash: InfoHash,
    /// Print JSON objects: the counts, and then a line a peer, as export does
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
    /// Ask nothing
    #[arg(long, short)]
    pub(crate) yes: bool,
}
