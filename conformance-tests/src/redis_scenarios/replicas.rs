//! Writes that wait for replicas, where these are slow or absent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage_core::config::Value;
use storage_core::{
    AddressFamily, Announce, AnnounceEvent, DataRecord, Error, ErrorKind, ExportScope, PeerChange,
    PeerStorageExt, PeerWrite, Role, Storage, When,
};

use super::fixtures::{context, peer, swarm};
use super::test_env::open;
use crate::servers::Found;
use crate::servers::redis::{Sentinel, SentinelSetup};

const WAIT_TIMEOUT: Duration = Duration::from_millis(300);
/// Calls that wait for nothing take far less.
const SHORT: Duration = Duration::from_millis(250);

/// Nothing fails over while the replica is frozen.
pub(super) fn servers() -> Found<Sentinel> {
    Sentinel::start(&SentinelSetup::default())
}

async fn open_waiting(servers: &Sentinel, waits_for_peers: bool) -> Arc<dyn Storage> {
    let mut settings = servers.settings(0);
    settings.push(("wait_replicas".into(), Value::Integer(1)));
    settings.push(("wait_for_peers".into(), Value::Boolean(waits_for_peers)));
    let timeout = format!("{}ms", WAIT_TIMEOUT.as_millis());
    open(settings, &[("wait_timeout", &timeout)]).await
}

fn by_seeder(peer: storage_core::Peer) -> Announce {
    Announce::new(swarm(1), [peer])
        .with_role(Role::Seeder)
        .with_num_want(5)
        .with_families(&AddressFamily::BOTH)
}

fn is_uncertain<T>(what: &str, result: Result<T, Error>) {
    let error = result.err().unwrap_or_else(|| panic!("{what} was acknowledged"));
    assert_eq!(error.kind(), ErrorKind::Uncertain, "{what}: {error}");
    assert!(error.to_string().contains("0 of 1 replicas (`wait_replicas`)"), "{what}: {error}");
}

fn data(number: u8) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(&[number]), Bytes::from_static(b"value"))
}

/// Downloads and data are `Uncertain` while the only replica is frozen; no other call waits for it.
pub(super) async fn that_are_frozen_leave_downloads_and_data_uncertain(servers: &Sentinel) {
    let storage = open_waiting(servers, false).await;
    let (context, swarm) = (context("kept"), swarm(1));
    storage.put_data(&context, &[data(1)]).await.unwrap();
    let frozen = servers.replica().freeze_process().unwrap();

    let record = DataRecord { context: context.clone(), key: data(2).0, value: data(2).1 };
    let graduates =
        PeerWrite { info_hash: swarm, peer: peer(3), change: PeerChange::Graduate, announced: storage.now() };
    is_uncertain("a graduation", storage.graduate_peer(&swarm, &peer(1), When::Now).await);
    is_uncertain(
        "a completed announce",
        storage.announce(&by_seeder(peer(2)).with_event(AnnounceEvent::Completed)).await,
    );
    is_uncertain("a list with a graduation", storage.write_peers(&[graduates]).await.remove(0));
    is_uncertain("data", storage.put_data(&context, &[data(1)]).await);
    is_uncertain("a deletion of data", storage.delete_data(&context, &[data(1).0]).await);
    is_uncertain("an import", storage.import_data(&[record]).await);

    let entries = [data(3)];
    let waiting = storage.put_data(&context, &entries);
    let others = async {
        let begun = Instant::now();
        storage.put_peer(&swarm, &peer(4), Role::Leecher, When::Now).await.unwrap();
        storage.announce(&by_seeder(peer(5))).await.unwrap();
        storage.load_data(&context, b"absent").await.unwrap();
        assert!(begun.elapsed() < SHORT, "calls that wait for nothing took {:?}", begun.elapsed());
    };
    let (waiting, ()) = tokio::join!(waiting, others);
    is_uncertain("data", waiting);

    frozen.resume();
    storage.put_data(&context, &[data(1)]).await.unwrap();
    assert!(!storage.graduate_peer(&swarm, &peer(1), When::Now).await.unwrap());
    assert_eq!(storage.scrape_swarm(&swarm).await.unwrap().downloads, 3);
    storage.close().await.unwrap();
}

/// Peers wait on demand only.
pub(super) async fn that_are_frozen_leave_peers_uncertain_where_these_wait(servers: &Sentinel) {
    let storage = open_waiting(servers, true).await;
    let frozen = servers.replica().freeze_process().unwrap();
    let (swarm, peer) = (swarm(1), peer(1));
    is_uncertain("a put", storage.put_peer(&swarm, &peer, Role::Leecher, When::Now).await);
    let announce = by_seeder(peer);
    is_uncertain("an announce", storage.announce(&announce).await);
    let records = storage.export_peers(ExportScope::All, None, 10).await.unwrap().records;
    is_uncertain("a removal", storage.remove_peer(&swarm, &peer).await);
    is_uncertain("an import", storage.import_peers(&records).await);
    frozen.resume();
    storage.close().await.unwrap();
}

/// A retry that changes nothing is not acknowledged until the replica has what the first call wrote.
pub(super) async fn that_are_frozen_are_waited_for_by_a_retry_that_changes_nothing(servers: &Sentinel) {
    let storage = open_waiting(servers, false).await;
    let frozen = servers.replica().freeze_process().unwrap();
    let record = DataRecord { context: context("kept"), key: data(1).0, value: data(1).1 };
    is_uncertain("an import", storage.import_data(std::slice::from_ref(&record)).await);
    let other = open_waiting(servers, false).await;
    is_uncertain(
        "the same import on another connection",
        other.import_data(std::slice::from_ref(&record)).await,
    );
    frozen.resume();
    other.import_data(&[record]).await.unwrap();
    other.close().await.unwrap();
    storage.close().await.unwrap();
}
