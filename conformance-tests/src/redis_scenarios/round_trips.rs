//! Every call takes one round trip to a single server.

use std::collections::HashMap;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use storage_core::{
    AddressFamily, Announce, AnnounceEvent, PeerSelection, PeerStorage, PeerStorageExt, Result,
};
use storage_redis::{RedisConfig, RedisStorage};

use super::fixtures::{context, peer, swarm};
use super::test_env::TestDatabase;
use crate::servers::redis::Node;

/// A counter of the server since its start.
async fn counted(connection: &mut MultiplexedConnection, name: &str) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(connection).await.unwrap();
    let counts: HashMap<_, _> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
    counts[name].parse().unwrap()
}

/// The number of reads and writes of the server for a call.
async fn cost<T>(
    connection: &mut MultiplexedConnection,
    call: impl Future<Output = Result<T>>,
) -> (u64, u64) {
    let (reads, writes) = ("total_reads_processed", "total_writes_processed");
    let before = (counted(connection, reads).await, counted(connection, writes).await);
    if let Err(error) = call.await {
        assert!(error.is_not_found(), "{error:?}");
    }
    let after = (counted(connection, reads).await, counted(connection, writes).await);
    // Between the two counts of each kind the server was asked twice for counts.
    (after.0 - before.0 - 2, after.1 - before.1 - 2)
}

const ONE_ROUND_TRIP: (u64, u64) = (1, 1);

/// Every call takes one round trip, also the first.
pub(super) async fn each_call_is_one(node: &Node) {
    let database = TestDatabase::of(node);
    let storage = database.open().await;
    let mut counts = database.connect().await;
    let (swarm, context) = (swarm(1), context("tokens"));
    let keys: Vec<_> = (0..5_u8).map(|key| Bytes::from(vec![key])).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.clone(), Bytes::from_static(b"value"))).collect();
    for round in 0..3 {
        let (seeder, leecher) = (peer(round), peer(100 + round));
        let selection = PeerSelection { exclude: Some(leecher), ..PeerSelection::new(swarm, 50) };
        let for_seeder = PeerSelection { for_seeder: true, ..PeerSelection::new(swarm, 50) };
        let addresses = [leecher, peer(200 + round)];
        let whole = Announce::new(swarm, addresses.iter().copied())
            .with_num_want(50)
            .with_families(&AddressFamily::BOTH);
        let completed = whole.clone().with_event(AnnounceEvent::Completed);
        let stopped = whole.clone().with_event(AnnounceEvent::Stopped);
        let costs = [
            ("put a seeder", cost(&mut counts, storage.put_seeder(&swarm, &seeder)).await),
            ("put a leecher", cost(&mut counts, storage.put_leecher(&swarm, &leecher)).await),
            ("announce", cost(&mut counts, storage.announce_peers(&selection)).await),
            ("announce of a seeder", cost(&mut counts, storage.announce_peers(&for_seeder)).await),
            ("scrape", cost(&mut counts, storage.scrape_swarm(&swarm)).await),
            ("graduate", cost(&mut counts, storage.graduate_leecher(&swarm, &leecher)).await),
            ("delete", cost(&mut counts, storage.delete_seeder(&swarm, &seeder)).await),
            ("delete an absent peer", cost(&mut counts, storage.delete_seeder(&swarm, &seeder)).await),
            ("whole announce", cost(&mut counts, storage.announce(&whole)).await),
            ("whole announce, completed", cost(&mut counts, storage.announce(&completed)).await),
            ("whole announce, stopped", cost(&mut counts, storage.announce(&stopped)).await),
            ("put data", cost(&mut counts, storage.put_data(&context, &entries)).await),
            ("load data", cost(&mut counts, storage.load_data(&context, &keys[0])).await),
            ("look for data", cost(&mut counts, storage.contains_data(&context, &keys)).await),
            ("delete data", cost(&mut counts, storage.delete_data(&context, &keys)).await),
            ("forget the swarm", cost(&mut counts, storage.forget_swarm(&swarm)).await),
        ];
        for (call, cost) in costs {
            assert_eq!(cost, ONE_ROUND_TRIP, "reads and writes of the server: {call}, round {round}");
        }
    }
}

/// A batch of scrapes takes one round trip.
pub(super) async fn a_batch_of_scrapes_is_one(node: &Node) {
    let database = TestDatabase::of(node);
    let config = RedisConfig { addresses: vec![node.address()], ..RedisConfig::default() };
    let storage = RedisStorage::open(config).await.unwrap();
    let swarms: Vec<_> = (0..20).map(swarm).collect();
    for swarm in &swarms[..10] {
        storage.put_seeder(swarm, &peer(1)).await.unwrap();
    }
    let mut counts = database.connect().await;
    for _ in 0..2 {
        let scrapes = async {
            let found = storage.scrape_swarms(&swarms).await?;
            assert_eq!(found.iter().map(|counts| counts.seeders).sum::<u64>(), 10);
            Ok(())
        };
        assert_eq!(cost(&mut counts, scrapes).await, ONE_ROUND_TRIP);
    }
}
