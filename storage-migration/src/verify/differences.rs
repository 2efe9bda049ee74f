//! What differs between two storages, and whether it may.

use std::fmt::Display;

use serde::Serialize;

/// In which way something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The target does not have it.
    OnlyAtSource,
    /// The source does not have it.
    OnlyAtTarget,
    /// Both have it with another role or value.
    Different,
    /// The target has an older time, or fewer downloads.
    TargetIsBehind,
    /// The peer announced at the source after the copy.
    AnnouncedAtSource,
    /// The target has a newer time or more downloads, as it may: the newer and the greater stay.
    TargetIsAhead,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::OnlyAtSource,
        Self::OnlyAtTarget,
        Self::Different,
        Self::TargetIsBehind,
        Self::AnnouncedAtSource,
        Self::TargetIsAhead,
    ];

    /// Its name in reports: `only at the source`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnlyAtSource => "only at the source",
            Self::OnlyAtTarget => "only at the target",
            Self::Different => "different",
            Self::TargetIsBehind => "older or fewer at the target",
            Self::AnnouncedAtSource => "announced at the source after the copy",
            Self::TargetIsAhead => "newer or more at the target",
        }
    }

    /// Whether two sides that live explain it.
    pub const fn is_explained(self) -> bool {
        matches!(self, Self::AnnouncedAtSource | Self::TargetIsAhead)
    }
}

/// Differences of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Records of the source that were compared.
    pub compared: u64,
    found: Vec<FoundDifferences>,
}

/// How often something was found, with the first few.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct FoundDifferences {
    finding: Finding,
    count: u64,
    examples: Vec<String>,
}

impl Differences {
    /// How many examples of each finding are kept.
    const EXAMPLES: usize = 5;

    /// Whether nothing differs but what is explained.
    pub fn is_equal(&self) -> bool {
        self.found.iter().all(|found| found.finding.is_explained())
    }

    /// How often this was found.
    pub fn count(&self, finding: Finding) -> u64 {
        self.found.iter().find(|found| found.finding == finding).map_or(0, |found| found.count)
    }

    /// The first few of these.
    pub fn examples(&self, finding: Finding) -> &[String] {
        self.found.iter().find(|found| found.finding == finding).map_or(&[], |found| &found.examples)
    }

    pub(super) fn note(&mut self, finding: Finding, example: impl Display) {
        let index = self.found.iter().position(|found| found.finding == finding);
        let index = index.unwrap_or_else(|| {
            self.found.push(FoundDifferences { finding, count: 0, examples: Vec::new() });
            self.found.len() - 1
        });
        let Some(found) = self.found.get_mut(index) else { return };
        found.count += 1;
        if found.examples.len() < Self::EXAMPLES {
            found.examples.push(example.to_string());
        }
    }
}
