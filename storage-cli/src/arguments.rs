//! The command line.

mod bench;
mod data;
mod serve;
mod swarm;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use storage_core::config::{StorageConfig, parse_duration};
use storage_core::{Context, Timestamp};
use storage_migration::{DataRule, DownloadsRule, RecordKind};
use storage_pg::recommended::{AddressColumn, Dialect};

pub(crate) use bench::{BenchArguments, Workload};
pub(crate) use data::{
    ContextArguments, DataAction, DeleteArguments, GetArguments, ListArguments, PutArguments,
};
pub(crate) use serve::ServeArguments;
pub(crate) use swarm::{ListSwarmsArguments, RemoveArguments, ShowArguments, SwarmAction, SwarmSort};

const EXIT_CODES: &str =
    "Exit codes: 0 success, 1 a problem was found, 2 wrong usage or an unreadable file, \
                          3 acknowledged writes lost (serve), 130 after Ctrl-C.

Logs of every command go to the standard error:
      --log <FILTER>         a level (off, error, warn, info, debug, trace) or directives such as
                             `info,sqlx=debug`; overrides the environment variable RUST_LOG [default: warn]
      --log-format <FORMAT>  human or json [default: human]";

const ENVIRONMENT: &str = "\
Environment variables override the file: TRACKER_STORAGE__CONFIG__CONNECTION_STRING is the key \
storage.config.connection_string (two underscores between levels).";

const CHECK: &str = "\
The first line is `ok`, `ok, 2 warnings` or `failed`. Problems and warnings follow, one per line, then the \
findings. All problems are reported at once. If the file itself has problems other than unknown keys, no server \
is contacted. The exit code is also 1 if `serve` would refuse the rest of the file.

Environment variables override the file: TRACKER_STORAGE__CONFIG__CONNECTION_STRING is the key \
storage.config.connection_string (two underscores between levels).";

/// Checks, tests and inspects the storages of BitTorrent trackers.
#[derive(Debug, Parser)]
#[command(name = "tracker-storage", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) logging: LoggingArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read a configuration, connect, check every query, and report the findings
    #[command(after_help = CHECK)]
    Check(CheckArguments),
    /// Run the conformance suite on a configured storage
    #[command(after_help = CONFORMANCE)]
    Conformance(ConformanceArguments),
    /// Print recommended tables
    #[command(after_help = SCHEMA)]
    Schema(SchemaArguments),
    /// Print a commented configuration
    #[command(after_help = "Example: tracker-storage example-config pg --for mochi > storage.yaml")]
    ExampleConfig(ExampleConfigArguments),
    /// Print all records of a storage, one JSON object per line
    #[command(after_help = EXPORT)]
    Export(ExportArguments),
    /// Import the output of export from the standard input
    #[command(after_help = IMPORT)]
    Import(ImportArguments),
    /// Copy all records from one storage to another
    #[command(after_help = MIGRATE)]
    Migrate(MigrateArguments),
    /// Compare two storages, after a migration
    #[command(after_help = VERIFY)]
    Verify(VerifyArguments),
    /// Run a small BitTorrent tracker on a storage
    #[command(after_help = serve::HELP)]
    Serve(ServeArguments),
    /// Check that the server of a storage responds
    #[command(after_help = ENVIRONMENT)]
    Ping(StorageArguments),
    /// Count info hashes, seeders, leechers and downloads
    #[command(after_help = STATS)]
    Stats(StatsArguments),
    /// Remove stale peers once, now
    #[command(after_help = GC)]
    Gc(GcArguments),
    /// Read and write arbitrary data
    #[command(subcommand, after_help = data::HELP)]
    Data(DataAction),
    /// List the largest swarms, show one, or remove it
    #[command(subcommand, after_help = swarm::HELP)]
    Swarm(SwarmAction),
    /// Measure throughput and latency of a storage, or of a tracker
    #[command(after_help = bench::AFTER_HELP)]
    Bench(BenchArguments),
}

const CONFORMANCE: &str = "\
Safe on a storage in use: the suite uses its own info hashes and contexts, removes them at the end, and \
skips cases whose query would touch other rows. Ctrl-C stops it after the running cases have cleaned up.

