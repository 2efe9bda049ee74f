//! Sorted pages: the next names in order, as many as fit into a fixed amount of memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most memory for the names of a sorted page, in bytes.
const BUDGET: usize = 16 << 20;
/// What a name takes beside its bytes.
const OVERHEAD: usize = size_of::<Vec<u8>>();
/// The most sorted pages that are kept.
const MOST_KEPT: usize = 4;

/// Names in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SortedPage {
    names: Vec<Vec<u8>>,
    /// Whether there were no further names.
    pub(super) is_last: bool,
}

impl SortedPage {
    /// The names after a point.
    pub(super) fn after(&self, point: Option<&[u8]>) -> &[Vec<u8>] {
        let first = point.map_or(0, |point| self.names.partition_point(|name| name.as_slice() <= point));
        &self.names[first..]
    }
}

/// Picks the smallest names after a point out of names in any order.
pub(super) struct SmallestNames {
    after: Option<Vec<u8>>,
    /// The greatest name of interest; those beyond it belong to a later sorted page.
    ceiling: Option<Vec<u8>>,
    names: Vec<Vec<u8>>,
    size: usize,
    budget: usize,
}

impl SmallestNames {
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

    fn finish(mut self) -> SortedPage {
        self.shrink();
        SortedPage { names: self.names, is_last: self.ceiling.is_none() }
    }
}

/// The sorted page of each export under way, kept from one call to the next. That of an abandoned export is evicted
/// by later ones.
#[derive(Default)]
pub(crate) struct SortedPages(Mutex<VecDeque<KeptPage>>);

struct KeptPage {
    export: u64,
    subject: Vec<u8>,
    after: Option<Vec<u8>>,
    page: Arc<SortedPage>,
}

impl KeptPage {
    /// Whether the names that follow a point are those of this page.
    fn covers(&self, point: Option<&[u8]>) -> bool {
        let begins = self.after.as_deref() <= point;
        begins && (self.page.is_last || !self.page.after(point).is_empty())
    }
}

impl SortedPages {
    fn kept(&self) -> MutexGuard<'_, VecDeque<KeptPage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page with the names after a point, if it is there.
    pub(super) fn find(&self, export: u64, subject: &[u8], after: Option<&[u8]>) -> Option<Arc<SortedPage>> {
        let kept = self.kept();
        let mut of_export = kept.iter().filter(|kept| kept.export == export && kept.subject == subject);
        of_export.find(|kept| kept.covers(after)).map(|kept| Arc::clone(&kept.page))
    }

    /// Keeps the names collected, in place of the export's last sorted page of the same subject.
    pub(super) fn keep(&self, export: u64, subject: Vec<u8>, names: SmallestNames) -> Arc<SortedPage> {
        let after = names.after.clone();
        let page = Arc::new(names.finish());
        let mut kept = self.kept();
        kept.retain(|kept| kept.export != export || kept.subject != subject);
        if kept.len() >= MOST_KEPT {
            kept.pop_front();
        }
        kept.push_back(KeptPage { export, subject, after, page: Arc::clone(&page) });
        page
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

    fn gather(names: &[Vec<u8>], after: Option<&[u8]>, budget: usize) -> SortedPage {
        let mut gatherer = SmallestNames { budget, ..SmallestNames::after(after) };
        names.iter().for_each(|name| gatherer.offer(name.clone()));
        gatherer.finish()
    }

    proptest! {
        #[test]
        fn sorted_pages_contain_every_name_once_and_in_order(
            names in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..200),
            budget in 1..2_000_usize,
        ) {
            let (mut given, mut after) = (Vec::new(), None::<Vec<u8>>);
            loop {
                let page = gather(&names, after.as_deref(), budget);
                given.extend(page.after(after.as_deref()).iter().cloned());
                after = given.last().cloned();
                if page.is_last {
                    break;
                }
            }
            let expected: Vec<_> = names.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(given, expected);
        }
    }

    #[test]
    fn a_sorted_page_is_found_by_its_export_only_and_while_it_covers_the_point() {
        let names: Vec<_> = [b"a", b"b", b"c"].iter().map(|name| name.to_vec()).collect();
        let pages = SortedPages::default();
        let mut gatherer = SmallestNames { budget: 2 * (1 + OVERHEAD), ..SmallestNames::after(None) };
        names.iter().for_each(|name| gatherer.offer(name.clone()));
        pages.keep(1, b"subject".to_vec(), gatherer);
        assert!(pages.find(1, b"subject", None).is_some());
        assert!(pages.find(1, b"subject", Some(b"a")).is_some());
        assert!(pages.find(1, b"subject", Some(b"b")).is_none());
        assert!(pages.find(2, b"subject", None).is_none());
        assert!(pages.find(1, b"other", None).is_none());
        pages.forget(1);
        assert!(pages.find(1, b"subject", None).is_none());
    }
}
