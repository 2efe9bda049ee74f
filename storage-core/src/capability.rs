//! Capabilities: what a storage may be unable to do.

use std::fmt;

macro_rules! capabilities {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Something that a storage, as it is configured, may be unable to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Capability {
            $($(#[$doc])* $variant,)*
        }

        impl Capability {
            /// Every capability.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in reports: `garbage collection`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

capabilities! {
    /// Downloads of a swarm are counted and kept (P4, P7).
    Downloads => "downloads",
    /// Stale peers can be removed (U1).
    GarbageCollection => "garbage collection",
    /// Swarms and peers can be counted (U2).
    Statistics => "statistics",
    /// A peer changes its role in one step: no reader sees it in both or in neither (P2).
    AtomicMove => "atomic move",
    /// A graduation and its download happen both or not at all (P4).
    AtomicGraduation => "atomic graduation",
    /// A download is counted once, and not lost, when answers are lost and graduations repeated (P4).
    ExactDownloads => "exact downloads",
    /// A write for many looks at what is stored and changes it in one step (W1).
    AtomicWrites => "atomic writes",
    /// The downloads of a swarm can be removed.
    ForgetDownloads => "forget downloads",
    /// Peers can be read in pages (T1).
    ExportPeers => "export peers",
    /// Downloads can be read in pages (T1).
    ExportDownloads => "export downloads",
    /// Data can be read in pages (T1).
    ExportData => "export data",
    /// Peers can be taken in with their times, the newer stays (T1).
    ImportPeers => "import peers",
    /// Downloads can be taken in, the greater stays (T1).
    ImportDownloads => "import downloads",
    /// Data can be taken in, what is there stays (T1).
    ImportData => "import data",
    /// Swarms can be listed with their counts, the largest first (U4).
    ListSwarms => "list swarms",
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The capabilities a storage does not have, each with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingCapabilities(Vec<(Capability, String)>);

impl MissingCapabilities {
    /// None is missing.
    pub fn none() -> Self {
        Self::default()
    }

    /// This one is missing too, because of `reason` (``no `gc_query` is configured``).
    #[must_use]
    pub fn with(mut self, capability: Capability, reason: impl Into<String>) -> Self {
        if self.reason(capability).is_none() {
            self.0.push((capability, reason.into()));
        }
        self
    }

    /// Why a capability is missing; `None` if it is there.
    pub fn reason(&self, capability: Capability) -> Option<&str> {
        self.0.iter().find(|(lacking, _)| *lacking == capability).map(|(_, reason)| reason.as_str())
    }

    /// Whether a capability is there.
    pub fn has(&self, capability: Capability) -> bool {
        self.reason(capability).is_none()
    }

    /// The missing capabilities, with the reasons.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, &str)> {
        self.0.iter().map(|(capability, reason)| (*capability, reason.as_str()))
    }
}
