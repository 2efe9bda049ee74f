//! A snapshot of a real MoChi, migrated from Redis to PostgreSQL and back.

use std::collections::BTreeSet;

use libtest_mimic::{Completion, Trial};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use storage_migration::{Migration, Options};

use super::test_env::{BackendKind, TestStorage};
use crate::harness::unless_missing;
use crate::random_sequences::run::export;
use crate::runtime::block_on;
use crate::servers::Found;
use crate::servers::redis::{Node, Setup};
use crate::storages::backends;
use crate::storages::redis::config;

const SNAPSHOT: &[u8] = include_bytes!("../../data/mochi/mochi-redis.rdb");
const EXPECTED: &str = include_str!("../../data/mochi/mochi-redis.expected.jsonl");

struct MochiSetup {
    mochi: Node,
    pg: TestStorage,
    back: TestStorage,
}

impl MochiSetup {
    fn new() -> Found<Self> {
        let mochi = Node::start(&Setup::default().snapshot(SNAPSHOT))?;
        Ok(Self {
            mochi,
            pg: TestStorage::new(BackendKind::Pg)?,
            back: TestStorage::new(BackendKind::Redis)?,
        })
    }
}

pub(super) fn test() -> Trial {
    Trial::ignorable_test("migration/the snapshot of a MoChi moves to pg and back", || {
        let env = match MochiSetup::new() {
            Ok(env) => env,
            Err(missing) => return unless_missing("pg", missing),
        };
        block_on(there_and_back(&env));
        env.pg.remove();
        env.back.remove();
        Ok(Completion::Completed)
    })
}

async fn there_and_back(env: &MochiSetup) {
    let opened = backends().open(config(env.mochi.settings())).await;
    let mochi = opened.unwrap_or_else(|error| panic!("{error}")).storage;
    let (pg, back) = (env.pg.storage.clone(), env.back.storage.clone());
    let expected = export(&*mochi).await.unwrap();
    assert_eq!(expected.len(), EXPECTED.lines().count());

    let options = || Options { batch: 100, ..Options::default() };
    for (from, to) in [(mochi, pg.clone()), (pg, back)] {
        let moved = Migration::new(from, to.clone(), options()).run().await.unwrap();
        assert_eq!(moved.unreadable(), 0);
        assert_eq!(export(&*to).await.unwrap(), expected);
    }

    let mut original = env.mochi.client().get_multiplexed_async_connection().await.unwrap();
    let mut copy = env.back.redis().unwrap().connect().await.unwrap();
    let keys = swarm_keys(&mut original).await;
    assert_eq!(swarm_keys(&mut copy).await, keys);
    for key in &keys {
        let fields: BTreeSet<Vec<u8>> = original.hkeys(key).await.unwrap();
        assert_eq!(copy.hkeys::<_, BTreeSet<Vec<u8>>>(key).await.unwrap(), fields, "{}", key.escape_ascii());
    }
    assert_eq!(copy.smembers::<_, BTreeSet<Vec<u8>>>("CHI_I").await.unwrap(), keys);
}

async fn swarm_keys(connection: &mut MultiplexedConnection) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    for pattern in ["CHI_S[46]_*", "CHI_L[46]_*"] {
        keys.extend(connection.keys::<_, Vec<Vec<u8>>>(pattern).await.unwrap());
    }
    keys
}
