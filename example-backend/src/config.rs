//! Settings of the backend.

use storage_core::config::Section;

/// Settings of the backend `example`.
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
    pub(crate) fn read(section: &mut Section) -> Self {
        let capacity = section.number("capacity", 1..=100_000_000);
        Self { capacity: capacity.unwrap_or(Self::default().capacity) }
    }
}
