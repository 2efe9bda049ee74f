//! A tracker moves from Redis to PostgreSQL with a mirror, while serving.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use libtest_mimic::{Completion, Trial};
use storage_core::config::StorageConfig;
use storage_core::{
    AddressFamily, Announce, AnnounceEvent, Context, DataRecord, DownloadsRecord, ExportScope, InfoHash,
    Peer, PeerRecord, PeerStorageExt, Role, Storage, SwarmCounts, Timestamp, When,
};
use storage_migration::{Migration, Options, Verification, VerifyOptions};
use storage_pg::recommended::Recommendation;
use tokio::task::JoinSet;

use super::test_env::{eventually, peer, swarm};
use crate::harness::unless_missing;
use crate::random_sequences::run::pages;
use crate::runtime::block_on;
use crate::servers::Servers;
use crate::storages::pg::Design;
use crate::storages::{backends, mirror, redis};

const SWARMS: u8 = 20;
/// Peers that exist before, and do not announce again.
const SETTLED: u32 = 4_000;
const TOKENS: u16 = 600;
const CLIENTS: u32 = 6;
/// Peers of each client.
const PEERS: u32 = 60;

pub(super) fn test() -> Trial {
    Trial::ignorable_test("mirror/moving from redis to pg under load loses nothing", || {
        let (redis_server, design) = (Servers::shared().redis(), Design::from(Recommendation::default()));
        let (database, schema) = match (redis_server, design.schema()) {
            (Ok(server), Ok(schema)) => (server.database(), schema),
            (Err(missing), _) => return unless_missing("redis", missing),
            (_, Err(missing)) => return unless_missing("pg", missing),
        };
        block_on(move_over(redis::config(database.settings()), design.config_for(&schema)));
        block_on(database.remove())?;
        block_on(schema.remove())?;
        Ok(Completion::Completed)
    })
}

async fn open(config: &StorageConfig) -> Arc<dyn Storage> {
    backends().open(config.clone()).await.unwrap_or_else(|error| panic!("{error}")).storage
}

async fn move_over(old: StorageConfig, new: StorageConfig) {
    let (from, to) = (open(&old).await, open(&new).await);
    settle(&*from).await;

    // A mirror with the old storage first, and a migration beside it, as in a process of its own.
    let mirrored = open(&mirror::config(old.clone(), new.clone())).await;
    let load = MovingLoad::start(&mirrored);
    load.goes_on(200).await;
    let options = Options { batch: 50, parallel: 2, ..Options::default() };
    let moved = Migration::new(from.clone(), to.clone(), options).run().await.unwrap();
    assert!(moved.complete);
    load.may_delete.store(true, Ordering::SeqCst);
    load.goes_on(500).await;
    let done = load.finish().await;
    nothing_is_due(&*mirrored).await;

    let options = VerifyOptions { copied_at: Some(moved.began), ..VerifyOptions::default() };
    let compared = Verification::new(from.clone(), to.clone(), options).run().await.unwrap();
    assert!(compared.is_equal(), "{compared:?}");
    mirrored.close().await.unwrap();

    // Primary and secondary are swapped.
    let switched = open(&mirror::config(new, old)).await;
    done.is_all_there(&*switched).await;
    for number in 0..SWARMS {
        assert_eq!(counts(&*switched, number).await, counts(&*from, number).await, "swarm {number}");
    }
    switched.put_seeder(&swarm(0), &peer(9_999_999)).await.unwrap();
    nothing_is_due(&*switched).await;
    assert_eq!(counts(&*from, 0).await, counts(&*to, 0).await, "the way back is open");
    for storage in [switched, from, to] {
        storage.close().await.unwrap();
    }
}

/// The content before the move.
async fn settle(storage: &dyn Storage) {
    let at = Timestamp::now().before(Duration::from_secs(60));
    let record = |number: u32| PeerRecord {
        info_hash: swarm((number % u32::from(SWARMS)) as u8),
        peer: peer(1_000_000 + number),
        role: Role::from_is_seeder(number.is_multiple_of(3)),
        announced: at,
    };
    let records: Vec<_> = (0..SETTLED).map(record).collect();
    storage.import_peers(&records).await.unwrap();
    let downloads = |number| DownloadsRecord { info_hash: swarm(number), downloads: 100 };
    storage.import_downloads(&(0..SWARMS).map(downloads).collect::<Vec<_>>()).await.unwrap();
    let token = |number| DataRecord { context: tokens(), key: token(number), value: token(number) };
    storage.import_data(&(0..TOKENS).map(token).collect::<Vec<_>>()).await.unwrap();
}

fn tokens() -> Context {
    Context::new("tokens").unwrap()
}

fn token(number: u16) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

async fn counts(storage: &dyn Storage, number: u8) -> SwarmCounts {
    storage.scrape_swarm(&swarm(number)).await.unwrap()
}

/// A whole announce.
async fn announce(storage: &dyn Storage, of_swarm: u8, peer: Peer, role: Role, event: AnnounceEvent) {
    let announce = Announce::new(swarm(of_swarm), [peer])
        .with_role(role)
        .with_event(event)
        .with_num_want(10)
        .with_families(&[AddressFamily::V4]);
    let answer = storage.announce(&announce).await.unwrap();
    assert!(!answer.peers.unwrap().contains(&peer));
}

