//! Several nodes collect garbage while trackers announce.

use std::collections::BTreeSet;
use std::sync::Arc;

use storage_core::{InfoHash, Peer, PeerRecord, PeerSelection, Role, Storage, Timestamp, When};
use tokio::task::JoinSet;

use super::fixtures::{all_peers, at, peer, peer_v6, record, swarm};
use super::raw::{self, Content, Keys, Text};
use super::test_env::TestDatabase;

const SWARMS: u8 = 40;
/// Peers of each family and role in each swarm.
const PEERS: u32 = 25;
const NODES: usize = 3;
const ROUNDS: u32 = 4;

const STALE: Timestamp = at(1_000_000_000);
const CUTOFF: Timestamp = at(2_000_000_000);
const FRESH: i64 = 3_000_000_000;

/// All peers of the scenario, stale ones.
fn stale() -> Vec<PeerRecord> {
    let of_swarm = |info_hash: InfoHash| {
        (0..4 * PEERS).map(move |number| {
            let peer = if number % 2 == 0 { peer(number) } else { peer_v6(number) };
            record(info_hash, peer, Role::from_is_seeder(number / 2 % 2 == 0), STALE)
        })
    };
    (1..=SWARMS).map(swarm).flat_map(of_swarm).collect()
}

/// Whether a peer announces again while garbage is collected: every third one, and none in some swarms, which
/// become empty.
fn returns(record: &PeerRecord) -> bool {
    !record.info_hash.as_bytes()[0].is_multiple_of(4) && record.peer.id().as_bytes()[19].is_multiple_of(3)
}

/// Three nodes of a tracker collect garbage while peers announce, some in another role: fresh peers keep their last
/// role and time, each stale peer is removed once, and the set has the swarms that remain.
pub(super) async fn of_three_nodes_takes_what_is_stale_and_nothing_fresh(database: &TestDatabase) {
    let keys = async || raw::all(&mut database.connect().await).await.unwrap();
    collect_while_peers_announce(async || database.open().await, keys).await;
}

/// The scenario, on any server.
pub(super) async fn collect_while_peers_announce(
    open: impl AsyncFn() -> Arc<dyn Storage>,
    keys: impl AsyncFn() -> Keys,
) {
    let stale = stale();
    let storage = open().await;
    storage.import_peers(&stale).await.unwrap();
    let returning: Vec<_> = stale.iter().filter(|record| returns(record)).copied().collect();

    let mut collecting = JoinSet::new();
    for _ in 0..NODES {
        let node = open().await;
        collecting.spawn(async move {
            let mut removed = 0;
            for _ in 0..ROUNDS {
                removed += node.collect_garbage(CUTOFF).await.unwrap().removed;
            }
            removed
        });
    }
    let mut announcing = JoinSet::new();
    for part in returning.chunks(returning.len().div_ceil(8)) {
        announcing.spawn(announce_again(open().await, part.to_vec()));
    }
    let mut expected = BTreeSet::new();
    while let Some(announced) = announcing.join_next().await {
        expected.extend(announced.unwrap());
    }
    let removed: u64 = collecting.join_all().await.into_iter().sum();

    let left: BTreeSet<_> = all_peers(&*storage).await.unwrap().into_iter().collect();
    let (missing, too_many) = (&expected - &left, &left - &expected);
    assert!(missing.is_empty() && too_many.is_empty(), "missing {missing:#?}, too many {too_many:#?}");
    let (most, least) = (stale.len() as u64, (stale.len() - returning.len()) as u64);
    assert!((least..=most).contains(&removed), "{removed} removed, expected {least} to {most}");

    let keys = keys().await;
    let there: BTreeSet<Text> = keys.keys().filter(|key| raw::is_swarm_key(key)).cloned().collect();
    let count = |role| expected.iter().filter(|record| record.role == role).count();
    for (key, content) in [
        ("CHI_I", Content::Set(there)),
        ("CHI_C_S", raw::string(count(Role::Seeder).to_string())),
        ("CHI_C_L", raw::string(count(Role::Leecher).to_string())),
    ] {
        assert_eq!(keys.get(&Text::from(key)), Some(&content), "{key}");
    }
}

/// Announces peers again, half of them in the other role, and gives their new records.
async fn announce_again(storage: Arc<dyn Storage>, peers: Vec<PeerRecord>) -> Vec<PeerRecord> {
    let mut announced = Vec::new();
    for (number, PeerRecord { info_hash, peer, role, .. }) in peers.into_iter().enumerate() {
        let role = if number % 2 == 0 { role } else { role.other() };
        let time = at(FRESH + number as i64);
        storage.put_peer(&info_hash, &peer, role, When::At(time)).await.unwrap();
        finds_others(&*storage, info_hash, peer).await;
        announced.push(record(info_hash, peer, role, time));
    }
    announced
}

async fn finds_others(storage: &dyn Storage, info_hash: InfoHash, peer: Peer) {
    let selection =
        PeerSelection { family: peer.family(), exclude: Some(peer), ..PeerSelection::new(info_hash, 50) };
    assert!(!storage.announce_peers(&selection).await.unwrap().contains(&peer));
}
