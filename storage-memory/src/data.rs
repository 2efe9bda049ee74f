//! Arbitrary data.

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{Context, DataStorage, Result};

use crate::MemoryStorage;

#[async_trait]
impl DataStorage for MemoryStorage {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        if !entries.is_empty() {
            self.data.write(context).get_or_default().extend(entries.iter().cloned());
        }
        Ok(())
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.data.read(context).get().and_then(|data| data.get(key)).cloned())
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        let place = self.data.read(context);
        let data = place.get();
        Ok(keys.iter().map(|key| data.is_some_and(|data| data.contains_key(key))).collect())
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        let mut place = self.data.write(context);
        let Some(data) = place.get_mut() else { return Ok(()) };
        for key in keys {
            data.remove(key);
        }
        if data.is_empty() {
            place.remove();
        }
        Ok(())
    }
}
