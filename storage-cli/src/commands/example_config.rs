//! `example-config`: a configuration to begin with.

use storage_core::Registry;

use super::schema::recommendation;
use crate::arguments::{ExampleConfigArguments, TableArguments};
use crate::exit_code::{CommandError, Exit};
use crate::output::Output;

/// The backend whose example depends on the options.
const PG: &str = "pg";

/// Prints the example of a backend.
pub(crate) fn run(
    registry: &Registry,
    arguments: &ExampleConfigArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let ExampleConfigArguments { backend, tables, program } = arguments;
    let driver = registry.driver(backend).map_err(|unknown| CommandError::usage(unknown.to_string()))?;
    let example = if driver.name() == PG {
        Some(recommendation(*tables, *program)?.example_config())
    } else if *tables != TableArguments::default() || program.is_some() {
        let name = driver.name();
        return Err(CommandError::usage(format!(
            "error: --dialect, --address, --unlogged and --for are options for pg, not for {name}"
        )));
    } else {
        driver.example_config()
    };
    let name = driver.name();
    let example = example.ok_or_else(|| CommandError::usage(format!("error: {name} has no example")))?;
    output.text(&example)?;
    Ok(Exit::Success)
}

/// The backends that have an example.
pub(crate) fn backends(registry: &Registry) -> Vec<&'static str> {
    let mut names = registry.names();
    names.retain(|name| {
        *name == PG || registry.driver(name).is_ok_and(|driver| driver.example_config().is_some())
    });
    names
}
