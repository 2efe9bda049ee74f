//! Contexts: the namespaces of arbitrary data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A namespace of arbitrary data: text without NUL, possibly empty.
///
/// In MoChi's Redis layout a context is the key `CHI_<context>`; names that would collide with the
/// keys of peers there (`I`, `D`, `C_S`, `C_L`, `S4_…`, `S6_…`, `L4_…`, `L6_…`) are refused, so that
/// data can move between all backends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Context(Box<str>);

/// Text that cannot name a [`Context`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContext {
    /// It has a NUL character, which PostgreSQL cannot keep.
    #[error("a context must not contain NUL characters")]
    Nul,
    /// It would collide with a key of the peers in MoChi's Redis layout.
    #[error(
        "the context {0:?} is reserved: in MoChi's Redis layout it is a key of the peers \
         (reserved are I, D, C_S, C_L and what begins with S4_, S6_, L4_ or L6_)"
    )]
    Reserved(String),
}

impl Context {
    const RESERVED: [&str; 4] = ["I", "D", "C_S", "C_L"];
    const RESERVED_PREFIXES: [&str; 4] = ["S4_", "S6_", "L4_", "L6_"];

    /// A context of this name.
    ///
    /// # Errors
    /// [`InvalidContext`] if the name has a NUL or is reserved.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, InvalidContext> {
        let name = name.into();
        if name.contains('\0') {
            return Err(InvalidContext::Nul);
        }
        if Self::is_reserved(name.as_bytes()) {
            return Err(InvalidContext::Reserved(name.into()));
        }
        Ok(Self(name))
    }

    /// Whether a name is one of those that belong to the peers.
    pub fn is_reserved(name: &[u8]) -> bool {
        Self::RESERVED.iter().any(|reserved| reserved.as_bytes() == name)
            || Self::RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Context {
    type Err = InvalidContext;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<String> for Context {
    type Error = InvalidContext;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<Context> for String {
    fn from(context: Context) -> Self {
        context.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_peers_keys_are_refused_and_their_neighbours_are_not() {
        for reserved in ["I", "D", "C_S", "C_L", "S4_", "S4_abc", "S6_x", "L4_x", "L6_x"] {
            assert!(matches!(Context::new(reserved), Err(InvalidContext::Reserved(_))), "{reserved}");
        }
        for free in ["", "i", "d", "C", "C_X", "S4", "S5_x", "L4", "MW", "прокси"] {
            assert!(Context::new(free).is_ok(), "{free}");
        }
        assert_eq!(Context::new("a\0b"), Err(InvalidContext::Nul));
    }
}
