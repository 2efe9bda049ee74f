//! `schema`: recommended tables.

use storage_pg::recommended::{Recommendation, from_seed, to_seed};

use crate::arguments::{Origin, SchemaArguments, SchemaBackend};
use crate::commands::CommandContext;
use crate::exit_code::{CommandResult, Exit};
use crate::recommended;

/// Prints the statements that make the tables, or take them to another version.
pub(crate) fn run(context: &mut CommandContext, arguments: &SchemaArguments) -> CommandResult {
    let SchemaArguments { backend: SchemaBackend::Pg, tables, from, upgrade, downgrade } = arguments;
    let mut choices = recommended::choices(*tables, None);
    let recommendation = Recommendation::read(&mut choices);
    recommended::check(choices, "pg")?;
    let script = match from {
        Some(Origin::Seed) if *downgrade => to_seed(),
        Some(Origin::Seed) => from_seed(),
        None if *upgrade => recommendation.upgrade(),
        None if *downgrade => recommendation.downgrade(),
        None => recommendation.schema(),
    };
    context.output.text(&script)?;
    Ok(Exit::Success)
}
