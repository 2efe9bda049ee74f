//! Asking before something is done that cannot be undone.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

use crate::exit_code::CommandError;

/// Asks a question at the terminal; whether the answer is yes.
///
/// # Errors
/// If there is nobody to ask.
pub(crate) fn confirm(question: impl Display) -> Result<bool, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage(
            "error: there is nobody to ask: give --yes to do it without a question",
        ));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
