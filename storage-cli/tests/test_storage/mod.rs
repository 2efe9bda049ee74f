//! An empty storage on a real server, and the command run on it.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use conformance_tests::harness::unless_missing;
use conformance_tests::runtime::block_on;
use conformance_tests::servers::redis::{Node, Setup};
use conformance_tests::servers::{Found, Schema};
use conformance_tests::storages::backends;
use conformance_tests::storages::pg::Design;
use libtest_mimic::{Completion, Trial};
use storage_core::Storage;
use storage_core::config::StorageConfig;
use tempfile::TempPath;

use crate::common::{CommandOutput, connected, file, run};

/// The backend of a storage.
#[derive(Debug, Clone, Copy)]
pub enum ServerKind {
    Redis,
    Pg,
}

impl ServerKind {
    pub const BOTH: [Self; 2] = [Self::Redis, Self::Pg];
}

pub enum ServerHandle {
    Redis(Node),
    Pg(Schema),
}

/// An empty storage and its file.
pub struct StorageUnderTest {
    pub place: ServerHandle,
    pub config: TempPath,
}

/// What a test does.
pub type StorageCase = fn(&StorageUnderTest);

/// A test on an empty storage of this backend.
pub fn on(kind: ServerKind, name: &str, case: StorageCase) -> Trial {
    Trial::ignorable_test(format!("{kind:?}: {name}"), move || {
        let setup = match StorageUnderTest::set(kind) {
            Ok(setup) => setup,
            Err(missing) => return unless_missing(&format!("{kind:?}"), missing),
        };
        case(&setup);
        setup.clear();
        Ok(Completion::Completed)
    })
}

impl StorageUnderTest {
    fn set(kind: ServerKind) -> Found<Self> {
        let (place, text) = match kind {
            ServerKind::Redis => {
                let node = Node::start(&Setup::default())?;
                let address = node.address();
                let text = format!("storage:\n  name: redis\n  config:\n    addresses: ['{address}']\n");
                (ServerHandle::Redis(node), text)
            }
            ServerKind::Pg => {
                let design = Design {
                    tables: run(&["schema", "pg"]).stdout,
                    config: run(&["example-config", "pg"]).stdout,
                };
                let schema = design.schema()?;
                let text = connected(&design.config, &schema.connection_string());
                (ServerHandle::Pg(schema), text)
            }
        };
        Ok(Self { place, config: file(&text) })
    }

    /// A command on the storage.
    pub fn run<const WORDS: usize>(&self, command: [&str; WORDS], more: &[&str]) -> CommandOutput {
        run(&[&command[..], &["-c", self.config.to_str().unwrap()], more].concat())
    }

    /// The storage itself.
    pub async fn open(&self) -> Arc<dyn Storage> {
        let config = StorageConfig::load(&self.config, StorageConfig::DEFAULT_PATH, std::iter::empty());
        backends().open(config.unwrap()).await.unwrap_or_else(|error| panic!("{error}")).storage
    }

    /// A command that must do what it is asked.
    pub fn done<const WORDS: usize>(&self, command: [&str; WORDS], more: &[&str]) -> String {
        let ran = self.run(command, more);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        ran.stdout
    }

    fn clear(self) {
        match self.place {
            ServerHandle::Redis(node) => node.stop(),
            ServerHandle::Pg(schema) => block_on(schema.remove()).unwrap(),
        }
    }
}
