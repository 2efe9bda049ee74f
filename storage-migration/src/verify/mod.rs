//! Comparing two storages in bounded memory: each side is walked, and looked up on the other.

mod data;
mod differences;
mod downloads;
mod peers;
mod scan;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use differences::{Differences, Finding};

use super::retry::with_retries;
use super::{MigrationError, Progress, RecordKind, Side, Stop};
use storage_core::{Capability, Context, Storage, Timestamp};

/// How finely times are compared: as the coarser of all backends keeps them.
const PRECISION: Duration = Duration::from_micros(1);

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The kinds to compare (all).
    pub kinds: Vec<RecordKind>,
    /// The contexts of data to compare; none means all of them.
    pub contexts: Vec<Context>,
    /// Compares so many swarms, downloads and entries of data of each side, taken at random; none means
    /// all of them.
    pub sample: Option<usize>,
    /// When the copy began ([`Summary::began`](super::Summary::began)): what was announced later is told
    /// apart. Without it, that is what is announced while both sides are compared.
    pub copied_at: Option<Timestamp>,
    /// Leaves out peers that last announced this long ago or longer.
    pub stale_after: Option<Duration>,
    /// Peers of the source that announced longer ago are counted, and compared all the same (none are counted).
    pub peer_lifetime: Option<Duration>,
    /// Records in one page (1,000).
    pub batch: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            kinds: RecordKind::ALL.to_vec(),
            contexts: Vec::new(),
            sample: None,
            copied_at: None,
            stale_after: None,
            peer_lifetime: None,
            batch: 1_000,
        }
    }
}

/// The comparison of two storages. Memory is bounded by a page and the largest swarm.
pub struct Verification {
    from: Arc<dyn Storage>,
    to: Arc<dyn Storage>,
    options: VerifyOptions,
    progress: Arc<Progress>,
    stop: Stop,
    began: Timestamp,
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Whether it came to the end.
    pub complete: bool,
    /// Peers.
    pub peers: Differences,
    /// Downloads.
    pub downloads: Differences,
    /// Data.
    pub data: Differences,
    /// Peers of the source that are past [`VerifyOptions::peer_lifetime`], and were compared all the same.
    pub past_lifetime: u64,
    /// Peers of the source that were not compared, because of [`VerifyOptions::stale_after`].
    pub stale: u64,
    /// Sides that keep wrong counts of their swarms, as far as a sample shows, and what to do about it. What is
    /// stored may be equal all the same.
    pub wrong_counts: Vec<String>,
}

impl Comparison {
    /// Whether everything was compared, nothing differs but what a live source or target explains, and no counts are
    /// wrong.
    pub fn is_equal(&self) -> bool {
        self.complete
            && self.wrong_counts.is_empty()
            && RecordKind::ALL.iter().all(|kind| self.of(*kind).is_equal())
    }

    /// The differences of a kind.
    pub fn of(&self, kind: RecordKind) -> &Differences {
        match kind {
            RecordKind::Peers => &self.peers,
            RecordKind::Downloads => &self.downloads,
            RecordKind::Data => &self.data,
        }
    }
}

impl Verification {
    /// A comparison, not yet begun.
    pub fn new(from: Arc<dyn Storage>, to: Arc<dyn Storage>, options: VerifyOptions) -> Self {
        let began = from.now();
        Self { from, to, options, progress: Arc::default(), stop: Stop::default(), began }
    }

    /// How far it has come: records read, of both sides.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// To end it between two pages.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// What of the options the two storages cannot do, kind by kind, with the reason.
    pub fn refusals(&self) -> Vec<(RecordKind, String)> {
        let sides =
            [("source", self.from.missing_capabilities()), ("target", self.to.missing_capabilities())];
        let mut refusals = Vec::new();
        for kind in &self.options.kinds {
            for (side, lacking) in &sides {
                let needed =
                    [Some(kind.export()), (*kind == RecordKind::Downloads).then_some(Capability::Downloads)];
                let reasons =
                    needed.into_iter().flatten().filter_map(|capability| lacking.reason(capability));
                refusals.extend(
                    reasons.map(|reason| (*kind, format!("the {side} cannot export them: {reason}"))),
                );
            }
        }
        refusals
    }

    /// Compares.
    ///
    /// # Errors
    /// [`MigrationError`] if a side fails for longer than a minute, or refuses.
    pub async fn run(&self) -> Result<Comparison, MigrationError> {
        let mut found = Comparison::default();
        self.estimate().await;
        let wants = |kind| self.options.kinds.contains(&kind);
        if wants(RecordKind::Peers) {
            self.compare_peers(&mut found.peers).await?;
            let counts = self.progress.of(RecordKind::Peers).counts();
            (found.past_lifetime, found.stale) = (counts.past_lifetime, counts.stale);
            self.check_counts(&mut found.wrong_counts).await?;
        }
        if wants(RecordKind::Downloads) {
            self.compare_downloads(&mut found.downloads).await?;
        }
        if wants(RecordKind::Data) {
            self.compare_data(&mut found.data).await?;
        }
        found.complete = !self.stop.is_stopped();
        Ok(found)
    }

    /// Both may hold the same peers while clients are told wrong counts.
    async fn check_counts(&self, wrong: &mut Vec<String>) -> Result<(), MigrationError> {
        for side in [Side::Source, Side::Target] {
            let check = with_retries(side, &self.stop, || self.storage(side).check_counts()).await?;
            let warning = check.and_then(|check| check.warning());
            wrong.extend(warning.map(|warning| format!("{side}: {warning}")));
        }
        Ok(())
    }

    fn storage(&self, side: Side) -> &dyn Storage {
        match side {
            Side::Source => &*self.from,
            Side::Target => &*self.to,
        }
    }

    /// Whether a time is later than the copy, and no time to come.
    fn is_after_copy(&self, announced: Timestamp) -> bool {
        const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
        let copied_at = self.options.copied_at.unwrap_or(self.began);
        announced > copied_at && announced <= self.from.now().max(self.to.now()).after(CLOCK_TOLERANCE)
    }

    async fn estimate(&self) {
        if !self.options.kinds.contains(&RecordKind::Peers) {
            return;
        }
        let mut expected = 0;
        for storage in [&self.from, &self.to] {
            if storage.missing_capabilities().has(Capability::Statistics)
                && let Ok(found) = storage.statistics().await
            {
                expected += found.seeders + found.leechers;
            }
        }
        self.progress.of(RecordKind::Peers).expect(expected);
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}
