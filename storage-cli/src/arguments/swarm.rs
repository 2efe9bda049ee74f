//! The arguments of `swarm`.

use clap::{Args, Subcommand, ValueEnum};
use storage_core::InfoHash;

use super::StorageArguments;

pub(super) const HELP: &str = "\
Example: tracker-storage swarm list -c tracker.yaml --sort seeders --limit 20
Example: tracker-storage swarm show -c tracker.yaml 0123456789abcdef0123456789abcdef01234567";

const LIST_HELP: &str = "\
Example: tracker-storage swarm list -c tracker.yaml --sort downloads --limit 20

Listed are the swarms that have peers; with --sort downloads those that were downloaded to the end at least once, \
whether they still have peers or not. Swarms with the same count are in the order of their info hashes.

The command reads all peers (with --sort downloads the downloads of all swarms), a page at a time, and asks for the \
counts of each swarm it finds, as a scrape does. Its memory is bounded by --limit. Every swarm is in \
`tracker-storage export`.";

/// What to do with a swarm.
#[derive(Debug, Args)]
pub(crate) struct SwarmArguments {
    #[command(subcommand)]
    pub(crate) action: SwarmAction,
}

/// Reads and writes of one swarm.
#[derive(Debug, Subcommand)]
pub(crate) enum SwarmAction {
    /// Print the largest swarms: info hash, seeders, leechers, downloads
    #[command(after_help = LIST_HELP)]
    List(ListSwarmsArguments),
    /// Print the counts of a swarm and its peers; the exit code is 1 if the storage does not know it
    Show(ShowArguments),
    /// Remove a swarm's peers and, where the storage can, its downloads
    Remove(RemoveArguments),
}

/// Which swarms to list, and how.
#[derive(Debug, Args)]
pub(crate) struct ListSwarmsArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// The count that decides which swarms are listed, the greatest first; info hashes ascend
    #[arg(long, value_enum, default_value_t, value_name = "COUNT")]
    pub(crate) sort: SwarmSort,
    /// The most swarms to list: 1 to 100000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) limit: u64,
    /// Print one JSON object a swarm
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
    /// How often the torrent was downloaded to the end
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
