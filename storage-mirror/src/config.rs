//! Settings of the mirror.

use std::time::Duration;

use storage_core::config::Section;

/// A configuration file with every setting of the mirror itself.
pub const EXAMPLE_CONFIG: &str = include_str!("example_config.yaml");

/// Settings of the mirror itself; those of its two storages are their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorConfig {
    /// `lanes`: how many queues writes are spread over by swarm and by context, 1 to 1,024 (16). Each
    /// has up to 64 calls under way at the secondary.
    pub lanes: usize,
    /// `queue`: the most writes that wait for the secondary, 1 to 100,000,000 (65,536).
    pub queue: usize,
    /// `queue_bytes`: the most bytes that they may have, 1,024 to 2^40 (64 MiB).
    pub queue_bytes: u64,
    /// `secondary_timeout`: the longest a call to the secondary may take (5 s); imports and the
    /// forgetting of swarms ten times that.
    pub secondary_timeout: Duration,
    /// `suspend_after`: the failures in a row after which the secondary is suspended, 1 to 1,000,000
    /// (5). Calls that fail together are one failure.
    pub suspend_after: u32,
    /// `probe_interval`: the time between two probes of a suspended secondary (5 s).
    pub probe_interval: Duration,
    /// `drain_timeout`: the longest that closing waits for the queue (5 s); less where
    /// there is [less time](storage_core::layer::time_left).
    pub drain_timeout: Duration,
}

impl Default for MirrorConfig {
    fn default() -> Self {
        Self {
            lanes: 16,
            queue: 65_536,
            queue_bytes: 64 << 20,
            secondary_timeout: Duration::from_secs(5),
            suspend_after: 5,
            probe_interval: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl MirrorConfig {
    /// Reads the settings out of a configuration section; what is wrong is noted there.
    pub fn read(section: &mut Section) -> Self {
        let default = Self::default();
        Self {
            lanes: section.number("lanes", 1..=1_024).unwrap_or(default.lanes),
            queue: section.number("queue", 1..=100_000_000).unwrap_or(default.queue),
            queue_bytes: section.number("queue_bytes", 1_024..=1 << 40).unwrap_or(default.queue_bytes),
            secondary_timeout: section.positive_duration("secondary_timeout", default.secondary_timeout),
            suspend_after: section.number("suspend_after", 1..=1_000_000).unwrap_or(default.suspend_after),
            probe_interval: section.positive_duration("probe_interval", default.probe_interval),
            drain_timeout: section.positive_duration("drain_timeout", default.drain_timeout),
        }
    }
}
