//! An empty storage on a real server, and the command run on it.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use conformance_tests::harness::unless_missing;
use conformance_tests::runtime::block_on;
use conformance_tests::servers::redis::{Node, Setup};
use conformance_tests::servers::{Found, Schema};
use conformance_tests::storages::pg::Design;
use conformance_tests::storages::registry;
use libtest_mimic::{Completion, Trial};
use storage_core::Storage;
use storage_core::config::StorageConfig;
use tempfile::TempPath;

use crate::common::{CommandResult, file, run};

/// The backend of a storage.
#[derive(Debug, Clone, Copy)]
pub enum StageKind {
    Redis,
    Pg,
}

impl StageKind {
    pub const BOTH: [Self; 2] = [Self::Redis, Self::Pg];
}

pub enum StagePlace {
    Redis(Node),
    Pg(Schema),
}

/// An empty storage and its file.
pub struct CommandStage {
    pub place: StagePlace,
    pub config: TempPath,
}

/// What a test does.
pub type StageStory = fn(&CommandStage);

/// A test on an empty storage of this backend.
pub fn on(kind: StageKind, name: &str, story: StageStory) -> Trial {
    Trial::ignorable_test(format!("{kind:?}: {name}"), move || {
        let stage = match CommandStage::set(kind) {
            Ok(stage) => stage,
            Err(missing) => return unless_missing(&format!("{kind:?}"), missing),
        };
        story(&stage);
        stage.clear();
        Ok(Completion::Completed)
    })
}

impl CommandStage {
    fn set(kind: StageKind) -> Found<Self> {
        let (place, text) = match kind {
            StageKind::Redis => {
                let node = Node::start(&Setup::default())?;
                let address = node.address();
                let text = format!("storage:\n  name: redis\n  config:\n    addresses: ['{address}']\n");
                (StagePlace::Redis(node), text)
            }
            StageKind::Pg => {
                let design = Design {
                    tables: run(&["schema", "pg"]).stdout,
                    config: run(&["example-config", "pg"]).stdout,
                };
                let schema = design.schema()?;
                let line = |line: &str| match line.split_once("connection_string:") {
                    Some((indent, _)) => {
                        format!("{indent}connection_string: {}\n", schema.connection_string())
                    }
                    None => format!("{line}\n"),
                };
                let text = design.config.lines().map(line).collect();
                (StagePlace::Pg(schema), text)
            }
        };
        Ok(Self { place, config: file(&text) })
    }

    /// A command on the storage.
    pub fn run<const WORDS: usize>(&self, command: [&str; WORDS], more: &[&str]) -> CommandResult {
        run(&[&command[..], &["-c", self.config.to_str().unwrap()], more].concat())
    }

    /// The storage itself.
    pub async fn open(&self) -> Arc<dyn Storage> {
        let config = StorageConfig::load(&self.config, StorageConfig::DEFAULT_PATH, std::iter::empty());
        registry().open(config.unwrap()).await.unwrap_or_else(|error| panic!("{error}")).storage
    }

    /// A command that must do what it is asked.
    pub fn done<const WORDS: usize>(&self, command: [&str; WORDS], more: &[&str]) -> String {
        let ran = self.run(command, more);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        ran.stdout
    }

    fn clear(self) {
        match self.place {
            StagePlace::Redis(node) => node.stop(),
            StagePlace::Pg(schema) => block_on(schema.remove()).unwrap(),
        }
    }
}
