//! How a case says that a rule is broken, or that it cannot tell.

use std::any::Any;
use std::fmt;

use crate::{Backend, Error, Operation};

/// A broken rule: what was done, what was expected, what came back, and, where an operator wrote the
/// query, which configuration key is the likely cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What was done.
    pub did: String,
    /// What was expected.
    pub expected: String,
    /// What came back.
    pub got: String,
    /// The configuration key that is the likely cause.
    pub likely_cause: Option<&'static str>,
}

impl Violation {
    /// A failure whose cause is not known.
    pub fn new(did: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { did: did.into(), expected: expected.into(), got: got.into(), likely_cause: None }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  did:      {}\n  expected: {}\n  got:      {}", self.did, self.expected, self.got)?;
        match self.likely_cause {
            Some(key) => write!(f, "\n  likely cause: `{key}`"),
            None => Ok(()),
        }
    }
}

/// Why a case ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseError {
    /// The rule is broken.
    Failed(Violation),
    /// The case can't be decided on this storage, for this reason.
    Skipped(String),
}

/// What a case returns.
pub type CaseResult<T = ()> = Result<T, CaseError>;

impl CaseError {
    /// Something other than a call should have gone well and did not.
    pub(super) fn could_not(did: &str, error: &dyn fmt::Display) -> Self {
        Self::Failed(Violation::new(did, "success", error.to_string()))
    }

    /// A call that should have gone well failed.
    pub(super) fn failed_call<B: Backend + ?Sized>(did: &str, storage: &B, error: &Error) -> Self {
        Self::Failed(Violation {
            likely_cause: storage.configuration_key(error.operation()),
            ..Violation::new(did, "success", format!("{error:?}"))
        })
    }

    /// An answer is not the expected one; `operation` is the one whose query is the likely cause.
    pub(super) fn unexpected<B: Backend + ?Sized>(
        did: &str,
        storage: &B,
        operation: Operation,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self::Failed(Violation {
            likely_cause: storage.configuration_key(operation),
            ..Violation::new(did, expected, got)
        })
    }

    /// A panic, which nothing may cause.
    pub(super) fn panicked(did: &str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Self::Failed(Violation::new(did, "no panic", format!("the panic {text:?}")))
    }
}
