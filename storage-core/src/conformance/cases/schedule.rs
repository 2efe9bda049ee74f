//! U3: maintenance by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::garbage::still_there;
use crate::conformance::sample::{self, CUTOFF, STALE};
use crate::conformance::{CaseResult, TestContext};
use crate::layer::{Layer, Layered};
use crate::{MaintenanceScheduler, Operation, Result, Role, Schedule, Storage, Timestamp};

/// Time for several runs of the schedule below.
const A_WHILE: Duration = Duration::from_millis(300);

/// A schedule by which peers of 1990 are stale and living ones are not.
fn schedule() -> Schedule {
    Schedule {
        gc_interval: Duration::from_millis(50),
        peer_lifetime: Timestamp::now().since(CUTOFF),
        gc_grace: Some(Duration::ZERO),
        gc_max_share: 1.0,
        reporting_interval: Duration::from_millis(50),
        enabled: true,
    }
}

/// Counts the statistics that pass, and keeps the storage open when it is told to close.
#[derive(Default)]
struct Watch {
    statistics: AtomicUsize,
}

impl Layer for Watch {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let result = call.await;
        if operation == Operation::Statistics {
            self.statistics.fetch_add(1, Ordering::SeqCst);
        }
        result
    }

    async fn close<'a>(
        &'a self,
        _backend: &'static str,
        _close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> Result<()> {
        Ok(())
    }
}

fn watched(test: &TestContext) -> Arc<Layered<dyn Storage, Watch>> {
    Arc::new(Layered::new(Arc::clone(test.storage()), Watch::default()))
}

pub(super) async fn stale_peers_go_by_themselves(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put_at(&info_hash, &sample::peer(1), Role::Leecher, STALE).await?;
    test.put(&info_hash, &sample::peer(2), Role::Leecher).await?;
    let maintained = MaintenanceScheduler::start(watched(test), schedule());
    let did = "start the schedule with a stale and a fresh leecher, wait";
    let counted = test.counts_in_the_end(did, Operation::CollectGarbage, &info_hash, 0, 1).await;
    test.ok("stop the schedule", maintained.close().await)?;
    counted
}

pub(super) async fn switched_off_it_removes_nothing(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let _maintained = MaintenanceScheduler::start(watched(test), Schedule { enabled: false, ..schedule() });
    test.put_at(&info_hash, &sample::peer(1), Role::Seeder, STALE).await?;
    tokio::time::sleep(A_WHILE).await;
    still_there(test, "wait for a schedule that is switched off, with a stale peer", &info_hash).await
}

pub(super) async fn closing_stops_it(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let maintained = MaintenanceScheduler::start(watched(test), schedule());
    tokio::time::sleep(A_WHILE).await;
    test.ok("stop the schedule", maintained.close().await)?;
    test.put_at(&info_hash, &sample::peer(1), Role::Seeder, STALE).await?;
    tokio::time::sleep(A_WHILE).await;
    still_there(test, "close the storage that the schedule runs on, put a stale peer, wait", &info_hash).await
}

pub(super) async fn no_interval_is_no_statistics(test: &TestContext) -> CaseResult {
    let taken = statistics_taken(test, Duration::ZERO).await?;
    test.equal("wait for a schedule with a reporting interval of 0", Operation::Statistics, 0, taken)
}

pub(super) async fn statistics_are_taken_by_themselves(test: &TestContext) -> CaseResult {
    let taken = statistics_taken(test, Duration::from_millis(50)).await?;
    let did = "wait for a schedule with a reporting interval of 50 ms: statistics taken";
    test.holds(did, Operation::Statistics, "at least 1", taken >= 1, taken)
}

/// How many statistics a schedule takes in a while, or, if it should take some, until the first.
async fn statistics_taken(test: &TestContext, reporting_interval: Duration) -> CaseResult<usize> {
    let watched = watched(test);
    let an_hour = Duration::from_secs(3600);
    let schedule = Schedule { gc_interval: an_hour, reporting_interval, ..schedule() };
    let maintained = MaintenanceScheduler::start(Arc::clone(&watched) as Arc<dyn Storage>, schedule);
    let taken = || watched.layer().statistics.load(Ordering::SeqCst);
    let mut patience = if reporting_interval.is_zero() { 1 } else { 30 };
    while patience > 0 && taken() == 0 {
        tokio::time::sleep(A_WHILE).await;
        patience -= 1;
    }
    test.ok("stop the schedule", maintained.close().await)?;
    Ok(taken())
}
