//! What is chosen on the command line for examples and tables, as the drivers of backends read it.

use storage_core::config::{ConfigDiagnostics, Section, Value};

use crate::arguments::{ADDRESS_COLUMNS, DIALECTS, Named, Program, TableArguments};
use crate::error_code::ErrorCode;
use crate::exit_code::CommandError;

/// The choices, each by the name of its option.
pub(crate) fn choices(tables: TableArguments, program: Option<Program>) -> Section {
    let TableArguments { dialect, address, unlogged } = tables;
    let given = [
        ("dialect", dialect.and_then(|dialect| name(&DIALECTS, dialect))),
        ("address", address.and_then(|address| name(&ADDRESS_COLUMNS, address))),
        ("unlogged", unlogged.then_some(Value::Boolean(true))),
        ("for", program.map(|Program::Mochi| Value::Text("mochi".into()))),
    ];
    let given = given.into_iter().filter_map(|(option, value)| Some((option.to_owned(), value?)));
    Section::new(Value::Section(given.collect()))
}

fn name<T: PartialEq, const N: usize>(values: &Named<T, N>, chosen: T) -> Option<Value> {
    values.iter().find(|(_, _, value)| *value == chosen).map(|(name, ..)| Value::Text((*name).to_owned()))
}

/// Fails if a backend does not have one of the choices, or they do not go together.
pub(crate) fn check(choices: Section, backend: &str) -> Result<(), CommandError> {
    let ConfigDiagnostics { problems, probable_typos, unknown, .. } = choices.finish();
    if let Some(problem) = problems.first() {
        return Err(CommandError::usage(ErrorCode::Usage, format!("--{}: {}", problem.key, problem.message)));
    }
    if let Some(problem) = probable_typos.iter().chain(&unknown).next() {
        let message = format!("--{}: the backend {backend} does not have this option", problem.key);
        return Err(CommandError::usage(ErrorCode::Usage, message));
    }
    Ok(())
}
