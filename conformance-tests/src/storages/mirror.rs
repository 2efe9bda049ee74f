//! Mirrors of two storages.

use storage_core::config::{StorageConfig, Value};
use storage_pg::recommended::Recommendation;

use super::pg::Design;
use super::{Fresh, TestTarget, UnderTest, redis};
use crate::servers::{Found, Servers};

pub(super) fn all() -> Vec<UnderTest> {
    let of_memory = UnderTest::new("mirror/memory-memory", || {
        Ok(Fresh::new(config(memory(), memory()), TestTarget::Opening))
    });
    let of_servers = UnderTest::new("mirror/redis-pg", redis_and_pg);
    vec![of_memory, UnderTest { has_random_sequences: false, ..of_servers }]
}

fn redis_and_pg() -> Found<Fresh> {
    let design = Design::from(Recommendation::default());
    let redis = Servers::shared().redis()?.database();
    let pg = design.schema()?;
    let config = config(redis::config(redis.settings()), design.config_for(&pg));
    Ok(Fresh::new(config, TestTarget::Mirror(redis, pg)))
}

/// A mirror of these two.
pub fn config(primary: StorageConfig, secondary: StorageConfig) -> StorageConfig {
    let storages = [("primary", primary), ("secondary", secondary)];
    let storages = storages.map(|(key, StorageConfig { name, config })| {
        let side = vec![("name".to_owned(), Value::Text(name)), ("config".to_owned(), config)];
        (key.to_owned(), Value::Section(side))
    });
    StorageConfig { name: "mirror".into(), config: Value::Section(storages.into()) }
}

/// A storage in memory.
pub fn memory() -> StorageConfig {
    StorageConfig { name: "memory".into(), config: Value::empty_section() }
}
