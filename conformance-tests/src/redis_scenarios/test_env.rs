//! The environment of a scenario: a database or servers of its own.

use std::sync::Arc;

use libtest_mimic::{Completion, Trial};
use redis::Client;
use redis::aio::MultiplexedConnection;
use storage_core::Storage;
use storage_core::config::Value;

use crate::harness::unless_missing;
use crate::runtime::block_on;
use crate::servers::redis::Node;
use crate::servers::{Found, Servers};
use crate::storages::backends;
use crate::storages::redis::config;

/// Each scenario in an empty database of its own.
pub(super) struct InDatabase;

impl InDatabase {
    pub(super) fn test(
        &self,
        title: String,
        scenario: impl AsyncFn(&TestDatabase) + Send + 'static,
    ) -> Trial {
        Trial::ignorable_test(title, move || {
            let database = match Servers::shared().redis() {
                Ok(server) => server.database(),
                Err(missing) => return unless_missing("redis", missing),
            };
            block_on(scenario(&TestDatabase::new(database.client(), database.settings())));
            block_on(database.remove())?;
            Ok(Completion::Completed)
        })
    }
}

/// Each scenario on servers of its own, which this starts.
pub(super) struct OnServers<S>(pub(super) fn() -> Found<S>);

impl<S: 'static> OnServers<S> {
    pub(super) fn test(&self, title: String, scenario: impl AsyncFn(&S) + Send + 'static) -> Trial {
        let start = self.0;
        Trial::ignorable_test(title, move || {
            let servers = match start() {
                Ok(servers) => servers,
                Err(missing) => return unless_missing("redis", missing),
            };
            block_on(scenario(&servers));
            Ok(Completion::Completed)
        })
    }
}

/// A database, to be looked at as a storage and as it is.
pub(super) struct TestDatabase {
    client: Client,
    settings: Vec<(String, Value)>,
}

impl TestDatabase {
    /// The first database of a server.
    pub(super) fn of(node: &Node) -> Self {
        Self::new(node.client(), node.settings())
    }

    fn new(client: Client, settings: Vec<(String, Value)>) -> Self {
        Self { client, settings }
    }

    /// The storage on it, opened once more.
    pub(super) async fn open(&self) -> Arc<dyn Storage> {
        self.open_with(&[]).await
    }

    /// The storage on it with further settings.
    pub(super) async fn open_with(&self, further: &[(&str, &str)]) -> Arc<dyn Storage> {
        open(self.settings.clone(), further).await
    }

    /// A connection to it.
    pub(super) async fn connect(&self) -> MultiplexedConnection {
        self.client.get_multiplexed_async_connection().await.unwrap()
    }
}

/// Opens a Redis storage with these settings and further ones.
pub(super) async fn open(mut settings: Vec<(String, Value)>, further: &[(&str, &str)]) -> Arc<dyn Storage> {
    settings.extend(further.iter().map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned()))));
    backends().open(config(settings)).await.unwrap_or_else(|error| panic!("{error}")).storage
}
