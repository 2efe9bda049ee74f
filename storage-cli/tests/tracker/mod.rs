//! A running tracker: the real binary, over sockets.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

pub mod bencode;
pub mod http;
pub mod udp;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{CommandOutput, command, file};

/// Loopback of both families, on ports that nobody else has.
const ADDRESSES: [&str; 10] = [
    "--http",
    "127.0.0.1:0",
    "--http",
    "[::1]:0",
    "--udp",
    "127.0.0.1:0",
    "--udp",
    "[::1]:0",
    "--admin",
    "127.0.0.1:0",
];

/// A tracker, stopped when it goes out of scope.
pub struct RunningTracker {
    process: Child,
    /// HTTP over IPv4 and IPv6, UDP over IPv4 and IPv6, the operator's.
    addresses: Vec<SocketAddr>,
    // Keeps the pipe open, so that the tracker can write.
    output: BufReader<std::process::ChildStdout>,
    _file: Option<tempfile::TempPath>,
}

impl RunningTracker {
    /// Without a file.
    pub fn start() -> Self {
        Self::of(command(&["serve"]), &[], None)
    }

    /// With a configuration and further arguments.
    pub fn with(config: &str, arguments: &[&str]) -> Self {
        let file = file(config);
        Self::of(command(&["serve", "-c", file.to_str().unwrap()]), arguments, Some(file))
    }

    /// The same with environment variables.
    pub fn in_environment(config: &str, variables: &[(String, String)]) -> Self {
        let file = file(config);
        let mut command = command(&["serve", "-c", file.to_str().unwrap()]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Self::of(command, &[], Some(file))
    }

    fn of(mut command: Command, arguments: &[&str], file: Option<tempfile::TempPath>) -> Self {
        command.args(ADDRESSES).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut addresses = Vec::new();
        let mut line = String::new();
        while addresses.len() < 5 {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                let mut errors = String::new();
                process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("it does not serve: {errors}");
            }
            let address = line.split_once("//").map(|(_, rest)| rest.split('/').next().unwrap());
            addresses.extend(address.map(|address| address.trim().parse::<SocketAddr>().unwrap()));
        }
        Self { process, addresses, output, _file: file }
    }

    pub fn http(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn http6(&self) -> SocketAddr {
        self.addresses[1]
    }

    pub fn udp(&self) -> SocketAddr {
        self.addresses[2]
    }

    pub fn udp6(&self) -> SocketAddr {
        self.addresses[3]
    }

    /// The one given as a further argument, which is printed before the operator's.
    pub fn last_udp(&self) -> SocketAddr {
        self.addresses[4]
    }

    pub fn admin(&self) -> SocketAddr {
        self.addresses[4]
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal and waits for the end. Of its output there is what comes after the addresses.
    pub fn end_by(mut self, signal: Signal) -> CommandOutput {
        self.signal(signal);
        let status = self.process.wait().unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.output.read_to_string(&mut stdout).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        CommandOutput { code: status.code(), stdout, stderr }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for RunningTracker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
