//! `schema`: recommended tables.

use crate::arguments::{SchemaArguments, SchemaBackend};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::recommended;

/// Prints the statements that make the tables.
pub(crate) fn run(arguments: &SchemaArguments, output: &mut Output) -> Result<Exit, Failure> {
    let schema = match arguments.backend {
        SchemaBackend::Pg => recommended::for_pg(arguments.tables, None)?.schema(),
    };
    output.text(&schema)?;
    Ok(Exit::Success)
}
