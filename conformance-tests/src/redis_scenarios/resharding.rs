//! Slots of a cluster that move between nodes under load.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd};
use storage_core::config::Value;
use storage_core::{
    AddressFamily, Announce, AnnounceAnswer, AnnounceEvent, ErrorKind, InfoHash, Peer, PeerStorageExt,
    Result, Storage, SwarmCounts,
};
use tokio::task::JoinSet;

use super::fixtures::{context, peer, peer_v6, swarm};
use super::load::{WriteLoad, holds_downloads, holds_peers};
use super::test_env::open;
use crate::servers::redis::{Cluster, Setup};
use crate::servers::{Found, Frozen};

/// The environment variable with the number of slots that are moved under load.
const NUMBER_VARIABLE: &str = "TRACKER_STORAGE_TEST_SLOTS";
const DEFAULT_NUMBER: usize = 400;

const ALL_SLOTS: u16 = 16_384;
/// Concurrent clients.
const CLIENTS: u32 = 16;
const TIMEOUT: Duration = Duration::from_secs(20);

/// Nodes that stay primaries when they have no slot left.
pub(super) fn servers() -> Found<Cluster> {
    Cluster::start(&Setup::default().durable().setting("cluster-allow-replica-migration no"))
}

/// Nodes with a replica each.
pub(super) fn servers_with_replicas() -> Found<Cluster> {
    Cluster::start_with_replicas(&Setup::default())
}

pub(super) async fn a_slot_is_served_while_it_moves(servers: &Cluster) {
    serves_while_slots_move(servers, open(servers.settings(), &[]).await).await;
}

pub(super) async fn a_slot_is_served_while_it_moves_and_writes_wait_for_replicas(servers: &Cluster) {
    serves_while_slots_move(servers, open_waiting(servers, Duration::from_secs(3)).await).await;
}

/// Downloads wait for the replica of the node that has a slot, and of the one that is about to get it.
pub(super) async fn downloads_wait_for_the_replica_of_the_node_that_takes_them(servers: &Cluster) {
    let storage = open_waiting(servers, Duration::from_millis(300)).await;
    let mut slots = Slots::of(servers).await;
    let (swarm, slot) = (swarm(1), slots.of_key(b"CHI_D").await);
    let from = slots.owner(slot);
    let to = (from + 1) % slots.nodes.len();
    let mut number = 0;
    let mut graduate = || {
        number += 1;
        let (storage, peer) = (&storage, peer(number));
        async move { storage.graduate_leecher(&swarm, &peer).await }
    };
    for (index, step) in [(from, "before"), (to, "while it moves"), (to, "after")] {
        match step {
            "before" => {}
            "while it moves" => {
                slots.begin(slot, to).await;
                slots.move_keys(slot, to).await;
            }
            _ => slots.finish(slot, to).await,
        }
        assert!(graduate().await.unwrap(), "{step}");
        let frozen = servers.replicas()[index].freeze_process().unwrap();
        let error = graduate().await.expect_err(step);
        assert_eq!(error.kind(), ErrorKind::Uncertain, "{step}: {error}");
        assert!(error.to_string().contains("0 of 1 replicas (`wait_replicas`)"), "{step}: {error}");
        storage.put_leecher(&swarm, &peer(1_000)).await.unwrap();
        frozen.resume();
        assert!(graduate().await.unwrap(), "{step}");
    }
    assert_eq!(storage.scrape_swarm(&swarm).await.unwrap().downloads, 9);
    storage.close().await.unwrap();
}

/// A retry that changes nothing is not acknowledged until the replica has what the first call wrote.
pub(super) async fn retries_wait_for_the_replica_too(servers: &Cluster) {
    let storage = open_waiting(servers, Duration::from_millis(300)).await;
    let (context, key) = (context("kept"), Bytes::from_static(b"key"));
    storage.put_data(&context, &[(key.clone(), "value".into())]).await.unwrap();
    let frozen: Vec<_> = servers.replicas().iter().map(|replica| replica.freeze_process().unwrap()).collect();
    for _ in 0..2 {
        let error = storage.delete_data(&context, std::slice::from_ref(&key)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Uncertain, "{error}");
    }
    frozen.into_iter().for_each(Frozen::resume);
    storage.delete_data(&context, &[key]).await.unwrap();
    storage.close().await.unwrap();
}