One line per case: `ok`, `FAILED` (a MUST does not hold; exit code 1), `warning` (a SHOULD does not hold; \
counted as passed), `skipped` with the reason. The last line:
N passed, N failed, N skipped";

const SCHEMA: &str = "\
Examples:
  tracker-storage schema pg | psql mochi
  tracker-storage schema pg --upgrade | psql mochi      # from the previous version, under load
  tracker-storage schema pg --from seed | psql mochi    # from the tables of MoChi's documentation

`tracker-storage check` reports the version of the tables; UPGRADING.md describes upgrades and downgrades.";

const EXPORT: &str = "\
Example: tracker-storage export -c tracker.yaml > dump.jsonl

The first line names the version of the format: {\"kind\":\"export\",\"version\":1,\"program\":\"tracker-storage 0.1.0\"}
There are three kinds of lines; hashes, keys and values are hexadecimal:
{\"kind\":\"peer\",\"info_hash\":…,\"peer_id\":…,\"address\":\"192.0.2.1\",\"port\":6881,\"seeder\":true,\"announced\":\"2026-11-22T15:28:09.123456Z\"}
{\"kind\":\"downloads\",\"info_hash\":…,\"downloads\":3}
{\"kind\":\"data\",\"context\":\"text\",\"key\":…,\"value\":…}";

const IMPORT: &str = "\
Example: tracker-storage import -c tracker.yaml < dump.jsonl

Conflicts: the most recent announce wins, the larger download count wins, existing data is kept. Running it \
again is safe. Unreadable lines are reported and skipped; the exit code is then 1.";

const MIGRATE: &str = "\
Example: tracker-storage migrate --from redis.yaml --to pg.yaml

Conflicts: the most recent announce wins, the larger download count wins, existing data is kept. Running it \
again is safe, also after an interruption. Nothing is deleted at the source, and no schedule runs.";

const STATS: &str = "\
Example: tracker-storage stats -c tracker.yaml --peers

Downloads are summed over all swarms, including those without peers. The remaining rows are the maintenance \
settings of the file: how often `serve`, or another tracker with this file, collects garbage and takes statistics. \
The last and next runs of a running `serve` are on its admin page and in its metrics.

Environment variables override the file: TRACKER_STORAGE__CONFIG__CONNECTION_STRING is the key \
storage.config.connection_string (two underscores between levels).";

const GC: &str = "\
Example: tracker-storage gc -c tracker.yaml

Removes the peers whose last announce is older than `peer_lifetime`, as a tracker does every `gc_interval`. \
If more than `gc_max_share` of all peers, and more than 20, are stale, none is removed and the exit code is 1: a \
wrong clock, a restored backup or an outage makes live peers look stale. --force removes them anyway.";

const VERIFY: &str = "\
Example: tracker-storage verify --from redis.yaml --to pg.yaml --copied-at 2026-11-22T15:28:09Z

Exit code 1 if anything differs. Peers that announced after the copy, and newer peers or larger counts at the \
target, are no differences.";

/// How to log.
#[derive(Debug, Args)]
pub(crate) struct LoggingArguments {
    /// What to log to the standard error: a level (off, error, warn, info, debug, trace) or directives
    /// such as `info,sqlx=debug`; overrides the environment variable RUST_LOG [default: warn]
    // Described in the help of the program, not in that of every command.
    #[arg(long, global = true, value_name = "FILTER", hide = true)]
    pub(crate) log: Option<String>,
    /// The format of logs
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", hide = true)]
    pub(crate) log_format: LogFormat,
}

/// The format of logs.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for humans
    #[default]
    Human,
    /// One JSON object per line
    Json,
}

/// Which storage.
#[derive(Debug, Args)]
pub(crate) struct StorageArguments {
    /// The configuration: YAML, or TOML if it is named .toml
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The path of the storage in the file: keys and list indices separated by dots, such as
    /// prehooks.0.config.storage
    #[arg(long, value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) at: String,
}

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// The storage holds only arbitrary data, like those inside MoChi's `prehooks`: it needs no queries for peers
    #[arg(long)]
    pub(crate) data_only: bool,
    /// Accept a file with hooks that `serve` does not run, like the same option of `serve`
    #[arg(long)]
    pub(crate) ignore_hooks: bool,
    /// Also show the arguments of every query and their types
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// What to run the suite on, and how.
#[derive(Debug, Args)]
pub(crate) struct ConformanceArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// Run only cases whose name contains this, ignoring case: `P4`, `graduate`
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Nobody else uses the storage and its content may be lost: run every case, including those that count
    /// everything or whose queries touch other rows
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Print one JSON object per case, and one with the counts at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// Only these kinds, separated by commas
    #[arg(long, value_parser = named(&KINDS), value_delimiter = ',', value_name = "KIND")]
    pub(crate) only: Vec<RecordKind>,
}

/// What to import, and how.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// Stop at the first unreadable line; the lines before it are imported
    #[arg(long)]
    pub(crate) stop_on_error: bool,
    /// Records imported in one batch
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = batch_size())]
    pub(crate) batch: u64,
    /// Print the counts as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Two storages, and what of them.
