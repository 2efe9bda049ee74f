//! Data.

use async_trait::async_trait;
use bytes::Bytes;

use super::MirrorStorage;
use super::storage::of_primary;
use storage_core::{Context, DataStorage, Operation, Result};

/// What a queued entry takes up beside its bytes.
pub(super) const ENTRY_BYTES: usize = 128;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: DataStorage + ?Sized + 'static> DataStorage for MirrorStorage<S> {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        let _locks = self.locks.of_data(entries.iter().map(|(key, _)| (context, &**key))).await;
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len() + ENTRY_BYTES).sum();
        let ((), pending) = self.write(1, bytes, self.primary.put_data(context, entries)).await?;
        let subject = match entries {
            [(key, _)] => Some(self.locks.hash((context, key))),
            _ => None,
        };
        let (lane, context, entries) = (self.lane_of(context), context.clone(), entries.to_vec());
        self.pass_on(lane, subject, (Operation::PutData, pending), move |secondary| async move {
            secondary.put_data(&context, &entries).await
        });
        Ok(())
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        self.primary.load_data(context, key).await.map_err(of_primary)
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        self.primary.contains_data(context, keys).await.map_err(of_primary)
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        let _locks = self.locks.of_data(keys.iter().map(|key| (context, &**key))).await;
        let bytes = keys.iter().map(|key| key.len() + ENTRY_BYTES).sum();
        let ((), pending) = self.write(1, bytes, self.primary.delete_data(context, keys)).await?;
        let subject = match keys {
            [key] => Some(self.locks.hash((context, key))),
            _ => None,
        };
        let (lane, context, keys) = (self.lane_of(context), context.clone(), keys.to_vec());
        self.pass_on(lane, subject, (Operation::DeleteData, pending), move |secondary| async move {
            secondary.delete_data(&context, &keys).await
        });
        Ok(())
    }
}

impl<S: storage_core::Backend + ?Sized + 'static> MirrorStorage<S> {
    /// The lane of a context's data.
    pub(super) fn lane_of(&self, context: &Context) -> usize {
        self.write_queue.lane(self.locks.hash(context))
    }
}
