//! The conformance suite: what the contract asks of every backend, as a flat list of small named
//! cases that anyone can run on any storage.
//!
//! The author of a backend says how to open the storage, and runs the cases, one after another or at
//! the same time:
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use storage_core::conformance::{Outcome, Provider, Suite};
//! use storage_core::{OpenError, Backends, Storage, config::StorageConfig};
//!
//! struct MyStorage {
//!     backends: Backends,
//!     config: StorageConfig,
//! }
//!
//! #[async_trait]
//! impl Provider for MyStorage {
//!     async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
//!         Ok(self.backends.open(self.config.clone()).await?.storage)
//!     }
//!
//!     fn is_exclusive(&self) -> bool {
//!         true // a test database, which nobody else uses
//!     }
//!
//!     fn is_private(&self) -> bool {
//!         false // all openings share that database
//!     }
//! }
//!
//! async fn run(my_storage: MyStorage) {
//!     let suite = Suite::new(Arc::new(my_storage));
//!     for case in Suite::cases() {
//!         match suite.run(case).await {
//!             Outcome::Passed => println!("ok {}", case.name()),
//!             Outcome::Failed(failure) => println!("FAILED {}\n{failure}", case.name()),
//!             Outcome::Warned(failure) => println!("warning {}\n{failure}", case.name()),
//!             Outcome::Skipped(reason) => println!("skipped {}: {reason}", case.name()),
//!         }
//!     }
//! }
//! ```
//!
//! Run them on tokio's multi-threaded runtime: some cases are about calls at the same time. Cases
//! that count all that is stored keep the others of the same [`Suite`] waiting meanwhile, so use one
//! `Suite` for each storage.
//!
//! The suite is safe on a storage in use: it works under info hashes and contexts made anew for each
//! case and cleans up after each, also after a failure. Garbage is collected there with a cutoff in
//! 1991 only. Operations that could reach further because an operator wrote their query (see
//! [`Maintenance::check_query_scope`](crate::Maintenance::check_query_scope)) are checked first; where one touches more rows than it should, its own
//! safety case (`S1`) fails, and the cases that need it are refused unless the storage is the suite's
//! alone.

mod case;
mod cases;
mod check;
mod sample;
mod test_context;
mod two_nodes;
mod violation;

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use case::{Case, Level, Outcome};
pub use test_context::TestContext;
pub use two_nodes::TwoNodes;
pub use violation::{CaseError, CaseResult, Violation};

use crate::{OpenError, QueryScopeReport, Storage};

/// The version of the suite. A new MUST starts as a SHOULD for one minor version; a new major version may have new ones
/// at once.
pub const VERSION: &str = "2.0";

/// The longest that a case, or cleaning up after it, may take before it has failed.
const CASE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long calls that were given up may take to arrive before the cleaning begins.
const SETTLING: Duration = Duration::from_secs(1);

/// A way to get the storage under test.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Opens the storage, as one more node would.
    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError>;

    /// Whether nobody else uses the storage: the suite may assert about all that is in it.
    fn is_exclusive(&self) -> bool;

    /// Whether each opening gives an empty storage of its own, so that there are no further nodes.
    fn is_private(&self) -> bool;
}

/// The suite on one storage.
pub struct Suite {
    provider: Arc<dyn Provider>,
    reports: OnceCell<Vec<QueryScopeReport>>,
    lock: RwLock<()>,
}

