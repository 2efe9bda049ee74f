//! Runs the real binary on files of its own.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;
use std::process::{Command, Output};

use tempfile::{NamedTempFile, TempPath};

pub const MEMORY: &str = "storage:\n  name: memory\n";

/// A configuration file, removed when it goes out of scope.
pub fn file(text: &str) -> TempPath {
    let mut file = NamedTempFile::with_suffix(".yaml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.into_temp_path()
}

/// A configuration with this connection string in it.
pub fn connected(config: &str, connection_string: &str) -> String {
    let line = |line: &str| match line.split_once("connection_string:") {
        Some((indent, _)) => format!("{indent}connection_string: {connection_string}\n"),
        None => format!("{line}\n"),
    };
    config.lines().map(line).collect()
}

/// The command, without configuration from the environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker-storage"));
    command.args(arguments).env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TRACKER_")) {
        command.env_remove(name);
    }
    command
}

/// What a command did.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs the command to its end.
pub fn run(arguments: &[&str]) -> CommandOutput {
    command(arguments).output().unwrap().into()
}

/// Runs a command on a configuration.
pub fn run_on(config: &str, command: &str, more: &[&str]) -> CommandOutput {
    let file = file(config);
    run(&[&[command, "-c", file.to_str().unwrap()], more].concat())
}
