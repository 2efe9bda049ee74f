//! CockroachDB: a server from the environment, or one started from the program on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::containers::Container;
use super::pg_url::PgUrl;
use super::server_process::{ServerDir, ServerProcess, free_port};
use super::sql_database::{SqlDatabase, SqlDatabases};
use super::{Found, Missing};

/// The environment variable with the URL of a server to use; its user must be able to create databases.
pub const URL_VARIABLE: &str = "TRACKER_STORAGE_TEST_COCKROACH_URL";

/// A server.
pub struct Cockroach {
    databases: Arc<SqlDatabases>,
    process: Option<ServerProcess>,
    container: Option<Container>,
    /// The files that the URL names.
    _files: Option<TempDir>,
}

impl Cockroach {
    fn new(url: &str, process: Option<ServerProcess>) -> Self {
        let url = PgUrl::parse(url);
        let databases = Arc::new(SqlDatabases::new(url.clone(), url, "CASCADE"));
        Self { databases, process, container: None, _files: None }
    }

    /// A server in a container, which is its own, and the files that its URL names.
    pub(super) fn in_container(url: &str, container: Container, files: Option<TempDir>) -> Self {
        Self { container: Some(container), _files: files, ..Self::new(url, None) }
    }

    /// A database with these tables.
    ///
    /// # Errors
    /// What the server says about the script.
    pub async fn database(&self, script: &str) -> sqlx::Result<SqlDatabase> {
        self.databases.create(script).await
    }

    /// Stops a server that was started here; of another one, removes the databases made in it.
    pub(super) fn stop(&self) {
        match (&self.process, &self.container) {
            (Some(process), _) => process.stop(),
            (_, Some(container)) => container.stop(),
            _ => self.databases.stop(),
        }
    }
}

/// The server that the environment names.
pub(super) fn named_by_environment() -> Found<Cockroach> {
    match std::env::var(URL_VARIABLE) {
        Ok(url) => Ok(Cockroach::new(&url, None)),
        Err(_) => Err(Missing::Absent(format!("{URL_VARIABLE} is not set"))),
    }
}

/// A single node started from the program on this machine, which keeps everything in memory.
pub(super) fn from_program() -> Found<Cockroach> {
    let program = program().ok_or_else(|| Missing::Absent("no cockroach in PATH".into()))?;
    let mut failure = String::new();
    // Another process may take the free port before the server starts.
    for _ in 0..3 {
        match start(&program) {
            Ok(server) => return Ok(server),
            Err(error) => failure = error,
        }
    }
    Err(Missing::failed(format!("{}: {failure}", program.display())))
}

fn start(program: &Path) -> Result<Cockroach, String> {
    let io = |error: std::io::Error| error.to_string();
    let dir = ServerDir::new("cockroach").map_err(io)?;
    let port = free_port().map_err(io)?;
    let http_port = free_port().map_err(io)?;
    let arguments = [
        "start-single-node".to_owned(),
        "--insecure".into(),
        "--store=type=mem,size=1GiB".into(),
        "--cache=128MiB".into(),
        "--max-sql-memory=256MiB".into(),
        format!("--listen-addr=127.0.0.1:{port}"),
        format!("--http-addr=127.0.0.1:{http_port}"),
        // Written when the node takes connections.
        "--pid-file=ready".into(),
    ];
    // What is in memory is lost anyway, and a signal it could handle would make it move ranges first.
    let process = dir.start("KILL", program, &arguments).map_err(io)?;
    process.wait_until(Duration::from_secs(120), |directory| directory.join("ready").exists())?;
    let url = format!("postgres://root@127.0.0.1:{port}/defaultdb?sslmode=disable");
    Ok(Cockroach::new(&url, Some(process)))
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|directory| directory.join("cockroach"));
    candidates.find(|program| program.is_file())
}
