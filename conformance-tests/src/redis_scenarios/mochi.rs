//! A snapshot that a real MoChi has written reads back exactly. Its counters are wrong, and its `CHI_I`
//! names swarms that have no peers any more.

use std::collections::BTreeSet;

use storage_core::{PeerRecord, Record, Role, Statistics, SwarmCounts, Timestamp};

use super::fixtures::all_peers;
use super::raw::{self, Content, Keys, Text, string};
use super::test_env::TestDatabase;
use crate::random_sequences::run::export;
use crate::servers::Found;
use crate::servers::redis::{Node, Setup};

const SNAPSHOT: &[u8] = include_bytes!("../../data/mochi/mochi-redis.rdb");

/// What the snapshot must read as: records without times, one a line.
const EXPECTED: &str = include_str!("../../data/mochi/mochi-redis.expected.jsonl");

/// MoChi's own counts of seeders and leechers.
const COUNTED: (u64, u64) = (617, 1_115);

/// The peers announced on this day.
const DAY: [&str; 2] = ["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"];

/// A server with the snapshot.
pub(super) fn server() -> Found<Node> {
    Node::start(&Setup::default().snapshot(SNAPSHOT))
}

/// The expected records, sorted, all with the same time.
fn expected() -> Vec<Record> {
    let record = |line: &str| {
        let mut object: serde_json::Value = serde_json::from_str(line).unwrap();
        if object["kind"] == "peer" {
            object["announced"] = DAY[0].into();
        }
        serde_json::from_value::<Record>(object).unwrap()
    };
    let mut records: Vec<_> = EXPECTED.lines().map(record).collect();
    records.sort();
    records
}

fn expected_peers() -> Vec<PeerRecord> {
    let records = expected().into_iter();
    records.filter_map(|record| if let Record::Peer(peer) = record { Some(peer) } else { None }).collect()
}

fn count(peers: &[PeerRecord], role: Role) -> u64 {
    peers.iter().filter(|peer| peer.role == role).count() as u64
}

/// The records with the time that the expected ones have, sorted.
fn without_times(records: Vec<Record>) -> Vec<Record> {
    let announced: Timestamp = DAY[0].parse().unwrap();
    let mut records: Vec<_> = records
        .into_iter()
        .map(|record| match record {
            Record::Peer(peer) => Record::Peer(PeerRecord { announced, ..peer }),
            other => other,
        })
        .collect();
    records.sort();
    records
}

/// Export returns what MoChi wrote, and nothing else.
pub(super) async fn snapshot_reads_back_exactly(node: &Node) {
    let database = TestDatabase::of(node);
    let storage = database.open().await;
    let exported = export(&*storage).await.unwrap();
    assert_eq!(without_times(exported), expected());

    let [from, until] = DAY.map(|time| time.parse::<Timestamp>().unwrap());
    for PeerRecord { peer, announced, .. } in all_peers(&*storage).await.unwrap() {
        assert!((from..until).contains(&announced), "{peer} announced {announced}");
    }
}

/// Statistics and scrapes count the peers that are there, whatever MoChi's counters say.
pub(super) async fn snapshot_is_counted_by_its_peers(node: &Node) {
    let database = TestDatabase::of(node);
    let storage = database.open().await;
    let peers = expected_peers();
    let swarms: BTreeSet<_> = peers.iter().map(|peer| peer.info_hash).collect();
    let (seeders, leechers) = (count(&peers, Role::Seeder), count(&peers, Role::Leecher));
    assert_ne!((seeders, leechers), COUNTED, "MoChi's counters are wrong");
    let statistics = Statistics::new(swarms.len() as u64, seeders, leechers);
    assert_eq!(storage.statistics().await.unwrap(), statistics);

    for info_hash in swarms {
        let of_swarm: Vec<_> = peers.iter().filter(|peer| peer.info_hash == info_hash).copied().collect();
        let downloads = expected().into_iter().find_map(|record| match record {
            Record::Downloads(record) if record.info_hash == info_hash => Some(record.downloads),
            _ => None,
        });
        let counts = SwarmCounts {
            seeders: count(&of_swarm, Role::Seeder),
            leechers: count(&of_swarm, Role::Leecher),
            downloads: downloads.unwrap_or(0),
        };
        assert_eq!(storage.scrape_swarm(&info_hash).await.unwrap(), counts, "{info_hash}");
    }
}

/// The keys in `CHI_I`, and the swarm keys that exist.
fn named_and_there(keys: &Keys) -> (BTreeSet<Text>, BTreeSet<Text>) {
    let named = match keys.get(&Text::from("CHI_I")) {
        Some(Content::Set(named)) => named.clone(),
        None => BTreeSet::new(),
        other => panic!("CHI_I is {other:?}"),
    };
    (named, keys.keys().filter(|key| raw::is_swarm_key(key)).cloned().collect())
}

/// Garbage collection with a cutoff before all peers removes none of them, and removes swarms without peers from
/// `CHI_I`.
pub(super) async fn snapshot_keeps_its_fresh_peers(node: &Node) {
    let database = TestDatabase::of(node);
    let mut connection = database.connect().await;
    let mut before = raw::all(&mut connection).await.unwrap();
    let (named, there) = named_and_there(&before);
    assert!(named.len() > there.len(), "MoChi names keys that are gone");

    let storage = database.open().await;
    let from = DAY[0].parse().unwrap();
    assert_eq!(storage.collect_garbage(from).await.unwrap().removed, 0);

    before.insert("CHI_I".into(), Content::Set(there));
    raw::assert_same(&raw::all(&mut connection).await.unwrap(), &before);
}

/// Garbage collection with a cutoff after all peers removes them, and keeps downloads and data.
pub(super) async fn snapshot_loses_its_stale_peers_only(node: &Node) {
    let database = TestDatabase::of(node);
    let mut connection = database.connect().await;
    let mut expected = raw::all(&mut connection).await.unwrap();
    let storage = database.open().await;
    let peers = expected_peers();
    let last = all_peers(&*storage).await.unwrap().iter().map(|peer| peer.announced).max().unwrap();
    assert_eq!(storage.collect_garbage(last).await.unwrap().removed, peers.len() as u64);

    let left = raw::all(&mut connection).await.unwrap();
    let counted = |counted: u64, role| string((counted as i64 - count(&peers, role) as i64).to_string());
    expected.retain(|key, _| !raw::is_swarm_key(key) && *key != Text::from("CHI_I"));
    expected.insert("CHI_C_S".into(), counted(COUNTED.0, Role::Seeder));
    expected.insert("CHI_C_L".into(), counted(COUNTED.1, Role::Leecher));
    raw::assert_same(&left, &expected);
    assert_eq!(storage.statistics().await.unwrap(), Statistics::default());
}
