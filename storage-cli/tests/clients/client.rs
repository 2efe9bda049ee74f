//! BitTorrent clients that know each other through the tracker alone.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::network::{Machine, Network};
use crate::torrent::Format;

const ARIA2: &str = "aria2c";
const TRANSMISSION: &str = "transmission-daemon";
/// The Python that Debian's packages are for.
pub const PYTHON: &str = "/usr/bin/python3";
pub const WITH_LIBTORRENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/with_libtorrent.py");
const TRANSMISSION_REMOTE: &str = "transmission-remote";

/// Programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientProgram {
    Aria2,
    Transmission,
    Libtorrent,
}

/// A client that is running, until it is stopped or this is dropped.
pub struct ClientUnderTest {
    process: Child,
    /// The command that makes it leave, where a signal does not: transmission ends without a word.
    farewell: Option<Command>,
}

impl ClientProgram {
    pub const ALL: [Self; 3] = [Self::Aria2, Self::Transmission, Self::Libtorrent];

    /// The torrents that it understands.
    pub fn formats(self) -> &'static [Format] {
        match self {
            Self::Aria2 | Self::Transmission => &[Format::V1],
            Self::Libtorrent => &[Format::V1, Format::V2, Format::Hybrid],
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Aria2 => "aria2",
            Self::Transmission => "transmission",
            Self::Libtorrent => "libtorrent",
        }
    }

    pub fn is_there(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there =
            |program: &&str| std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
        match self {
            Self::Aria2 => is_there(&ARIA2),
            Self::Transmission => [TRANSMISSION, TRANSMISSION_REMOTE].iter().all(is_there),
            Self::Libtorrent => {
                let mut import = Command::new(PYTHON);
                import.args(["-c", "import libtorrent"]).output().is_ok_and(|output| output.status.success())
            }
        }
    }

    /// Starts it on a machine, with a torrent whose content is in this directory, or will be.
    pub fn start(
        self,
        network: &Network,
        machine: Machine,
        torrent: &Path,
        directory: &Path,
    ) -> ClientUnderTest {
        let mut command = match self {
            Self::Aria2 => aria2(network.on(machine, ARIA2), torrent, directory),
            Self::Transmission => transmission(network.on(machine, TRANSMISSION), torrent, directory),
            Self::Libtorrent => libtorrent(network.on(machine, PYTHON), torrent, directory),
        };
        let log = std::fs::File::create(directory.join("log")).unwrap();
        command.env("HOME", directory).current_dir(directory);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let farewell = (self == Self::Transmission).then(|| {
            let mut farewell = network.on(machine, TRANSMISSION_REMOTE);
            farewell.args(["--torrent=all", "--stop"]);
            farewell
        });
        ClientUnderTest { process: command.spawn().unwrap(), farewell }
    }
}

/// It seeds until it is stopped. It speaks with UDP trackers only where its DHT is on, which knows nobody.
fn aria2(mut command: Command, torrent: &Path, directory: &Path) -> Command {
    command.args(["--no-conf", "--enable-dht=true", "--enable-dht6=false", "--bt-enable-lpd=false"]);
    command.args(["--enable-peer-exchange=false", "--disable-ipv6=true", "--listen-port=6881"]);
    command.args(["--dht-listen-port=6882", "--check-integrity=true", "--seed-ratio=0.0"]);
    command.args(["--summary-interval=0", "--console-log-level=info", "--file-allocation=none"]);
    command.arg("--dht-file-path").arg(directory.join("dht.dat"));
    command.arg("--dir").arg(directory).arg(torrent);
    command
}

/// The torrent is where it looks for new ones.
fn transmission(mut command: Command, torrent: &Path, directory: &Path) -> Command {
    let watched = directory.join("watched");
    std::fs::create_dir(&watched).unwrap();
    std::fs::copy(torrent, watched.join("new.torrent")).unwrap();
    let settings = serde_json::json!({
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "port-forwarding-enabled": false, "peer-port": 6881, "rpc-enabled": true,
        "download-dir": directory, "incomplete-dir-enabled": false, "rename-partial-files": false,
        "watch-dir": watched, "watch-dir-enabled": true, "trash-original-torrent-files": false,
    });
    std::fs::write(directory.join("settings.json"), settings.to_string()).unwrap();
    command.args(["--foreground", "--log-debug", "--config-dir"]).arg(directory);
    command
}

fn libtorrent(mut command: Command, torrent: &Path, directory: &Path) -> Command {
    command.args([WITH_LIBTORRENT, "run"]).arg(torrent).arg(directory);
    command
}

impl ClientUnderTest {
    /// Asks it to leave, of which it tells the tracker.
    pub fn leave(&mut self) {
        let Some(farewell) = &mut self.farewell else {
            kill(Pid::from_raw(self.process.id() as i32), Signal::SIGINT).unwrap();
            return;
        };
        let asked = farewell.output().unwrap();
        assert!(asked.status.success(), "{asked:?}");
    }
}

impl Drop for ClientUnderTest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
