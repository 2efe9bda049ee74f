//! Storages behind memory.

use storage_core::config::{StorageConfig, Value};
use storage_pg::recommended::Recommendation;

use super::pg::{Changes, Design, PATIENT};
use super::{Fresh, TestTarget, UnderTest, mirror, redis};
use crate::servers::{Found, PgUrl, Servers};

/// CacheSettings of the cache.
type CacheSettings = &'static [(&'static str, &'static str)];

/// Changes are written every 50 ms, so that all that happens to a cache happens within a case.
const QUICK: CacheSettings = &[("flush_interval", "50ms")];

/// Whatever is not used at once is let go of.
const TINY: CacheSettings = &[("flush_interval", "20ms"), ("max_memory", "256KiB")];

/// The storage inside acknowledges.
const STORED: CacheSettings = &[("acknowledge", "storage")];

/// The same for a storage whose writes get in each other's way.
const STORED_IN_TIME: CacheSettings = &[("acknowledge", "storage"), ("operation_timeout", "60s")];

pub(super) fn all() -> Vec<UnderTest> {
    vec![
        over_memory("cached/memory", QUICK),
        over_memory("cached/memory-tiny", TINY),
        over_memory("cached/memory-stored", STORED),
        over_redis("cached/redis", QUICK),
        over_redis("cached/redis-stored", STORED),
        UnderTest::new("cached/pg", || pg(QUICK, "read%20committed", &[])),
        UnderTest::new("cached/pg-tiny", || pg(TINY, "read%20committed", &[])),
        UnderTest::new("cached/pg-serializable-stored", || pg(STORED_IN_TIME, "serializable", PATIENT)),
    ]
}

fn over_memory(name: &str, settings: CacheSettings) -> UnderTest {
    UnderTest::new(name, move || Ok(Fresh::new(config(mirror::memory(), settings), TestTarget::Opening)))
}

fn over_redis(name: &str, settings: CacheSettings) -> UnderTest {
    UnderTest::new(name, move || {
        let database = Servers::shared().redis()?.database();
        let inside = redis::config(database.settings());
        Ok(Fresh::new(config(inside, settings), TestTarget::Database(database)))
    })
}

fn pg(settings: CacheSettings, isolation: &str, changes: Changes) -> Found<Fresh> {
    let design = Design::from(Recommendation::default());
    let schema = design.schema()?;
    let url = PgUrl::parse(&schema.connection_string()).with("default_transaction_isolation", isolation);
    let inside = design.changed_config_at(url.to_string(), changes);
    Ok(Fresh::new(config(inside, settings), TestTarget::Schema(schema)))
}

/// Memory in front of a storage, for one node.
pub fn config(inside: StorageConfig, settings: &[(&str, &str)]) -> StorageConfig {
    let StorageConfig { name, config } = inside;
    let inside = Value::Section(vec![("name".to_owned(), Value::Text(name)), ("config".to_owned(), config)]);
    let mut entries =
        vec![("storage".to_owned(), inside), ("max_staleness".to_owned(), Value::Text("alone".into()))];
    entries.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned()))));
    StorageConfig { name: "cached".into(), config: Value::Section(entries) }
}
