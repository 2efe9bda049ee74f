//! Many writers on few swarms, at isolation levels where concurrent transactions fail: no failure reaches a
//! caller, and no count is wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use libtest_mimic::{Failed, Trial};
use rand::RngExt;
use rand::seq::IndexedRandom;
use storage_core::layer::Limits;
use storage_core::{
    Error, ErrorKind, InfoHash, Observer, OpenError, Peer, PeerId, PeerSelection, PeerStorageExt, Result,
    Role, Storage, SwarmCounts,
};
use storage_pg::recommended::Recommendation;
use storage_pg::{PgConfig, PgStorage};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

use super::{Counter, ensure, on_schema, open_with, test};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

/// The environment variable with the number of seconds that the writers write.
const SECONDS_VARIABLE: &str = "TRACKER_STORAGE_TEST_CONTENTION_SECONDS";
const DEFAULT_SECONDS: u64 = 5;

const WRITERS: u8 = 64;
const SWARMS: u8 = 10;
/// Peers of each writer in each swarm.
const PEERS: u8 = 4;

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("64 writers on ten swarms, serializable", |url| contend(url, "serializable")),
        test("64 writers on ten swarms, repeatable read", |url| contend(url, "repeatable%20read")),
        test("reports among writers, serializable", |url| block_on(check_query_scope(url))),
        on_schema(
            "a call that others never let through ends as a conflict",
            Recommendation::default(),
            |schema| block_on(give_up(schema)),
        ),
    ]
}

fn contend(url: &PgUrl, isolation: &str) -> Result<(), Failed> {
    let url = url.clone().with("default_transaction_isolation", isolation).with("pool_max_conns", WRITERS);
    let time = Duration::from_secs(seconds()?);
    block_on(async {
        let retries = Arc::new(Counter::default());
        let storage = open_patiently(&url, Arc::clone(&retries)).await?;
        let _alone = one_after_the_other().await;
        let (calls, longest, expected) = write_at_once(std::slice::from_ref(&storage), time).await?;
        for (swarm, expected) in expected {
            let found = storage.scrape_swarm(&swarm).await?;
            ensure(found == expected, || format!("{swarm}: expected {expected:?}, found {found:?}"))?;
        }
        storage.close().await?;
        let conflicts = retries.retries("conflict");
        println!("{isolation}: {calls} calls in {time:?}, {conflicts} retries, the longest call {longest:?}");
        ensure(conflicts > 0, || "no attempt was made again, so this shows nothing".into())
    })
}

/// Enough writers for a small machine.
pub(super) async fn one_after_the_other() -> MutexGuard<'static, ()> {
    static WRITERS: Mutex<()> = Mutex::const_new(());
    WRITERS.lock().await
}

/// Opens the storage with limits that a busy machine does not reach.
pub(super) async fn open_patiently(
    url: &PgUrl,
    observer: Arc<Counter>,
) -> Result<Arc<dyn Storage>, OpenError> {
    let timeout = Duration::from_secs(60);
    let config = PgConfig {
        connection_string: Some(url.to_string()),
        retry_timeout: timeout,
        ..Recommendation::default().config()
    };
    let storage = PgStorage::open_observed(config, observer).await?;
    let limits = Limits { operation_timeout: timeout, ..Limits::default() };
    Ok(storage_core::with_default_layers(Arc::new(storage), limits))
}

/// A server on which every write fails with a serialization conflict.
const REFUSE: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'others are writing' USING ERRCODE = 'serialization_failure'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON mo_peers FOR EACH ROW EXECUTE FUNCTION refuse();";

/// The error is `Conflict` (nothing was changed) and not `Uncertain`, although transactions may be retried for
/// longer than a call may take.
async fn give_up(schema: &Schema) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string());
    let retries = Arc::new(Counter::default());
    let limits = Limits { operation_timeout: Duration::from_secs(1), ..Limits::default() };
    let config = Recommendation::default().config();
    let observer = Arc::clone(&retries) as Arc<dyn Observer>;
    let storage = open_with(config, &url, observer, limits).await?;
    schema.execute(REFUSE).await?;
    let swarm = InfoHash::V1([1; 20]);
    // Enough for batches.
    let peer = shared();
    let mut results = join_all((0..8).map(|_| storage.put_leecher(&swarm, &peer))).await;
    results.push(storage.graduate_leecher(&swarm, &peer).await.map(drop));
    for result in results {
        let kind = result.as_ref().err().map(Error::kind);
        ensure(kind == Some(ErrorKind::Conflict), || format!("{result:?}"))?;
    }
    ensure(retries.retries("conflict") > 1, || "no attempt was made again".into())?;
    Ok(storage.close().await?)
}

