//! Calls whose answer is lost, or that are lost themselves: the caller cannot know which.

use std::sync::Arc;
use std::time::Duration;

use redis::AsyncCommands;
use storage_core::config::Value;
use storage_core::{
    ErrorKind, PeerChange, PeerSelection, PeerStorageExt, PeerWrite, Result, Role, Storage, SwarmCounts,
    When, Written,
};

use super::fixtures::{context, peer, swarm};
use super::raw::peer_key;
use super::test_env::{TestDatabase, open};
use crate::servers::redis::Node;
use crate::servers::{CutPoint, TcpProxy};

/// A proxy in front of the server, and a storage that connects to it.
async fn proxy_for(node: &Node) -> (TcpProxy, Arc<dyn Storage>) {
    let proxy = TcpProxy::start(node.address()).await.unwrap();
    let addresses = Value::List(vec![Value::Text(proxy.address().to_string())]);
    let storage = open(vec![("addresses".to_owned(), addresses)], &[("retry_timeout", "5s")]).await;
    (proxy, storage)
}

fn is_uncertain(result: Result<()>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Uncertain, "{error:?}");
}

/// A graduation is retried, and counts once.
pub(super) async fn leave_one_download_of_a_graduation(node: &Node) {
    let (proxy, storage) = proxy_for(node).await;
    for (number, cut) in [(1, CutPoint::Answer), (2, CutPoint::Request)] {
        let (swarm, peer) = (swarm(number), peer(u32::from(number)));
        proxy.cut_at(&peer_key(&peer), cut);
        assert!(storage.graduate_leecher(&swarm, &peer).await.unwrap(), "{cut:?}");
        assert!(!proxy.is_cut_pending());
        assert!(!storage.graduate_leecher(&swarm, &peer).await.unwrap(), "{cut:?}");
        let counts = SwarmCounts { seeders: 1, leechers: 0, downloads: 1 };
        assert_eq!(storage.scrape_swarm(&swarm).await.unwrap(), counts, "{cut:?}");
    }
}

/// A list of writes is retried as a whole only where that changes nothing.
pub(super) async fn leave_one_download_of_a_list_that_ends_with_a_deletion(node: &Node) {
    let (proxy, storage) = proxy_for(node).await;
    for (number, cut) in [(1, CutPoint::Answer), (2, CutPoint::Request)] {
        let (info_hash, peer, begun) = (swarm(number), peer(u32::from(number)), storage.now());
        let write = |change, seconds| PeerWrite {
            info_hash,
            peer,
            change,
            announced: begun.after(Duration::from_secs(seconds)),
        };
        proxy.cut_at(&peer_key(&peer), cut);
        let results =
            storage.write_peers(&[write(PeerChange::Graduate, 1), write(PeerChange::Delete, 2)]).await;
        assert!(!proxy.is_cut_pending());
        let results: Vec<_> = results.into_iter().collect::<Result<_>>().unwrap();
        assert_eq!(results, [Written::Download, Written::Applied], "{cut:?}");
        let counts = SwarmCounts { seeders: 0, leechers: 0, downloads: 1 };
        assert_eq!(storage.scrape_swarm(&info_hash).await.unwrap(), counts, "{cut:?}");
    }
}

/// A client that leaves is removed in either role.
pub(super) async fn leave_no_peer_that_has_stopped(node: &Node) {
    let (proxy, storage) = proxy_for(node).await;
    for (number, cut) in [(1, CutPoint::Answer), (2, CutPoint::Request)] {
        for role in Role::BOTH {
            let (swarm, peer) = (swarm(number), peer(u32::from(number)));
            storage.put_peer(&swarm, &peer, role, When::Now).await.unwrap();
            proxy.cut_at(&peer_key(&peer), cut);
            storage.remove_peer(&swarm, &peer).await.unwrap();
            assert!(!proxy.is_cut_pending());
            assert_eq!(storage.scrape_swarm(&swarm).await.unwrap(), SwarmCounts::default(), "{cut:?}");
        }
    }
}

/// A delete in a role is `Uncertain`: a retry would not find what the first call has deleted.
pub(super) async fn leave_a_delete_uncertain(node: &Node) {
    let (proxy, storage) = proxy_for(node).await;
    for (number, cut, left) in [(1, CutPoint::Answer, 0), (2, CutPoint::Request, 1)] {
        let (swarm, peer) = (swarm(number), peer(u32::from(number)));
        storage.put_seeder(&swarm, &peer).await.unwrap();
        proxy.cut_at(&peer_key(&peer), cut);
        is_uncertain(storage.delete_seeder(&swarm, &peer).await);
        assert_eq!(storage.scrape_swarm(&swarm).await.unwrap().seeders, left, "{cut:?}");
    }
}

/// Idempotent calls are retried and succeed.
pub(super) async fn are_retried_where_that_is_safe(node: &Node) {
    let (proxy, storage) = proxy_for(node).await;
    let (swarm, context) = (swarm(1), context("tokens"));
    let entries = [("key".into(), "value".into())];
    for (number, cut) in [(1, CutPoint::Answer), (2, CutPoint::Request)] {
        let peer = peer(number);
        proxy.cut_at(&peer_key(&peer), cut);
        storage.put_leecher(&swarm, &peer).await.unwrap();
        proxy.cut_at(swarm.as_bytes(), cut);
        assert_eq!(storage.scrape_swarm(&swarm).await.unwrap().leechers, u64::from(number));
        proxy.cut_at(swarm.as_bytes(), cut);
        let found = storage.announce_peers(&PeerSelection::new(swarm, 10)).await.unwrap();
        assert_eq!(found.len(), number as usize);
        proxy.cut_at(b"CHI_tokens", cut);
        storage.put_data(&context, &entries).await.unwrap();
        proxy.cut_at(b"CHI_tokens", cut);
        assert_eq!(storage.load_data(&context, b"key").await.unwrap(), Some("value".into()));
        assert!(!proxy.is_cut_pending());
    }
    let counted: u64 = TestDatabase::of(node).connect().await.get("CHI_C_L").await.unwrap();
    assert_eq!(counted, 2, "MoChi's counter counts what is repeated once");
}
