//! Storages on Redis: single server, Sentinel and Cluster.

use std::sync::{Arc, OnceLock};

use storage_core::config::{StorageConfig, Value};

use super::{Fresh, TestTarget, UnderTest};
use crate::servers::{Found, Sentinel, Servers};

pub(super) fn all() -> Vec<UnderTest> {
    vec![
        UnderTest::new("redis/single", || {
            let database = Servers::shared().redis()?.database();
            Ok(Fresh::new(config(database.settings()), TestTarget::Database(database)))
        }),
        UnderTest::new("redis/two-nodes", || {
            let database = Servers::shared().redis()?.database();
            Ok(Fresh::new(config(database.settings()), TestTarget::Database(database)).on_two_nodes())
        }),
        on_sentinel("redis/sentinel", Servers::redis_sentinel),
        on_sentinel("redis/sentinel-tls", Servers::redis_sentinel_secured),
        on_cluster("redis/cluster", || Ok(Servers::shared().redis_cluster()?.settings())),
        without_random_sequences(UnderTest::new("redis/least-rights", || {
            let server = Servers::shared().redis_rights()?;
            let database = server.database();
            Ok(Fresh::new(config(server.settings(&database)), TestTarget::Database(database)))
        })),
        without_random_sequences(UnderTest::new("redis/sentinel-least-rights", || {
            let servers = Servers::shared().redis_sentinel_rights()?;
            let database = servers.servers().database();
            Ok(Fresh::new(config(servers.settings(database.number())), TestTarget::Database(database)))
        })),
        on_cluster("redis/cluster-least-rights", || Ok(Servers::shared().redis_cluster_rights()?.settings())),
    ]
}

fn on_sentinel(name: &str, servers: fn(&Servers) -> Found<Arc<Sentinel>>) -> UnderTest {
    without_random_sequences(UnderTest::new(name, move || {
        let sentinel = servers(Servers::shared())?;
        let database = sentinel.database();
        Ok(Fresh::new(config(sentinel.settings(database.number())), TestTarget::Database(database)))
    }))
}

/// A cluster has one database: one suite, which knows what must not run at the same time, uses it for all cases, and
/// no other test does.
fn on_cluster(name: &str, settings: fn() -> Found<Vec<(String, Value)>>) -> UnderTest {
    let shared = OnceLock::new();
    without_random_sequences(UnderTest::new(name, move || {
        let settings = with_patience(settings()?);
        let fresh = shared.get_or_init(|| Fresh::new(config(settings), TestTarget::Server));
        Ok(fresh.share())
    }))
}

/// They would find nothing that they don't find on the single server.
fn without_random_sequences(under_test: UnderTest) -> UnderTest {
    UnderTest { has_random_sequences: false, ..under_test }
}

/// On a cluster a call for many swarms takes a thousand round trips in sequence: on a busy machine that takes longer
/// than the default allows.
pub fn with_patience(mut settings: Vec<(String, Value)>) -> Vec<(String, Value)> {
    settings.push(("operation_timeout".to_owned(), Value::Text("30s".to_owned())));
    settings
}

/// A configuration with these keys.
pub fn config(settings: Vec<(String, Value)>) -> StorageConfig {
    StorageConfig { name: "redis".into(), config: Value::Section(settings) }
}
