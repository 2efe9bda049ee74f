//! The backend's own setting.

use std::sync::Arc;

use example_backend::ExampleDriver;
use storage_core::config::{StorageConfig, Value};
use storage_core::{
    Backends, ErrorKind, InfoHash, OpenError, Peer, PeerId, PeerStorageExt, Storage, SwarmCounts,
};

const SWARM: InfoHash = InfoHash::V1([1; 20]);

async fn with_capacity(capacity: i64) -> Result<Arc<dyn Storage>, OpenError> {
    let config = Value::Section(vec![("Capacity".into(), Value::Integer(capacity))]);
    let config = StorageConfig { name: "example".into(), config };
    Ok(Backends::new().with(ExampleDriver).open(config).await?.storage)
}

fn peer(port: u16) -> Peer {
    Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), port)
}

#[tokio::test]
async fn a_peer_beyond_the_capacity_is_rejected_and_changes_nothing() {
    let storage = with_capacity(1).await.unwrap();
    storage.put_leecher(&SWARM, &peer(1)).await.unwrap();
    let put = storage.put_leecher(&SWARM, &peer(2)).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Full);
    let graduated = storage.graduate_leecher(&SWARM, &peer(2)).await.unwrap_err();
    assert_eq!(graduated.kind(), ErrorKind::Full);
    let counts = storage.scrape_swarm(&SWARM).await.unwrap();
    assert_eq!(counts, SwarmCounts { seeders: 0, leechers: 1, downloads: 0 });
}

#[tokio::test]
async fn a_peer_that_is_there_needs_no_further_room() {
    let storage = with_capacity(1).await.unwrap();
    storage.put_leecher(&SWARM, &peer(1)).await.unwrap();
    storage.graduate_leecher(&SWARM, &peer(1)).await.unwrap();
    let counts = storage.scrape_swarm(&SWARM).await.unwrap();
    assert_eq!(counts, SwarmCounts { seeders: 1, leechers: 0, downloads: 1 });
}
