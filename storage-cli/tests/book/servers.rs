//! The servers of the examples, and the shell that runs them.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use conformance_tests::servers::{Found, Missing, PgUrl, Postgres, Servers};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::pages::CommandBlock;
use crate::repository;

/// The longest that the commands of a page may take, on a machine with other work.
const PAGE_TIMEOUT: Duration = Duration::from_secs(120);

/// Empties the servers before a page, and says which block is run.
const PRELUDE: &str = r#"
set -euo pipefail
{
    psql --no-align --tuples-only --quiet --command \
        "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'" postgres |
        while read -r name; do dropdb --force "$name"; done
    psql --no-align --tuples-only --quiet --command \
        "SELECT rolname FROM pg_roles WHERE NOT rolsuper AND rolname NOT LIKE 'pg\_%'" postgres |
        while read -r name; do psql --quiet --command "DROP OWNED BY \"$name\"; DROP ROLE \"$name\"" postgres; done
    redis-cli FLUSHALL
    redis-cli ACL DELUSER tracker
} >/dev/null
"#;

static SHARED: OnceLock<Found<ExampleServers>> = OnceLock::new();

/// PostgreSQL and Redis, with nothing in them at the beginning of each page.
pub struct ExampleServers {
    postgres: Arc<Postgres>,
    redis: Mutex<Child>,
    /// Has the command in it, for `PATH`, and is where Redis runs.
    programs: TempDir,
}

impl ExampleServers {
    /// The servers of this process.
    pub fn shared() -> Found<&'static Self> {
        SHARED.get_or_init(Self::start).as_ref().map_err(Clone::clone)
    }

    fn start() -> Found<Self> {
        let failed = |error: std::io::Error| Missing::Failed(error.to_string());
        let postgres = Servers::shared().postgres()?;
        let programs = TempDir::new().map_err(failed)?;
        symlink(env!("CARGO_BIN_EXE_tracker-storage"), programs.path().join("tracker-storage"))
            .map_err(failed)?;
        let mut redis = Command::new("redis-server");
        redis.args(["--bind", "127.0.0.1", "--port", "6379", "--save", ""]).current_dir(programs.path());
        let redis = redis.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let redis = redis.map_err(|error| Missing::Absent(format!("redis-server: {error}")))?;
        let began = Instant::now();
        while std::net::TcpStream::connect("127.0.0.1:6379").is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err(Missing::Failed("redis-server does not answer at 127.0.0.1:6379".into()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { postgres, redis: Mutex::new(redis), programs })
    }

    /// Runs blocks of commands, in their order, in one shell.
    ///
    /// # Errors
    /// What was printed, with the place of the block that failed.
    pub fn run(&self, page: &str, blocks: &[CommandBlock]) -> Result<(), String> {
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        for entry in fs::read_dir(repository()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_owned();
            if name != "target" {
                symlink(&path, folder.path().join(name)).unwrap();
            }
        }
        let mut script = PRELUDE.to_owned();
        for CommandBlock { line, text, .. } in blocks {
            script.push_str(&format!("echo '--- {page}:{line}' >&2\n{text}\n"));
        }
        let output = folder.path().join("output-of-the-page");
        let file = fs::File::create(&output).map_err(|error| error.to_string())?;
        let mut shell = self.shell(&script);
        shell.current_dir(folder.path()).env("HOME", folder.path());
        shell.stdout(file.try_clone().map_err(|error| error.to_string())?).stderr(file);
        let mut shell = shell.process_group(0).spawn().map_err(|error| error.to_string())?;
        let group = Pid::from_raw(-i32::try_from(shell.id()).unwrap());
        let status = shell.wait().map_err(|error| error.to_string())?;
        // What a page that failed left running would be in the way of the next.
        let _ = kill(group, Signal::SIGKILL);
        if status.success() {
            return Ok(());
        }
        let printed = fs::read(&output).unwrap_or_default();
        Err(format!("{status}; it printed:\n{}", String::from_utf8_lossy(&printed)))
    }

    fn shell(&self, script: &str) -> Command {
        let url = PgUrl::parse(self.postgres.url());
        let (host, port) = url.host_and_port().unwrap_or(("127.0.0.1", "5432"));
        let (user, password) = url.login().unwrap_or(("tracker", ""));
        let mut shell = Command::new("timeout");
        shell.args([
            "--foreground",
            "--kill-after=5",
            &PAGE_TIMEOUT.as_secs().to_string(),
            "bash",
            "-c",
            script,
        ]);
        let not_from_outside =
            |name: &str| name.starts_with("TRACKER_") || name.starts_with("PG") || name == "RUST_LOG";
        for (name, _) in std::env::vars_os().filter(|(name, _)| not_from_outside(&name.to_string_lossy())) {
            shell.env_remove(name);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [PathBuf::from(self.programs.path())].into_iter().chain(std::env::split_paths(&path));
        shell.env("PATH", std::env::join_paths(folders).unwrap_or(path.clone()));
        shell.envs([("PGHOST", host), ("PGPORT", port), ("PGUSER", user), ("PGPASSWORD", password)]);
        shell.envs([("no_proxy", "*"), ("LC_ALL", "C.UTF-8")]).stdin(Stdio::null());
        shell
    }
}

/// Stops what was started here.
pub fn stop() {
    if let Some(Ok(servers)) = SHARED.get() {
        let mut redis = servers.redis.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = redis.kill();
        let _ = redis.wait();
    }
}