#[derive(Debug, Args)]
pub(crate) struct EndpointsArguments {
    /// The configuration of the source
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The path of the source in that file
    #[arg(long, value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) from_at: String,
    /// The configuration of the target
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// The path of the target in that file
    #[arg(long, value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) to_at: String,
    /// Only these kinds, separated by commas
    #[arg(long, value_parser = named(&KINDS), value_delimiter = ',', value_name = "KIND")]
    pub(crate) only: Vec<RecordKind>,
    /// Only data of these contexts
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) context: Vec<Context>,
    /// Skip peers older than the `peer_lifetime` of the source
    #[arg(long)]
    pub(crate) skip_stale: bool,
    /// Records per page
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = batch_size())]
    pub(crate) batch: u64,
    /// Print the summary as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to move, and how.
#[derive(Debug, Args)]
pub(crate) struct MigrateArguments {
    #[command(flatten)]
    pub(crate) endpoints: EndpointsArguments,
    /// Which download count wins: the larger number, or the source's
    #[arg(long, value_parser = named(&DOWNLOADS_RULES), default_value = "max", value_name = "RULE")]
    pub(crate) downloads: DownloadsRule,
    /// Which data wins: the target's, or the source's
    #[arg(long, value_parser = named(&DATA_RULES), default_value = "keep", value_name = "RULE")]
    pub(crate) data: DataRule,
    /// Read and count; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Batches written concurrently
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) parallel: u64,
    /// Limit how fast the source is read, in records per second: 20000 or 20000/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(crate) rate: Option<u64>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Repeat until Ctrl-C, each time writing what is newer
    #[arg(long)]
    pub(crate) follow: bool,
    /// With --follow: the time between two passes
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub(crate) pause: Duration,
    /// With --follow: end when there has been nothing to write for this long
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "follow")]
    pub(crate) until_quiet: Option<Duration>,
    /// Exit with 1 if the source has unreadable entries
    #[arg(long)]
    pub(crate) strict: bool,
}

/// What to compare.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) endpoints: EndpointsArguments,
    /// Compare this many random swarms, downloads and data entries of each side
    #[arg(long, value_name = "N")]
    pub(crate) sample: Option<usize>,
    /// When the copy began, as printed by migrate: later announces are no differences
    #[arg(long, value_name = "TIME")]
    pub(crate) copied_at: Option<Timestamp>,
}

/// Values of an option: the name, the help, and the value itself.
pub(crate) type Named<T, const N: usize> = [(&'static str, &'static str, T); N];

const KINDS: Named<RecordKind, 3> = [
    (RecordKind::Peers.name(), "Peers with role and time of last announce", RecordKind::Peers),
    (RecordKind::Downloads.name(), "Completed downloads of swarms", RecordKind::Downloads),
    (RecordKind::Data.name(), "Arbitrary data", RecordKind::Data),
];

const DOWNLOADS_RULES: Named<DownloadsRule, 2> =
    [("max", "The larger number", DownloadsRule::Max), ("replace", "The source's", DownloadsRule::Replace)];

const DATA_RULES: Named<DataRule, 2> =
    [("keep", "The target's", DataRule::Keep), ("replace", "The source's", DataRule::Replace)];

