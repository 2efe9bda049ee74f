//! Walking a side: all of it page by page, or a sample.

use rand::RngExt;

use super::Verification;
use crate::retry::with_retries;
use crate::{MigrationError, RecordKind, Side};
use storage_core::{Cursor, Page, Result};

impl Verification {
    /// Hands all records of a kind to `each`, page by page.
    pub(super) async fn scan<T>(
        &self,
        side: Side,
        kind: RecordKind,
        page: impl AsyncFn(Option<&Cursor>) -> Result<Page<T>>,
        mut each: impl AsyncFnMut(Vec<T>) -> Result<(), MigrationError>,
    ) -> Result<(), MigrationError> {
        let mut from = None;
        while !self.stop.is_stopped() {
            let found = with_retries(side, &self.stop, || page(from.as_ref())).await?;
            self.progress.of(kind).add_page(&found);
            each(found.records).await?;
            match found.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        Ok(())
    }
}

/// So many of all that are offered, each with the same chance.
pub(super) struct Sample<T> {
    size: usize,
    offered: usize,
    taken: Vec<T>,
}

impl<T> Sample<T> {
    pub(super) fn new(size: usize) -> Self {
        Self { size, offered: 0, taken: Vec::new() }
    }

    pub(super) fn add(&mut self, item: T) {
        self.offered += 1;
        if self.taken.len() < self.size {
            self.taken.push(item);
            return;
        }
        let place = rand::rng().random_range(0..self.offered);
        if let Some(taken) = self.taken.get_mut(place) {
            *taken = item;
        }
    }

    pub(super) fn finish(self) -> Vec<T> {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_a_chance() {
        let mut seen = [0; 10];
        for _ in 0..1_000 {
            let mut sample = Sample::new(3);
            (0..10).for_each(|item| sample.add(item));
            let taken = sample.finish();
            assert_eq!(taken.len(), 3);
            taken.into_iter().for_each(|item: usize| seen[item] += 1);
        }
        assert!(seen.iter().all(|times| (200..400).contains(times)), "{seen:?}");
    }

    #[test]
    fn of_few_items_all_are_taken() {
        let mut sample = Sample::new(3);
        sample.add('a');
        assert_eq!(sample.finish(), ['a']);
    }
}
