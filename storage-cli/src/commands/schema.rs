//! `schema`: recommended tables.

use storage_pg::recommended::FROM_SEED;

use crate::arguments::{Origin, SchemaArguments, SchemaBackend};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::recommended;

/// Prints the statements that make the tables.
pub(crate) fn run(arguments: &SchemaArguments, output: &mut Output) -> Result<Exit, Failure> {
    let schema = match (arguments.backend, arguments.from) {
        (SchemaBackend::Pg, Some(Origin::Seed)) => FROM_SEED.to_owned(),
        (SchemaBackend::Pg, None) => recommended::for_pg(arguments.tables, None)?.schema(),
    };
    output.text(&schema)?;
    Ok(Exit::Success)
}
