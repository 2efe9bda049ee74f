//! Two storages of a test's own.

use std::sync::Arc;

use libtest_mimic::{Completion, Trial};
use storage_core::config::{StorageConfig, Value};
use storage_core::{OpenError, Storage};
use storage_pg::recommended::Recommendation;

use crate::harness::unless_missing;
use crate::runtime::block_on;
use crate::servers::redis::Database;
use crate::servers::{Found, Schema, Servers};
use crate::storages::backends;
use crate::storages::pg::Design;
use crate::storages::redis::config;

/// The backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BackendKind {
    Memory,
    Redis,
    Pg,
}

/// The server of a storage.
enum TestServer {
    Memory,
    Redis(Database),
    Pg(Design, Schema),
}

/// An open storage and its server.
pub(super) struct TestStorage {
    server: TestServer,
    pub(super) storage: Arc<dyn Storage>,
}

impl BackendKind {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Redis, Self::Pg];

    fn server(self) -> Found<TestServer> {
        Ok(match self {
            Self::Memory => TestServer::Memory,
            Self::Redis => TestServer::Redis(Servers::shared().redis()?.database()),
            Self::Pg => {
                let design = Design::from(Recommendation::default());
                let schema = design.schema()?;
                TestServer::Pg(design, schema)
            }
        })
    }
}

impl TestServer {
    fn config(&self) -> StorageConfig {
        match self {
            Self::Memory => StorageConfig { name: "memory".into(), config: Value::empty_section() },
            Self::Redis(database) => config(database.settings()),
            Self::Pg(design, schema) => design.config_for(schema),
        }
    }
}

impl TestStorage {
    pub(super) fn new(kind: BackendKind) -> Found<Self> {
        let server = kind.server()?;
        let opened: Result<_, OpenError> = block_on(backends().open(server.config()));
        let storage = opened.unwrap_or_else(|error| panic!("{error}")).storage;
        Ok(Self { server, storage })
    }

    /// The database, if it is one of Redis.
    pub(super) fn redis(&self) -> Option<&Database> {
        match &self.server {
            TestServer::Redis(database) => Some(database),
            _ => None,
        }
    }

    pub(super) fn remove(self) {
        block_on(self.storage.close()).unwrap();
        match self.server {
            TestServer::Memory => {}
            TestServer::Redis(database) => block_on(database.remove()).unwrap(),
            TestServer::Pg(_, schema) => block_on(schema.remove()).unwrap(),
        }
    }
}

/// A test on two empty storages.
pub(super) fn test(
    title: String,
    kinds: [BackendKind; 2],
    scenario: impl AsyncFn(&TestStorage, &TestStorage) + Send + 'static,
) -> Trial {
    Trial::ignorable_test(format!("migration/{title}"), move || {
        let mut storages = Vec::new();
        for kind in kinds {
            match TestStorage::new(kind) {
                Ok(storage) => storages.push(storage),
                Err(missing) => return unless_missing(&format!("{kind:?}"), missing),
            }
        }
        block_on(scenario(&storages[0], &storages[1]));
        storages.into_iter().for_each(TestStorage::remove);
        Ok(Completion::Completed)
    })
}
