//! The steps of a sequence. There are few swarms, peers and keys, so that steps concern the same ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use storage_core::{
    AddressFamily, Announce, AnnounceEvent, Context, DataRecord, DownloadsRecord, InfoHash, Peer, PeerChange,
    PeerId, PeerRecord, PeerSelection, PeerWrite, Role, Statistics, SwarmCounts, Timestamp, Written,
};

/// A call of a storage.
#[derive(Debug, Clone)]
pub(crate) enum SequenceStep {
    Put(PeerRecord),
    Delete(InfoHash, Peer, Role),
    Remove(InfoHash, Peer),
    Graduate(InfoHash, Vec<Peer>, Timestamp),
    Announce(PeerSelection),
    Scrape(InfoHash),
    WholeAnnounce(Announce),
    Scrapes(Vec<InfoHash>),
    PutData(Context, Vec<(Bytes, Bytes)>),
    Load(Context, Bytes),
    Contains(Context, Vec<Bytes>),
    DeleteData(Context, Vec<Bytes>),
    CollectGarbage(Timestamp),
    Statistics,
    Forget(InfoHash),
    ExportSwarm(InfoHash),
    WritePeers(Vec<PeerWrite>),
    ReadSwarms(Vec<InfoHash>),
    AnnounceMany(Vec<Announce>),
    ImportPeers(Vec<PeerRecord>),
    ImportDownloads(Vec<DownloadsRecord>),
    ImportData(Vec<DataRecord>),
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepAnswer {
    Done,
    NotFound,
    Peers(Vec<Peer>),
    Counts(SwarmCounts),
    IsDownload(bool),
    Announced { peers: Vec<Peer>, counts: SwarmCounts, is_download: bool },
    All(Vec<StepAnswer>),
    WrittenEach(Vec<Written>),
    Snapshots(Vec<(Vec<PeerRecord>, SwarmCounts)>),
    AllCounts(Vec<SwarmCounts>),
    Value(Option<Bytes>),
    There(Vec<bool>),
    Removed(u64),
    Statistics(Statistics),
    Records(Vec<PeerRecord>),
    Written(u64),
    Failed(String),
}

/// More than the peers that there are.
const NUM_WANT: usize = 50;

pub(crate) fn any() -> impl Strategy<Value = SequenceStep> {
    prop_oneof![
        6 => peer_record().prop_map(SequenceStep::Put),
        2 => (info_hash(), peer(), role()).prop_map(|(hash, peer, role)| SequenceStep::Delete(hash, peer, role)),
        1 => (info_hash(), peer()).prop_map(|(hash, peer)| SequenceStep::Remove(hash, peer)),
        2 => (info_hash(), own_peers(), time()).prop_map(|(hash, peers, at)| SequenceStep::Graduate(hash, peers, at)),
        2 => selection().prop_map(SequenceStep::Announce),
        1 => info_hash().prop_map(SequenceStep::Scrape),
        4 => whole_announce().prop_map(SequenceStep::WholeAnnounce),
        1 => prop::collection::vec(info_hash(), 0..5).prop_map(SequenceStep::Scrapes),
        2 => (context(), prop::collection::vec((key(), value()), 0..5))
            .prop_map(|(context, entries)| SequenceStep::PutData(context, entries)),
        1 => (context(), key()).prop_map(|(context, key)| SequenceStep::Load(context, key)),
        1 => (context(), keys()).prop_map(|(context, keys)| SequenceStep::Contains(context, keys)),
        1 => (context(), keys()).prop_map(|(context, keys)| SequenceStep::DeleteData(context, keys)),
        1 => time().prop_map(SequenceStep::CollectGarbage),
        1 => Just(SequenceStep::Statistics),
        1 => info_hash().prop_map(SequenceStep::Forget),
        1 => info_hash().prop_map(SequenceStep::ExportSwarm),
        4 => prop::collection::vec(peer_write(), 0..8).prop_map(SequenceStep::WritePeers),
        1 => prop::collection::vec(info_hash(), 0..5).prop_map(SequenceStep::ReadSwarms),
        1 => announces().prop_map(SequenceStep::AnnounceMany),
        2 => peer_records().prop_map(SequenceStep::ImportPeers),
        1 => downloads_records().prop_map(SequenceStep::ImportDownloads),
        1 => data_records().prop_map(SequenceStep::ImportData),
    ]
}

/// Two v1 hashes, and a v2 hash that begins like one of them.
fn info_hashes() -> Vec<InfoHash> {
    vec![InfoHash::V1([1; 20]), InfoHash::V1([2; 20]), InfoHash::V2([1; 32])]
}

/// Peers that differ in one part only: peer id, address, family, port.
fn peers() -> Vec<Peer> {
    let (a, b) = (PeerId(*b"-TR4040-aaaaaaaaaaaa"), PeerId(*b"-TR4040-\0\xff@aaaaaaaaa"));
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    vec![
        Peer::new(a, v4(1), 6881),
        Peer::new(b, v4(1), 6881),
        Peer::new(a, v4(2), 6881),
        Peer::new(a, v4(1), 65535),
        Peer::new(a, v6(1), 6881),
        Peer::new(b, v6(1), 0),
    ]
}

fn info_hash() -> impl Strategy<Value = InfoHash> + Clone {
    select(info_hashes())
}

fn peer() -> impl Strategy<Value = Peer> + Clone {
    select(peers())
}

fn role() -> impl Strategy<Value = Role> {
    select(Role::BOTH.to_vec())
}

/// A few microseconds, each with nanoseconds of its own: at every precision that backends have, the same
/// times differ.
fn time() -> impl Strategy<Value = Timestamp> {
    (0..8_i64)
        .prop_map(|later| Timestamp::from_nanoseconds((1_795_361_289_123_456 + later) * 1_000 + later * 137))
}

fn context() -> impl Strategy<Value = Context> + Clone {
    let names = ["", "tokens", "ключи"];
    select(names.map(|name| Context::new(name).expect("a free name")).to_vec())
}

fn key() -> impl Strategy<Value = Bytes> + Clone {
    select([&b""[..], b"\0", b"\xff\xfe", b"key"].map(Bytes::from_static).to_vec())
}

fn keys() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(key(), 0..4)
}

