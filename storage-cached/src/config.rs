//! Settings of the cache.

use std::time::Duration;

use storage_core::config::Section;

/// A configuration file with every setting of the cache itself.
pub const EXAMPLE_CONFIG: &str = include_str!("example_config.yaml");

/// The least memory that makes sense.
const MIN_MEMORY: u64 = 256 << 10;

/// Settings of the cache itself; those of the storage inside are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedConfig {
    /// `max_memory`: the most bytes that everything in memory takes up, what waits to be stored included, 256KiB to
    /// 1TiB (1GiB).
    pub max_memory: usize,
    /// `acknowledge`: whether a write is acknowledged when memory has it, or when the storage has it (`memory`).
    pub acknowledge: Acknowledge,
    /// `flush_interval`: how long a change may wait before it is written (1 s). With [`Acknowledge::Storage`]
    /// changes are written at once.
    pub flush_interval: Duration,
    /// `completion_wait`: how long an announce waits for its download to be stored with [`Acknowledge::Memory`]
    /// (1 s).
    pub completion_wait: Duration,
    /// `data_staleness`: how old what memory has of data may be while the storage responds (1 s); zero: data is not
    /// kept in memory.
    pub data_staleness: Duration,
    /// `preload`: whether all swarms are read after the start, as far as memory goes (no).
    pub preload: bool,
    /// `restore_lost`: whether peers and downloads that the storage has lost, by a restart without persistence, are
    /// written again (no).
    pub restore_lost: bool,
    /// `peer_lifetime` of the schedule around it: a stored time is never older than half of it plus
    /// `flush_interval` while the peer announces.
    pub peer_lifetime: Duration,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// When memory has it.
    #[default]
    Memory,
    /// When the storage has it.
    Storage,
}

impl Default for CachedConfig {
    fn default() -> Self {
        Self {
            max_memory: 1 << 30,
            acknowledge: Acknowledge::Memory,
            flush_interval: Duration::from_secs(1),
            completion_wait: Duration::from_secs(1),
            data_staleness: Duration::from_secs(1),
            preload: false,
            restore_lost: false,
            peer_lifetime: storage_core::Schedule::default().peer_lifetime,
        }
    }
}

impl CachedConfig {
    /// Reads the settings out of a configuration section; what is wrong is noted there.
    pub fn read(section: &mut Section) -> Self {
        let default = Self::default();
        let peer_lifetime = storage_core::config::Settings::peek(section).schedule.peer_lifetime;
        read_max_staleness(section);
        let max_memory = section.bytes("max_memory", MIN_MEMORY..=1 << 40);
        Self {
            max_memory: max_memory
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.max_memory),
            acknowledge: read_acknowledge(section).unwrap_or_default(),
            flush_interval: section.positive_duration("flush_interval", default.flush_interval),
            completion_wait: section.duration("completion_wait").unwrap_or(default.completion_wait),
            data_staleness: section.duration("data_staleness").unwrap_or(default.data_staleness),
            preload: section.boolean("preload").unwrap_or(default.preload),
            restore_lost: section.boolean("restore_lost").unwrap_or(default.restore_lost),
            peer_lifetime,
        }
    }
}

/// How old what memory has of swarms may be. It has no default: who runs a second node must not overlook it.
fn read_max_staleness(section: &mut Section) {
    let given = section.required_text("max_staleness");
    if !given.trim().is_empty() && !given.trim().eq_ignore_ascii_case("alone") {
        let message = "expected `alone`, which says that no other node writes to the storage; several nodes on one \
                       storage use it without `cached`";
        section.problem("max_staleness", message);
    }
}

fn read_acknowledge(section: &mut Section) -> Option<Acknowledge> {
    let given = section.text("acknowledge")?;
    match given.trim().to_ascii_lowercase().as_str() {
        "memory" => Some(Acknowledge::Memory),
        "storage" => Some(Acknowledge::Storage),
        _ => {
            section.problem("acknowledge", "expected `memory` or `storage`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use storage_core::config::Value;

    use super::*;

    fn read(entries: &[(&str, &str)]) -> (CachedConfig, Vec<String>) {
        let entries =
            entries.iter().map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned())));
        let mut section = Section::new(Value::Section(entries.collect()));
        let config = CachedConfig::read(&mut section);
        (config, section.finish().problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn staleness_has_no_default_and_sizes_have_units() {
        let (_, problems) = read(&[]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("max_staleness"), "{problems:?}");
        let (_, problems) = read(&[("max_staleness", "60s")]);
        assert!(problems[0].contains("expected `alone`"), "{problems:?}");
        let (config, problems) = read(&[
            ("max_staleness", "Alone"),
            ("max_memory", "512MiB"),
            ("acknowledge", "storage"),
            ("flush_interval", "250ms"),
            ("peer_lifetime", "10m"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((config.max_memory, config.acknowledge), (512 << 20, Acknowledge::Storage));
        assert_eq!(
            (config.flush_interval, config.peer_lifetime),
            (Duration::from_millis(250), Duration::from_secs(600))
        );
    }
}
