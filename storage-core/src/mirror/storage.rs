//! The storage and what is common to its parts.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{OnceCell, mpsc};

use super::collector::{self, Collections};
use super::lanes::{Job, Lanes};
use super::ledger::{Ledger, Owed};
use super::secondary::Secondary;
use super::turns::Turns;
use super::{MirrorConfig, Missed, NAME, Suspended, findings};
use crate::{
    Backend, Error, ErrorKind, Inspection, Lacking, NoObserver, Operation, Result, SharedObserver, Storage,
    Timestamp,
};

/// Two storages as one: see the [module](super).
///
/// Timeouts, limits and an orderly close are layers: [`guarded`](crate::guarded), which the registry
/// puts around by itself. The two storages should have such layers of their own.
pub struct MirrorStorage<S: ?Sized = dyn Storage> {
    pub(super) primary: Arc<S>,
    pub(super) secondary: Arc<Secondary<S>>,
    pub(super) turns: Turns,
    pub(super) lanes: Lanes<S>,
    pub(super) collections: Collections<S>,
    config: MirrorConfig,
    drained: OnceCell<()>,
}

/// How a mirror does; counts are since it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorStatus {
    /// When it was made.
    pub started: Timestamp,
    /// Writes that the secondary has.
    pub applied: u64,
    /// Writes that wait for it or are under way to it.
    pub queued: u64,
    /// Writes that it did not get, and never will without a migration.
    pub missed: Option<Missed>,
    /// Whether it gets none for now.
    pub suspended: Option<Suspended>,
}

impl<S: Backend + ?Sized + 'static> MirrorStorage<S> {
    /// A mirror of two open storages. It starts tasks, and so must be made within a tokio runtime.
    pub fn new(primary: Arc<S>, secondary: Arc<S>, config: MirrorConfig) -> Self {
        Self::observed(primary, secondary, config, Arc::new(NoObserver))
    }

    /// The same, with an observer for what befalls the secondary.
    pub fn observed(
        primary: Arc<S>,
        secondary: Arc<S>,
        config: MirrorConfig,
        observer: SharedObserver,
    ) -> Self {
        let secondary = Secondary::open(secondary, &config, Ledger::new(observer));
        Self::of(primary, secondary, config)
    }

    pub(super) fn of(primary: Arc<S>, secondary: Secondary<S>, config: MirrorConfig) -> Self {
        let secondary = Arc::new(secondary);
        let mut lanes = Lanes::start(&secondary, &config);
        lanes.spawn(|stop| Arc::clone(&secondary).supervise(stop));
        // One under way, and one that waits.
        let (collections, asked_for) = mpsc::channel(1);
        lanes.spawn(|stop| collector::collect(Arc::clone(&secondary), asked_for, stop));
        Self { primary, secondary, turns: Turns::new(), lanes, collections, config, drained: OnceCell::new() }
    }

    /// How it does.
    pub fn status(&self) -> MirrorStatus {
        let ledger = &self.secondary.ledger;
        // The queue first: what leaves it afterwards is seen among the rest.
        let queued = ledger.queued();
        MirrorStatus {
            started: ledger.started,
            applied: ledger.applied(),
            queued,
            missed: ledger.missed(),
            suspended: self.secondary.suspended(),
        }
    }

    /// Makes a write on the primary. What it gives with the answer is owed to the secondary, and
    /// missed if the call is given up or its outcome is in doubt.
    pub(super) async fn write<T>(
        &self,
        writes: usize,
        bytes: usize,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<(T, Owed)> {
        let owed = self.owe(writes, bytes);
        match call.await {
            Ok(answer) => Ok((answer, owed)),
            Err(error) => {
                if !is_in_doubt(&error) {
                    owed.forgiven();
                }
                Err(of_primary(error))
            }
        }
    }

    pub(super) fn owe(&self, writes: usize, bytes: usize) -> Owed {
        self.secondary.ledger.owe(writes as u64, bytes as u64)
    }

    /// Queues a write for the secondary.
    pub(super) fn pass_on<F>(
        &self,
        lane: usize,
        subject: Option<u64>,
        (operation, owed): (Operation, Owed),
        apply: impl FnOnce(Arc<S>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        // While it is suspended, dropping what is owed counts it.
        if self.secondary.is_suspended() {
            return;
        }
        let apply = Box::new(move |secondary| Box::pin(apply(secondary)) as _);
        self.lanes.push(lane, Job { operation, subject, owed, apply });
    }
}

/// Whether a failed write may have taken effect, all or in part.
pub(super) fn is_in_doubt(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Uncertain | ErrorKind::Corrupt => true,
        ErrorKind::NotFound | ErrorKind::Closed | ErrorKind::Busy | ErrorKind::Unsupported(_) => false,
        // Of many entries some may have been written.
        _ => error.operation().is_long(),
    }
}

/// An error of the primary as one of the mirror.
pub(super) fn of_primary(error: Error) -> Error {
    let mirrored = Error::new(NAME, error.operation(), error.kind());
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Closed => mirrored,
        _ => mirrored.with_message("in `primary`").with_source(error),
    }
}

#[async_trait]
impl<S: Backend + ?Sized + 'static> Backend for MirrorStorage<S> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn durable(&self) -> bool {
        self.primary.durable()
    }

    fn lacking(&self) -> Lacking {
        self.primary.lacking()
    }

    fn configuration_key(&self, operation: Operation) -> Option<&'static str> {
        self.primary.configuration_key(operation)
    }

    async fn ping(&self) -> Result<()> {
        self.primary.ping().await.map_err(of_primary)
    }

    async fn inspect(&self) -> Result<Inspection> {
        let primary = self.primary.inspect().await.map_err(of_primary)?;
        let secondary = match self.secondary.in_service() {
            None => None,
            Some(storage) => {
                let limit = self.secondary.timeout(Operation::Ping);
                tokio::time::timeout(limit, storage.inspect()).await.ok().and_then(Result::ok)
            }
        };
        let lacking = self.secondary.storage().map(|storage| (storage.name(), storage.lacking()));
        Ok(findings::inspection(self.primary.name(), primary, lacking, secondary, &self.status()))
    }

    async fn close(&self) -> Result<()> {
        let drain = async {
            if !self.lanes.drain(self.config.drain_timeout).await {
                let missed = self.status().missed.map_or(0, |missed| missed.writes);
                tracing::warn!(
                    backend = NAME,
                    missed,
                    "`drain_timeout` has passed: the secondary misses what was queued"
                );
            }
        };
        self.drained.get_or_init(|| drain).await;
        let closed = self.primary.close().await.map_err(of_primary);
        if let Some(storage) = self.secondary.storage() {
            match tokio::time::timeout(self.config.drain_timeout, storage.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(backend = NAME, ?error, "could not close the secondary"),
                Err(_) => tracing::warn!(backend = NAME, "the secondary did not close in time"),
            }
        }
        closed
    }
}