fn value() -> impl Strategy<Value = Bytes> {
    select([&b""[..], b"\0\xff", b"value"].map(Bytes::from_static).to_vec())
}

fn selection() -> impl Strategy<Value = PeerSelection> {
    let family = select(AddressFamily::BOTH.to_vec());
    (info_hash(), proptest::bool::ANY, family, prop::option::of(peer())).prop_map(
        |(info_hash, for_seeder, family, exclude)| PeerSelection {
            info_hash,
            for_seeder,
            num_want: NUM_WANT,
            family,
            exclude,
        },
    )
}

/// Addresses of one client.
fn own_peers() -> impl Strategy<Value = Vec<Peer>> {
    subsequence(peers(), 0..3)
}

fn whole_announce() -> impl Strategy<Value = Announce> {
    use AnnounceEvent::{Completed, None, Started, Stopped};
    let event = select(vec![None, None, Started, Completed, Stopped]);
    let (v4, v6) = (AddressFamily::V4.then_other(), AddressFamily::V6.then_other());
    let families = select(vec![&[], &v4[..1], &v6[..1], v4, v6]);
    (info_hash(), own_peers(), role(), event, families, time()).prop_map(
        |(info_hash, peers, role, event, families, announced)| {
            Announce::new(info_hash, peers)
                .with_role(role)
                .with_event(event)
                .with_num_want(NUM_WANT)
                .with_families(families)
                .at(announced)
        },
    )
}

/// Of different swarms, so that their answers do not depend on their order.
fn announces() -> impl Strategy<Value = Vec<Announce>> {
    let all = info_hashes();
    let (number, announces) = (all.len(), prop::collection::vec(whole_announce(), all.len()));
    (subsequence(all, 0..=number), announces).prop_map(|(info_hashes, announces)| {
        let of = |(info_hash, mut announce): (InfoHash, Announce)| {
            announce.info_hash = info_hash;
            announce
        };
        info_hashes.into_iter().zip(announces).map(of).collect()
    })
}

fn peer_write() -> impl Strategy<Value = PeerWrite> {
    use PeerChange::{Delete, Graduate, Put, Touch};
    let change = select(vec![Put(Role::Seeder), Put(Role::Leecher), Touch, Delete, Graduate]);
    (info_hash(), peer(), change, time()).prop_map(|(info_hash, peer, change, announced)| PeerWrite {
        info_hash,
        peer,
        change,
        announced,
    })
}

fn peer_record() -> impl Strategy<Value = PeerRecord> {
    (info_hash(), peer(), role(), time()).prop_map(|(info_hash, peer, role, announced)| PeerRecord {
        info_hash,
        peer,
        role,
        announced,
    })
}

/// Records of different peers, so that what is written does not depend on their order.
fn peer_records() -> impl Strategy<Value = Vec<PeerRecord>> {
    prop::collection::btree_map((info_hash(), peer()), (role(), time()), 0..6).prop_map(|records| {
        let record = |((info_hash, peer), (role, announced))| PeerRecord { info_hash, peer, role, announced };
        records.into_iter().map(record).collect()
    })
}

fn downloads_records() -> impl Strategy<Value = Vec<DownloadsRecord>> {
    let records = |info_hashes: Vec<InfoHash>, downloads: Vec<u64>| {
        let records = info_hashes.into_iter().zip(downloads);
        records.map(|(info_hash, downloads)| DownloadsRecord { info_hash, downloads }).collect()
    };
    let all = info_hashes();
    let number = all.len();
    (subsequence(all, 0..=number), prop::collection::vec(1..5_u64, number))
        .prop_map(move |(info_hashes, downloads)| records(info_hashes, downloads))
}

fn data_records() -> impl Strategy<Value = Vec<DataRecord>> {
    prop::collection::btree_map((context(), key()), value(), 0..5).prop_map(|records| {
        let record = |((context, key), value)| DataRecord { context, key, value };
        records.into_iter().map(record).collect()
    })
}
