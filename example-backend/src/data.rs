//! Arbitrary data.

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{Context, DataStorage, Result};

use crate::ExampleStorage;

#[async_trait]
impl DataStorage for ExampleStorage {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        let entries = entries.iter().cloned();
        self.lock().data.extend(entries.map(|(key, value)| ((context.clone(), key), value)));
        Ok(())
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        let key = (context.clone(), Bytes::copy_from_slice(key));
        Ok(self.lock().data.get(&key).cloned())
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        let contents = self.lock();
        Ok(keys.iter().map(|key| contents.data.contains_key(&(context.clone(), key.clone()))).collect())
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        let mut contents = self.lock();
        for key in keys {
            contents.data.remove(&(context.clone(), key.clone()));
        }
        Ok(())
    }
}