async fn open_waiting(servers: &Cluster, timeout: Duration) -> Arc<dyn Storage> {
    let mut settings = servers.settings();
    settings.push(("wait_replicas".into(), Value::Integer(1)));
    open(settings, &[("wait_timeout", &format!("{}ms", timeout.as_millis()))]).await
}

/// Slots are moved one by one, in steps; after each step every call succeeds with the right counts.
async fn serves_while_slots_move(servers: &Cluster, storage: Arc<dyn Storage>) {
    let mut slots = Slots::of(servers).await;
    let mut clients = WritingClients::of(&storage, swarm(1));
    for key in clients.keys() {
        let slot = slots.of_key(&key).await;
        let to = (slots.owner(slot) + 1) % slots.nodes.len();
        slots.begin(slot, to).await;
        clients.call().await;
        slots.move_keys(slot, to).await;
        clients.call().await;
        slots.forget_scripts().await;
        clients.call().await;
        slots.finish(slot, to).await;
        clients.call().await;
    }
    storage.close().await.unwrap();
}

/// The first slot that a new node gets: redis-rs does not know the node before.
pub(super) async fn a_slot_is_served_while_it_moves_to_a_node_without_slots(servers: &Cluster) {
    let mut slots = Slots::of(servers).await;
    let empty = slots.nodes.len() - 1;
    for slot in 0..ALL_SLOTS {
        if slots.owner(slot) == empty {
            slots.finish(slot, 0).await;
        }
    }
    let storage = open(servers.settings(), &[]).await;
    let mut clients = WritingClients::of(&storage, swarm(1));
    for key in clients.keys() {
        let slot = slots.of_key(&key).await;
        let from = slots.owner(slot);
        slots.begin(slot, empty).await;
        clients.call().await;
        slots.move_keys(slot, empty).await;
        clients.call().await;
        slots.forget_scripts().await;
        clients.call().await;
        // And back, so that the node is as new again.
        slots.finish(slot, empty).await;
        slots.begin(slot, from).await;
        slots.move_keys(slot, from).await;
        slots.finish(slot, from).await;
        clients.call().await;
    }
    storage.close().await.unwrap();
}

/// No call fails, and each completion counts once, while slots move on to the next node and back, those of keys
/// first.
pub(super) async fn nothing_fails_while_slots_move_back_and_forth(servers: &Cluster) {
    let storage = open(servers.settings(), &[]).await;
    let (load, completions) = (WriteLoad::start(&storage), Completions::start(&storage));
    load.puts_more(300, TIMEOUT).await;

    let mut slots = Slots::of(servers).await;
    let mut order: Vec<u16> = slots.with_keys().await.into_iter().collect();
    order.extend((0..ALL_SLOTS).filter(|slot| !order.contains(slot)).collect::<Vec<_>>());
    order.truncate(number());
    for steps in [1, slots.nodes.len() - 1] {
        for slot in &order {
            let to = (slots.owner(*slot) + steps) % slots.nodes.len();
            slots.begin(*slot, to).await;
            slots.move_keys(*slot, to).await;
            slots.finish(*slot, to).await;
        }
        load.puts_more(100, TIMEOUT).await;
    }

    let (completed, noted) = (completions.finish().await, load.finish().await);
    assert!(noted.failures.is_empty(), "{} failures, such as {:?}", noted.failures.len(), noted.failures[0]);
    assert!(completed > 0);
    let counts = storage.scrape_swarm(&Completions::SWARM).await.unwrap();
    assert_eq!(counts, SwarmCounts { seeders: completed, leechers: 0, downloads: completed });
    holds_peers(&*storage, &noted.acknowledged.put).await;
    holds_downloads(&*storage, noted.acknowledged.graduated, &noted).await;
    storage.close().await.unwrap();
}

/// How many slots are moved: as many as the environment says.
fn number() -> usize {
    let Ok(number) = std::env::var(NUMBER_VARIABLE) else { return DEFAULT_NUMBER };
    number.parse().unwrap_or_else(|_| panic!("{NUMBER_VARIABLE} must be a number, not {number:?}"))
}

/// Clients of one swarm that do everything that a client does, and what must have come of it.
struct WritingClients<'a> {
    storage: &'a Arc<dyn Storage>,
    swarm: InfoHash,
    rounds: u32,
}

impl<'a> WritingClients<'a> {
    fn of(storage: &'a Arc<dyn Storage>, swarm: InfoHash) -> Self {
        Self { storage, swarm, rounds: 0 }
    }

