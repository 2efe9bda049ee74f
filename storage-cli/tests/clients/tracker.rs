//! The tracker: `serve` on a storage of a test's own.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};

use conformance_tests::runtime::block_on;
use conformance_tests::servers::redis::{Node, Setup};
use conformance_tests::servers::{Found, Schema};
use conformance_tests::storages::pg::Design;
use tempfile::TempPath;

use crate::common::{MEMORY, command, connected, file, run};

/// Backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackerBackend {
    Memory,
    Redis,
    Pg,
}

enum TrackerPlace {
    Memory,
    Redis(Node),
    Pg(Schema),
}

/// A tracker that serves until it is stopped.
pub struct TestTracker {
    process: Child,
    pub address: SocketAddr,
    place: TrackerPlace,
    _config: TempPath,
}

impl TrackerBackend {
    pub const ALL: [Self; 3] = [Self::Memory, Self::Redis, Self::Pg];

    fn place(self) -> Found<(TrackerPlace, String)> {
        Ok(match self {
            Self::Memory => (TrackerPlace::Memory, MEMORY.to_owned()),
            Self::Redis => {
                let node = Node::start(&Setup::default())?;
                let address = node.address();
                let config = format!("storage:\n  name: redis\n  config:\n    addresses: ['{address}']\n");
                (TrackerPlace::Redis(node), config)
            }
            Self::Pg => {
                let printed = |arguments: &[&str]| run(arguments).stdout;
                let design =
                    Design { tables: printed(&["schema", "pg"]), config: printed(&["example-config", "pg"]) };
                let schema = design.schema()?;
                let config = connected(&design.config, &schema.connection_string());
                (TrackerPlace::Pg(schema), config)
            }
        })
    }
}

impl TestTracker {
    /// Serves HTTP and UDP at a free port of this address.
    pub fn start(backend: TrackerBackend, at: Ipv4Addr) -> Found<Self> {
        let (place, config) = backend.place()?;
        let config = file(&config);
        let address = SocketAddr::from((at, 6969));
        let listen = address.to_string();
        let mut command = command(&["serve", "-c", config.to_str().unwrap(), "--admin", "none"]);
        command.args(["--http", &listen, "--udp", &listen]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let says_where = lines.any(|line| line.is_ok_and(|line| line.contains("udp://")));
        assert!(says_where, "the tracker does not serve");
        Ok(Self { process, address, place, _config: config })
    }

    /// Stops it, and removes what it stored.
    pub fn stop(mut self) {
        self.end();
        match std::mem::replace(&mut self.place, TrackerPlace::Memory) {
            TrackerPlace::Memory => {}
            TrackerPlace::Redis(node) => node.stop(),
            TrackerPlace::Pg(schema) => block_on(schema.remove()).unwrap(),
        }
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for TestTracker {
    fn drop(&mut self) {
        self.end();
    }
}
