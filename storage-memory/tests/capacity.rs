//! The limit to the number of peers.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use storage_core::{
    AddressFamily, Announce, AnnounceEvent, Backend, BulkPeerStorage, ErrorKind, InfoHash, Maintenance, Peer,
    PeerChange, PeerId, PeerRecord, PeerStorage, PeerStorageExt, PeerWrite, Result, Role, SwarmCounts,
    Timestamp, Transfer, When, Written,
};
use storage_memory::{MemoryConfig, MemoryStorage};

const SWARM: InfoHash = InfoHash::V1([1; 20]);
const OTHER: InfoHash = InfoHash::V1([2; 20]);

fn storage(max_peers: usize) -> MemoryStorage {
    MemoryStorage::new(MemoryConfig { max_peers, shard_count: 4 })
}

fn peer(number: u8) -> Peer {
    let address = if number.is_multiple_of(2) { "192.0.2.1" } else { "2001:db8::1" };
    Peer::new(PeerId([number; 20]), address.parse().unwrap(), 6881)
}

fn is_full<T>(result: Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::Full && !error.is_retryable())
}

async fn announce(storage: &MemoryStorage, peers: &[Peer], event: AnnounceEvent) -> Result<SwarmCounts> {
    let announce = Announce::new(SWARM, peers.iter().copied())
        .with_event(event)
        .with_num_want(50)
        .with_families(&AddressFamily::BOTH);
    storage.announce(&announce).await.map(|answer| answer.counts.unwrap())
}

/// The peers that are counted against the limit, and those that are there.
async fn counted(storage: &MemoryStorage) -> (String, u64) {
    let findings = storage.diagnostics().await.unwrap().findings;
    let (_, peers) = findings.into_iter().find(|(name, _)| name == "peers").unwrap();
    let statistics = storage.statistics().await.unwrap();
    (peers, statistics.seeders + statistics.leechers)
}

#[tokio::test]
async fn a_full_storage_refuses_new_peers_and_refreshes_those_that_are_there() {
    let storage = storage(2);
    for known in [peer(1), peer(2)] {
        announce(&storage, &[known], AnnounceEvent::Started).await.unwrap();
    }
    for event in [AnnounceEvent::None, AnnounceEvent::Started, AnnounceEvent::Completed] {
        assert!(is_full(announce(&storage, &[peer(3)], event).await), "{event:?}");
    }
    assert!(is_full(storage.put_seeder(&OTHER, &peer(1)).await), "it would be new in that swarm");
    assert!(is_full(storage.graduate_leecher(&OTHER, &peer(1)).await));
    let record =
        PeerRecord { info_hash: OTHER, peer: peer(3), role: Role::Seeder, announced: Timestamp::now() };
    assert!(is_full(storage.import_peers(&[record]).await));
    for change in [PeerChange::Put(Role::Seeder), PeerChange::Graduate] {
        let write = PeerWrite { info_hash: OTHER, peer: peer(3), change, announced: Timestamp::now() };
        assert!(is_full(storage.write_peers(&[write]).await.remove(0)));
    }
    assert_eq!(storage.scrape_swarm(&OTHER).await.unwrap(), SwarmCounts::default());
    assert_eq!(storage.statistics().await.unwrap().info_hashes, 1, "no empty swarm is left behind");

    announce(&storage, &[peer(1)], AnnounceEvent::None).await.unwrap();
    let counts = announce(&storage, &[peer(2)], AnnounceEvent::Completed).await.unwrap();
    assert_eq!(counts, SwarmCounts { seeders: 1, leechers: 1, downloads: 1 });
    announce(&storage, &[peer(2), peer(3)], AnnounceEvent::None).await.unwrap();
    announce(&storage, &[peer(3)], AnnounceEvent::Stopped).await.unwrap();

    announce(&storage, &[peer(1)], AnnounceEvent::Stopped).await.unwrap();
    announce(&storage, &[peer(3)], AnnounceEvent::Started).await.unwrap();
    assert!(is_full(announce(&storage, &[peer(1)], AnnounceEvent::None).await));
    storage.collect_garbage(Timestamp::from_seconds(i64::from(u32::MAX))).await.unwrap();
    announce(&storage, &[peer(1)], AnnounceEvent::None).await.unwrap();
    assert_eq!(counted(&storage).await, ("1 of at most 2".into(), 1));
}

#[tokio::test]
async fn downloads_are_counted_for_as_many_swarms() {
    let storage = storage(2);
    for number in 0..10 {
        let info_hash = InfoHash::V1([number; 20]);
        storage.graduate_leecher(&info_hash, &peer(number)).await.unwrap();
        storage.delete_seeder(&info_hash, &peer(number)).await.unwrap();
    }
    let downloads = storage.export_downloads(None, 100).await.unwrap().records;
    assert_eq!(downloads.len(), 2);
    storage.forget_swarm(&downloads[0].info_hash).await.unwrap();
    storage.graduate_leecher(&InfoHash::V1([9; 20]), &peer(9)).await.unwrap();
    assert_eq!(storage.export_downloads(None, 100).await.unwrap().records.len(), 2);
}

#[tokio::test]
async fn whatever_is_done_as_many_are_counted_as_there_are() {
    let storage = storage(40);
    let (mut refused, mut random) = (0, 1u32);
    for _ in 0..20_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [which, number, swarm, role] = random.to_be_bytes().map(|byte| byte % 64);
        let (info_hash, peer) = (InfoHash::V1([swarm % 4; 20]), peer(number));
        let role = Role::from_is_seeder(role < 32);
        let announced = Timestamp::from_seconds(i64::from(number));
        let change = match which % 4 {
            0 => PeerChange::Put(role),
            1 => PeerChange::Touch,
            2 => PeerChange::Delete,
            _ => PeerChange::Graduate,
        };
        let write = PeerWrite { info_hash, peer, change, announced };
        let record = PeerRecord { info_hash, peer, role, announced };
        let result = match which {
            0..24 => storage.put_peer(&info_hash, &peer, role, When::Now).await,
            24..34 => storage.remove_peer(&info_hash, &peer).await,
            34..40 => storage.graduate_leecher(&info_hash, &peer).await.map(drop),
            40..50 => storage.write_peers(&[write]).await.remove(0).map(|_: Written| ()),
            50..58 => storage.import_peers(&[record]).await.map(drop),
            58..60 => storage.collect_garbage(Timestamp::from_seconds(8)).await.map(drop),
            60 => storage.forget_swarm(&info_hash).await.map(drop),
            _ => storage.delete_peer(&info_hash, &peer, role).await.or(Ok(())),
        };
        refused += usize::from(is_full(result));
        let (shown, there) = counted(&storage).await;
        assert_eq!(shown, format!("{there} of at most 40"));
        assert!(there <= 40);
    }
    assert!(refused > 1_000, "{refused}");
    storage.close().await.unwrap();
    assert_eq!(counted(&storage).await, ("0 of at most 40".into(), 0));
}
