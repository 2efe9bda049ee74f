//! A shared server that is started once, on demand, and stopped once.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Found, Missing};

/// Holds its lock while starting, so that a stop waits for a start under way.
pub(super) struct Lazy<T>(Mutex<LazyState<T>>);

enum LazyState<T> {
    Unasked,
    Asked(Found<Arc<T>>),
    Stopped,
}

impl<T> Lazy<T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(LazyState::Unasked))
    }

    /// The one that was started, or else what `start` gives.
    pub(super) fn get(&self, start: impl FnOnce() -> Found<T>) -> Found<Arc<T>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            LazyState::Asked(found) => found.clone(),
            LazyState::Stopped => Err(Missing::failed("the servers have been stopped")),
            LazyState::Unasked => {
                let found = start().map(Arc::new);
                *state = LazyState::Asked(found.clone());
                found
            }
        }
    }

    /// Stops the one that was started, if any was.
    pub(super) fn stop(&self, stop: impl FnOnce(&T)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let LazyState::Asked(Ok(started)) = std::mem::replace(&mut *state, LazyState::Stopped) {
            stop(&started);
        }
    }
}

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self::new()
    }
}
