//! How long a commit waits, by PostgreSQL's setting `synchronous_commit`.

/// A value of `synchronous_commit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    Off,
    Local,
    RemoteWrite,
    On,
    RemoteApply,
}

impl Commit {
    pub(crate) const ALL: [Self; 5] =
        [Self::Off, Self::Local, Self::RemoteWrite, Self::On, Self::RemoteApply];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Local => "local",
            Self::RemoteWrite => "remote_write",
            Self::On => "on",
            Self::RemoteApply => "remote_apply",
        }
    }

    /// In any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|commit| commit.name().eq_ignore_ascii_case(name.trim()))
    }

    /// Sets it for a session.
    pub(crate) fn set(self) -> &'static str {
        match self {
            Self::Off => "SET synchronous_commit TO off",
            Self::Local => "SET synchronous_commit TO local",
            Self::RemoteWrite => "SET synchronous_commit TO remote_write",
            Self::On => "SET synchronous_commit TO on",
            Self::RemoteApply => "SET synchronous_commit TO remote_apply",
        }
    }

    /// Begins a transaction with it.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Off => "BEGIN; SET LOCAL synchronous_commit TO off",
            Self::Local => "BEGIN; SET LOCAL synchronous_commit TO local",
            Self::RemoteWrite => "BEGIN; SET LOCAL synchronous_commit TO remote_write",
            Self::On => "BEGIN; SET LOCAL synchronous_commit TO on",
            Self::RemoteApply => "BEGIN; SET LOCAL synchronous_commit TO remote_apply",
        }
    }

    /// Begins a transaction with what the server has by default.
    pub(crate) const BEGIN_WITH_DEFAULT: &'static str = "BEGIN; SET LOCAL synchronous_commit TO DEFAULT";
}
