//! Arbitrary data: a hash a context.

use async_trait::async_trait;
use bytes::Bytes;
use redis::Cmd;
use storage_core::{Context, DataStorage, Operation, Result};

use crate::connection::{Call, command, read};
use crate::layout::context_key;
use crate::scripts;
use crate::storage::RedisStorage;

/// Entries in one command; the server takes about a million arguments.
const MOST_AT_ONCE: usize = 100_000;
/// Commands in one pipeline.
const PIPELINE: usize = 1_000;

#[async_trait]
impl DataStorage for RedisStorage {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        let call = Call::repeatable(Operation::PutData);
        self.connections.check_open(call.operation)?;
        if entries.is_empty() {
            return Ok(());
        }
        let mut put = scripts::PUT_DATA.call(&[context_key(context.as_str())]);
        for (key, value) in entries {
            put.arg(key.as_ref()).arg(value.as_ref());
        }
        self.connections.write(call, put).await
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        let load = on("HGET", context).arg(key).take();
        let value: Option<Vec<u8>> =
            self.connections.query(Call::repeatable(Operation::LoadData), load).await?;
        Ok(value.map(Bytes::from))
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        let call = Call::repeatable(Operation::ContainsData);
        self.connections.check_open(call.operation)?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PIPELINE) {
            let looks = keys.iter().map(|key| on("HEXISTS", context).arg(key.as_ref()).take());
            for answer in self.connections.many(call, looks.collect()).await? {
                found.push(read(call, answer?)?);
            }
        }
        Ok(found)
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        let call = Call::repeatable(Operation::DeleteData);
        self.connections.check_open(call.operation)?;
        for keys in keys.chunks(MOST_AT_ONCE) {
            let mut delete = scripts::DELETE_DATA.call(&[context_key(context.as_str())]);
            for key in keys {
                delete.arg(key.as_ref());
            }
            self.connections.write::<()>(call, delete).await?;
        }
        Ok(())
    }
}

fn on(name: &str, context: &Context) -> Cmd {
    command(name, &context_key(context.as_str()))
}
