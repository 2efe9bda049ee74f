//! Settings of the backend.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use storage_core::config::{Section, Value, deserialize};

/// A configuration file with every setting of this backend.
pub const EXAMPLE_CONFIG: &str = include_str!("example_config.yaml");

/// Settings of the backend `memory`. With serde they have the keys of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryConfig {
    /// `shard_count`: into how many independently locked parts swarms are spread, 1 to 65,536
    /// (1,024). More shards let more threads work at once.
    pub shard_count: usize,
    /// `max_peers`: the most peers of all swarms together (10,000,000). A further one is
    /// [refused](storage_core::ErrorKind::Full), those that are there are refreshed. Downloads are counted for as
    /// many swarms.
    pub max_peers: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { shard_count: 1024, max_peers: 10_000_000 }
    }
}

impl MemoryConfig {
    /// Reads the settings out of a configuration section; what is wrong is noted there.
    pub fn read(section: &mut Section) -> Self {
        let default = Self::default();
        Self {
            shard_count: section.number("shard_count", 1..=65_536).unwrap_or(default.shard_count),
            max_peers: section.number("max_peers", 1..=4_000_000_000).unwrap_or(default.max_peers),
        }
    }
}

impl From<&MemoryConfig> for Value {
    fn from(config: &MemoryConfig) -> Self {
        let MemoryConfig { shard_count, max_peers } = *config;
        Value::section([("shard_count", shard_count.into()), ("max_peers", max_peers.into())])
    }
}

impl Serialize for MemoryConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Value::from(self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for MemoryConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize(from, Self::read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_read_back_and_what_is_left_out_has_its_default() {
        let config = MemoryConfig { shard_count: 4, max_peers: 9 };
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<MemoryConfig>(&json).unwrap(), config);
        assert_eq!(serde_json::from_str::<MemoryConfig>("{}").unwrap(), MemoryConfig::default());
        let slip = serde_json::from_str::<MemoryConfig>(r#"{"shard_cuont": 4}"#).unwrap_err();
        assert!(slip.to_string().contains("did you mean `shard_count`?"), "{slip}");
    }
}
