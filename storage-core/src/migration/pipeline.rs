//! One reader and several writers: pages of the source, batches at the target.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::endurance::endure;
use super::pace::Pace;
use super::run::RunInner;
use super::{Kind, MigrationError, Side};
use crate::{Cursor, Page, Result, Storage};

/// How records of one kind are moved.
pub(super) trait Movement: Send + Sync + 'static {
    const KIND: Kind;
    type Record: Send + 'static;

    fn page(
        storage: &dyn Storage,
        from: Option<&Cursor>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Self::Record>>> + Send;

    /// Takes out what is not to be moved, and counts it.
    fn select(&self, shared: &RunInner, records: &mut Vec<Self::Record>);

    fn write(
        &self,
        shared: &RunInner,
        records: Vec<Self::Record>,
    ) -> impl Future<Output = Result<(), MigrationError>> + Send;
}

/// Moves all records of a kind; false if it was stopped before the end.
pub(super) async fn run<M: Movement>(
    shared: &Arc<RunInner>,
    movement: M,
    pace: &mut Pace,
) -> Result<bool, MigrationError> {
    let movement = Arc::new(movement);
    let counts = shared.progress.of(M::KIND);
    let limit = pace.page(shared.options.batch);
    let mut writers = JoinSet::new();
    let mut from = None;
    let is_complete = loop {
        if shared.stop.is_stopped() {
            break false;
        }
        let read = || M::page(&*shared.from, from.as_ref(), limit);
        let mut page = endure(Side::Source, &shared.stop, read).await?;
        counts.note_page(&page);
        pace.pass(page.records.len(), &shared.stop).await;
        movement.select(shared, &mut page.records);
        if !page.records.is_empty() && !shared.options.dry_run {
            while writers.len() >= shared.options.parallel.max(1) {
                finish(writers.join_next().await)?;
            }
            let (shared, movement) = (Arc::clone(shared), Arc::clone(&movement));
            writers.spawn(async move { movement.write(&shared, page.records).await });
        }
        match page.next {
            Some(next) => from = Some(next),
            None => break true,
        }
    };
    while let Some(written) = writers.join_next().await {
        finish(Some(written))?;
    }
    Ok(is_complete)
}

fn finish(written: Option<Result<Result<(), MigrationError>, JoinError>>) -> Result<(), MigrationError> {
    match written {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Writers are cancelled together with the one who waits for them.
            Err(_) => Ok(()),
        },
    }
}
