//! Confirmation of what cannot be undone.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

use crate::exit_code::CommandError;

/// Asks a question at the terminal and returns whether the answer is yes.
///
/// # Errors
/// If the standard input is no terminal.
pub(crate) fn confirm(question: impl Display) -> Result<bool, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage(
            "error: the standard input is no terminal: use --yes to skip the confirmation",
        ));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
