//! The command line.

mod bench;
mod data;
mod serve;
mod swarm;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use storage_core::config::{StorageConfig, parse_duration};
use storage_core::{Context, Timestamp};
use storage_migration::{DataRule, DownloadsRule, RecordKind};
use storage_pg::recommended::{AddressColumn, Dialect};

use crate::error_code::ErrorCode;
use crate::help::{PROGRAM, STYLES, WIDTH, add_help};

pub(crate) use bench::{BenchArguments, Workload};
pub(crate) use data::{
    ContextArguments, DataAction, DeleteArguments, GetArguments, ListArguments, PutArguments,
};
pub(crate) use serve::ServeArguments;
pub(crate) use swarm::{ListSwarmsArguments, RemoveArguments, ShowArguments, SwarmAction, SwarmSort};

/// Checks, tests, moves, measures and serves the storages of BitTorrent trackers
///
/// A tracker keeps its swarms and its data in a storage. A configuration file names the backend of the storage and its
/// settings; every command takes such a file.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, propagate_version = true, styles = STYLES, max_term_width = WIDTH)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) logging: LoggingArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands. Their examples and further help are in [`help`](crate::help).
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a commented configuration to start from
    ExampleConfig(ExampleConfigArguments),
    /// Print the recommended tables, or the migration to them
    Schema(SchemaArguments),
    /// Read a configuration, connect, check every query, and report what was found
    Check(CheckArguments),
    /// Run the conformance suite on a storage
    ///
    /// The suite checks that the storage follows the rules that every backend must follow: which peers an announce
    /// returns, what a graduation counts, what garbage collection removes. With pg it tests the configured queries.
    Conformance(ConformanceArguments),
    /// Check that the server of a storage responds
    Ping(StorageArguments),
    /// Count info hashes, seeders, leechers and downloads
    Stats(StatsArguments),
    /// Measure throughput and latency of a storage, or of a tracker
    Bench(BenchArguments),
    /// Run a small BitTorrent tracker on a storage
    ///
    /// It serves announces and scrapes over HTTP and UDP, and metrics, health and an admin page on a separate address.
    /// It also collects garbage and takes statistics as configured.
    Serve(ServeArguments),
    /// Copy all records from one storage to another
    Migrate(MigrateArguments),
    /// Compare two storages, after a migration
    Verify(VerifyArguments),
    /// Print all records of a storage, one JSON object per line
    Export(ExportArguments),
    /// Import the output of export from the standard input
    Import(ImportArguments),
    /// Remove stale peers once, now
    Gc(GcArguments),
    /// Read and write arbitrary data
    #[command(subcommand)]
    Data(DataAction),
    /// List the largest swarms, show one, or remove it
    #[command(subcommand)]
    Swarm(SwarmAction),
    /// Explain an error code
    Explain(ExplainArguments),
    /// Print completions for a shell
    Completions(CompletionsArguments),
    /// Write the manual pages
    Man(ManArguments),
}

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
    /// The path of the storage in the file
    ///
    /// Keys and list indices separated by dots, such as prehooks.0.config.storage. Indices start at 0.
    #[arg(long, value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) at: String,
}

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// Check a storage that holds only data
    ///
    /// Such a storage, like those inside MoChi's `prehooks`, needs no queries for peers.
    #[arg(long)]
    pub(crate) data_only: bool,
    /// Accept a file with hooks, which `serve` does not run
    ///
    /// Without this option, hooks are a problem, since a tracker without them may serve clients that it should refuse.
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
    /// Run only the cases whose name contains this text
    ///
    /// Case is ignored. Names begin with the rule: `P4`, `graduate`.
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Run every case: nobody else uses the storage, and its content may be lost
    ///
    /// This includes the cases that count everything, and those whose queries touch rows of others.
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Print one JSON object per case, and one with the counts
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
    /// Stop at the first unreadable line
    ///
    /// The lines before it are imported.
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
    #[arg(long, help_heading = "Source and target", value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The path of the source in that file
    #[arg(long, help_heading = "Source and target", value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) from_at: String,
    /// The configuration of the target
    #[arg(long, help_heading = "Source and target", value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// The path of the target in that file
    #[arg(long, help_heading = "Source and target", value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) to_at: String,
    /// Only these kinds, separated by commas
    #[arg(long, value_parser = named(&KINDS), value_delimiter = ',', value_name = "KIND")]
    pub(crate) only: Vec<RecordKind>,
    /// Only data of these contexts
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) context: Vec<Context>,
    /// Skip peers that are stale by the `peer_lifetime` of the source
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
    /// Which download count wins
    #[arg(long, help_heading = "Conflicts", value_parser = named(&DOWNLOADS_RULES), default_value = "max", value_name = "RULE")]
    pub(crate) downloads: DownloadsRule,
    /// Which data wins
    #[arg(long, help_heading = "Conflicts", value_parser = named(&DATA_RULES), default_value = "keep", value_name = "RULE")]
    pub(crate) data: DataRule,
    /// Read and count; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Batches written concurrently, 1 to 256
    #[arg(long, help_heading = "Speed", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) parallel: u64,
    /// Limit how fast the source is read, such as 20000/s
    ///
    /// In records per second, over all kinds; it spares a live server.
    #[arg(long, help_heading = "Speed", value_name = "N/s", value_parser = rate)]
    pub(crate) rate: Option<u64>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Repeat until Ctrl-C, each time writing what is newer
    #[arg(long, help_heading = "Following a live source")]
    pub(crate) follow: bool,
    /// With --follow: the time between two passes
    #[arg(long, help_heading = "Following a live source", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub(crate) pause: Duration,
    /// With --follow: end when nothing was written for this long
    #[arg(long, help_heading = "Following a live source", value_name = "DURATION", value_parser = duration, requires = "follow")]
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
    /// Compare only this many random records of each kind and side
    ///
    /// Without it, everything is compared.
    #[arg(long, value_name = "N")]
    pub(crate) sample: Option<usize>,
    /// When the copy began, as printed by migrate
    ///
    /// Announces after this time are no differences.
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
    /// Also count peers by address family, and stale ones
    ///
    /// This reads all peers, which takes minutes for millions.
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
    /// Print the migration from these tables to the recommended ones
    #[arg(long, value_enum, value_name = "TABLES", conflicts_with_all = ["dialect", "address", "unlogged"])]
    pub(crate) from: Option<Origin>,
    /// Print the migration from the tables of the previous version
    #[arg(long, conflicts_with = "downgrade")]
    pub(crate) upgrade: bool,
    /// Print the migration back: to the previous version, or to --from
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
    /// Leave out keys that this program would refuse (pg)
    #[arg(long = "for", value_enum, value_name = "PROGRAM")]
    pub(crate) program: Option<Program>,
}

