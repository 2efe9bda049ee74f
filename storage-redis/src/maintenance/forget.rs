//! Forgetting a swarm.

use futures::future::try_join_all;
use storage_core::{InfoHash, Operation, Result, Role};

use crate::connection::{Call, command};
use crate::layout::{DOWNLOADS, SWARMS};
use crate::scripts;
use crate::storage::{RedisStorage, keys_about, keys_of};

impl RedisStorage {
    pub(super) async fn forget_by_script(&self, info_hash: &InfoHash) -> Result<u64> {
        let mut command = scripts::FORGET.call(&keys_about(info_hash));
        command.arg(info_hash.as_bytes());
        self.connections.query(Call::repeatable(Operation::ForgetSwarm), command).await
    }

    pub(super) async fn forget_on_cluster(&self, info_hash: &InfoHash) -> Result<u64> {
        let call = Call::repeatable(Operation::ForgetSwarm);
        let keys = keys_of(info_hash);
        let lengths = keys.iter().map(|key| self.connections.query::<u64>(call, command("HLEN", key)));
        let lengths = try_join_all(lengths).await?;
        let mut forget = command("HDEL", DOWNLOADS);
        forget.arg(info_hash.as_bytes());
        self.connections.query::<u64>(call, forget).await?;
        for key in &keys {
            self.connections.query::<u64>(call, command("UNLINK", key)).await?;
            self.settle(call, key).await?;
        }
        let (seeders, leechers): (u64, u64) = (lengths[..2].iter().sum(), lengths[2..].iter().sum());
        self.count(call, Role::Seeder, -i64::try_from(seeders).unwrap_or(i64::MAX)).await;
        self.count(call, Role::Leecher, -i64::try_from(leechers).unwrap_or(i64::MAX)).await;
        Ok(seeders + leechers)
    }

    /// Takes a key that is gone out of the set of swarms, on a cluster. A peer put meanwhile brings it
    /// back: it is looked for again afterwards.
    pub(crate) async fn settle(&self, call: Call, key: &[u8]) -> Result<()> {
        let is_there = || self.connections.query::<bool>(call, command("EXISTS", key));
        if is_there().await? {
            return Ok(());
        }
        let mut leave = command("SREM", SWARMS);
        leave.arg(key);
        self.connections.query::<u64>(call, leave).await?;
        if is_there().await? {
            let mut join = command("SADD", SWARMS);
            join.arg(key);
            self.connections.query::<u64>(call, join).await?;
        }
        Ok(())
    }
}
