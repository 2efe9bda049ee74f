//! The command line of `bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use storage_core::config::{StorageConfig, parse_duration};

use crate::bench::{AnnounceUrl, RunSettings};

/// What to measure, and how long.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// The configuration [default: a storage of the backend memory]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The path of the storage in the file
    #[arg(long, value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) at: String,
    /// Measure a tracker over HTTP or UDP instead of a storage
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "at", "workload", "scattered"])]
    pub(crate) announce_url: Option<AnnounceUrl>,
    /// Only these workloads [default: all]
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', value_name = "NAME")]
    pub(crate) workload: Vec<Workload>,
    /// Number of swarms [default: 100, for tracker 10000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000_000))]
    pub(crate) swarms: Option<u64>,
    /// Peers per swarm [default: 100, for tracker 10000]
    ///
    /// For tracker, this is the size of the largest swarm.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000_000))]
    pub(crate) peers: Option<u64>,
    /// Concurrent workers
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u64).range(1..=10_000))]
    pub(crate) concurrency: u64,
    /// How long each workload is measured
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = some_duration)]
    pub(crate) duration: Duration,
    /// How long each workload runs before it is measured
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = super::duration)]
    pub(crate) warmup: Duration,
    /// Load the peers in random order instead of swarm by swarm
    ///
    /// The rows of a swarm are then scattered over the table, as they are on a tracker in use.
    #[arg(long)]
    pub(crate) scattered: bool,
    /// Keep the peers at the end, to inspect the tables
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print one JSON object per workload
    #[arg(long)]
    pub(crate) json: bool,
}

impl BenchArguments {
    /// How many callers, and how long.
    pub(crate) fn settings(&self) -> RunSettings {
        let Self { concurrency, duration, warmup, .. } = *self;
        RunSettings { concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX), warmup, duration }
    }
}

/// What the workers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Re-announces of existing peers, in random order
    Put,
    /// New peers in new swarms
    PutNew,
    /// 50 peers for an IPv4 leecher
    Announce,
    /// Counts of a swarm
    Scrape,
    /// A leecher is put, graduates, and is deleted as seeder: three calls
    Lifecycle,
    /// Whole announces: 90 % regular, 4 % started, 2 % completed, 4 % stopped
    Tracker,
}

impl Workload {
    /// All of them, in the order in which they are run.
    pub(crate) const ALL: [Self; 6] =
        [Self::Put, Self::Announce, Self::Scrape, Self::Lifecycle, Self::PutNew, Self::Tracker];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutNew => "put-new",
            Self::Announce => "announce",
            Self::Scrape => "scrape",
            Self::Lifecycle => "lifecycle",
            Self::Tracker => "tracker",
        }
    }

    /// Whether it raises downloads.
    pub(crate) fn completes(self) -> bool {
        matches!(self, Self::Lifecycle | Self::Tracker)
    }
}

fn some_duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration such as 10s, not zero".to_owned())
}