pub(crate) const DIALECTS: Named<Dialect, 2> =
    [("postgres", "PostgreSQL", Dialect::Postgres), ("cockroachdb", "CockroachDB", Dialect::Cockroachdb)];

pub(crate) const ADDRESS_COLUMNS: Named<AddressColumn, 2> = [
    ("inet", "Addresses readable in SQL", AddressColumn::Inet),
    ("bytea", "4 or 16 bytes; CockroachDB cannot index inet", AddressColumn::Bytea),
];

/// Takes one of these values by its name.
fn named<T: Copy + Send + Sync + 'static, const N: usize>(
    values: &'static Named<T, N>,
) -> impl TypedValueParser<Value = T> {
    let names = PossibleValuesParser::new(values.map(|(name, help, _)| PossibleValue::new(name).help(help)));
    names.try_map(|given| {
        let value = values.iter().find(|(name, ..)| *name == given).map(|(_, _, value)| *value);
        value.ok_or("not one of the possible values")
    })
}

fn batch_size() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=100_000)
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration such as 1m30s".to_owned())
}

fn rate(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse();
    number
        .ok()
        .filter(|rate| *rate > 0)
        .ok_or_else(|| "expected records per second, such as 20000/s".to_owned())
}

/// What to count.
#[derive(Debug, Args)]
pub(crate) struct StatsArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// Also count peers by address family, and stale ones; reads all peers, which takes minutes for millions
    #[arg(long)]
    pub(crate) peers: bool,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to collect garbage.
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// Remove stale peers whatever their share of all peers
    #[arg(long)]
    pub(crate) force: bool,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which tables.
#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// The backend
    #[arg(value_enum)]
    pub(crate) backend: SchemaBackend,
    #[command(flatten)]
    pub(crate) tables: TableArguments,
    /// Print the migration from these tables to the recommended ones, each statement with its lock and cost
    #[arg(long, value_enum, value_name = "TABLES", conflicts_with_all = ["dialect", "address", "unlogged"])]
    pub(crate) from: Option<Origin>,
    /// Print the migration from the tables of the previous version, each statement with its lock and cost
    #[arg(long, conflicts_with = "downgrade")]
    pub(crate) upgrade: bool,
    /// Print the migration back to the previous version, or to the tables of --from
    #[arg(long)]
    pub(crate) downgrade: bool,
}

/// Existing tables.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Origin {
    /// Those of MoChi's documentation, on PostgreSQL
    #[value(alias = "mochi")]
    Seed,
}

/// Backends that need tables.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SchemaBackend {
    /// PostgreSQL, CockroachDB
    Pg,
}

/// Which configuration.
#[derive(Debug, Args)]
pub(crate) struct ExampleConfigArguments {
    /// The backend
    #[arg(id = BACKEND, value_name = "BACKEND", ignore_case = true)]
    pub(crate) backend: String,
    #[command(flatten)]
    pub(crate) tables: TableArguments,
    /// Leave out keys that this program refuses (pg)
    #[arg(long = "for", value_enum, value_name = "PROGRAM")]
    pub(crate) program: Option<Program>,
}

/// Choices about the tables of `pg`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub(crate) struct TableArguments {
    /// The server (pg) [default: postgres]
    #[arg(long, value_parser = named(&DIALECTS))]
    pub(crate) dialect: Option<Dialect>,
    /// The type of address columns (pg) [default: inet on postgres, bytea on cockroachdb]
    #[arg(long, value_parser = named(&ADDRESS_COLUMNS))]
    pub(crate) address: Option<AddressColumn>,
    /// Faster tables that are empty after a crash of the server (pg, on postgres)
    #[arg(long)]
    pub(crate) unlogged: bool,
}

/// Programs that read configurations.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Program {
    /// MoChi, the tracker in Go
    Mochi,
}

const BACKEND: &str = "backend";

/// The command line; `example-config` accepts these backends.
pub(crate) fn command(examples: Vec<&'static str>) -> clap::Command {
    Arguments::command().mut_subcommand("example-config", |example_config| {
        example_config.mut_arg(BACKEND, |backend| backend.value_parser(PossibleValuesParser::new(examples)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command(vec!["memory", "pg"]).debug_assert();
    }
}
