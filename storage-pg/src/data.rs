//! Arbitrary data.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{Context, DataStorage, Operation, Result};

use crate::arguments;
use crate::batch::Lookup;
use crate::error::QueryError;
use crate::query_spec::{Query, queries};
use crate::retry::{TxMode, with_retries};
use crate::storage::PgStorage;

#[async_trait]
impl DataStorage for PgStorage {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        let put = self.core.statement(queries::PutData, Operation::PutData)?;
        // In the order of keys, so that two of these cannot wait for each other; the last of a key wins.
        let entries: BTreeMap<_, _> = entries.iter().map(|(key, value)| (key, value)).collect();
        let together = if entries.len() > 1 { TxMode::Transaction } else { TxMode::Autocommit };
        with_retries!(&self.core, Operation::PutData, together, |connection, attempt| {
            for (key, value) in &entries {
                let entry = arguments::PutData { context, key, value, expires: Some(attempt.expiry()) };
                let written = put.execute(connection, entry).await?;
                attempt.check_expiry(&put, connection, (written, 1)).await?;
            }
            Ok(())
        })
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        let get = self.core.statement(queries::GetData, Operation::LoadData)?;
        with_retries!(&self.core, Operation::LoadData, TxMode::Autocommit, |connection| {
            let row = get.first(connection, arguments::GetData { context, key }).await?;
            // The sample table allows a null for a value; it reads as an empty one.
            Ok(row.map(|row| Bytes::copy_from_slice(get.read_bytes(&row, 0).unwrap_or_default())))
        })
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if self.core.has(Query::ContainsDataBatch) {
            let lookup = Lookup { context: context.clone(), keys: keys.to_vec() };
            return self.batches.lookups.call(lookup, |lookup| Box::pin(lookup.alone(&self.core))).await;
        }
        let get = self.core.statement(queries::GetData, Operation::ContainsData)?;
        with_retries!(&self.core, Operation::ContainsData, TxMode::Autocommit, |connection| {
            let mut contained = Vec::with_capacity(keys.len());
            for key in keys {
                let row = get.first(connection, arguments::GetData { context, key }).await?;
                contained.push(row.is_some());
            }
            Ok(contained)
        })
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let delete = self.core.statement(queries::DeleteData, Operation::DeleteData)?;
        with_retries!(&self.core, Operation::DeleteData, TxMode::Autocommit, |connection, attempt| {
            let entries = arguments::DeleteData { context, keys, expires: Some(attempt.expiry()) };
            let deleted = delete.execute(connection, entries).await?;
            if deleted < keys.len() as u64 && attempt.may_have_expired(&delete) {
                return Err(QueryError::expired(delete.query.key()));
            }
            Ok(())
        })
    }
}
