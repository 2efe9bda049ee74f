//! What goes wrong in a storage, where, and whether trying again may help.

use std::error::Error as StdError;
use std::fmt;

use crate::{Capability, Operation};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation: which backend, which operation, what kind of failure, and its cause.
///
/// The text never holds a password or a stored value.
pub struct Error {
    backend: &'static str,
    operation: Operation,
    kind: ErrorKind,
    detail: Option<Box<Detail>>,
}

#[derive(Default)]
struct Detail {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The peer to delete is not there in that role. An answer rather than a fault.
    NotFound,
    /// The storage has been closed.
    Closed,
    /// Too many calls wait already; nothing was sent.
    Busy,
    /// No answer in time; nothing was changed.
    Timeout,
    /// It is not known whether a write took effect: the answer did not arrive.
    ///
    /// Where a storage tells its server when a call ends, the write has taken effect by then, or never does:
    /// Redis, but for a Cluster, and pg where the queries use `@expires`, as the recommended ones do, or run
    /// in a transaction. Elsewhere (MoChi's own queries, a Redis Cluster) a server that hung may still carry
    /// it out later, over a newer write.
    Uncertain,
    /// The server cannot be reached, or cannot serve at this time.
    Unavailable,
    /// Other writes got in the way, again and again.
    Conflict,
    /// The server refused: no permission, no space, a constraint, a value out of its range.
    Rejected,
    /// The storage holds as many peers as it may; a new one was not stored. Those that are there are still
    /// refreshed.
    Full,
    /// What the server holds or answered cannot be understood.
    Corrupt,
    /// The storage lacks this capability.
    Unsupported(Capability),
}

impl ErrorKind {
    /// A short name, as metrics use it: `not_found`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Closed => "closed",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Uncertain => "uncertain",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
            Self::Unsupported(_) => "unsupported",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::NotFound => "nothing found",
            Self::Closed => "the storage is closed",
            Self::Busy => "too many calls are waiting",
            Self::Timeout => "no answer in time",
            Self::Uncertain => "it is not known whether the write took effect",
            Self::Unavailable => "the server is not available",
            Self::Conflict => "write conflict",
            Self::Rejected => "the server refused",
            Self::Full => "the storage is full",
            Self::Corrupt => "the stored content cannot be understood",
            Self::Unsupported(_) => "the storage lacks the capability",
        }
    }
}

impl Error {
    /// A failure of `operation` on the backend of that name.
    pub fn new(backend: &'static str, operation: Operation, kind: ErrorKind) -> Self {
        Self { backend, operation, kind, detail: None }
    }

    /// Adds what happened, in words. No secrets, no stored values.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.detail.get_or_insert_default().message = message.into();
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.detail.get_or_insert_default().source = Some(source.into());
        self
    }

    /// The same failure once more, without its cause: for each of several callers.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new(self.backend, self.operation, self.kind);
        if self.message().is_empty() { copy } else { copy.with_message(self.message()) }
    }

    /// The same failure as one of another operation, of which the one that failed is a part.
    #[must_use]
    pub fn of(self, operation: Operation) -> Self {
        Self { operation, ..self }
    }

    /// The name of the backend.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// What was asked for.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, in words; may be empty.
    pub fn message(&self) -> &str {
        self.detail.as_ref().map_or("", |detail| &detail.message)
    }

    /// Whether this is [`ErrorKind::NotFound`].
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Whether the same call may succeed later. It may be made again also where it is not known whether it
    /// took effect: no write counts twice. (A deletion that took effect finds nothing the second time.)
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Busy
                | ErrorKind::Timeout
                | ErrorKind::Uncertain
                | ErrorKind::Unavailable
                | ErrorKind::Conflict
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.backend, self.operation, self.kind.describe())?;
        if let ErrorKind::Unsupported(capability) = self.kind {
            write!(f, " `{capability}`")?;
        }
        if !self.message().is_empty() {
            write!(f, ": {}", self.message())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self.source().map(ToString::to_string) {
            Some(source) if !self.message().contains(&source) => write!(f, " (caused by: {source})")?,
            _ => {}
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.detail.as_ref()?.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_what_and_why() {
        let error = Error::new("pg", Operation::PutPeer, ErrorKind::Unavailable)
            .with_message("`peer.add_query`")
            .with_source(std::io::Error::other("connection reset"));
        assert_eq!(error.to_string(), "pg put_peer: the server is not available: `peer.add_query`");
        assert_eq!(error.source().unwrap().to_string(), "connection reset");
        assert!(error.is_retryable());
    }

    #[test]
    fn an_uncertain_write_may_be_made_again() {
        assert!(Error::new("pg", Operation::GraduatePeers, ErrorKind::Uncertain).is_retryable());
    }
}
