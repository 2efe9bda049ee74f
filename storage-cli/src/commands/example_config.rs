//! `example-config`: a configuration to begin with.

use storage_core::Backends;

use crate::arguments::ExampleConfigArguments;
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::recommended;

/// Prints the example of a backend.
pub(crate) fn run(context: &mut CommandContext, arguments: &ExampleConfigArguments) -> CommandResult {
    let ExampleConfigArguments { backend, tables, program } = arguments;
    let driver = context.backends.driver(backend);
    let driver =
        driver.map_err(|unknown| CommandError::usage(ErrorCode::UnknownBackend, unknown.to_string()))?;
    let name = driver.name();
    let mut choices = recommended::choices(*tables, *program);
    let example = driver.example_config_for(&mut choices);
    recommended::check(choices, name)?;
    let example = example.ok_or_else(|| {
        CommandError::usage(ErrorCode::Usage, format!("the backend {name} has no example configuration"))
    })?;
    context.output.text(&example)?;
    Ok(Exit::Success)
}

/// The backends that have an example.
pub(crate) fn backends(backends: &Backends) -> Vec<&'static str> {
    let mut names = backends.names();
    names.retain(|name| backends.driver(name).is_ok_and(|driver| driver.example_config().is_some()));
    names
}