/// Waits for the queue; nothing may have been missed.
async fn nothing_is_due(mirror: &dyn Storage) {
    for _ in 0..6_000 {
        let findings: BTreeMap<_, _> = mirror.diagnostics().await.unwrap().findings.into_iter().collect();
        assert_eq!(findings["missed writes"], "0", "{findings:#?}");
        if findings["queued writes"] == "0" {
            assert!(findings["migration"].starts_with("not needed"), "{}", findings["migration"]);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the queue does not empty");
}

/// Clients that announce, graduate and leave, and revoke tokens.
struct MovingLoad {
    clients: JoinSet<MovedWrites>,
    calls: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    /// Whether peers leave. One that leaves while its record is in flight is stored again until it is stale, so they
    /// stay while the migration runs.
    may_delete: Arc<AtomicBool>,
}

/// What was acknowledged last, for each peer and token; and downloads.
#[derive(Default)]
struct MovedWrites {
    peers: BTreeMap<(InfoHash, Peer), Option<Role>>,
    tokens: BTreeMap<u16, bool>,
    graduated: BTreeMap<u8, u64>,
}

impl MovingLoad {
    fn start(storage: &Arc<dyn Storage>) -> Self {
        let mut load = Self {
            clients: JoinSet::new(),
            calls: Arc::default(),
            is_over: Arc::default(),
            may_delete: Arc::default(),
        };
        for client in 0..CLIENTS {
            let (storage, calls) = (Arc::clone(storage), Arc::clone(&load.calls));
            let (is_over, may_delete) = (Arc::clone(&load.is_over), Arc::clone(&load.may_delete));
            load.clients.spawn(async move {
                let mut done = MovedWrites::default();
                while !is_over.load(Ordering::SeqCst) {
                    done.announce(&*storage, client, may_delete.load(Ordering::SeqCst)).await;
                    done.change_token(&*storage, client).await;
                    calls.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                done
            });
        }
        load
    }

    /// Waits for this number of further calls.
    async fn goes_on(&self, further: u64) {
        let wanted = self.calls.load(Ordering::SeqCst) + further;
        eventually("the load has gone on", || self.calls.load(Ordering::SeqCst) >= wanted).await;
    }

    async fn finish(self) -> MovedWrites {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all = MovedWrites::default();
        for done in self.clients.join_all().await {
            all.peers.extend(done.peers);
            all.tokens.extend(done.tokens);
            for (swarm, graduated) in done.graduated {
                *all.graduated.entry(swarm).or_default() += graduated;
            }
        }
        all
    }
}

impl MovedWrites {
    /// An announce of a random peer of the client.
    async fn announce(&mut self, storage: &dyn Storage, client: u32, may_delete: bool) {
        let number = client * PEERS + rand::random_range(0..PEERS);
        let of_swarm = (number % u32::from(SWARMS)) as u8;
        let (info_hash, peer) = (swarm(of_swarm), peer(number));
        let known = self.peers.get(&(info_hash, peer)).copied().flatten();
        let role = match (rand::random_range(0..10), known) {
            (0..3, Some(Role::Leecher)) => {
                if number.is_multiple_of(2) {
                    storage.graduate_leecher(&info_hash, &peer).await.unwrap();
                } else {
                    announce(storage, of_swarm, peer, Role::Seeder, AnnounceEvent::Completed).await;
                }
                *self.graduated.entry(of_swarm).or_default() += 1;
                Some(Role::Seeder)
            }
            (3..6, Some(role)) if may_delete => {
                if number.is_multiple_of(2) {
                    storage.delete_peer(&info_hash, &peer, role).await.unwrap();
                } else {
                    announce(storage, of_swarm, peer, role, AnnounceEvent::Stopped).await;
                }
                None
            }
            (_, known) => {
                let role = known.unwrap_or(Role::from_is_seeder(number.is_multiple_of(4)));
                if number.is_multiple_of(2) {
                    storage.put_peer(&info_hash, &peer, role, When::Now).await.unwrap();
                } else {
                    announce(storage, of_swarm, peer, role, AnnounceEvent::None).await;
                }
                Some(role)
            }
        };
        self.peers.insert((info_hash, peer), role);
    }

    /// Revokes an old token, or issues a new one.
    async fn change_token(&mut self, storage: &dyn Storage, client: u32) {
        let client = client as u16;
        let number = rand::random_range(0..2 * TOKENS / CLIENTS as u16) * CLIENTS as u16 + client;
        let is_there = number >= TOKENS;
        if is_there {
            storage.put_data(&tokens(), &[(token(number), token(number))]).await.unwrap();
        } else {
            storage.delete_data(&tokens(), &[token(number)]).await.unwrap();
        }
        self.tokens.insert(number, is_there);
    }

    /// Whether a storage has all that was acknowledged.
    async fn is_all_there(&self, storage: &dyn Storage) {
        let held = pages(async |from| storage.export_peers(ExportScope::All, from, 500).await).await.unwrap();
        let held: BTreeMap<_, _> =
            held.into_iter().map(|record| ((record.info_hash, record.peer), record.role)).collect();
        for (peer, role) in &self.peers {
            assert_eq!(held.get(peer), role.as_ref(), "{peer:?}");
        }
        let living = self.peers.values().flatten().count();
        assert_eq!(held.len(), SETTLED as usize + living);
        for (of_swarm, graduated) in &self.graduated {
            let downloads = counts(storage, *of_swarm).await.downloads;
            assert_eq!(downloads, 100 + graduated, "downloads of swarm {of_swarm}");
        }
        for number in 0..2 * TOKENS {
            let expected = self.tokens.get(&number).copied().unwrap_or(number < TOKENS);
            let found = storage.load_data(&tokens(), &token(number)).await.unwrap();
            assert_eq!(found.is_some(), expected, "token {number}");
        }
    }
}
