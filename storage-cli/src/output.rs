//! What commands print. If the reader goes away (`| head`), only the output stops: the command goes on and its
//! exit code is right.

use std::fmt::Display;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;

use comfy_table::{Row, Table, presets};
use serde::Serialize;

use crate::error_code::ErrorCode;
use crate::exit_code::CommandError;
use crate::progress::without_spinner;

/// The standard output.
#[derive(Debug, Default)]
pub(crate) struct Output {
    closed: bool,
}

impl Output {
    /// Prints text and ends the line, at once.
    pub(crate) fn line(&mut self, text: impl Display) -> io::Result<()> {
        self.write(&format!("{text}\n"))
    }

    /// Prints a title, or with JSON on the standard output says it on the standard error.
    pub(crate) fn title(&mut self, title: impl Display, is_json: bool) -> io::Result<()> {
        if is_json {
            note(title);
            return Ok(());
        }
        self.line(title)
    }

    /// Prints text that has its own line ends.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.write(text.trim_end())?;
        self.write("\n")
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line(serde_json::to_string(value)?)
    }

    /// Prints a value with the code of what was found, if anything was, as one line of JSON.
    pub(crate) fn json_with_code(
        &mut self,
        value: &impl Serialize,
        code: Option<ErrorCode>,
    ) -> io::Result<()> {
        #[derive(Serialize)]
        struct WithCode<'a, T: Serialize> {
            #[serde(flatten)]
            value: &'a T,
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<ErrorCode>,
        }
        self.json(&WithCode { value, code })
    }

    /// Prints values as lines of JSON.
    pub(crate) fn json_lines(&mut self, values: impl Iterator<Item = impl Serialize>) -> io::Result<()> {
        let mut lines = String::new();
        for value in values {
            lines.push_str(&serde_json::to_string(&value)?);
            lines.push('\n');
        }
        self.write(&lines)
    }

    /// Whether to go on: not if the reader has gone away.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.closed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Prints rows in aligned columns.
    pub(crate) fn table(&mut self, rows: impl IntoIterator<Item = impl Into<Row>>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.line(table.trim_fmt())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

/// Prints to the standard error, apart from results. A closed standard error is no failure.
pub(crate) fn note(text: impl Display) {
    without_spinner(|| {
        let _ = writeln!(io::stderr(), "{text}");
    });
}

/// Prints the code of what a command found, where its results say the rest.
pub(crate) fn note_code(code: ErrorCode) {
    note(format_args!("code: {code}"));
}

/// Asks a question at the terminal and returns whether the answer is yes.
///
/// # Errors
/// If the standard input is no terminal.
pub(crate) fn confirm(question: impl Display) -> Result<bool, CommandError> {
    if !io::stdin().is_terminal() {
        let message = "cannot ask for confirmation: the standard input is not a terminal; --yes skips it";
        return Err(CommandError::usage(ErrorCode::ConfirmationImpossible, message));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// To thousandths: further digits are not measured.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_more_places_than_are_measured() {
        assert_eq!(rounded(0.062_309_999_999_999_99).to_string(), "0.062");
        assert_eq!(rounded(1_234.567_89).to_string(), "1234.568");
    }
}
