//! Arbitrary data: a hash a context.

use async_trait::async_trait;
use bytes::Bytes;
use redis::Cmd;
use storage_core::{Context, DataStorage, Operation, Result};

use crate::connection::{Call, command, read};
use crate::layout::context_key;
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
        let mut puts: Vec<_> = entries.chunks(MOST_AT_ONCE).map(|entries| put(context, entries)).collect();
        if puts.len() > 1 {
            let answers = self.connections.transaction(call, puts).await?;
            return answers.into_iter().try_for_each(|answer| read(call, answer));
        }
        match puts.pop() {
            Some(put) => self.connections.query(call, put).await,
            None => Ok(()),
        }
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        let mut load = on("HGET", context);
        load.arg(key);
        let value: Option<Vec<u8>> =
            self.connections.query(Call::repeatable(Operation::LoadData), load).await?;
        Ok(value.map(Bytes::from))
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        let call = Call::repeatable(Operation::ContainsData);
        self.connections.check_open(call.operation)?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PIPELINE) {
            let looks = keys.iter().map(|key| {
                let mut look = on("HEXISTS", context);
                look.arg(key.as_ref());
                look
            });
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
            let mut delete = on("HDEL", context);
            for key in keys {
                delete.arg(key.as_ref());
            }
            self.connections.query::<i64>(call, delete).await?;
        }
        Ok(())
    }
}

fn put(context: &Context, entries: &[(Bytes, Bytes)]) -> Cmd {
    let mut put = on("HSET", context);
    for (key, value) in entries {
        put.arg(key.as_ref()).arg(value.as_ref());
    }
    put
}

fn on(name: &str, context: &Context) -> Cmd {
    command(name, &context_key(context.as_str()))
}
