//! What commands print. If the reader goes away (`| head`), only the output stops: the command goes on and its
//! exit code is right.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;

use comfy_table::{Row, Table, presets};
use serde::Serialize;

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

    /// Prints text that has its own line ends.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.write(text.trim_end())?;
        self.write("\n")
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line(serde_json::to_string(value)?)
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
    let _ = writeln!(io::stderr(), "{text}");
}
