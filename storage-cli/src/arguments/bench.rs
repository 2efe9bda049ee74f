//! The command line of `bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use storage_core::config::{StorageConfig, parse_duration};

use crate::bench::{AnnounceUrl, DaySettings, RunSettings};

/// Options for a storage, not a tracker.
const LOCAL_ONLY: [&str; 7] =
    ["config", "at", "workload", "scattered", "announce_interval", "speed", "server_process"];
/// The announce interval of `day` where the command line does not say.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30 * 60);

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
    #[arg(long, value_name = "URL", conflicts_with_all = LOCAL_ONLY)]
    pub(crate) announce_url: Option<AnnounceUrl>,
    /// Only these workloads [default: all but day]
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', value_name = "NAME")]
    pub(crate) workload: Vec<Workload>,
    /// Number of swarms [default: 100, for tracker 10K, for day 1M]
    #[arg(long, value_name = "N", value_parser = swarms)]
    pub(crate) swarms: Option<u64>,
    /// Peers per swarm [default: 100, for tracker 10K, for day 5M]
    ///
    /// For tracker, this is the size of the largest swarm; for day, the peers of all swarms together.
    #[arg(long, value_name = "N", value_parser = peers)]
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
    /// With day: the time in which every peer announces once [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = some_duration)]
    pub(crate) announce_interval: Option<Duration>,
    /// With day: how much faster than real time peers announce [default: as fast as possible]
    ///
    /// 5M peers with an interval of 30m make 2,778 announces per second in real time, and ten times as many with
    /// --speed 10.
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    pub(crate) speed: Option<f64>,
    /// With day: report the processor time of all processes with this name, such as postgres or redis-server
    ///
    /// Repeat it for several names. The servers must run on this machine, and it must run Linux, which counts in steps
    /// of 10 ms for each process.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_process: Vec<String>,
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

    /// The settings of `day`, if that is the workload.
    ///
    /// # Errors
    /// A message, if options do not belong together.
    pub(crate) fn day(&self) -> Result<Option<DaySettings>, String> {
        if !self.workload.contains(&Workload::Day) {
            let given = [
                ("--announce-interval", self.announce_interval.is_some()),
                ("--speed", self.speed.is_some()),
                ("--server-process", !self.server_process.is_empty()),
            ];
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((option, _)) => Err(format!("{option} needs --workload day")),
                None => Ok(None),
            };
        }
        if self.workload.iter().any(|workload| *workload != Workload::Day) {
            let message = "the workload day cannot be combined with others: --swarms and --peers mean something else there";
            return Err(message.to_owned());
        }
        Ok(Some(DaySettings {
            interval: self.announce_interval.unwrap_or(ANNOUNCE_INTERVAL),
            speed: self.speed,
            server_processes: self.server_process.clone(),
        }))
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
    /// The announces of many peers, each once an interval
    Day,
}

impl Workload {
    /// All of them, in the order in which they are run.
    pub(crate) const ALL: [Self; 7] =
        [Self::Put, Self::Announce, Self::Scrape, Self::Lifecycle, Self::PutNew, Self::Tracker, Self::Day];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutNew => "put-new",
            Self::Announce => "announce",
            Self::Scrape => "scrape",
            Self::Lifecycle => "lifecycle",
            Self::Tracker => "tracker",
            Self::Day => "day",
        }
    }

    /// Whether it raises downloads.
    pub(crate) fn completes(self) -> bool {
        matches!(self, Self::Lifecycle | Self::Tracker | Self::Day)
    }
}

fn some_duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration such as 10s, not zero".to_owned())
}

fn swarms(text: &str) -> Result<u64, String> {
    count(text, 100_000_000)
}

fn peers(text: &str) -> Result<u64, String> {
    count(text, 1_000_000_000)
}

/// A number, in thousands with `K` or in millions with `M`.
fn count(text: &str, max: u64) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix(['M', 'm']).map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let number = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    number
        .filter(|number| (1..=max).contains(number))
        .ok_or_else(|| format!("expected a number from 1 to {max}, such as 500, 200K or 5M"))
}

fn speed(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (0.01..=100_000.0).contains(factor));
    factor.ok_or_else(|| "expected a factor from 0.01 to 100000, such as 10".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct BenchCommand {
        #[command(flatten)]
        arguments: BenchArguments,
    }

    fn parse(line: &str) -> Result<BenchArguments, String> {
        let parsed = BenchCommand::try_parse_from(std::iter::once("bench").chain(line.split_whitespace()));
        parsed.map(|command| command.arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn counts_have_suffixes() {
        for (text, number) in [("7", 7), ("200K", 200_000), ("200k", 200_000), ("5M", 5_000_000)] {
            assert_eq!(parse(&format!("--peers {text}")).unwrap().peers, Some(number), "{text}");
        }
        for wrong in ["0", "0M", "-1", "K", "5G", "1.5M", "1001M", "99999999999999999999K"] {
            let message = parse(&format!("--peers={wrong}")).unwrap_err();
            assert!(message.contains("expected a number from 1 to 1000000000"), "{message}");
        }
    }

    #[test]
    fn a_day_has_an_interval_and_a_speed() {
        let day = parse("--workload day").unwrap().day().unwrap().unwrap();
        assert_eq!((day.interval, day.speed), (Duration::from_secs(1800), None));
        let line = "--workload day --announce-interval 15m --speed 10 --server-process a --server-process b";
        let day = parse(line).unwrap().day().unwrap().unwrap();
        assert_eq!((day.interval, day.speed), (Duration::from_secs(900), Some(10.0)));
        assert_eq!(day.server_processes, ["a", "b"]);
        for wrong in ["0", "-1", "fast", "inf", "NaN"] {
            assert!(parse(&format!("--workload day --speed={wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_of_a_day_need_the_workload() {
        assert!(parse("--workload tracker").unwrap().day().unwrap().is_none());
        for option in ["--announce-interval 1m", "--speed 2", "--server-process postgres"] {
            let refused = parse(option).unwrap().day().unwrap_err();
            assert_eq!(refused, format!("{} needs --workload day", option.split(' ').next().unwrap()));
            assert!(parse(&format!("--announce-url udp://127.0.0.1:1 {option}")).is_err(), "{option}");
        }
        assert!(parse("--workload day put").unwrap().day().unwrap_err().contains("cannot be combined"));
    }
}