    /// The keys that their calls need.
    fn keys(&self) -> Vec<Vec<u8>> {
        let shared = ["CHI_D", "CHI_I", "CHI_C_S", "CHI_C_L", "CHI_tokens"];
        let of_swarm = ["CHI_S4_", "CHI_L4_", "CHI_S6_"];
        let of_swarm = of_swarm.map(|kind| [kind.as_bytes(), self.swarm.as_bytes()].concat());
        shared.into_iter().map(|key| key.as_bytes().to_vec()).chain(of_swarm).collect()
    }

    /// All of them call at once, with other peers than before.
    async fn call(&mut self) {
        let clients = (0..CLIENTS).map(|client| self.one(self.rounds * CLIENTS + client));
        join_all(clients).await;
        self.rounds += 1;
        let stayed = u64::from(self.rounds * CLIENTS);
        let expected = SwarmCounts { seeders: 2 * stayed, leechers: stayed, downloads: 2 * stayed };
        assert_eq!(self.storage.scrape_swarm(&self.swarm).await.unwrap(), expected, "round {}", self.rounds);
    }

    /// Leaves two seeders that are downloads, and a leecher.
    async fn one(&self, number: u32) {
        let (storage, swarm) = (self.storage, &self.swarm);
        let [downloader, completed, leecher, leaving] =
            [0, 1, 2, 3].map(|index| 4 * number + index).map(|number| (peer(number), peer_v6(number)));
        storage.put_leecher(swarm, &downloader.0).await.unwrap();
        assert!(storage.graduate_leecher(swarm, &downloader.0).await.unwrap());
        let answer = announce(storage, *swarm, &completed.1, AnnounceEvent::Completed).await.unwrap();
        assert!(answer.is_download && answer.failure.is_none(), "{answer:?}");
        let answer = announce(storage, *swarm, &leecher.0, AnnounceEvent::Started).await.unwrap();
        assert!(answer.failure.is_none(), "{answer:?}");
        assert!(answer.peers.is_some_and(|peers| peers.contains(&completed.1) || peers.len() == 50));

        storage.put_seeder(swarm, &leaving.0).await.unwrap();
        storage.delete_seeder(swarm, &leaving.0).await.unwrap();
        storage.put_leecher(swarm, &leaving.1).await.unwrap();
        announce(storage, *swarm, &leaving.1, AnnounceEvent::Stopped).await.unwrap();

        let (tokens, key) = (context("tokens"), Bytes::copy_from_slice(&number.to_be_bytes()));
        storage.put_data(&tokens, &[(key.clone(), "value".into())]).await.unwrap();
        assert_eq!(storage.load_data(&tokens, &key).await.unwrap(), Some("value".into()));
        assert_eq!(storage.contains_data(&tokens, std::slice::from_ref(&key)).await.unwrap(), [true]);
        storage.delete_data(&tokens, std::slice::from_ref(&key)).await.unwrap();
        assert_eq!(storage.load_data(&tokens, &key).await.unwrap(), None);
    }
}

async fn announce(
    storage: &Arc<dyn Storage>,
    info_hash: InfoHash,
    peer: &Peer,
    event: AnnounceEvent,
) -> Result<AnnounceAnswer> {
    let families = AddressFamily::V6.then_other();
    let announce = Announce::new(info_hash, [*peer]).with_event(event).with_families(families);
    storage.announce(&announce).await
}

/// Clients that announce that they are complete, each once.
struct Completions {
    tasks: JoinSet<u64>,
    is_over: Arc<AtomicBool>,
}

impl Completions {
    const SWARM: InfoHash = InfoHash::V1([0xC0; 20]);

    fn start(storage: &Arc<dyn Storage>) -> Self {
        let (mut tasks, is_over) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for client in 0..CLIENTS {
            let (storage, is_over) = (Arc::clone(storage), Arc::clone(&is_over));
            tasks.spawn(async move {
                let mut completed = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let peer = peer(client * 1_000_000 + completed);
                    let answer = announce(&storage, Self::SWARM, &peer, AnnounceEvent::Completed).await;
                    let answer = answer.unwrap();
                    assert!(answer.is_download && answer.failure.is_none(), "{answer:?}");
                    completed += 1;
                }
                u64::from(completed)
            });
        }
        Self { tasks, is_over }
    }

    /// How many there were, none of which has failed.
    async fn finish(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().sum()
    }
}

