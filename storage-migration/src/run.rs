//! A migration: one pass, or passes repeated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::data::{Data, remove_all_gone};
use super::pipeline::{self, Downloads, Peers};
use super::rate_limit::RateLimiter;
use super::written_keys::WrittenKeys;
use super::{DownloadsRule, Follow, MigrationError, Options, Progress, RecordCounts, RecordKind, Stop};
use storage_core::{Capability, Storage, Timestamp};

/// How far clocks of trackers may be apart: a later pass of [`Migration::follow`] passes over peers that
/// announced so long before the one before it began.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(600);

/// Everything of one storage into another.
pub struct Migration(Arc<MigrationInner>);

/// What readers and writers share.
pub(super) struct MigrationInner {
    pub(super) from: Arc<dyn Storage>,
    pub(super) to: Arc<dyn Storage>,
    pub(super) options: Options,
    pub(super) progress: Arc<Progress>,
    pub(super) stop: Stop,
    written_keys: Mutex<WrittenKeys>,
}

impl MigrationInner {
    pub(super) fn written_keys(&self) -> MutexGuard<'_, WrittenKeys> {
        self.written_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one pass did, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// When it began: what was announced at the source before this is at the target.
    pub began: Timestamp,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "in_seconds")]
    pub took: Duration,
    /// Whether it came to the end of the source.
    pub complete: bool,
    /// Peers.
    pub peers: RecordCounts,
    /// Downloads.
    pub downloads: RecordCounts,
    /// Data.
    pub data: RecordCounts,
}

impl Summary {
    /// The counts of a kind.
    pub fn of(&self, kind: RecordKind) -> &RecordCounts {
        match kind {
            RecordKind::Peers => &self.peers,
            RecordKind::Downloads => &self.downloads,
            RecordKind::Data => &self.data,
        }
    }

    /// Records written, of all kinds.
    pub fn written(&self) -> u64 {
        RecordKind::ALL.iter().map(|kind| self.of(*kind).written).sum()
    }

    /// Entries of the source that cannot be understood, of all kinds.
    pub fn unreadable(&self) -> u64 {
        RecordKind::ALL.iter().map(|kind| self.of(*kind).unreadable).sum()
    }

    fn add(&mut self, later: &Self) {
        self.began = later.began;
        self.took += later.took;
        self.complete = later.complete;
        self.peers.add(&later.peers);
        self.downloads.add(&later.downloads);
        self.data.add(&later.data);
    }
}

impl Migration {
    /// A migration, not yet begun.
    pub fn new(from: Arc<dyn Storage>, to: Arc<dyn Storage>, options: Options) -> Self {
        Self(Arc::new(MigrationInner {
            from,
            to,
            options,
            progress: Arc::default(),
            stop: Stop::default(),
            written_keys: Mutex::new(WrittenKeys::new()),
        }))
    }

    /// How far it has come.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.0.progress)
    }

    /// To end it between two batches.
    pub fn stop(&self) -> Stop {
        self.0.stop.clone()
    }

    /// What of the options the two storages cannot do: kind by kind, with the reason, which names the
    /// key of the configuration that is missing. Empty if it can be run.
    pub fn refusals(&self) -> Vec<(RecordKind, String)> {
        let (source, target) = (self.0.from.missing_capabilities(), self.0.to.missing_capabilities());
        let mut refusals = Vec::new();
        for kind in &self.0.options.kinds {
            let replaces =
                *kind == RecordKind::Downloads && self.0.options.downloads == DownloadsRule::Replace;
            let reasons = [
                source.reason(kind.export()).map(|reason| format!("the source cannot export them: {reason}")),
                target.reason(kind.import()).map(|reason| format!("the target cannot import them: {reason}")),
                target
                    .reason(Capability::ForgetDownloads)
                    .filter(|_| replaces)
                    .map(|reason| format!("the target cannot replace them: {reason}")),
            ];
            refusals.extend(reasons.into_iter().flatten().map(|reason| (*kind, reason)));
        }
        refusals
    }

    /// Moves everything once.
    ///
    /// # Errors
    /// [`MigrationError`] if a side fails for longer than a minute, or refuses; running it again gives the
    /// same as if it had not been interrupted.
    pub async fn run(&self) -> Result<Summary, MigrationError> {
        self.pass(None).await
    }

    /// Moves everything, and then again and again what is newer, until it is stopped or the source is
    /// quiet. `passed` sees each pass. The later passes pass over peers that announced well before the
    /// pass before; a last [`run`](Self::run) looks at everything once more.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn follow(
        &self,
        follow: Follow,
        mut passed: impl FnMut(&Summary),
    ) -> Result<Summary, MigrationError> {
        let mut total = self.pass(None).await?;
        passed(&total);
        let mut last = total.clone();
        let mut quiet_since = None;
        while last.complete && !self.is_quiet(follow, &last, &mut quiet_since) {
            tokio::select! {
                () = sleep(follow.pause) => {}
                () = self.0.stop.stopped() => break,
            }
            last = self.pass(Some(last.began.before(CLOCK_TOLERANCE))).await?;
            passed(&last);
            total.add(&last);
        }
        Ok(total)
    }

    fn is_quiet(&self, follow: Follow, last: &Summary, quiet_since: &mut Option<Instant>) -> bool {
        if last.written() + last.data.gone > 0 {
            *quiet_since = None;
            return false;
        }
        let since = *quiet_since.get_or_insert_with(Instant::now);
        follow.until_quiet.is_some_and(|wanted| since.elapsed() >= wanted)
    }

    async fn pass(&self, since: Option<Timestamp>) -> Result<Summary, MigrationError> {
        let shared = &self.0;
        let (began, begun) = (shared.from.now(), Instant::now());
        RecordKind::ALL.iter().for_each(|kind| shared.progress.of(*kind).restart());
        self.estimate().await;
        let mut rate_limit = RateLimiter::new(shared.options.rate);
        let mut complete = true;
        for kind in RecordKind::ALL.into_iter().filter(|kind| shared.options.kinds.contains(kind)) {
            complete = complete
                && match kind {
                    RecordKind::Peers => {
                        let stale_at = shared.options.stale_after.map(|lifetime| began.before(lifetime));
                        let old_at = shared.options.peer_lifetime.map(|lifetime| began.before(lifetime));
                        pipeline::run(shared, Peers { stale_at, old_at, since }, &mut rate_limit).await?
                    }
                    RecordKind::Downloads => pipeline::run(shared, Downloads, &mut rate_limit).await?,
                    RecordKind::Data => {
                        let complete = pipeline::run(shared, Data, &mut rate_limit).await?;
                        remove_all_gone(shared).await?;
                        complete
                    }
                };
        }
        let counts = |kind| shared.progress.of(kind).counts();
        Ok(Summary {
            began,
            took: begun.elapsed(),
            complete,
            peers: counts(RecordKind::Peers),
            downloads: counts(RecordKind::Downloads),
            data: counts(RecordKind::Data),
        })
    }

    /// How many peers are to be expected, where that can be counted.
    async fn estimate(&self) {
        let shared = &self.0;
        let counts = shared.progress.of(RecordKind::Peers);
        let is_wanted = shared.options.kinds.contains(&RecordKind::Peers) && counts.expected().is_none();
        if is_wanted
            && shared.from.missing_capabilities().has(Capability::Statistics)
            && let Ok(found) = shared.from.statistics().await
        {
            counts.expect(found.seeders + found.leechers);
        }
    }
}

fn in_seconds<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(took.as_secs_f64())
}