/// Concurrent writes may make a check of query scopes fail, but not give a wrong result.
async fn check_query_scope(url: &PgUrl) -> Result<(), Failed> {
    let url =
        url.clone().with("default_transaction_isolation", "serializable").with("pool_max_conns", WRITERS);
    let storage = open_patiently(&url, Arc::new(Counter::default())).await?;
    let _alone = one_after_the_other().await;
    let writers = {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            write_at_once(std::slice::from_ref(&storage), Duration::from_secs(3)).await.map(drop)
        })
    };
    while !writers.is_finished() {
        for report in storage.check_query_scope().await? {
            ensure(report.excess_rows.is_none(), || format!("{report:?}"))?;
        }
    }
    writers.await??;
    Ok(storage.close().await?)
}

fn seconds() -> Result<u64, Failed> {
    match std::env::var(SECONDS_VARIABLE) {
        Ok(number) => {
            number.parse().map_err(|_| format!("{SECONDS_VARIABLE}: expected a whole number").into())
        }
        Err(_) => Ok(DEFAULT_SECONDS),
    }
}

/// All writers write for a time, each to one of the storages. Returns the number of calls, the time of the longest,
/// and what the swarms must hold then.
pub(super) async fn write_at_once(
    storages: &[Arc<dyn Storage>],
    time: Duration,
) -> Result<(u64, Duration, BTreeMap<InfoHash, SwarmCounts>), Failed> {
    let swarms: Vec<_> = (0..SWARMS).map(|number| InfoHash::V1([number; 20])).collect();
    let end = Instant::now() + time;
    let mut writers = JoinSet::new();
    for (number, storage) in (0..WRITERS).zip(storages.iter().cycle()) {
        let (storage, swarms) = (Arc::clone(storage), swarms.clone());
        writers.spawn(async move {
            let mut writer = ContendingWriter {
                number,
                calls: 0,
                longest: Duration::ZERO,
                peers: BTreeMap::new(),
                downloads: BTreeMap::new(),
            };
            while Instant::now() < end {
                let begun = Instant::now();
                writer.step(&*storage, &swarms).await?;
                writer.calls += 1;
                writer.longest = writer.longest.max(begun.elapsed());
            }
            Ok::<_, storage_core::Error>(writer)
        });
    }
    let (mut calls, mut longest) = (0, Duration::ZERO);
    let mut expected: BTreeMap<_, _> = swarms.iter().map(|swarm| (*swarm, SwarmCounts::default())).collect();
    while let Some(writer) = writers.join_next().await {
        let writer = writer??;
        calls += writer.calls;
        longest = longest.max(writer.longest);
        for ((swarm, _), role) in writer.peers {
            let counts = expected.entry(swarm).or_default();
            match role {
                Role::Seeder => counts.seeders += 1,
                Role::Leecher => counts.leechers += 1,
            }
        }
        for (swarm, downloads) in writer.downloads {
            expected.entry(swarm).or_default().downloads += downloads;
        }
    }
    // The peer that all writers put is there once.
    for (swarm, counts) in &mut expected {
        storages[0].put_seeder(swarm, &shared()).await?;
        counts.seeders += 1;
    }
    Ok((calls, longest, expected))
}

/// A peer that all writers put.
fn shared() -> Peer {
    Peer::new(PeerId([0xff; 20]), IpAddr::from([127, 0, 0, 1]), 6881)
}

/// A writer, and the expected state of its own peers.
struct ContendingWriter {
    number: u8,
    calls: u64,
    longest: Duration,
    peers: BTreeMap<(InfoHash, Peer), Role>,
    downloads: BTreeMap<InfoHash, u64>,
}

impl ContendingWriter {
    /// Makes one call, in a swarm that others write to.
    async fn step(&mut self, storage: &dyn Storage, swarms: &[InfoHash]) -> Result<()> {
        let (swarm, index, choice) = {
            let mut random = rand::rng();
            (swarms.choose(&mut random).copied(), random.random_range(0..PEERS), random.random_range(0..8))
        };
        let Some(swarm) = swarm else { return Ok(()) };
        let peer = self.peer(index);
        let known = self.peers.get(&(swarm, peer)).copied();
        match (choice, known) {
            (0..=2, _) => {
                storage.graduate_leecher(&swarm, &peer).await?;
                self.peers.insert((swarm, peer), Role::Seeder);
                *self.downloads.entry(swarm).or_default() += u64::from(known != Some(Role::Seeder));
            }
            (3, Some(role)) => {
                storage.delete_peer(&swarm, &peer, role).await?;
                self.peers.remove(&(swarm, peer));
            }
            (4, _) => {
                storage.announce_peers(&PeerSelection::new(swarm, 50)).await?;
            }
            (5, _) => {
                storage.scrape_swarm(&swarm).await?;
            }
            (6, _) => storage.put_leecher(&swarm, &shared()).await?,
            _ => {
                storage.put_leecher(&swarm, &peer).await?;
                self.peers.insert((swarm, peer), Role::Leecher);
            }
        }
        Ok(())
    }

    /// The peer of this writer with this index among its own.
    fn peer(&self, index: u8) -> Peer {
        let mut id = *b"-TR4040-............";
        id[18..].copy_from_slice(&[self.number, index]);
        Peer::new(PeerId(id), IpAddr::from([10, 0, self.number, index]), 6881)
    }
}
