//! Data: entry by entry.

use std::iter::zip;

use super::Verification;
use super::differences::{Differences, Finding};
use super::scan::Sample;
use crate::lookup::values_of;
use crate::{MigrationError, RecordKind, Side};
use storage_core::{Cursor, DataRecord};

impl Verification {
    pub(super) async fn compare_data(&self, found: &mut Differences) -> Result<(), MigrationError> {
        for side in [Side::Source, Side::Target] {
            let mut sample = self.options.sample.map(Sample::new);
            let page =
                async |from: Option<&Cursor>| self.storage(side).export_data(from, self.options.batch).await;
            let each = async |mut records: Vec<DataRecord>| {
                let contexts = &self.options.contexts;
                records.retain(|record| contexts.is_empty() || contexts.contains(&record.context));
                match &mut sample {
                    Some(sample) => {
                        records.into_iter().for_each(|record| sample.add(record));
                        Ok(())
                    }
                    None => self.compare_some_data(side, records, found).await,
                }
            };
            self.scan(side, RecordKind::Data, page, each).await?;
            if let Some(sample) = sample {
                self.compare_some_data(side, sample.finish(), found).await?;
            }
        }
        Ok(())
    }

    async fn compare_some_data(
        &self,
        side: Side,
        records: Vec<DataRecord>,
        found: &mut Differences,
    ) -> Result<(), MigrationError> {
        let other = side.other();
        let others = values_of(other, self.storage(other), &self.stop, &records).await?;
        for (DataRecord { context, key, value }, other) in zip(records, others) {
            let finding = match side {
                Side::Source => {
                    found.compared += 1;
                    match other {
                        None => Some(Finding::OnlyAtSource),
                        Some(other) if other != value => Some(Finding::Different),
                        Some(_) => None,
                    }
                }
                Side::Target => other.is_none().then_some(Finding::OnlyAtTarget),
            };
            if let Some(finding) = finding {
                found.note(finding, format_args!("{:?} {}", context.as_str(), hex::encode(&key)));
            }
        }
        Ok(())
    }
}
