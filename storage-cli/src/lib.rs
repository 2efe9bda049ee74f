//! The command `tracker-storage`, as a library for trackers that have backends of their own:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use storage_core::Backends;
//! use storage_memory::MemoryDriver;
//!
//! fn main() -> ExitCode {
//!     storage_cli::run(Backends::new().with(MemoryDriver))
//! }
//! ```
//!
//! A backend that offers a [`Driver::example_config`](storage_core::Driver::example_config) is listed
//! by `example-config`; all other commands work with any backend.
//!
//! Results go to the standard output, logs and errors to the standard error. Exit codes: 0 for
//! success, 1 for a finding (a wrong configuration, a server that does not respond, a failed case),
//! 2 for wrong usage or an unreadable file, 3 if `serve` lost acknowledged writes, 130 after Ctrl-C.

mod arguments;
mod bench;
#[doc(hidden)]
pub mod bep15;
mod commands;
#[cfg(test)]
mod config_reference;
mod endpoints;
mod error_code;
mod exit_code;
mod help;
mod interrupt;
mod logging;
#[cfg(test)]
mod metrics_reference;
mod open;
mod output;
mod progress;
mod recommended;
mod scan;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::FromArgMatches;
use clap::error::ErrorKind as ClapErrorKind;
use storage_core::Backends;

use arguments::{Arguments, Command};
use commands::CommandContext;
use error_code::ErrorCode;
use exit_code::{CommandError, CommandResult, Exit};
use output::{Output, note};

/// How long to wait for blocked threads at the end.
const RUNTIME_SHUTDOWN: Duration = Duration::from_millis(500);

/// Runs the command that the process's arguments name, with the backends of `backends`, and returns the
/// exit code. It starts a tokio runtime and logging: call it once, outside of any runtime.
pub fn run(backends: Backends) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let program = arguments::program_name(arguments.first());
    let arguments = match parse(&backends, &program, arguments) {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    match execute(backends, program.clone(), &arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print(&program, arguments.logging.log_format);
            failure.exit.into()
        }
    }
}

/// Reads the command line; help and wrong usage are printed.
fn parse(backends: &Backends, program: &str, arguments: Vec<OsString>) -> Result<Arguments, Exit> {
    let command = arguments::command(program, commands::example_config::backends(backends));
    let parsed = command.try_get_matches_from(arguments);
    let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|answer| {
        // clap returns `--help` as an error, too. A closed output is no failure.
        let _ = answer.print();
        if answer.exit_code() == 0 {
            return Exit::Success;
        }
        if answer.kind() != ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            note(format_args!("code: {}", ErrorCode::Usage));
        }
        Exit::Usage
    })
}

fn execute(backends: Backends, program: String, arguments: &Arguments) -> CommandResult {
    logging::start(&arguments.logging, &arguments.command)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        CommandError::finding(ErrorCode::SystemFailure, format!("cannot start the runtime: {error}"))
    })?;
    let mut context = CommandContext { backends, output: Output::default(), program };
    let result = runtime.block_on(dispatch(&mut context, &arguments.command));
    // A blocked thread, as by a name server that does not respond, must not delay the exit.
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    result
}

async fn dispatch(context: &mut CommandContext, command: &Command) -> CommandResult {
    match command {
        Command::Check(arguments) => commands::check::run(context, arguments).await,
        Command::Conformance(arguments) => commands::conformance::run(context, arguments).await,
        Command::Schema(arguments) => commands::schema::run(context, arguments),
        Command::ExampleConfig(arguments) => commands::example_config::run(context, arguments),
        Command::Export(arguments) => commands::export::run(context, arguments).await,
        Command::Import(arguments) => commands::import::run(context, arguments).await,
        Command::Migrate(arguments) => commands::migrate::run(context, arguments).await,
        Command::Verify(arguments) => commands::verify::run(context, arguments).await,
        Command::Ping(arguments) => commands::ping::run(context, arguments).await,
        Command::Serve(arguments) => commands::serve::run(context, arguments).await,
        Command::Stats(arguments) => commands::stats::run(context, arguments).await,
        Command::Gc(arguments) => commands::gc::run(context, arguments).await,
        Command::Data(arguments) => commands::data::run(context, arguments).await,
        Command::Swarm(arguments) => commands::swarm::run(context, arguments).await,
        Command::Bench(arguments) => commands::bench::run(context, arguments).await,
        Command::Explain(arguments) => commands::explain::run(context, arguments),
        Command::Completions(arguments) => commands::completions::run(context, arguments),
        Command::Man(arguments) => commands::man::run(context, arguments),
    }
}

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of the book compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/using-the-crates.md")]
struct UsingTheCrates;

/// The examples of the book compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/conformance.md")]
struct ConformanceChapter;
