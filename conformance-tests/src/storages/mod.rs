//! The storages under test.

pub mod cached;
mod cockroach;
mod containers;
mod memory;
pub mod mirror;
pub mod pg;
pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use storage_cached::CachedDriver;
use storage_core::config::StorageConfig;
use storage_core::conformance::{Provider, Suite, TwoNodes};
use storage_core::{Backends, OpenError, Storage};
use storage_memory::MemoryDriver;
use storage_mirror::MirrorDriver;
use storage_pg::PgDriver;
use storage_redis::RedisDriver;

use crate::servers::redis::Database;
use crate::servers::{Found, Schema, SqlDatabase};

/// A storage under test: a name, and a way to get it fresh.
pub struct UnderTest {
    /// Backend and configuration: `pg/postgres-inet`.
    pub name: String,
    /// The cases that must fail on it. None, but for a sample that is known to be wrong.
    pub flaws: &'static [&'static str],
    /// Whether random sequences run on it.
    pub has_random_sequences: bool,
    /// What `TRACKER_STORAGE_TEST_REQUIRE` names to require it: the backend, or the storage if it has a
    /// server of its own.
    pub required_as: String,
    probe: Probe,
    make: Make,
}

type Make = Box<dyn Fn() -> Found<Fresh> + Send + Sync>;
type Probe = Box<dyn Fn() -> Found<()> + Send + Sync>;

impl UnderTest {
    fn new(name: &str, make: impl Fn() -> Found<Fresh> + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            flaws: &[],
            has_random_sequences: true,
            required_as: name.split('/').next().unwrap_or(name).to_owned(),
            probe: Box::new(|| Ok(())),
            make: Box::new(make),
        }
    }

    /// On a server that many machines do not have: without it there is one ignored test instead of one for each case.
    fn on_rare<T>(self, server: impl Fn() -> Found<T> + Send + Sync + 'static) -> Self {
        Self { probe: Box::new(move || server().map(drop)), ..self }
    }

    /// Required only by its whole name.
    fn required_by_name(self) -> Self {
        Self { required_as: self.name.clone(), ..self }
    }

    /// Whether there is a server for it. Blocks the thread, for seconds if one must be started.
    ///
    /// # Errors
    /// [`Missing`](crate::servers::Missing) if there is none; a server that most machines have is not
    /// asked for.
    pub fn probe(&self) -> Found<()> {
        (self.probe)()
    }

    /// Whether it is somebody else's configuration, which may break a SHOULD.
    pub fn is_sample(&self) -> bool {
        !self.flaws.is_empty()
    }

    /// The storage, empty. Blocks the thread, for seconds if a server must be started.
    ///
    /// # Errors
    /// [`Missing`](crate::servers::Missing) if there is no server for it.
    pub fn fresh(&self) -> Found<Fresh> {
        (self.make)()
    }
}

/// Every storage under test.
pub fn all() -> Vec<UnderTest> {
    std::iter::once(memory::under_test())
        .chain(redis::all())
        .chain(pg::all())
        .chain(cockroach::all())
        .chain(containers::all())
        .chain(mirror::all())
        .chain(cached::all())
        .collect()
}

/// Every backend, strict about configuration keys.
pub fn backends() -> Backends {
    let backends = Backends::new().with(MemoryDriver).with(RedisDriver).with(PgDriver);
    let cached = CachedDriver::new(backends.clone());
    backends.clone().with(MirrorDriver::new(backends)).with(cached).strict()
}

/// An error of the server of a storage, or of the connection to it.
pub type ServerError = Box<dyn std::error::Error + Send + Sync>;

/// A storage that a test has for itself, or shares with others by way of the suite.
pub struct Fresh {
    suite: Arc<Suite>,
    provider: Arc<dyn Provider>,
    target: TestTarget,
}

/// Where a storage keeps its content.
enum TestTarget {
    /// Each opening for itself.
    Opening,
    Schema(Schema),
    Database(Database),
    SqlDatabase(SqlDatabase),
    /// The two storages of a mirror.
    Mirror(Database, Schema),
    /// A server that all tests of the storage share; they leave nothing there.
    Server,
}

impl Fresh {
    /// A storage that is emptied and removed by its `target`.
    fn new(config: StorageConfig, target: TestTarget) -> Self {
        let is_private = matches!(target, TestTarget::Opening);
        Self::from(Arc::new(ByConfiguration { is_private, ..ByConfiguration::new(config, true) }), target)
    }

    fn from(provider: Arc<dyn Provider>, target: TestTarget) -> Self {
        Self { suite: Arc::new(Suite::new(Arc::clone(&provider))), provider, target }
    }

    /// The same on two nodes.
    fn on_two_nodes(self) -> Self {
        Self::from(Arc::new(TwoNodes::new(self.provider)), self.target)
    }

    /// The same storage for another test.
    fn share(&self) -> Self {
        Self {
            suite: Arc::clone(&self.suite),
            provider: Arc::clone(&self.provider),
            target: TestTarget::Server,
        }
    }

    /// The suite on it.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// The way to open it.
    pub fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    /// Empties what openings share.
    ///
    /// # Errors
    /// What the server says; or that others use the storage.
    pub async fn empty(&self) -> Result<(), ServerError> {
        match &self.target {
            TestTarget::Opening => Ok(()),
            TestTarget::Schema(schema) => Ok(schema.empty().await?),
            TestTarget::Database(database) => Ok(database.empty().await?),
            TestTarget::SqlDatabase(database) => Ok(database.empty().await?),
            TestTarget::Mirror(database, schema) => {
                database.empty().await?;
                Ok(schema.empty().await?)
            }
            TestTarget::Server => Err("others use the storage too".into()),
        }
    }

    /// Removes it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn remove(self) -> Result<(), ServerError> {
        match self.target {
            TestTarget::Opening | TestTarget::Server => Ok(()),
            TestTarget::Schema(schema) => Ok(schema.remove().await?),
            TestTarget::Database(database) => Ok(database.remove().await?),
            TestTarget::SqlDatabase(database) => Ok(database.remove().await?),
            TestTarget::Mirror(database, schema) => {
                database.remove().await?;
                Ok(schema.remove().await?)
            }
        }
    }
}

/// Opens a storage from a configuration.
pub struct ByConfiguration {
    config: StorageConfig,
    exclusive: bool,
    is_private: bool,
}

impl ByConfiguration {
    /// Opens `config`; `exclusive` is the suite's permission to assert about all that is in it.
    pub fn new(config: StorageConfig, exclusive: bool) -> Self {
        let is_private = backends().driver(&config.name).is_ok_and(|driver| driver.is_private());
        Self { config, exclusive, is_private }
    }
}

#[async_trait]
impl Provider for ByConfiguration {
    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(backends().open(self.config.clone()).await?.storage)
    }

    fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    fn is_private(&self) -> bool {
        self.is_private
    }
}
