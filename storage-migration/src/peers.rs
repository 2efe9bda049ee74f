//! Peers: the newer stays.

use super::pipeline::Movement;
use super::retry::with_retries;
use super::run::MigrationInner;
use super::{Kind, MigrationError, Side};
use storage_core::{Cursor, Page, PeerRecord, Result, Scope, Storage, Timestamp};

pub(super) struct Peers {
    /// Peers last announced at or before this are stale.
    pub(super) stale_at: Option<Timestamp>,
    /// Peers last announced at or before this are past their lifetime, which is counted.
    pub(super) old_at: Option<Timestamp>,
    /// What was announced before this is at the target already.
    pub(super) since: Option<Timestamp>,
}

impl Movement for Peers {
    const KIND: Kind = Kind::Peers;
    type Record = PeerRecord;

    async fn page(storage: &dyn Storage, from: Option<&Cursor>, limit: usize) -> Result<Page<PeerRecord>> {
        storage.export_peers(Scope::All, from, limit).await
    }

    fn select(&self, shared: &MigrationInner, records: &mut Vec<PeerRecord>) {
        let counts = shared.progress.of(Kind::Peers);
        if let Some(stale_at) = self.stale_at {
            let before = records.len();
            records.retain(|record| record.announced > stale_at);
            counts.add_stale(before - records.len());
        }
        if let Some(old_at) = self.old_at {
            let old = records.iter().filter(|record| record.announced <= old_at).count();
            counts.add_past_lifetime(old);
        }
        if let Some(since) = self.since {
            let before = records.len();
            records.retain(|record| record.announced >= since);
            counts.add_kept(before - records.len());
        }
    }

    async fn write(
        &self,
        shared: &MigrationInner,
        mut records: Vec<PeerRecord>,
    ) -> Result<(), MigrationError> {
        records.sort_unstable_by_key(|record| (record.info_hash, record.peer));
        let import = || shared.to.import_peers(&records);
        let imported = with_retries(Side::Target, &shared.stop, import).await?;
        shared.progress.of(Kind::Peers).add_imported(imported);
        Ok(())
    }
}
