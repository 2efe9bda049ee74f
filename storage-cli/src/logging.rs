//! Logs, to the standard error.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::arguments::{Command, LogFormat, LoggingArguments};
use crate::error_code::ErrorCode;
use crate::exit_code::CommandError;
use crate::progress::without_spinner;

/// Warnings and errors, but not the warnings about the configuration that the commands print
/// themselves.
const DEFAULT: &str = "warn,storage_core::driver=error";

/// Nor what the suite does to schedules on purpose.
const DEFAULT_OF_CONFORMANCE: &str = "warn,storage_core::driver=error,storage_core::maintenance=error";

/// The standard error, with the spinner out of the way.
struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        without_spinner(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Starts logging, for as long as the process runs.
pub(crate) fn start(arguments: &LoggingArguments, command: &Command) -> Result<(), CommandError> {
    let default = match command {
        Command::Conformance(_) => DEFAULT_OF_CONFORMANCE,
        _ => DEFAULT,
    };
    let (origin, text) = match (&arguments.log, std::env::var("RUST_LOG")) {
        (Some(text), _) => ("--log", text.clone()),
        (None, Ok(text)) if !text.trim().is_empty() => ("RUST_LOG", text),
        _ => ("--log", default.to_owned()),
    };
    let filter = EnvFilter::try_new(text).map_err(|error| {
        let message = format!("{origin}: expected a level or directives such as info,sqlx=debug: {error}");
        CommandError::usage(ErrorCode::Usage, message)
    })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogWriter)
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false);
    let started = match arguments.log_format {
        LogFormat::Human => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    started.map_err(|error| {
        CommandError::finding(ErrorCode::SystemFailure, format!("cannot start logging: {error}"))
    })
}
