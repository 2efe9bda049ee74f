//! Arbitrary data.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{Context, DataStorage, Operation, Result};

use crate::attempt::{Together, attempt};
use crate::core::Core;
use crate::slot;
use crate::statement::Inputs;
use crate::storage::PgStorage;

#[async_trait]
impl DataStorage for PgStorage {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        let put = self.core.statement(slot::PUT_DATA, Operation::PutData)?;
        // In the order of keys, so that two of these cannot wait for each other; the last of a key wins.
        let entries: BTreeMap<_, _> = entries.iter().map(|(key, value)| (key, value)).collect();
        let together = if entries.len() > 1 { Together::AllOrNothing } else { Together::No };
        attempt!(&self.core, Operation::PutData, together, |connection| {
            for (key, value) in &entries {
                put.execute(connection, Inputs::entry(context, key, value)).await?;
            }
            Ok(())
        })
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        let get = self.core.statement(slot::GET_DATA, Operation::LoadData)?;
        attempt!(&self.core, Operation::LoadData, Together::No, |connection| {
            let row = get.first(connection, Inputs::entry(context, key, &[])).await?;
            // The sample table allows a null for a value; it reads as an empty one.
            Ok(row.map(|row| Bytes::copy_from_slice(get.read_bytes(&row, 0).unwrap_or_default())))
        })
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        if self.core.find(slot::CONTAINS_DATA).is_some() {
            let requests: Vec<_> = keys.iter().map(|key| (context, key.as_ref())).collect();
            return contained(&self.core, &requests).await;
        }
        let get = self.core.statement(slot::GET_DATA, Operation::ContainsData)?;
        attempt!(&self.core, Operation::ContainsData, Together::No, |connection| {
            let mut contained = Vec::with_capacity(keys.len());
            for key in keys {
                let row = get.first(connection, Inputs::entry(context, key, &[])).await?;
                contained.push(row.is_some());
            }
            Ok(contained)
        })
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let delete = self.core.statement(slot::DELETE_DATA, Operation::DeleteData)?;
        attempt!(&self.core, Operation::DeleteData, Together::No, |connection| {
            delete.execute(connection, Inputs::keys(context, keys)).await.map(drop)
        })
    }
}

/// Which of these keys exist, by one `data.contains_batch_query` for all. The contexts may differ, so that it
/// can answer the calls of many tasks.
pub(crate) async fn contained(core: &Core, requests: &[(&Context, &[u8])]) -> Result<Vec<bool>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let contains = core.statement(slot::CONTAINS_DATA, Operation::ContainsData)?;
    let rows: Vec<_> =
        (0..).zip(requests).map(|(request, (context, key))| Inputs::lookup(request, context, key)).collect();
    attempt!(core, Operation::ContainsData, Together::No, |connection| {
        let mut contained = vec![false; requests.len()];
        for row in contains.rows_of_batch(connection, &rows).await? {
            let request = contains.read_integer(&row, 0).and_then(|request| usize::try_from(request).ok());
            if let Some(found) = request.and_then(|request| contained.get_mut(request)) {
                *found = true;
            }
        }
        Ok(contained)
    })
}
