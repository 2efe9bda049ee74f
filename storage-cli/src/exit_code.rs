//! How a command ends.

use std::io;
use std::process::ExitCode;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    /// A problem was found.
    Finding = 1,
    /// Wrong usage, or a file that cannot be read.
    Usage = 2,
    /// Acknowledged writes were lost.
    WritesLost = 3,
    /// Ctrl-C, as shells have it: 128 + SIGINT.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// How a command ended.
pub(crate) type CommandResult = Result<Exit, CommandError>;

/// A command that could not do what it was asked.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) exit: Exit,
    /// What went wrong, a line a problem.
    pub(crate) message: String,
}

impl CommandError {
    pub(crate) fn finding(message: impl Into<String>) -> Self {
        Self { exit: Exit::Finding, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

/// Of writing to the standard output, the only I/O that commands do themselves.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::usage(format!("cannot write the output: {error}"))
    }
}
