//! One reader and several writers: pages of the source, batches at the target.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::rate_limit::RateLimiter;
use super::retry::with_retries;
use super::run::MigrationInner;
use super::{Kind, MigrationError, Side};
use storage_core::{Cursor, Page, Result, Storage};

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
    fn select(&self, shared: &MigrationInner, records: &mut Vec<Self::Record>);

    fn write(
        &self,
        shared: &MigrationInner,
        records: Vec<Self::Record>,
    ) -> impl Future<Output = Result<(), MigrationError>> + Send;
}

/// Moves all records of a kind; false if it was stopped before the end.
pub(super) async fn run<M: Movement>(
    shared: &Arc<MigrationInner>,
    movement: M,
    rate_limit: &mut RateLimiter,
) -> Result<bool, MigrationError> {
    let movement = Arc::new(movement);
    let counts = shared.progress.of(M::KIND);
    let limit = rate_limit.page_size(shared.options.batch);
    let mut writers = JoinSet::new();
    let mut from = None;
    let is_complete = loop {
        if shared.stop.is_stopped() {
            break false;
        }
        let read = || M::page(&*shared.from, from.as_ref(), limit);
        let mut page = with_retries(Side::Source, &shared.stop, read).await?;
        counts.add_page(&page);
        rate_limit.wait(page.records.len(), &shared.stop).await;
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