/// Choices about the tables of `pg`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub(crate) struct TableArguments {
    /// The server: postgres unless given (pg)
    #[arg(long, value_parser = named(&DIALECTS))]
    pub(crate) dialect: Option<Dialect>,
    /// The type of address columns (pg)
    ///
    /// By default inet on postgres, and bytea on cockroachdb.
    #[arg(long, value_parser = named(&ADDRESS_COLUMNS))]
    pub(crate) address: Option<AddressColumn>,
    /// Faster tables, which are empty after a crash (pg)
    ///
    /// PostgreSQL only. After a crash of the server, and on every replica, unlogged tables are empty.
    #[arg(long)]
    pub(crate) unlogged: bool,
}

/// Programs that read configurations.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Program {
    /// MoChi, the tracker in Go
    Mochi,
}

/// Which code.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The code, such as TS-1004
    #[arg(required_unless_present = "all")]
    pub(crate) code: Option<ErrorCode>,
    /// Print all codes, as a page of Markdown
    #[arg(long, conflicts_with = "code")]
    pub(crate) all: bool,
}

/// Which shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Where to write.
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Write one page for each command into this directory
    ///
    /// Without it, the main page is printed.
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

const BACKEND: &str = "backend";

/// The command line of a program of this name; `example-config` accepts these backends.
pub(crate) fn command(program: &str, examples: Vec<&'static str>) -> clap::Command {
    let command = Arguments::command().mut_subcommand("example-config", |example_config| {
        example_config.mut_arg(BACKEND, |backend| backend.value_parser(PossibleValuesParser::new(examples)))
    });
    add_help(command, program).bin_name(program)
}

/// The name of the program that runs, by its first argument.
pub(crate) fn program_name(first: Option<&OsString>) -> String {
    let name = first.and_then(|path| Path::new(path).file_stem()).and_then(|name| name.to_str());
    name.filter(|name| !name.is_empty()).unwrap_or(PROGRAM).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command(PROGRAM, vec!["memory", "pg"]).debug_assert();
    }

    #[test]
    fn the_program_has_the_name_of_its_file() {
        let name = |first: &str| program_name(Some(&first.into()));
        assert_eq!(name("/usr/bin/my-tracker"), "my-tracker");
        assert_eq!(name("tracker-storage.exe"), "tracker-storage");
        assert_eq!([name(""), program_name(None)], [PROGRAM, PROGRAM]);
    }
}
