//! Migrations from every backend to every other.

use std::net::IpAddr;

use bytes::Bytes;
use rand::RngExt;
use storage_core::{
    Context, DataRecord, DownloadsRecord, InfoHash, Peer, PeerId, PeerRecord, Role, Storage, Timestamp,
};
use storage_migration::{Migration, Options, Verification, VerifyOptions};

use super::test_env::TestStorage;
use crate::random_sequences::run::export;

/// Small, so that there are many pages and batches.
const BATCH: usize = 37;

pub(super) fn options() -> Options {
    Options { batch: BATCH, ..Options::default() }
}

/// A time this number of seconds after one in the past, with nanoseconds.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanoseconds(1_700_000_000_123_456_789 + seconds * 1_000_000_000)
}

pub(super) fn peer(number: u32) -> Peer {
    let mut id = *b"-TR4040-000000000000";
    id[16..].copy_from_slice(&number.to_be_bytes());
    let address = match number % 2 {
        0 => IpAddr::from((0x0A00_0000 + number).to_be_bytes()),
        _ => IpAddr::from(((0x2001_0db8_u128 << 96) + u128::from(number)).to_be_bytes()),
    };
    Peer::new(PeerId(id), address, 6881)
}

pub(super) fn swarm(number: u8) -> InfoHash {
    if number.is_multiple_of(3) { InfoHash::V2([number; 32]) } else { InfoHash::V1([number; 20]) }
}

pub(super) fn data(number: u32) -> DataRecord {
    let context = Context::new(["", "MW", "ключи"][number as usize % 3]).unwrap();
    let (key, value) = (number.to_be_bytes().to_vec(), vec![0xff; number as usize % 7]);
    DataRecord { context, key: Bytes::from(key), value: Bytes::from(value) }
}

/// Fills a storage with this number of peers, downloads and data entries.
pub(super) async fn fill(storage: &dyn Storage, records: u32) {
    let record = |number: u32| PeerRecord {
        info_hash: swarm(rand::rng().random_range(1..40)),
        peer: peer(number),
        role: Role::from_is_seeder(rand::rng().random_bool(0.5)),
        announced: at(rand::rng().random_range(0..1_000)),
    };
    storage.import_peers(&(0..records).map(record).collect::<Vec<_>>()).await.unwrap();
    let downloads =
        |number: u8| DownloadsRecord { info_hash: swarm(number), downloads: rand::rng().random_range(1..99) };
    storage.import_downloads(&(1..100).map(downloads).collect::<Vec<_>>()).await.unwrap();
    storage.import_data(&(0..records).map(data).collect::<Vec<_>>()).await.unwrap();
}

/// Some peers in both roles, as a live MoChi leaves them.
async fn put_in_both_roles(storage: &TestStorage) -> u64 {
    let Some(database) = storage.redis() else { return 0 };
    let mut connection = database.connect().await.unwrap();
    for (number, [seeder, leecher]) in [[5_u8, 9], [9, 5], [7, 7]].into_iter().enumerate() {
        let mut field = peer(1_000_000).id().as_bytes().to_vec();
        field.extend([0x1a, 0xe1, 192, 0, 2, u8::try_from(number).unwrap()]);
        for (kind, time) in [("S4", seeder), ("L4", leecher)] {
            let key = [b"CHI_", kind.as_bytes(), b"_", swarm(1).as_bytes()].concat();
            let announced = at(i64::from(time)).nanoseconds();
            redis::cmd("SADD").arg("CHI_I").arg(&key).exec_async(&mut connection).await.unwrap();
            redis::cmd("HSET")
                .arg(&key)
                .arg(&field)
                .arg(announced)
                .exec_async(&mut connection)
                .await
                .unwrap();
        }
    }
    3
}

pub(super) async fn everything(from: &TestStorage, to: &TestStorage) {
    fill(&*from.storage, 400).await;
    let in_both_roles = put_in_both_roles(from).await;
    let expected = export(&*from.storage).await.unwrap();

    let migration = Migration::new(from.storage.clone(), to.storage.clone(), options());
    let first = migration.run().await.unwrap();
    assert!(first.complete);
    assert_eq!(first.peers.in_both_roles, in_both_roles);
    assert_eq!(first.written(), expected.len() as u64);
    assert_eq!(export(&*to.storage).await.unwrap(), expected);
    assert_eq!(export(&*from.storage).await.unwrap(), expected, "the source is as it was");

    let again = migration.run().await.unwrap();
    assert_eq!((again.written(), again.data.gone), (0, 0), "nothing is left to write");

    let options = VerifyOptions { batch: BATCH, ..VerifyOptions::default() };
    let compared = Verification::new(from.storage.clone(), to.storage.clone(), options).run().await.unwrap();
    assert!(compared.is_equal(), "{compared:#?}");
    assert_eq!(compared.peers.compared, 400 + in_both_roles);
}
