//! How a command ends.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use storage_core::Timestamp;
use storage_core::config::Problem;

use crate::arguments::LogFormat;
use crate::error_code::ErrorCode;
use crate::output::note;

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
    /// What went wrong; one at least.
    pub(crate) messages: Vec<CodedMessage>,
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CodedMessage {
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
}

impl CodedMessage {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A problem of a configuration file.
    pub(crate) fn of_problem(file: &Path, problem: &Problem) -> Self {
        Self::new(problem.kind.into(), format!("{}: {problem}", file.display()))
    }
}

impl fmt::Display for CodedMessage {
    /// The code is at the end of the first line, which is the only one of most messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, text } = self;
        match text.split_once('\n') {
            Some((first, rest)) => write!(f, "{first} [{code}]\n{rest}"),
            None => write!(f, "{text} [{code}]"),
        }
    }
}

impl CommandError {
    pub(crate) fn finding(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::of(Exit::Finding, CodedMessage::new(code, message))
    }

    pub(crate) fn usage(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::of(Exit::Usage, CodedMessage::new(code, message))
    }

    pub(crate) fn of(exit: Exit, message: CodedMessage) -> Self {
        Self { exit, messages: vec![message] }
    }

    /// Several problems, each with its code.
    pub(crate) fn findings(messages: impl IntoIterator<Item = CodedMessage>) -> Self {
        Self { exit: Exit::Finding, messages: messages.into_iter().collect() }
    }

    /// The same problems, with a code that says more.
    pub(crate) fn with_code(mut self, code: ErrorCode) -> Self {
        self.messages.iter_mut().for_each(|message| message.code = code);
        self
    }

    /// Adds the problems of another one.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.messages.extend(other.messages);
        self
    }

    /// Says before each message what was being done.
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        for message in &mut self.messages {
            message.text = format!("{what}: {}", message.text);
        }
        self
    }

    /// Prints the problems to the standard error: a line each, or a JSON object each where logs are JSON.
    pub(crate) fn print(&self, program: &str, format: LogFormat) {
        if matches!(format, LogFormat::Json) {
            for CodedMessage { code, text } in &self.messages {
                let fields = json!({ "message": text, "code": code });
                let timestamp = Timestamp::now().to_string();
                note(
                    json!({ "timestamp": timestamp, "level": "ERROR", "fields": fields, "target": "storage_cli" }),
                );
            }
            return;
        }
        for message in &self.messages {
            note(format_args!("error: {message}"));
        }
        // Scripts read the codes; people at a terminal may not know what they are for.
        if let (true, Some(CodedMessage { code, .. })) = (io::stderr().is_terminal(), self.messages.first()) {
            note(format_args!("`{program} explain {code}` says more about this error"));
        }
    }
}

/// Of writing to the standard output, the only I/O that commands do themselves.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::usage(ErrorCode::OutputFailed, format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_at_the_end_of_the_first_line() {
        let message = |text: &str| CodedMessage::new(ErrorCode::UnknownBackend, text).to_string();
        assert_eq!(message("no backend"), "no backend [TS-1003]");
        assert_eq!(message("no backend\nuse `pg`"), "no backend [TS-1003]\nuse `pg`");
    }
}
