//! A server for one test that is frozen, killed, or has a standby.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use rand::RngExt;

use super::{Postgres, START_TIMEOUT, programs, says_it_is_ready};
use crate::servers::frozen::{Frozen, children, signal};
use crate::servers::server_process::{ServerDir, free_port};
use crate::servers::{Found, Missing, PgUrl};

/// As the primary has them, so that the standby can follow.
const STANDBY_SETTINGS: [&str; 4] =
    ["max_connections=50", "fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories="];

const COUNT: &str = "SELECT count(*) FROM pg_stat_activity \
                     WHERE usename = $1 AND backend_type = 'client backend'";
const PROCESSES: &str = "SELECT pid FROM pg_stat_activity \
                         WHERE usename = $1 AND backend_type = 'client backend'";
/// Sessions whose transaction has written, or locked rows.
const HOLDERS: &str = "SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1) AND backend_xid IS NOT NULL";

/// How often a session that holds locks is continued for a moment.
const ATTEMPTS: usize = 1000;
const MOMENT: Duration = Duration::from_millis(1);

impl Postgres {
    /// The URL for a new role that may do everything; its sessions are told apart by its name.
    ///
    /// # Errors
    /// What the server says.
    pub async fn new_role(&self, name: &str) -> sqlx::Result<String> {
        let password: String = (0..24).map(|_| rand::rng().random_range('a'..='z')).collect();
        let create = format!("CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{password}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut self.connect().await?).await?;
        let rest = self.url().rsplit_once('@').map_or("", |(_, rest)| rest);
        Ok(format!("postgres://{name}:{password}@{rest}"))
    }

    /// The number of sessions of a role.
    ///
    /// # Errors
    /// What the server says.
    pub async fn count_sessions(&self, role: &str) -> sqlx::Result<usize> {
        let count: i64 = sqlx::query_scalar(COUNT).bind(role).fetch_one(&mut self.connect().await?).await?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Freezes the sessions of a role, and nothing else of the server. None of them holds locks of rows: while
    /// it was frozen, nobody could write these rows, and nothing but the process itself could end it.
    ///
    /// # Errors
    /// [`Missing`] if they cannot be found or stopped.
    pub async fn freeze_sessions(&self, role: &str) -> Found<Frozen> {
        let mut connection = self.connect().await.map_err(Missing::failed)?;
        let processes: Vec<i32> = sqlx::query_scalar(PROCESSES)
            .bind(role)
            .fetch_all(&mut connection)
            .await
            .map_err(Missing::failed)?;
        let frozen = Frozen::stop(&processes)?;
        for _ in 0..ATTEMPTS {
            let holders: Vec<i32> = sqlx::query_scalar(HOLDERS)
                .bind(&processes)
                .fetch_all(&mut connection)
                .await
                .map_err(Missing::failed)?;
            if holders.is_empty() {
                return Ok(frozen);
            }
            for process in &holders {
                signal(*process, Signal::SIGCONT)?;
            }
            tokio::time::sleep(MOMENT).await;
            for process in &holders {
                signal(*process, Signal::SIGSTOP)?;
            }
        }
        Err(Missing::failed("there is always a session that holds locks"))
    }

    /// Freezes the whole server. The system still accepts connections for it.
    ///
    /// # Errors
    /// [`Missing`] if it cannot be stopped.
    pub fn freeze(&self) -> Found<Frozen> {
        let postmaster = self.postmaster()?;
        // First the one that would start further processes.
        let frozen = Frozen::stop(&[postmaster])?;
        let of_children = Frozen::stop(&children(postmaster))?;
        Ok(frozen.and(of_children))
    }

    /// Kills every process of the server (`kill -9`).
    ///
    /// # Errors
    /// [`Missing`] if it cannot be done.
    pub fn kill(&self) -> Found<()> {
        let postmaster = self.postmaster()?;
        signal(postmaster, Signal::SIGSTOP)?;
        let processes = children(postmaster);
        for process in processes.iter().chain([&postmaster]) {
            signal(*process, Signal::SIGKILL)?;
        }
        self.with_process(|process| {
            while !process.has_ended() {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        })
    }

    /// Starts a hot standby that streams from this server.
    ///
    /// # Errors
    /// [`Missing`] if it cannot be copied or does not start.
    pub fn start_standby(&self) -> Found<Self> {
        let programs = programs().ok_or_else(|| Missing::Absent("no PostgreSQL server programs".into()))?;
        let dir = ServerDir::new("standby").map_err(Missing::failed)?;
        let data = dir.directory("data").map_err(Missing::failed)?;
        let mut copy = dir.command(programs.join("pg_basebackup"));
        copy.args(["--wal-method=stream", "--checkpoint=fast", "--write-recovery-conf", "--no-sync"]);
        copy.arg("--pgdata").arg(&data).arg("--dbname").arg(self.url());
        let copied = copy.output().map_err(Missing::failed)?;
        if !copied.status.success() {
            let error = String::from_utf8_lossy(&copied.stderr);
            return Err(Missing::failed(format!("pg_basebackup: {error}")));
        }
        let port = free_port().map_err(Missing::failed)?;
        let mut arguments = vec!["-D".to_owned(), data.display().to_string(), "-p".into(), port.to_string()];
        for setting in STANDBY_SETTINGS {
            arguments.extend(["-c".into(), setting.to_owned()]);
        }
        let process = dir.start("QUIT", &programs.join("postgres"), &arguments).map_err(Missing::failed)?;
        process.wait_until(START_TIMEOUT, says_it_is_ready).map_err(Missing::failed)?;
        let url = PgUrl::parse(self.url()).at(&[format!("127.0.0.1:{port}")]);
        Ok(Self::new(url.to_string(), Some(process)))
    }

    /// Makes a standby the primary and waits until it is.
    ///
    /// # Errors
    /// What the server says.
    pub async fn promote(&self) -> sqlx::Result<()> {
        let mut connection = self.connect().await?;
        let promoted: bool =
            sqlx::query_scalar("SELECT pg_promote(true, 30)").fetch_one(&mut connection).await?;
        if promoted {
            Ok(())
        } else {
            Err(sqlx::Error::Protocol("the standby was not promoted in time".into()))
        }
    }

    fn postmaster(&self) -> Found<i32> {
        let mut file = PathBuf::new();
        self.with_process(|process| {
            file = process.directory().join("data/postmaster.pid");
            Ok(())
        })?;
        let content = fs::read_to_string(&file).map_err(Missing::failed)?;
        let process = content.lines().next().and_then(|line| line.trim().parse().ok());
        process.ok_or_else(|| Missing::failed("`postmaster.pid` has no process in it"))
    }
}
