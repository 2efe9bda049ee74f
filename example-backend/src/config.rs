//! Settings of the backend.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use storage_core::config::{Section, Value, deserialize};

/// Settings of the backend `example`. With serde they have the keys of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleConfig {
    /// `capacity`: the most peers it keeps, of all swarms together, 1 to 100,000,000 (1,000,000). A
    /// further peer is [refused](storage_core::ErrorKind::Full).
    pub capacity: usize,
}

impl Default for ExampleConfig {
    fn default() -> Self {
        Self { capacity: 1_000_000 }
    }
}

impl ExampleConfig {
    /// Takes its settings out; what is wrong with them the section keeps, to be reported together.
    pub fn read(section: &mut Section) -> Self {
        let capacity = section.number("capacity", 1..=100_000_000);
        Self { capacity: capacity.unwrap_or(Self::default().capacity) }
    }
}

impl From<&ExampleConfig> for Value {
    fn from(config: &ExampleConfig) -> Self {
        Value::section([("capacity", config.capacity.into())])
    }
}

impl Serialize for ExampleConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Value::from(self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for ExampleConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize(from, Self::read)
    }
}
