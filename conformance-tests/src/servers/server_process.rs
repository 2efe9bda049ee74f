//! Server processes that end with the tests.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{User, geteuid};
use tempfile::TempDir;

/// Starts the server and reads commands from its own standard input: `start` starts the server again, any other is a
/// signal for it. When the input ends, because the tests drop it or end in any way, it stops the server and removes
/// its directory.
const SCRIPT: &str = r#"
directory=$1 last_signal=$2
shift 2
start() {
    {
        "$@" >>"$directory/log" 2>&1 &
        echo $! >"$directory/pid"
        wait $!
        : >"$directory/ended"
    } &
    waiter=$!
    until [ -s "$directory/pid" ]; do sleep 0.02; done
}
send() {
    [ -e "$directory/ended" ] || kill -s "$1" "$(cat "$directory/pid")"
}
start "$@"
while read -r command; do
    if [ "$command" = start ]; then
        wait $waiter
        rm -f "$directory/pid"
        start "$@"
    else
        send "$command"
    fi
done
send "$last_signal"
send CONT
wait $waiter
rm -rf "$directory"
"#;

/// A directory for a server, and the user that it runs as: not root, since many servers refuse that.
pub(super) struct ServerDir {
    directory: TempDir,
    user: Option<User>,
}

impl ServerDir {
    /// A new directory that belongs to the server's user.
    pub(super) fn new(server: &str) -> io::Result<Self> {
        let user = if geteuid().is_root() { Some(unprivileged_user()?) } else { None };
        let directory = tempfile::Builder::new().prefix(&format!("tracker-test-{server}-")).tempdir()?;
        let dir = Self { directory, user };
        dir.hand_over(dir.path())?;
        Ok(dir)
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Makes a directory that only the server's user can read.
    pub(super) fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        self.hand_over(&path)?;
        Ok(path)
    }

    /// Writes a file that only the server's user can read.
    pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        let path = self.path().join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content.as_ref())?;
        self.hand_over(&path)?;
        Ok(path)
    }

    /// A command that runs here, as the server's user, in English.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env("LC_ALL", "C").stdin(Stdio::null());
        // A process group of its own: Ctrl-C at the terminal is for the tests, which then stop it.
        command.process_group(0);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Starts a server that lives until the [`ServerProcess`] is stopped or dropped, or this process has
    /// ended; `signal` is the one that ends the server at once.
    pub(super) fn start(
        self,
        signal: &str,
        program: &Path,
        arguments: &[String],
    ) -> io::Result<ServerProcess> {
        let mut command = self.command("sh");
        command.args(["-c", SCRIPT, "process"]).arg(self.path()).arg(signal).arg(program).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn()?;
        Ok(ServerProcess { process: Mutex::new(process), directory: self.directory.keep() })
    }

    fn hand_over(&self, path: &Path) -> io::Result<()> {
        match &self.user {
            Some(user) => chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
            None => Ok(()),
        }
    }
}

fn unprivileged_user() -> io::Result<User> {
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(user);
        }
    }
    Err(io::Error::other("there is no user `postgres` or `nobody` to run a server as"))
}

/// A server that is running, or has been.
pub(super) struct ServerProcess {
    process: Mutex<Child>,
    directory: PathBuf,
}

impl ServerProcess {
    /// The server's directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Waits until the server is ready, as `is_ready` sees from its directory.
    ///
    /// # Errors
    /// The end of the server's log if it ends before that, or takes longer than `timeout`.
    pub(super) fn wait_until(
        &self,
        timeout: Duration,
        is_ready: impl Fn(&Path) -> bool,
    ) -> Result<(), String> {
        let begun = std::time::Instant::now();
        while !is_ready(&self.directory) {
            let what = if self.has_ended() {
                "ended at its start"
            } else if begun.elapsed() > timeout {
                "did not get ready in time"
            } else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            return Err(format!("it {what}; the end of its log:\n{}", self.end_of_log()));
        }
        Ok(())
    }

    /// Sends the server a signal, such as `KILL`.
    pub(super) fn send(&self, signal: &str) -> io::Result<()> {
        self.command(signal)
    }

    /// Whether the server's process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended().exists()
    }

    /// Starts a server that has ended again, with the same arguments.
    pub(super) fn start_again(&self) -> io::Result<()> {
        fs::remove_file(self.ended())?;
        self.command("start")
    }

    /// Stops the server and waits until its directory is gone.
    pub(super) fn stop(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        drop(process.stdin.take());
        if let Err(error) = process.wait() {
            eprintln!("could not stop the server in {}: {error}", self.directory.display());
        }
    }

    fn command(&self, command: &str) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut process.stdin {
            Some(input) => writeln!(input, "{command}"),
            None => Err(io::Error::other("the server has been stopped for good")),
        }
    }

    fn ended(&self) -> PathBuf {
        self.directory.join("ended")
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The ports handed out: below those that Linux gives to outgoing connections, so that none is taken between the
/// check and the start of the server.
const PORTS: std::ops::Range<u16> = 10_240..32_768;

/// A port of the loopback interface that nobody listens on and that this process has not handed out.
pub(super) fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number_of_ports = u32::from(PORTS.end - PORTS.start);
    // Concurrent processes begin at different ports.
    let begin = std::process::id().wrapping_mul(1_009);
    for _ in 0..number_of_ports {
        let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % number_of_ports;
        let Some(port) = u16::try_from(offset).ok().map(|offset| PORTS.start + offset) else { continue };
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port of the loopback interface is free"))
}
