//! PgBouncer in transaction mode in front of the PostgreSQL server of the tests.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::pg_url::PgUrl;
use super::server_process::{ServerDir, ServerProcess, free_port};
use super::sql_database::{SqlDatabase, SqlDatabases};
use super::{Found, Missing, Servers};

/// Connections to the server for each database: fewer than there are callers.
pub const SERVER_CONNECTIONS: u32 = 3;

/// A pooler.
pub struct PgBouncer {
    databases: Arc<SqlDatabases>,
    process: ServerProcess,
}

impl PgBouncer {
    /// A database that is reached through the pooler, with these tables.
    ///
    /// # Errors
    /// What the server says about the script.
    pub async fn database(&self, script: &str) -> sqlx::Result<SqlDatabase> {
        self.databases.create(script).await
    }

    /// A pooler for one test, in a pool mode of PgBouncer, with one connection to the server for each database. It
    /// does not mind how clients begin, and clients do not know of it.
    ///
    /// # Errors
    /// [`Missing`] if there is no program for it.
    pub fn of_a_test(pool_mode: &str) -> Found<Self> {
        let more = format!(
            "pool_mode = {pool_mode}\ndefault_pool_size = 1\nignore_startup_parameters = extra_float_digits\n"
        );
        start_somewhere(&more, |way| way)
    }

    /// Ends it, with its databases.
    pub fn stop(&self) {
        self.databases.stop();
        self.process.stop();
    }
}

/// A pooler started from the program on this machine.
pub(super) fn from_program() -> Found<PgBouncer> {
    let more = format!("pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\n");
    start_somewhere(&more, |way| way.with("default_query_exec_mode", "exec"))
}

fn start_somewhere(more: &str, way: fn(PgUrl) -> PgUrl) -> Found<PgBouncer> {
    let program = program().ok_or_else(|| Missing::Absent("no pgbouncer in PATH or /usr/sbin".into()))?;
    let server = PgUrl::parse(Servers::shared().postgres()?.url());
    let mut failure = String::new();
    // Another process may take the free port before the pooler starts.
    for _ in 0..3 {
        match start(&program, &server, more, way) {
            Ok(pooler) => return Ok(pooler),
            Err(Missing::Failed(error)) => failure = error,
            Err(absent) => return Err(absent),
        }
    }
    Err(Missing::failed(format!("{}: {failure}", program.display())))
}

fn start(program: &Path, server: &PgUrl, more: &str, way: fn(PgUrl) -> PgUrl) -> Found<PgBouncer> {
    let unknown = |what: &str| Missing::Absent(format!("the URL of the PostgreSQL server has no {what}"));
    let (user, password) = server.login().ok_or_else(|| unknown("plain name and password"))?;
    let (host, port) = server.host_and_port().ok_or_else(|| unknown("single host"))?;

    let dir = ServerDir::new("pgbouncer").map_err(Missing::failed)?;
    let users = dir.file("users", format!("\"{user}\" \"{password}\"\n")).map_err(Missing::failed)?;
    let own_port = free_port().map_err(Missing::failed)?;
    let settings = format!(
        "[databases]\n\
         * = host={host} port={port}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {own_port}\n\
         unix_socket_dir =\n\
         auth_type = md5\n\
         auth_file = {}\n\
         max_client_conn = 1000\n\
         server_idle_timeout = 2\n\
         {more}",
        users.display()
    );
    let settings = dir.file("pgbouncer.ini", settings).map_err(Missing::failed)?;
    let arguments = [settings.display().to_string()];
    let process = dir.start("TERM", program, &arguments).map_err(Missing::failed)?;
    let listens = |_: &Path| TcpStream::connect(("127.0.0.1", own_port)).is_ok();
    process.wait_until(Duration::from_secs(20), listens).map_err(Missing::failed)?;

    let way = way(server.clone().at(&[format!("127.0.0.1:{own_port}")]));
    // The pooler keeps its connections to a database for a while.
    let databases = Arc::new(SqlDatabases::new(server.clone(), way, "WITH (FORCE)"));
    Ok(PgBouncer { databases, process })
}

/// Debian installs it in a directory that is not in the `PATH` of users.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join("pgbouncer"))
        .find(|program| program.is_file())
}
