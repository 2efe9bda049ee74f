//! One Redis server process.

use std::path::{Path, PathBuf};

use redis::RedisConnectionInfo;
use redis::{Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisResult};
use storage_core::config::Value;

use super::{TIMEOUT, ask, program};
use crate::servers::server_process::{ServerDir, ServerProcess, free_port};
use crate::servers::{Found, Frozen, Missing};

/// A user and the password.
#[derive(Clone)]
pub struct Login {
    /// The user's name.
    pub name: &'static str,
    /// The password.
    pub password: String,
}

impl Login {
    /// A user with a password made up for this run.
    pub fn new(name: &'static str) -> Self {
        Self { name, password: hex::encode(rand::random::<[u8; 16]>()) }
    }

    /// The line of a configuration file that lets this user do everything, and nobody else anything.
    fn setting(&self) -> String {
        format!("user {} on >{} ~* &* +@all\nuser default off", self.name, self.password)
    }
}

/// How a server is set up: on a free port of the loopback interface, and without persistence unless
/// set otherwise.
#[derive(Clone, Default)]
pub struct Setup {
    settings: Vec<String>,
    files: Vec<(&'static str, Vec<u8>)>,
    login: Option<Login>,
    sentinel: bool,
}

impl Setup {
    /// With a line of the configuration file.
    #[must_use]
    pub fn setting(mut self, line: impl Into<String>) -> Self {
        self.settings.push(line.into());
        self
    }

    /// With a file in the server's directory, which is the one that names in settings are relative to.
    #[must_use]
    pub fn file(mut self, name: &'static str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name, content.into()));
        self
    }

    /// With the content of a snapshot (RDB).
    #[must_use]
    pub fn snapshot(self, content: impl Into<Vec<u8>>) -> Self {
        self.file("dump.rdb", content)
    }

    /// With every acknowledged write kept when the process is killed.
    #[must_use]
    pub fn durable(self) -> Self {
        // The system's cache outlives the process.
        self.setting("appendonly yes").setting("appendfsync no")
    }

    /// With access for this user only.
    #[must_use]
    pub fn login(mut self, login: Login) -> Self {
        self.settings.push(login.setting());
        self.login = Some(login);
        self
    }

    /// As a sentinel.
    #[must_use]
    pub fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }
}

/// A server process of a test's own, which ends when this is dropped. Its methods block the thread.
pub struct Node {
    port: u16,
    login: Option<Login>,
    process: ServerProcess,
}

impl Node {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// [`Missing`] if there is no program, or it does not start.
    pub fn start(setup: &Setup) -> Found<Self> {
        let program = program()?;
        super::start(&program.display().to_string(), || Self::try_to_start(&program, setup))
    }

    fn try_to_start(program: &Path, setup: &Setup) -> Result<Self, String> {
        let io = |error: std::io::Error| error.to_string();
        let dir = ServerDir::new("redis").map_err(io)?;
        let port = free_port().map_err(io)?;
        let mut config = format!("bind 127.0.0.1\nport {port}\ndir {}\n", dir.path().display());
        if !setup.sentinel {
            config.push_str("save \"\"\nrepl-diskless-sync-delay 0\n");
        }
        config.push_str(&setup.settings.join("\n"));
        for (name, content) in &setup.files {
            dir.file(name, content).map_err(io)?;
        }
        let mut arguments = vec![dir.file("server.conf", config).map_err(io)?.display().to_string()];
        if setup.sentinel {
            arguments.push("--sentinel".into());
        }
        let process = dir.start("KILL", program, &arguments).map_err(io)?;
        let node = Self { port, login: setup.login.clone(), process };
        node.wait_until_it_answers()?;
        Ok(node)
    }

    fn wait_until_it_answers(&self) -> Result<(), String> {
        let ping = redis::cmd("PING");
        self.process.wait_until(TIMEOUT, |_| self.ask::<String>(&ping).is_ok())
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A file in the server's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.process.directory().join(name)
    }

    /// How to reach the server's first database.
    pub(super) fn server(&self) -> ConnectionInfo {
        let mut access = RedisConnectionInfo::default();
        if let Some(Login { name, password }) = &self.login {
            access = access.set_username(name).set_password(password);
        }
        let address = ConnectionAddr::Tcp("127.0.0.1".into(), self.port);
        address.into_connection_info().expect("a host and a port").set_redis_settings(access)
    }

    /// A client of the server's first database.
    pub fn client(&self) -> Client {
        Client::open(self.server()).expect("a host and a port")
    }

    /// The keys of a storage's configuration for the server's first database.
    pub fn settings(&self) -> Vec<(String, Value)> {
        super::settings(&self.server())
    }

    /// Sends a command and gives the answer.
    ///
    /// # Errors
    /// What the server or the network says.
    pub fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        ask(&self.server(), command)
    }

    /// Repeats a command until it has the expected answer.
    ///
    /// # Errors
    /// [`Missing`] if it does not come in time.
    pub fn ask_until<T: FromRedisValue>(&self, command: &Cmd, is_awaited: impl Fn(&T) -> bool) -> Found<()> {
        let is_ready = |_: &Path| self.ask(command).is_ok_and(|answer| is_awaited(&answer));
        self.process.wait_until(TIMEOUT, is_ready).map_err(Missing::failed)
    }

    /// Kills the process, so that it cannot save anything.
    ///
    /// # Errors
    /// [`Missing`] if it could not be done.
    pub fn kill(&self) -> Found<()> {
        self.send("KILL")?;
        while !self.process.has_ended() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops the process with SIGSTOP: connections stay open, and nothing is answered.
    ///
    /// # Errors
    /// [`Missing`] if it could not be done.
    pub fn freeze(&self) -> Found<()> {
        self.send("STOP")
    }

    /// Continues the process after [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// [`Missing`] if it could not be done.
    pub fn thaw(&self) -> Found<()> {
        self.send("CONT")
    }

    /// Stops the process with SIGSTOP until the guard is dropped.
    ///
    /// # Errors
    /// [`Missing`] if it could not be done.
    pub fn freeze_process(&self) -> Found<Frozen> {
        let process = std::fs::read_to_string(self.path("pid")).map_err(Missing::failed)?;
        Frozen::stop(&[process.trim().parse().map_err(Missing::failed)?])
    }

    fn send(&self, signal: &str) -> Found<()> {
        self.process.send(signal).map_err(Missing::failed)
    }

    /// Starts the process again after [`kill`](Self::kill), on the same port and with the data that it
    /// kept, and waits until it answers.
    ///
    /// # Errors
    /// [`Missing`] if it does not start.
    pub fn start_again(&self) -> Found<()> {
        self.process.start_again().map_err(Missing::failed)?;
        self.wait_until_it_answers().map_err(Missing::failed)
    }

    /// Ends the process for good and removes its directory.
    pub fn stop(&self) {
        self.process.stop();
    }
}
