//! Settings of the backend.

use storage_core::config::Section;

/// A configuration file with every setting of this backend.
pub const EXAMPLE_CONFIG: &str = include_str!("example_config.yaml");

/// Settings of the backend `memory`.
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
    pub(crate) fn read(section: &mut Section) -> Self {
        let default = Self::default();
        Self {
            shard_count: section.number("shard_count", 1..=65_536).unwrap_or(default.shard_count),
            max_peers: section.number("max_peers", 1..=4_000_000_000).unwrap_or(default.max_peers),
        }
    }
}
