//! The in-process storage.

use storage_core::config::{StorageConfig, Value};

use super::{Fresh, TestTarget, UnderTest};

pub(super) fn under_test() -> UnderTest {
    UnderTest::new("memory", || {
        let config = StorageConfig { name: "memory".into(), config: Value::empty_section() };
        Ok(Fresh::new(config, TestTarget::Opening))
    })
}
