//! Windows: names in their order, as many as fit into a fixed amount of memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the names of a window may take, in bytes.
const BUDGET: usize = 16 << 20;
/// What a name takes beside its bytes.
const OVERHEAD: usize = size_of::<Vec<u8>>();
/// Windows kept between pages.
const MOST_KEPT: usize = 4;

/// Names in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Window {
    names: Vec<Vec<u8>>,
    /// Whether there were no further names.
    pub(super) is_last: bool,
}

impl Window {
    /// The names after a point.
    pub(super) fn after(&self, point: Option<&[u8]>) -> &[Vec<u8>] {
        let first = point.map_or(0, |point| self.names.partition_point(|name| name.as_slice() <= point));
        &self.names[first..]
    }
}

/// Picks the smallest names after a point out of names in any order.
pub(super) struct Gatherer {
    after: Option<Vec<u8>>,
    /// The greatest name of interest; those beyond it belong to a later window.
    ceiling: Option<Vec<u8>>,
    names: Vec<Vec<u8>>,
    size: usize,
    budget: usize,
}

impl Gatherer {
    pub(super) fn after(point: Option<&[u8]>) -> Self {
        Self { after: point.map(<[u8]>::to_vec), ceiling: None, names: Vec::new(), size: 0, budget: BUDGET }
    }

    pub(super) fn offer(&mut self, name: Vec<u8>) {
        let is_before = self.after.as_ref().is_some_and(|after| name <= *after);
        let is_beyond = self.ceiling.as_ref().is_some_and(|ceiling| name > *ceiling);
        if is_before || is_beyond {
            return;
        }
        self.size += name.len() + OVERHEAD;
        self.names.push(name);
        if self.size > 2 * self.budget {
            self.shrink();
        }
    }

    /// Keeps the smallest names that fit the budget, at least one.
    fn shrink(&mut self) {
        self.names.sort_unstable();
        self.names.dedup();
        let sizes = self.names.iter().scan(0, |total, name| {
            *total += name.len() + OVERHEAD;
            Some(*total)
        });
        let fitting = sizes.take_while(|size| *size <= self.budget).count().max(1);
        if fitting < self.names.len() {
            self.names.truncate(fitting);
            self.ceiling = self.names.last().cloned();
        }
        self.size = self.names.iter().map(|name| name.len() + OVERHEAD).sum();
    }

    fn finish(mut self) -> Window {
        self.shrink();
        Window { names: self.names, is_last: self.ceiling.is_none() }
    }
}

/// The windows that exports are in, kept between their pages. An export that is not continued leaves
/// its own behind until others take their place.
#[derive(Default)]
pub(crate) struct Windows(Mutex<VecDeque<Kept>>);

struct Kept {
    export: u64,
    subject: Vec<u8>,
    after: Option<Vec<u8>>,
    window: Arc<Window>,
}

impl Kept {
    /// Whether the names that follow a point are those of this window.
    fn covers(&self, point: Option<&[u8]>) -> bool {
        let begins = self.after.as_deref() <= point;
        begins && (self.window.is_last || !self.window.after(point).is_empty())
    }
}

impl Windows {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The window with the names after a point, if it is there.
    pub(super) fn find(&self, export: u64, subject: &[u8], after: Option<&[u8]>) -> Option<Arc<Window>> {
        let kept = self.kept();
        let mut of_export = kept.iter().filter(|kept| kept.export == export && kept.subject == subject);
        of_export.find(|kept| kept.covers(after)).map(|kept| Arc::clone(&kept.window))
    }

    /// Keeps what was gathered, in place of the export's last window of the same.
    pub(super) fn keep(&self, export: u64, subject: Vec<u8>, gatherer: Gatherer) -> Arc<Window> {
        let after = gatherer.after.clone();
        let window = Arc::new(gatherer.finish());
        let mut kept = self.kept();
        kept.retain(|kept| kept.export != export || kept.subject != subject);
        if kept.len() >= MOST_KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept { export, subject, after, window: Arc::clone(&window) });
        window
    }

    /// The export has ended.
    pub(super) fn forget(&self, export: u64) {
        self.kept().retain(|kept| kept.export != export);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn gather(names: &[Vec<u8>], after: Option<&[u8]>, budget: usize) -> Window {
        let mut gatherer = Gatherer { budget, ..Gatherer::after(after) };
        names.iter().for_each(|name| gatherer.offer(name.clone()));
        gatherer.finish()
    }

    proptest! {
        #[test]
        fn windows_give_every_name_once_and_in_order(
            names in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..200),
            budget in 1..2_000_usize,
        ) {
            let (mut given, mut after) = (Vec::new(), None::<Vec<u8>>);
            loop {
                let window = gather(&names, after.as_deref(), budget);
                given.extend(window.after(after.as_deref()).iter().cloned());
                after = given.last().cloned();
                if window.is_last {
                    break;
                }
            }
            let expected: Vec<_> = names.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(given, expected);
        }
    }

    #[test]
    fn a_window_is_found_by_its_export_only_and_while_it_covers_the_point() {
        let names: Vec<_> = [b"a", b"b", b"c"].iter().map(|name| name.to_vec()).collect();
        let windows = Windows::default();
        let mut gatherer = Gatherer { budget: 2 * (1 + OVERHEAD), ..Gatherer::after(None) };
        names.iter().for_each(|name| gatherer.offer(name.clone()));
        windows.keep(1, b"subject".to_vec(), gatherer);
        assert!(windows.find(1, b"subject", None).is_some());
        assert!(windows.find(1, b"subject", Some(b"a")).is_some());
        assert!(windows.find(1, b"subject", Some(b"b")).is_none());
        assert!(windows.find(2, b"subject", None).is_none());
        assert!(windows.find(1, b"other", None).is_none());
        windows.forget(1);
        assert!(windows.find(1, b"subject", None).is_none());
    }
}
