//! Swarms, peers and records for the scenarios.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use storage_core::{
    AddressFamily, Context, ExportScope, InfoHash, Peer, PeerId, PeerRecord, PeerSelection, Result, Role,
    Storage, Timestamp,
};

use crate::random_sequences::run;

/// Small enough for several pages, large enough not to be slow.
const PAGE: usize = 100;

/// The v1 info hash of this number.
pub(super) fn swarm(number: u8) -> InfoHash {
    InfoHash::V1([number; 20])
}

/// The IPv4 peer of this number.
pub(super) fn peer(number: u32) -> Peer {
    Peer::new(peer_id(number), IpAddr::V4(Ipv4Addr::from(0x0A00_0001 + number)), 6881)
}

/// The IPv6 peer of this number.
pub(super) fn peer_v6(number: u32) -> Peer {
    let address = Ipv6Addr::from((0x2001_0db8_u128 << 96) + 1 + u128::from(number));
    Peer::new(peer_id(number), IpAddr::V6(address), 6881)
}

fn peer_id(number: u32) -> PeerId {
    let mut id = *b"-TR4040-000000000000";
    id[16..].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
}

/// The time this number of nanoseconds after the epoch.
pub(super) const fn at(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanoseconds(nanoseconds)
}

/// The context of this name.
pub(super) fn context(name: &str) -> Context {
    Context::new(name).unwrap()
}

/// A peer's record.
pub(super) fn record(info_hash: InfoHash, peer: Peer, role: Role, announced: Timestamp) -> PeerRecord {
    PeerRecord { info_hash, peer, role, announced }
}

/// The peers of all swarms, sorted, with their exact times.
pub(super) async fn all_peers(storage: &dyn Storage) -> Result<Vec<PeerRecord>> {
    let pages = run::pages(async |from| storage.export_peers(ExportScope::All, from, PAGE).await);
    let mut records = pages.await?;
    records.sort();
    Ok(records)
}

/// The IPv4 peers that an announce finds, sorted; empty if there are none.
pub(super) async fn announced(storage: &dyn Storage, info_hash: InfoHash, for_seeder: bool) -> Vec<Peer> {
    let selection =
        PeerSelection { for_seeder, family: AddressFamily::V4, ..PeerSelection::new(info_hash, 1_000) };
    let mut peers = storage.announce_peers(&selection).await.unwrap();
    peers.sort();
    peers
}
