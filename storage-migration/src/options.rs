//! What is moved, and how.

use std::time::Duration;

use storage_core::{Capability, Context};

/// Kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Peers with role and time of last announce.
    Peers,
    /// How often torrents were downloaded to the end.
    Downloads,
    /// Arbitrary data.
    Data,
}

impl RecordKind {
    /// All kinds, in the order in which they are moved.
    pub const ALL: [Self; 3] = [Self::Peers, Self::Downloads, Self::Data];

    /// Its name in reports: `peers`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Downloads => "downloads",
            Self::Data => "data",
        }
    }

    /// What a storage needs to give records of this kind.
    pub const fn export(self) -> Capability {
        match self {
            Self::Peers => Capability::ExportPeers,
            Self::Downloads => Capability::ExportDownloads,
            Self::Data => Capability::ExportData,
        }
    }

    /// What a storage needs to take records of this kind.
    pub const fn import(self) -> Capability {
        match self {
            Self::Peers => Capability::ImportPeers,
            Self::Downloads => Capability::ImportDownloads,
            Self::Data => Capability::ImportData,
        }
    }
}

/// Which downloads the target has in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DownloadsRule {
    /// The greater number.
    #[default]
    Max,
    /// The source's, also where the target's are greater; those of swarms that the source does not know
    /// stay.
    Replace,
}

/// Which data the target has in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DataRule {
    /// What is at the target stays.
    #[default]
    Keep,
    /// The source's; entries that the source does not have stay.
    Replace,
}

/// What is moved, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The kinds to move (all).
    pub kinds: Vec<RecordKind>,
    /// The contexts of data to move; none means all of them.
    pub contexts: Vec<Context>,
    /// Which downloads stay.
    pub downloads: DownloadsRule,
    /// Which data stays.
    pub data: DataRule,
    /// Leaves out peers that last announced this long ago or longer.
    pub stale_after: Option<Duration>,
    /// Peers that announced longer ago are counted, and moved all the same (none are counted).
    pub peer_lifetime: Option<Duration>,
    /// Records in one page of the source and one batch of the target (1,000).
    pub batch: usize,
    /// Batches written at once (4).
    pub parallel: usize,
    /// The most records to read in a second, over all kinds; none means as many as there are.
    pub rate: Option<u64>,
    /// Reads and counts, and writes nothing.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kinds: RecordKind::ALL.to_vec(),
            contexts: Vec::new(),
            downloads: DownloadsRule::default(),
            data: DataRule::default(),
            stale_after: None,
            peer_lifetime: None,
            batch: 1_000,
            parallel: 4,
            rate: None,
            dry_run: false,
        }
    }
}

/// How passes are repeated.
#[derive(Debug, Clone, Copy)]
pub struct Follow {
    /// The time between two passes.
    pub pause: Duration,
    /// Ends when nothing was written for this long; without it, only when it is stopped.
    pub until_quiet: Option<Duration>,
}
