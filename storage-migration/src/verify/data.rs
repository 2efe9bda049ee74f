//! Data: entry by entry.

use futures::{StreamExt, TryStreamExt, stream};

use super::differences::{Differences, Finding};
use super::scan::Sample;
use super::{CONCURRENT_LOOKUPS, Verification, if_readable};
use crate::retry::with_retries;
use crate::{Kind, MigrationError, Side};
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
            self.scan(side, Kind::Data, page, each).await?;
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
        let look = |record: DataRecord| async move {
            let load = || self.storage(side.other()).load_data(&record.context, &record.key);
            let value = if_readable(with_retries(side.other(), &self.stop, load).await)?;
            Ok((record, value))
        };
        let pairs: Vec<_> =
            stream::iter(records.into_iter().map(look)).buffered(CONCURRENT_LOOKUPS).try_collect().await?;
        for (DataRecord { context, key, value }, other) in pairs {
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