/// The slots of a cluster, to be moved as `redis-cli --cluster reshard` does.
struct Slots {
    nodes: Vec<Shard>,
    /// The node that has each slot.
    owners: Vec<usize>,
}

struct Shard {
    id: String,
    port: u16,
    connection: MultiplexedConnection,
}

impl Slots {
    async fn of(servers: &Cluster) -> Self {
        let (mut nodes, mut owners) = (Vec::new(), vec![0; usize::from(ALL_SLOTS)]);
        for (index, node) in servers.nodes().iter().enumerate() {
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(TIMEOUT));
            let connected = node.client().get_multiplexed_async_connection_with_config(&config).await;
            let mut connection = connected.unwrap();
            let id = ask(&mut connection, redis::cmd("CLUSTER").arg("MYID")).await;
            let known: String = ask(&mut connection, redis::cmd("CLUSTER").arg("NODES")).await;
            for slots in slots_of_itself(&known) {
                owners[slots].fill(index);
            }
            nodes.push(Shard { id, port: node.port(), connection });
        }
        Self { nodes, owners }
    }

    fn owner(&self, slot: u16) -> usize {
        self.owners[usize::from(slot)]
    }

    async fn of_key(&mut self, key: &[u8]) -> u16 {
        ask(&mut self.nodes[0].connection, redis::cmd("CLUSTER").arg("KEYSLOT").arg(key)).await
    }

    /// Those that have keys.
    async fn with_keys(&mut self) -> BTreeSet<u16> {
        let mut slots = BTreeSet::new();
        for index in 0..self.nodes.len() {
            let keys: Vec<Vec<u8>> =
                ask(&mut self.nodes[index].connection, redis::cmd("KEYS").arg("*")).await;
            for key in keys {
                slots.insert(self.of_key(&key).await);
            }
        }
        slots
    }

    /// From now on keys that are not there are looked for at the other node.
    async fn begin(&mut self, slot: u16, to: usize) {
        let from = self.owner(slot);
        let (giver, taker) = (self.nodes[from].id.clone(), self.nodes[to].id.clone());
        self.set(to, slot, "IMPORTING", &giver).await;
        self.set(from, slot, "MIGRATING", &taker).await;
    }

    async fn move_keys(&mut self, slot: u16, to: usize) {
        let (from, port) = (self.owner(slot), self.nodes[to].port);
        loop {
            let connection = &mut self.nodes[from].connection;
            let mut keys = redis::cmd("CLUSTER");
            keys.arg("GETKEYSINSLOT").arg(slot).arg(10);
            let keys: Vec<Vec<u8>> = ask(connection, &keys).await;
            if keys.is_empty() {
                return;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(port).arg("").arg(0).arg(5_000).arg("KEYS").arg(keys);
            ask::<()>(connection, &migrate).await;
        }
    }

    /// The slot is the other node's, which knows it before the others do.
    async fn finish(&mut self, slot: u16, to: usize) {
        let (from, id) = (self.owner(slot), self.nodes[to].id.clone());
        let others = (0..self.nodes.len()).filter(|index| *index != to && *index != from);
        for index in [to, from].into_iter().chain(others) {
            self.set(index, slot, "NODE", &id).await;
        }
        self.owners[usize::from(slot)] = to;
    }

    async fn set(&mut self, index: usize, slot: u16, state: &str, id: &str) {
        let mut set = redis::cmd("CLUSTER");
        set.arg("SETSLOT").arg(slot).arg(state).arg(id);
        ask::<()>(&mut self.nodes[index].connection, &set).await;
    }

    async fn forget_scripts(&mut self) {
        for node in &mut self.nodes {
            ask::<()>(&mut node.connection, redis::cmd("SCRIPT").arg("FLUSH")).await;
        }
    }
}

async fn ask<T: redis::FromRedisValue>(connection: &mut MultiplexedConnection, command: &Cmd) -> T {
    command.query_async(connection).await.unwrap()
}

/// The ranges in the line of the node itself.
fn slots_of_itself(known: &str) -> impl Iterator<Item = Range<usize>> {
    let line = known.lines().find(|line| line.contains("myself")).unwrap_or_default();
    line.split(' ').skip(8).filter(|slots| !slots.starts_with('[')).map(|slots| {
        let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
        first.parse().unwrap()..last.parse::<usize>().unwrap() + 1
    })
}
