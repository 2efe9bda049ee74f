//! Maintenance; garbage of the secondary is collected beside the queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::peers::PEER_BYTES;
use super::secondary::Secondary;
use super::storage::of_primary;
use super::write_queue::Apply;
use super::{MirrorStorage, NAME};
use storage_core::{
    Backend, Capability, Collected, CountCheck, Cursor, Forgotten, InfoHash, Maintenance, Operation,
    QueryScopeReport, Result, Statistics, SwarmOrder, SwarmPage, TaskSpawner, Timestamp,
};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Maintenance + ?Sized + 'static> Maintenance for MirrorStorage<S> {
    async fn collect_garbage(&self, cutoff: Timestamp) -> Result<Collected> {
        self.collect_at_most(cutoff, u64::MAX).await
    }

    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        let collected = self.primary.collect_at_most(cutoff, most).await.map_err(of_primary)?;
        if collected.withheld > 0 {
            return Ok(collected);
        }
        let on_secondary = move |secondary: Arc<S>| async move {
            if !secondary.missing_capabilities().has(Capability::GarbageCollection) {
                return Ok(());
            }
            secondary.collect_garbage(cutoff).await.map(drop)
        };
        // One that finds no room is done by those before it, or by the next.
        drop(self.collections.try_send(Box::new(move |secondary| Box::pin(on_secondary(secondary)))));
        Ok(collected)
    }

    async fn statistics(&self) -> Result<Statistics> {
        self.primary.statistics().await.map_err(of_primary)
    }

    /// Of both sides together, unless the secondary is suspended. A failure there is a warning in the log.
    async fn check_counts(&self) -> Result<Option<CountCheck>> {
        let of_primary_side = self.primary.check_counts().await.map_err(of_primary)?;
        let Some(secondary) = self.secondary.available() else { return Ok(of_primary_side) };
        let of_secondary_side = secondary.check_counts().await.unwrap_or_else(|error| {
            tracing::warn!(backend = NAME, %error, "the counts of the secondary were not checked");
            None
        });
        Ok(match (of_primary_side, of_secondary_side) {
            (Some(primary), Some(secondary)) => {
                let remedy = if primary.wrong.is_empty() { secondary.remedy } else { primary.remedy };
                let wrong = [primary.wrong, secondary.wrong].concat();
                Some(CountCheck::new(primary.compared + secondary.compared, wrong, remedy))
            }
            (primary, secondary) => primary.or(secondary),
        })
    }

    async fn list_swarms(&self, order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Result<SwarmPage> {
        self.primary.list_swarms(order, from, limit).await.map_err(of_primary)
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        self.forget_swarms(std::slice::from_ref(info_hash)).await
    }

    async fn forget_swarms(&self, info_hashes: &[InfoHash]) -> Result<Forgotten> {
        let _locks = self.locks.of_swarms(info_hashes.iter()).await;
        let call = self.primary.forget_swarms(info_hashes);
        let (forgotten, pending) = self.write(info_hashes.len(), 0, call).await?;
        self.pass_on_records(
            Operation::ForgetSwarm,
            pending,
            info_hashes,
            |info_hash| self.lane_of_swarm(info_hash),
            |_| PEER_BYTES,
            |secondary, info_hashes| async move { secondary.forget_swarms(&info_hashes).await.map(drop) },
        );
        Ok(forgotten)
    }

    /// With the findings in the secondary, unless it is suspended. A failure there is a warning in the log.
    async fn check_query_scope(&self) -> Result<Vec<QueryScopeReport>> {
        let mut reports = self.primary.check_query_scope().await.map_err(of_primary)?;
        let Some(secondary) = self.secondary.available() else { return Ok(reports) };
        let on_secondary = |report: QueryScopeReport| QueryScopeReport {
            excess_rows: report.excess_rows.map(|excess_rows| format!("in `secondary`: {excess_rows}")),
            ..report
        };
        match secondary.check_query_scope().await {
            Ok(found) => reports.extend(found.into_iter().map(on_secondary)),
            Err(error) => {
                tracing::warn!(backend = NAME, %error, "the queries of the secondary were not checked");
            }
        }
        Ok(reports)
    }
}

/// The longest a collection may take.
const LONGEST: Duration = Duration::from_secs(600);

/// A collection that is to run on the secondary.
pub(super) type Collections<S> = mpsc::Sender<Apply<S>>;

/// Collects whenever it is asked to, one collection after the other, until told to stop. None that
/// fails is missed: the next one finds what it left.
pub(super) async fn collect_on_secondary<S: Backend + ?Sized>(
    secondary: Arc<Secondary<S>>,
    mut collections: mpsc::Receiver<Apply<S>>,
    tasks: TaskSpawner,
) {
    loop {
        let collection = async {
            let collection = collections.recv().await?;
            let Some(storage) = secondary.available() else { return Some(()) };
            match timeout(LONGEST, collection(Arc::clone(storage))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(backend = NAME, ?error, "garbage collection of the secondary failed");
                }
                Err(_) => tracing::warn!(
                    backend = NAME,
                    "garbage collection of the secondary was ended after {LONGEST:?}"
                ),
            }
            Some(())
        };
        tokio::select! {
            () = tasks.stopped() => return,
            collected = collection => if collected.is_none() { return },
        }
    }
}
