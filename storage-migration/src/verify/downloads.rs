//! Downloads: swarm by swarm.

use std::iter::zip;

use super::Verification;
use super::differences::{Differences, Finding};
use super::scan::Sample;
use crate::lookup::downloads_of;
use crate::{MigrationError, RecordKind, Side};
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
            self.scan(side, RecordKind::Downloads, page, each).await?;
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
        let other = side.other();
        let others = downloads_of(other, self.storage(other), &self.stop, &records).await?;
        for (DownloadsRecord { info_hash, downloads }, other) in zip(records, others) {
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
