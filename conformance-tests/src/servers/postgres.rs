//! PostgreSQL: a server from the environment, or one started from programs on this machine.

mod faults;
mod restart;
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::RwLock;

use super::containers::Container;
use super::server_process::{ServerDir, ServerProcess, free_port};
use super::{Found, Missing};
pub use schema::Schema;

/// The environment variable with the URL of a server to use; its user must be able to create schemas.
pub const URL_VARIABLE: &str = "TRACKER_STORAGE_TEST_PG_URL";

/// Settings of a server whose data may be lost at any time. The zone has half hours, to find
/// code that mixes up UTC and local time; in this form it needs no zone files.
pub(super) const SETTINGS: [&str; 6] = [
    "max_connections=200",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_wal_size=256MB",
    "timezone=<+0530>-05:30",
];

/// How long a server may take to get ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server.
pub struct Postgres {
    url: String,
    process: Mutex<Option<ServerProcess>>,
    container: Option<Container>,
    schemas: Mutex<BTreeSet<String>>,
    /// Read while a schema is made, so that a stop waits for it.
    stopped: RwLock<bool>,
}

impl Postgres {
    fn new(url: String, process: Option<ServerProcess>) -> Self {
        Self {
            url,
            process: Mutex::new(process),
            container: None,
            schemas: Mutex::default(),
            stopped: RwLock::new(false),
        }
    }

    /// A server in a container, which is its own.
    pub(super) fn in_container(url: String, container: Container) -> Self {
        Self { container: Some(container), ..Self::new(url, None) }
    }

    /// The URL of the server's database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection.
    ///
    /// # Errors
    /// What the server or the network says.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        let options = PgConnectOptions::from_str(&self.url)?.disable_statement_logging();
        PgConnection::connect_with(&options).await
    }

    fn schemas(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops a server that was started here; of another one, removes the schemas made in it.
    pub(super) fn stop(&self) {
        *crate::runtime::block_on(self.stopped.write()) = true;
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        let left_over = std::mem::take(&mut *self.schemas());
        if let Some(container) = &self.container {
            return container.stop();
        }
        if process.is_some() || left_over.is_empty() {
            return;
        }
        if let Err(error) = crate::runtime::block_on(schema::drop_all(self, &left_over)) {
            eprintln!("could not remove the schemas {left_over:?}: {error}");
        }
    }
}

/// The server that the environment names.
pub(super) fn named_by_environment() -> Found<Postgres> {
    match std::env::var(URL_VARIABLE) {
        Ok(url) => Ok(Postgres::new(url, None)),
        Err(_) => Err(Missing::Absent(format!("{URL_VARIABLE} is not set"))),
    }
}

/// A server started from the newest programs on this machine.
pub(super) fn from_programs() -> Found<Postgres> {
    let programs = programs().ok_or_else(|| {
        Missing::Absent("no PostgreSQL server programs in /usr/lib/postgresql/*/bin or PATH".into())
    })?;
    let mut failure = String::new();
    // Another process may take the free port before the server starts.
    for _ in 0..3 {
        match start(&programs, &SETTINGS) {
            Ok(server) => return Ok(server),
            Err(error) => failure = error,
        }
    }
    Err(Missing::failed(format!("PostgreSQL of {}: {failure}", programs.display())))
}

fn start(programs: &Path, settings: &[&str]) -> Result<Postgres, String> {
    let io = |error: std::io::Error| error.to_string();
    let dir = ServerDir::new("postgres").map_err(io)?;
    let password = hex::encode(rand::random::<[u8; 16]>());
    let password_file = dir.file("password", &password).map_err(io)?;
    let data = dir.directory("data").map_err(io)?;

    let mut initdb = dir.command(programs.join("initdb"));
    initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password_file);
    initdb.args(["--username=tracker", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    let made = initdb.output().map_err(io)?;
    if !made.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
    }
    fs::remove_file(&password_file).map_err(io)?;

    let port = free_port().map_err(io)?;
    let mut arguments = vec!["-D".to_owned(), data.display().to_string(), "-p".into(), port.to_string()];
    for setting in settings.iter().chain(&["listen_addresses=127.0.0.1", "unix_socket_directories="]) {
        arguments.extend(["-c".into(), (*setting).to_owned()]);
    }
    let process = dir.start("QUIT", &programs.join("postgres"), &arguments).map_err(io)?;
    process.wait_until(START_TIMEOUT, says_it_is_ready)?;
    let url = format!("postgres://tracker:{password}@127.0.0.1:{port}/postgres");
    Ok(Postgres::new(url, Some(process)))
}

/// The server keeps its state in the last line of `postmaster.pid`, for `pg_ctl` to read.
fn says_it_is_ready(directory: &Path) -> bool {
    let state = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
    state.lines().last().is_some_and(|line| line.trim() == "ready")
}

/// The directory with the newest server programs.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let packaged = versions.into_iter().rev().map(|(_, directory)| directory);
    let path = std::env::var_os("PATH").unwrap_or_default();
    packaged
        .chain(std::env::split_paths(&path))
        .find(|directory| ["initdb", "postgres"].iter().all(|program| directory.join(program).is_file()))
}