impl Suite {
    /// The suite on the storage that `provider` opens.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self { provider, reports: OnceCell::new(), lock: RwLock::default() }
    }

    /// All cases: those about safety first, then in the order of their rules.
    pub fn cases() -> &'static [Case] {
        cases::ALL
    }

    /// The case of that [name](Case::name).
    pub fn case(name: &str) -> Option<&'static Case> {
        Self::cases().iter().find(|case| case.name() == name)
    }

    /// Runs a case on a freshly opened storage, cleans up after it, and closes the storage. Cases may
    /// run at the same time; those that must not wait for each other.
    pub async fn run(&self, case: &Case) -> Outcome {
        self.run_until(case, std::future::pending()).await
    }

    /// As [`run`](Self::run), unless `cancelled` completes before the case ends: then the case is
    /// given up, cleaned up after as ever, and [`Skipped`](Outcome::Skipped) as `interrupted`.
    pub async fn run_until(&self, case: &Case, cancelled: impl Future<Output = ()>) -> Outcome {
        match self.open_and_run(case, pin!(cancelled)).await {
            Ok(()) => Outcome::Passed,
            Err(CaseError::Skipped(reason)) => Outcome::Skipped(reason),
            Err(CaseError::Failed(failure)) if case.level() == Level::Should => Outcome::Warned(failure),
            Err(CaseError::Failed(failure)) => Outcome::Failed(failure),
        }
    }

    async fn open_and_run(
        &self,
        case: &Case,
        mut cancelled: Pin<&mut impl Future<Output = ()>>,
    ) -> CaseResult {
        let opening = async {
            self.provider.open().await.map_err(|error| CaseError::could_not("open the storage", &error))
        };
        let storage = unless(cancelled.as_mut(), bounded("open the storage", opening)).await?;
        let result = self.run_on(case, &storage, cancelled).await;
        let closing = async {
            let closed = storage.close().await;
            closed.map_err(|error| CaseError::failed_call("close the storage", &*storage, &error))
        };
        either_failure(result, bounded("close the storage", closing).await)
    }

    async fn run_on(
        &self,
        case: &Case,
        storage: &Arc<dyn Storage>,
        mut cancelled: Pin<&mut impl Future<Output = ()>>,
    ) -> CaseResult {
        let admission = async {
            self.admit(case, storage).await?;
            Ok(self.lock_for(case).await)
        };
        let lock = unless(cancelled.as_mut(), admission).await?;
        let test = TestContext::new(Arc::clone(storage), Arc::clone(&self.provider));
        let mut has_ended = false;
        let body = async {
            let result = case.run(&test).await;
            has_ended = true;
            result
        };
        let result = unless(cancelled, bounded("run the whole case", body)).await;
        if !has_ended {
            tokio::time::sleep(SETTLING).await;
        }
        let cleaned = bounded("clean up", test.clean_up()).await;
        drop(lock);
        either_failure(result, cleaned)
    }

    /// Turns away a case that this storage can't decide, and on a storage in use one that would do
    /// harm there.
    async fn admit(&self, case: &Case, storage: &Arc<dyn Storage>) -> CaseResult {
        let lacking = storage.missing_capabilities();
        if let Some(reason) = case.is_hindered_by(&lacking) {
            return Err(CaseError::Skipped(reason));
        }
        if is_alone(&*self.provider) {
            return Ok(());
        }
        if let Some(reason) = case.leaves_downloads(&lacking) {
            return Err(CaseError::Skipped(reason));
        }
        let checked = self.reports.get_or_try_init(|| storage.check_query_scope()).await;
        let reports = checked.map_err(|error| {
            CaseError::failed_call("check the scope of destructive queries", &**storage, &error)
        })?;
        let excess_rows =
            reports.iter().find(|report| report.excess_rows.is_some() && case.runs(report.operation));
        match excess_rows {
            Some(QueryScopeReport { key, .. }) => Err(CaseError::Skipped(format!(
                "refused on a storage in use: `{key}` touches more than it should (see its safety case)"
            ))),
            None => Ok(()),
        }
    }

    /// Waits until the case may run: for the end of all others if it runs alone.
    async fn lock_for(&self, case: &Case) -> SuiteLock<'_> {
        if self.provider.is_private() {
            return SuiteLock { _alone: None, _among_others: None };
        }
        if case.runs_alone() {
            return SuiteLock { _alone: Some(self.lock.write().await), _among_others: None };
        }
        SuiteLock { _alone: None, _among_others: Some(self.lock.read().await) }
    }
}

/// Held while a case runs.
struct SuiteLock<'a> {
    _alone: Option<RwLockWriteGuard<'a, ()>>,
    _among_others: Option<RwLockReadGuard<'a, ()>>,
}

/// Whether nobody else can reach the storage.
fn is_alone(provider: &dyn Provider) -> bool {
    provider.is_exclusive() || provider.is_private()
}

/// Does `work` unless `cancelled` comes first.
async fn unless<T>(
    cancelled: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = CaseResult<T>>,
) -> CaseResult<T> {
    tokio::select! {
        biased;
        () = cancelled => Err(CaseError::Skipped("interrupted".into())),
        result = work => result,
    }
}

/// Does `work` within the time a case has, and makes a panic a failure.
async fn bounded<T>(did: &str, work: impl Future<Output = CaseResult<T>>) -> CaseResult<T> {
    match tokio::time::timeout(CASE_TIMEOUT, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(CaseError::panicked(did, &*panic)),
        Err(_) => Err(CaseError::Failed(Violation::new(
            did,
            format!("an end within {CASE_TIMEOUT:?}"),
            "none came",
        ))),
    }
}

/// The first failure of a case and what followed it, else how the case ended.
fn either_failure(result: CaseResult, followed: CaseResult) -> CaseResult {
    match result {
        Err(CaseError::Failed(_)) => result,
        _ => followed.and(result),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Suite::cases().iter().map(Case::name).collect();
        assert_eq!(names.len(), Suite::cases().len());
        for name in names {
            assert_eq!(Suite::case(&name).map(Case::name), Some(name));
        }
    }

    #[test]
    fn every_rule_has_a_case_of_its_level() {
        let rules = [
            "S1", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "A1", "D1", "D2", "D3", "U1", "U1a", "U2", "U3",
            "U4", "T1", "W1", "R1", "L1", "E1",
        ];
        let found: BTreeSet<_> = Suite::cases().iter().map(Case::rule).collect();
        assert_eq!(found, BTreeSet::from(rules));
        for case in Suite::cases() {
            assert_eq!(case.level() == Level::Should, case.rule() == "P6", "{}", case.name());
        }
    }
}
