//! Downloads: the greater number stays, or the source's.

use super::pipeline::Movement;
use super::retry::with_retries;
use super::run::MigrationInner;
use super::{DownloadsRule, Kind, MigrationError, Side};
use storage_core::{Cursor, DownloadsRecord, Page, Result, Storage};

pub(super) struct Downloads;

impl Movement for Downloads {
    const KIND: Kind = Kind::Downloads;
    type Record = DownloadsRecord;

    async fn page(
        storage: &dyn Storage,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<DownloadsRecord>> {
        storage.export_downloads(from, limit).await
    }

    fn select(&self, _shared: &MigrationInner, _records: &mut Vec<DownloadsRecord>) {}

    async fn write(
        &self,
        shared: &MigrationInner,
        records: Vec<DownloadsRecord>,
    ) -> Result<(), MigrationError> {
        let counts = shared.progress.of(Kind::Downloads);
        if shared.options.downloads == DownloadsRule::Max {
            let import = || shared.to.import_downloads(&records);
            counts.add_imported(with_retries(Side::Target, &shared.stop, import).await?);
            return Ok(());
        }
        let mut different = Vec::new();
        for record in records {
            let scrape = || shared.to.scrape_swarm(&record.info_hash);
            let found = with_retries(Side::Target, &shared.stop, scrape).await?;
            if found.downloads == record.downloads {
                counts.add_kept(1);
            } else {
                different.push(record);
            }
        }
        let replace = || shared.to.replace_downloads(&different);
        counts.add_imported(with_retries(Side::Target, &shared.stop, replace).await?);
        Ok(())
    }
}
