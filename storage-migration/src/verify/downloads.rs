//! Downloads: swarm by swarm.

use futures::{StreamExt, TryStreamExt, stream};

use super::differences::{Differences, Finding};
use super::scan::Sample;
use super::{CONCURRENT_LOOKUPS, Verification, if_readable};
use crate::retry::with_retries;
use crate::{Kind, MigrationError, Side};
use storage_core::{Cursor, DownloadsRecord};

impl Verification {
    pub(super) async fn compare_downloads(&self, found: &mut Differences) -> Result<(), MigrationError> {
        for side in [Side::Source, Side::Target] {
            let mut sample = self.options.sample.map(Sample::new);
            let page = async |from: Option<&Cursor>| {
                self.storage(side).export_downloads(from, self.options.batch).await
            };
            let each = async |records: Vec<DownloadsRecord>| match &mut sample {
                Some(sample) => {
                    records.into_iter().for_each(|record| sample.add(record));
                    Ok(())
                }
                None => self.compare_some_downloads(side, records, found).await,
            };
            self.scan(side, Kind::Downloads, page, each).await?;
            if let Some(sample) = sample {
                self.compare_some_downloads(side, sample.finish(), found).await?;
            }
        }
        Ok(())
    }

    async fn compare_some_downloads(
        &self,
        side: Side,
        records: Vec<DownloadsRecord>,
        found: &mut Differences,
    ) -> Result<(), MigrationError> {
        let look = |record: DownloadsRecord| async move {
            let scrape = || self.storage(side.other()).scrape_swarm(&record.info_hash);
            let counts = if_readable(with_retries(side.other(), &self.stop, scrape).await)?;
            Ok((record, counts.downloads))
        };
        let pairs: Vec<_> =
            stream::iter(records.into_iter().map(look)).buffered(CONCURRENT_LOOKUPS).try_collect().await?;
        for (DownloadsRecord { info_hash, downloads }, other) in pairs {
            let finding = match side {
                Side::Source => {
                    found.compared += 1;
                    match other {
                        0 if downloads > 0 => Some(Finding::OnlyAtSource),
                        other if other < downloads => Some(Finding::TargetIsBehind),
                        other if other > downloads => Some(Finding::TargetIsAhead),
                        _ => None,
                    }
                }
                // What the source has too was compared there.
                Side::Target => (other == 0 && downloads > 0).then_some(Finding::TargetIsAhead),
            };
            if let Some(finding) = finding {
                found.note(finding, format_args!("{info_hash}: {downloads}, on the other side {other}"));
            }
        }
        Ok(())
    }
}
