//! What `storage-pg` recommends, by the choices of the command line.

use storage_pg::recommended::{AddressColumn, Dialect, Recommendation};

use crate::arguments::{self, Address, Program, TableArguments};
use crate::exit_code::CommandError;

/// The name of the backend that these choices are for.
pub(crate) const PG: &str = "pg";

/// The recommendation for these choices.
pub(crate) fn for_pg(
    tables: TableArguments,
    program: Option<Program>,
) -> Result<Recommendation, CommandError> {
    let TableArguments { dialect, address, unlogged } = tables;
    let dialect = match dialect {
        None | Some(arguments::Dialect::Postgres) => Dialect::Postgres,
        Some(arguments::Dialect::Cockroachdb) => Dialect::Cockroachdb,
    };
    if unlogged && dialect == Dialect::Cockroachdb {
        return Err(CommandError::usage("error: --unlogged: CockroachDB has no unlogged tables"));
    }
    let address = match (address, dialect) {
        (Some(Address::Inet), _) | (None, Dialect::Postgres) => AddressColumn::Inet,
        (Some(Address::Bytea), _) | (None, Dialect::Cockroachdb) => AddressColumn::Bytea,
    };
    Ok(Recommendation { dialect, address, unlogged, for_mochi: matches!(program, Some(Program::Mochi)) })
}
