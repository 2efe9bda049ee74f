//! How far a migration has come, to be looked at while it runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::RecordKind;
use storage_core::{Imported, Page};

/// RecordProgress of each kind.
#[derive(Debug, Default)]
pub struct Progress {
    peers: RecordProgress,
    downloads: RecordProgress,
    data: RecordProgress,
}

impl Progress {
    /// The counts of a kind.
    pub fn of(&self, kind: RecordKind) -> &RecordProgress {
        match kind {
            RecordKind::Peers => &self.peers,
            RecordKind::Downloads => &self.downloads,
            RecordKind::Data => &self.data,
        }
    }
}

/// RecordProgress of one kind, changed while records move.
#[derive(Debug, Default)]
pub struct RecordProgress {
    expected: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
    kept: AtomicU64,
    stale: AtomicU64,
    past_lifetime: AtomicU64,
    in_both_roles: AtomicU64,
    unreadable: AtomicU64,
    gone: AtomicU64,
    unreadable_names: Mutex<Vec<Bytes>>,
}

impl RecordProgress {
    /// About how many records the source has; `None` if that is not known.
    pub fn expected(&self) -> Option<u64> {
        Some(self.expected.load(Relaxed)).filter(|expected| *expected > 0)
    }

    /// The counts at this moment.
    pub fn counts(&self) -> RecordCounts {
        RecordCounts {
            read: self.read.load(Relaxed),
            written: self.written.load(Relaxed),
            kept: self.kept.load(Relaxed),
            stale: self.stale.load(Relaxed),
            past_lifetime: self.past_lifetime.load(Relaxed),
            in_both_roles: self.in_both_roles.load(Relaxed),
            unreadable: self.unreadable.load(Relaxed),
            gone: self.gone.load(Relaxed),
            unreadable_names: self.names().clone(),
        }
    }

    pub(super) fn expect(&self, records: u64) {
        self.expected.store(records, Relaxed);
    }

    pub(super) fn add_page<T>(&self, page: &Page<T>) {
        self.read.fetch_add(page.records.len() as u64, Relaxed);
        self.unreadable.fetch_add(page.unreadable, Relaxed);
        self.in_both_roles.fetch_add(page.in_both_roles, Relaxed);
        if !page.unreadable_names.is_empty() {
            let mut names = self.names();
            let room = Page::<T>::UNREADABLE_NAMES.saturating_sub(names.len());
            names.extend(page.unreadable_names.iter().take(room).cloned());
        }
    }

    pub(super) fn add_imported(&self, imported: Imported) {
        self.written.fetch_add(imported.written, Relaxed);
        self.kept.fetch_add(imported.kept, Relaxed);
    }

    pub(super) fn add_stale(&self, records: usize) {
        self.stale.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn add_past_lifetime(&self, records: usize) {
        self.past_lifetime.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn add_kept(&self, records: usize) {
        self.kept.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn add_gone(&self, records: usize) {
        self.gone.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn restart(&self) {
        let Self { read, written, kept, stale, past_lifetime, in_both_roles, unreadable, gone, .. } = self;
        for count in [read, written, kept, stale, past_lifetime, in_both_roles, unreadable, gone] {
            count.store(0, Relaxed);
        }
        self.names().clear();
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Vec<Bytes>> {
        self.unreadable_names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RecordProgress of one kind at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecordCounts {
    /// Records read at the source.
    pub read: u64,
    /// Records written at the target.
    pub written: u64,
    /// Records not written: what the target has is newer, greater, the same, or there already.
    pub kept: u64,
    /// Peers left out as stale.
    pub stale: u64,
    /// Peers of the source that were moved or compared though they are stale by
    /// [`Options::peer_lifetime`](super::Options::peer_lifetime) or
    /// [`VerifyOptions::peer_lifetime`](super::VerifyOptions::peer_lifetime).
    pub past_lifetime: u64,
    /// Peers that the source has in both roles; the record that stays was moved.
    pub in_both_roles: u64,
    /// Entries of the source that cannot be understood.
    pub unreadable: u64,
    /// Data that disappeared from the source while it was moved, and was removed from the target.
    pub gone: u64,
    /// Names of the first unreadable entries, as the server has them; in JSON hexadecimal.
    #[serde(serialize_with = "in_hex")]
    pub unreadable_names: Vec<Bytes>,
}

impl RecordCounts {
    /// Adds the counts of another pass over the same records. What cannot be read, and what is in both
    /// roles, is the same in every full pass: the last one tells.
    pub(super) fn add(&mut self, later: &Self) {
        self.read += later.read;
        self.written += later.written;
        self.kept += later.kept;
        self.gone += later.gone;
        self.stale = later.stale;
        self.past_lifetime = later.past_lifetime;
        self.in_both_roles = later.in_both_roles;
        self.unreadable = later.unreadable;
        self.unreadable_names.clone_from(&later.unreadable_names);
    }
}

fn in_hex<S: Serializer>(names: &[Bytes], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(names.iter().map(hex::encode))
}
