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
//! use storage_core::{OpenError, Registry, Storage, config::StorageConfig};
//!
//! struct MyStorage {
//!     registry: Registry,
//!     config: StorageConfig,
//! }
//!
//! #[async_trait]
//! impl Provider for MyStorage {
//!     async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
//!         Ok(self.registry.open(self.config.clone()).await?.storage)
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
//! [`Upkeep::rehearse`](crate::Upkeep::rehearse)) are rehearsed first; where one overreaches, its own
//! safety case (`S1`) fails, and the cases that need it are refused unless the storage is the suite's
//! alone.

mod case;
mod cases;
mod check;
mod failure;
mod sample;
mod scene;
mod two_nodes;

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use case::{Case, Level, Outcome};
pub use failure::{Failure, Stop, Verdict};
pub use scene::Scene;
pub use two_nodes::TwoNodes;

use crate::{OpenError, Rehearsal, Storage};

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
    rehearsals: OnceCell<Vec<Rehearsal>>,
    stage: RwLock<()>,
}

impl Suite {
    /// The suite on the storage that `provider` opens.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self { provider, rehearsals: OnceCell::new(), stage: RwLock::default() }
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
        match self.perform(case, pin!(cancelled)).await {
            Ok(()) => Outcome::Passed,
            Err(Stop::Skipped(reason)) => Outcome::Skipped(reason),
            Err(Stop::Failed(failure)) if case.level() == Level::Should => Outcome::Warned(failure),
            Err(Stop::Failed(failure)) => Outcome::Failed(failure),
        }
    }

    async fn perform(&self, case: &Case, mut cancelled: Pin<&mut impl Future<Output = ()>>) -> Verdict {
        let opening =
            async { self.provider.open().await.map_err(|error| Stop::could_not("open the storage", &error)) };
        let storage = unless(cancelled.as_mut(), guarded("open the storage", opening)).await?;
        let verdict = self.play(case, &storage, cancelled).await;
        let closing = async {
            let closed = storage.close().await;
            closed.map_err(|error| Stop::failed_call("close the storage", &*storage, &error))
        };
        either_failure(verdict, guarded("close the storage", closing).await)
    }

    async fn play(
        &self,
        case: &Case,
        storage: &Arc<dyn Storage>,
        mut cancelled: Pin<&mut impl Future<Output = ()>>,
    ) -> Verdict {
        let admission = async {
            self.admit(case, storage).await?;
            Ok(self.take_the_stage(case).await)
        };
        let stage = unless(cancelled.as_mut(), admission).await?;
        let scene = Scene::new(Arc::clone(storage), Arc::clone(&self.provider));
        let mut has_ended = false;
        let story = async {
            let verdict = case.play(&scene).await;
            has_ended = true;
            verdict
        };
        let verdict = unless(cancelled, guarded("play the whole case", story)).await;
        if !has_ended {
            tokio::time::sleep(SETTLING).await;
        }
        let cleaned = guarded("clean up", scene.clean_up()).await;
        drop(stage);
        either_failure(verdict, cleaned)
    }

    /// Turns away a case that this storage can't decide, and on a storage in use one that would do
    /// harm there.
    async fn admit(&self, case: &Case, storage: &Arc<dyn Storage>) -> Verdict {
        let lacking = storage.lacking();
        if let Some(reason) = case.is_hindered_by(&lacking) {
            return Err(Stop::Skipped(reason));
        }
        if is_alone(&*self.provider) {
            return Ok(());
        }
        if let Some(reason) = case.leaves_downloads(&lacking) {
            return Err(Stop::Skipped(reason));
        }
        let rehearsed = self.rehearsals.get_or_try_init(|| storage.rehearse()).await;
        let rehearsals = rehearsed
            .map_err(|error| Stop::failed_call("rehearse destructive operations", &**storage, &error))?;
        let overreach = rehearsals
            .iter()
            .find(|rehearsal| rehearsal.overreach.is_some() && case.runs(rehearsal.operation));
        match overreach {
            Some(Rehearsal { key, .. }) => Err(Stop::Skipped(format!(
                "refused on a storage in use: `{key}` touches more than it should (see its safety case)"
            ))),
            None => Ok(()),
        }
    }

    /// Waits until the case may play: for the end of all others if it plays alone.
    async fn take_the_stage(&self, case: &Case) -> Stage<'_> {
        if self.provider.is_private() {
            return Stage { _alone: None, _among_others: None };
        }
        if case.plays_alone() {
            return Stage { _alone: Some(self.stage.write().await), _among_others: None };
        }
        Stage { _alone: None, _among_others: Some(self.stage.read().await) }
    }
}

/// Held while a case plays.
struct Stage<'a> {
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
    work: impl Future<Output = Verdict<T>>,
) -> Verdict<T> {
    tokio::select! {
        biased;
        () = cancelled => Err(Stop::Skipped("interrupted".into())),
        result = work => result,
    }
}

/// Does `work` within the time a case has, and makes a panic a failure.
async fn guarded<T>(did: &str, work: impl Future<Output = Verdict<T>>) -> Verdict<T> {
    match tokio::time::timeout(CASE_TIMEOUT, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(panic)) => Err(Stop::panicked(did, &*panic)),
        Err(_) => {
            Err(Stop::Failed(Failure::new(did, format!("an end within {CASE_TIMEOUT:?}"), "none came")))
        }
    }
}

/// The first failure of a case and what followed it, else how the case ended.
fn either_failure(verdict: Verdict, followed: Verdict) -> Verdict {
    match verdict {
        Err(Stop::Failed(_)) => verdict,
        _ => followed.and(verdict),
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
            "T1", "W1", "R1", "L1", "E1",
        ];
        let found: BTreeSet<_> = Suite::cases().iter().map(Case::rule).collect();
        assert_eq!(found, BTreeSet::from(rules));
        for case in Suite::cases() {
            assert_eq!(case.level() == Level::Should, case.rule() == "P6", "{}", case.name());
        }
    }
}
