//! Servers in containers: each is started once, and removed when the servers are stopped, or when this
//! process ends without having done so.
//!
//! The harness stops the servers after a signal too. The watchdog of `testcontainers` is not used for
//! that: it ends the process, and might do so before what was made on servers of others is removed.

mod images;
mod start;

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use testcontainers::bollard::models::PortBinding;
use testcontainers::core::{ExecCommand, IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt, TestcontainersError};

use super::{Found, Missing};
use crate::runtime::block_on;
use images::Reference;
pub use images::{FURTHER_POSTGRES, FURTHER_REDIS, Image};
pub(super) use images::{POSTGRES, REDIS};
pub(super) use start::{cockroach, cockroach_secured, postgres, redis};

/// The environment variable that asks for containers (`containers`) even where there are programs.
pub const WITH_VARIABLE: &str = "TRACKER_STORAGE_TEST_WITH";

/// A folder in memory, for the server's data.
const DATA: &str = "/test-data";

/// The longest that a server may take to get ready.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Waits for its input to end, which it does with the tests, and removes the container. Without the
/// program `docker`, only the tests themselves remove it.
const REAPER: &str = r#"cat >/dev/null; docker rm --force --volumes "$1""#;

/// Whether the environment asks for containers.
///
/// # Errors
/// [`Missing`] if it asks for something else.
pub fn are_asked_for() -> Found<bool> {
    match std::env::var(WITH_VARIABLE).unwrap_or_default().trim() {
        "" => Ok(false),
        "containers" => Ok(true),
        _ => Err(Missing::failed(format!("{WITH_VARIABLE}: expected `containers`"))),
    }
}

/// A running container, with one port published on the loopback interface.
pub(super) struct Container {
    image: String,
    port: u16,
    running: Mutex<Option<Running>>,
}

struct Running {
    container: ContainerAsync<GenericImage>,
    reaper: Child,
}

impl Container {
    /// Starts a container of the image, whose server listens on this port; `arrange` says how.
    fn start(
        reference: &Reference,
        port: u16,
        arrange: impl FnOnce(GenericImage) -> ContainerRequest<GenericImage>,
    ) -> Found<Self> {
        let failed = |what: &dyn std::fmt::Display| Missing::failed(format!("{reference}: {what}"));
        let request = arrange(reference.to_image().with_exposed_port(port.tcp()))
            .with_mount(Mount::tmpfs_mount(DATA))
            .with_host_config_modifier(move |config| {
                let loopback = PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some("0".into()) };
                config.publish_all_ports = Some(false);
                config.port_bindings = Some(HashMap::from([(format!("{port}/tcp"), Some(vec![loopback]))]));
            });
        let container = block_on(request.start()).map_err(|error| failed(&error))?;
        let reaper = start_reaper(container.id()).map_err(|error| failed(&error))?;
        let port = block_on(container.get_host_port_ipv4(port.tcp())).map_err(|error| failed(&error))?;
        let running = Mutex::new(Some(Running { container, reaper }));
        Ok(Self { image: reference.to_string(), port, running })
    }

    /// The port on 127.0.0.1.
    fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the server is ready.
    ///
    /// # Errors
    /// [`Missing`] with the end of its log, if it ends before that or takes too long.
    fn wait_until(&self, is_ready: impl Fn() -> bool) -> Found<()> {
        let begun = Instant::now();
        while !is_ready() {
            let what = if !self.ask(async |container| container.is_running().await)? {
                "ended at its start"
            } else if begun.elapsed() > TIMEOUT {
                "did not get ready in time"
            } else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let log = self.end_of_log()?;
            return Err(Missing::failed(format!("{}: it {what}; the end of its log:\n{log}", self.image)));
        }
        Ok(())
    }

    /// Runs a command in the container and gives what it prints.
    fn run<'a>(&self, command: impl IntoIterator<Item = &'a str>) -> Found<Vec<u8>> {
        let command = ExecCommand::new(command);
        let (printed, code) = self.ask(async |container| {
            let mut process = container.exec(command).await?;
            Ok((process.stdout_to_vec().await?, process.exit_code().await?))
        })?;
        match code {
            Some(0) => Ok(printed),
            _ => Err(Missing::failed(format!("{}: a command in the container failed", self.image))),
        }
    }

    fn end_of_log(&self) -> Found<String> {
        let mut log = self.ask(async |container| container.stdout_to_vec().await)?;
        log.extend(self.ask(async |container| container.stderr_to_vec().await)?);
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        Ok(lines[lines.len().saturating_sub(10)..].join("\n"))
    }

    /// Asks Docker something about the container.
    fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&ContainerAsync<GenericImage>) -> Result<T, TestcontainersError>,
    ) -> Found<T> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |what: &dyn std::fmt::Display| Missing::failed(format!("{}: {what}", self.image));
        let running = running.as_ref().ok_or_else(|| failed(&"the container has been removed"))?;
        block_on(question(&running.container)).map_err(|error| failed(&error))
    }

    /// Removes the container, with its data.
    pub(super) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { container, mut reaper }) = running else { return };
        match block_on(container.rm()) {
            Ok(()) => {
                let _ = reaper.kill();
            }
            Err(error) => eprintln!("could not remove the container of {}: {error}", self.image),
        }
        drop(reaper.stdin.take());
        let _ = reaper.wait();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the process that removes the container if this one is killed.
fn start_reaper(id: &str) -> std::io::Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", REAPER, "reaper", id]).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Whether a server that speaks the PostgreSQL protocol accepts connections at this URL.
fn accepts_connections(url: &str) -> bool {
    let connect = async || {
        let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
        PgConnection::connect_with(&options).await?.close().await
    };
    block_on(connect()).is_ok()
}

/// A password made up for this run.
fn password() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
