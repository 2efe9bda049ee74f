//! Passwords.

use std::borrow::Cow;
use std::fmt;

/// A password; no `Debug` shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The password itself, for the server only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// What is shown in place of a text that is, or may have in it, a password.
pub(super) const MASK: &str = "***";

/// Shorter texts are in words by chance, and no password.
pub(super) const SHORTEST_MASKED: usize = 4;

/// A text without others that are in it.
pub(super) fn mask<'a>(text: &'a str, hidden: impl Iterator<Item = &'a str>) -> Cow<'a, str> {
    let is_in_it = |hidden: &&str| hidden.len() >= SHORTEST_MASKED && text.contains(hidden);
    let mut hidden: Vec<_> = hidden.filter(is_in_it).collect();
    // A longer one may have a shorter one in it.
    hidden.sort_by_key(|hidden| std::cmp::Reverse(hidden.len()));
    hidden.into_iter().fold(Cow::Borrowed(text), |text, hidden| Cow::Owned(text.replace(hidden, MASK)))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
