//! Settings of the backend.

use storage_core::config::Section;

/// A configuration file with every setting of this backend.
pub const EXAMPLE_CONFIG: &str = include_str!("example.yaml");

/// Settings of the backend `memory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryConfig {
    /// `shard_count`: into how many independently locked parts swarms are spread, 1 to 65,536
    /// (1,024). More shards let more threads work at once.
    pub shard_count: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { shard_count: 1024 }
    }
}

impl MemoryConfig {
    pub(crate) fn read(section: &mut Section) -> Self {
        let shard_count = section.number("shard_count", 1..=65_536);
        Self { shard_count: shard_count.unwrap_or(Self::default().shard_count) }
    }
}
