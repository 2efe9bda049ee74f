//! Large swarms, the ends of ranges, and names that are easily confused.

use std::net::IpAddr;

use crate::conformance::sample::{self, for_leecher, over_v6};
use crate::conformance::{CaseError, CaseResult, TestContext, Violation};
use crate::{InfoHash, Operation, Peer, PeerId, PeerSelection, Role};

const PUT: Operation = Operation::PutPeer;

pub(super) async fn ten_thousand_peers_in_a_swarm(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let peers = |from, to| (from..to).map(sample::peer);
    test.put_many(&info_hash, peers(0, 5_000), Role::Seeder).await?;
    test.put_many(&info_hash, peers(5_000, 10_000), Role::Leecher).await?;
    test.counts("put 10,000 peers into one swarm", PUT, &info_hash, 5_000, 5_000).await?;
    let did = "announce for 10,000 peers to a swarm of 10,000";
    let operation = Operation::AnnouncePeers;
    let mut found = test.announce(&for_leecher(info_hash, 10_000)).await?;
    found.sort();
    found.dedup();
    test.equal(&format!("{did}: different peers returned"), operation, 10_000, found.len())
}

pub(super) async fn any_port_comes_back(test: &TestContext) -> CaseResult {
    let ports = [0, 1, 32_767, 32_768, u16::MAX];
    come_back(test, ports.map(|port| Peer::new(sample::peer_id(1), sample::peer(1).address(), port))).await
}

pub(super) async fn any_ipv4_address_comes_back(test: &TestContext) -> CaseResult {
    let addresses = [[0, 0, 0, 0], [127, 0, 0, 1], [192, 0, 2, 0], [224, 0, 0, 1], [255, 255, 255, 255]];
    come_back(test, addresses.map(|address| Peer::new(sample::peer_id(1), IpAddr::from(address), 6881))).await
}

pub(super) async fn any_ipv6_address_comes_back(test: &TestContext) -> CaseResult {
    let addresses = [0, 1, 0xfe80_u128 << 112 | 1, 0x2001_0db8 << 96, u128::MAX];
    let peers =
        addresses.map(|bits| Peer::new(sample::peer_id(1), IpAddr::V6(bits.to_be_bytes().into()), 6881));
    come_back(test, peers).await
}

pub(super) async fn any_peer_id_comes_back(test: &TestContext) -> CaseResult {
    let ids = [[0; 20], [0xff; 20], *b"-UT\x00\xff\xfe\x80'\"\\\n\r\t $1@k--", *b"                    "];
    let peers = ids.iter().zip(1_u32..);
    let peers: Vec<_> =
        peers.map(|(id, number)| Peer::new(PeerId(*id), sample::peer(number).address(), 6881)).collect();
    come_back(test, peers).await
}

/// Peers of one family, put as leechers, must come back from an announce as they are.
async fn come_back(test: &TestContext, peers: impl IntoIterator<Item = Peer>) -> CaseResult {
    let (info_hash, peers) = (test.info_hash(), Vec::from_iter(peers));
    for peer in &peers {
        test.put(&info_hash, peer, Role::Leecher).await?;
    }
    let family = peers.first().map_or(crate::AddressFamily::V4, Peer::family);
    let announce = PeerSelection { family, ..for_leecher(info_hash, 50) };
    test.finds("put leechers, announce for them", PUT, &announce, peers.iter().copied()).await?;
    for peer in &peers {
        test.delete(&info_hash, peer, Role::Leecher).await?;
    }
    Ok(())
}

pub(super) async fn an_ipv4_mapped_address_is_ipv4(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let address = "::ffff:192.0.2.1".parse::<IpAddr>();
    let address = address.map_err(|error| CaseError::could_not("parse ::ffff:192.0.2.1", &error))?;
    let peer = Peer::new(sample::peer_id(1), address, 6881);
    test.put(&info_hash, &peer, Role::Leecher).await?;
    let did = "put a leecher at ::ffff:192.0.2.1, announce for";
    let v4 = for_leecher(info_hash, 9);
    let plain = Peer::new(sample::peer_id(1), IpAddr::from([192, 0, 2, 1]), 6881);
    test.finds(&format!("{did} IPv4 peers"), PUT, &v4, [plain]).await?;
    test.finds(&format!("{did} IPv6 peers"), PUT, &over_v6(v4), []).await
}

pub(super) async fn v1_and_v2_swarms_are_kept_apart(test: &TestContext) -> CaseResult {
    let (short, long) = test.twin_info_hashes();
    test.put_many(&short, (0..2).map(sample::peer), Role::Seeder).await?;
    test.put_many(&long, (1..4).map(sample::peer), Role::Leecher).await?;
    let did = "put 2 seeders into a v1 swarm, 3 leechers into the v2 swarm whose hash begins like it";
    test.counts(did, PUT, &short, 2, 0).await?;
    test.counts(did, PUT, &long, 0, 3).await?;
    let found = (1..4).map(sample::peer);
    test.finds(did, Operation::AnnouncePeers, &for_leecher(long, 9), found).await
}

pub(super) async fn v2_hashes_with_a_common_beginning_are_kept_apart(test: &TestContext) -> CaseResult {
    let (_, first) = test.twin_info_hashes();
    let InfoHash::V2(mut bytes) = first else {
        return Err(CaseError::Failed(Violation::new("make a v2 info hash", "32 bytes", first.to_string())));
    };
    bytes[31] ^= 1;
    let second = test.adopt(InfoHash::V2(bytes));
    test.put(&first, &sample::peer(1), Role::Seeder).await?;
    let did = "put a peer into a v2 swarm, scrape another whose hash differs in the last byte";
    test.counts(did, PUT, &second, 0, 0).await
}
