//! `schema`: recommended tables.

use storage_pg::recommended::{AddressColumn, Dialect, Recommendation, from_seed, to_seed};

use crate::arguments::{Origin, Program, SchemaArguments, SchemaBackend, TableArguments};
use crate::exit_code::{CommandError, Exit};
use crate::output::Output;

/// Prints the statements that make the tables, or take them to another version.
pub(crate) fn run(arguments: &SchemaArguments, output: &mut Output) -> Result<Exit, CommandError> {
    let SchemaArguments { backend: SchemaBackend::Pg, tables, from, upgrade, downgrade } = arguments;
    let recommendation = recommendation(*tables, None)?;
    let script = match from {
        Some(Origin::Seed) if *downgrade => to_seed(),
        Some(Origin::Seed) => from_seed(),
        None if *upgrade => recommendation.upgrade(),
        None if *downgrade => recommendation.downgrade(),
        None => recommendation.schema(),
    };
    output.text(&script)?;
    Ok(Exit::Success)
}

/// What `storage-pg` recommends, by the options of the command line.
pub(super) fn recommendation(
    tables: TableArguments,
    program: Option<Program>,
) -> Result<Recommendation, CommandError> {
    let TableArguments { dialect, address, unlogged } = tables;
    let dialect = dialect.unwrap_or_default();
    if unlogged && dialect == Dialect::Cockroachdb {
        return Err(CommandError::usage("error: --unlogged: CockroachDB has no unlogged tables"));
    }
    let address = address.unwrap_or(match dialect {
        Dialect::Postgres => AddressColumn::Inet,
        Dialect::Cockroachdb => AddressColumn::Bytea,
    });
    Ok(Recommendation { dialect, address, unlogged, for_mochi: matches!(program, Some(Program::Mochi)) })
}
