//! The storage writes every key, field and value as MoChi does.

use bytes::Bytes;
use storage_core::{DataRecord, DownloadsRecord, InfoHash, PeerStorageExt, Role, When};

use super::fixtures::{at, context, peer, peer_v6, record, swarm};
use super::raw::{self, Content, Keys, Text, hash, peer_key, set, string, swarm_key};
use super::test_env::TestDatabase;

/// A time in nanoseconds, and how it is written.
const TIME: i64 = 1_795_361_289_097_667_485;
const TIME_TEXT: &str = "1795361289097667485";

fn keys<const N: usize>(keys: [(&[u8], Content); N]) -> Keys {
    keys.into_iter().map(|(key, content)| (Text::from(key), content)).collect()
}

/// Asserts that the database has exactly these keys.
async fn holds<const N: usize>(database: &TestDatabase, expected: [(&[u8], Content); N]) {
    let found = raw::all(&mut database.connect().await).await.unwrap();
    raw::assert_same(&found, &keys(expected));
}

/// A peer in each family and role; the info hash is raw, the port big endian, the time in nanoseconds.
pub(super) async fn peers_are_in_the_key_of_their_role_and_family(database: &TestDatabase) {
    let storage = database.open().await;
    let (v1, v2) = (swarm(1), InfoHash::V2([2; 32]));
    for (info_hash, peer, role) in [
        (v1, peer(1), Role::Seeder),
        (v1, peer_v6(2), Role::Seeder),
        (v2, peer(3), Role::Leecher),
        (v2, peer_v6(4), Role::Leecher),
    ] {
        storage.put_peer(&info_hash, &peer, role, When::At(at(TIME))).await.unwrap();
    }

    let (seeders_v4, seeders_v6) = (swarm_key("S4", &v1), swarm_key("S6", &v1));
    let (leechers_v4, leechers_v6) = (swarm_key("L4", &v2), swarm_key("L6", &v2));
    holds(
        database,
        [
            (&seeders_v4, hash([(b"-TR4040-00000000\0\0\0\x01\x1A\xE1\x0A\0\0\x02", TIME_TEXT)])),
            (&seeders_v6, hash([(peer_key(&peer_v6(2)), TIME_TEXT)])),
            (&leechers_v4, hash([(peer_key(&peer(3)), TIME_TEXT)])),
            (&leechers_v6, hash([(peer_key(&peer_v6(4)), TIME_TEXT)])),
            (b"CHI_I", set([&seeders_v4, &seeders_v6, &leechers_v4, &leechers_v6])),
            (b"CHI_C_S", string("2")),
            (b"CHI_C_L", string("2")),
        ],
    )
    .await;
}

/// MoChi's counters are wrong already; writes change them by differences, so that the error stays the same.
pub(super) async fn counters_change_by_differences(database: &TestDatabase) {
    let mut connection = database.connect().await;
    redis::cmd("MSET").arg(&["CHI_C_S", "1000", "CHI_C_L", "500"]).exec_async(&mut connection).await.unwrap();
    let storage = database.open().await;
    let swarm = swarm(1);
    let counters = async || {
        let mut connection = database.connect().await;
        let get = redis::cmd("MGET").arg(&["CHI_C_S", "CHI_C_L"]).to_owned();
        get.query_async::<(i64, i64)>(&mut connection).await.unwrap()
    };

    storage.put_leecher(&swarm, &peer(1)).await.unwrap();
    assert_eq!(counters().await, (1000, 501), "a new leecher");
    storage.put_leecher(&swarm, &peer(1)).await.unwrap();
    assert_eq!(counters().await, (1000, 501), "the same announces again");
    storage.graduate_leecher(&swarm, &peer(1)).await.unwrap();
    assert_eq!(counters().await, (1001, 500), "it graduates");
    storage.graduate_leecher(&swarm, &peer(1)).await.unwrap();
    assert_eq!(counters().await, (1001, 500), "a seeder graduates");
    storage.put_leecher(&swarm, &peer(1)).await.unwrap();
    assert_eq!(counters().await, (1000, 501), "it moves back");
    storage.delete_seeder(&swarm, &peer(1)).await.unwrap_err();
    assert_eq!(counters().await, (1000, 501), "it is no seeder to delete");
    storage.delete_leecher(&swarm, &peer(1)).await.unwrap();
    assert_eq!(counters().await, (1000, 500), "it is deleted");

    for (number, role, time) in [(1, Role::Seeder, 1), (2, Role::Seeder, 9), (3, Role::Leecher, 1)] {
        storage.put_peer(&swarm, &peer(number), role, When::At(at(time))).await.unwrap();
    }
    storage.import_peers(&[record(swarm, peer(3), Role::Seeder, at(2))]).await.unwrap();
    assert_eq!(counters().await, (1003, 500), "an import moves a leecher");
    storage.collect_garbage(at(1)).await.unwrap();
    assert_eq!(counters().await, (1002, 500), "garbage collection takes a seeder");
    storage.forget_swarm(&swarm).await.unwrap();
    assert_eq!(counters().await, (1000, 500), "the swarm is forgotten");
}

/// Moves, graduations and the removal of the last peer leave neither an empty key nor a member of `CHI_I`.
pub(super) async fn swarm_keys_without_peers_leave_the_set(database: &TestDatabase) {
    let storage = database.open().await;
    let (swarm, other) = (swarm(1), swarm(2));
    let (seeders, leechers) = (swarm_key("S4", &swarm), swarm_key("L4", &swarm));
    let stays = swarm_key("L6", &other);
    storage.put_peer(&other, &peer_v6(9), Role::Leecher, When::At(at(TIME))).await.unwrap();
    let of_other = || (stays.as_slice(), hash([(peer_key(&peer_v6(9)), TIME_TEXT)]));
    let one = || hash([(peer_key(&peer(1)), TIME_TEXT)]);
    let (none, once) = (string("0"), string("1"));

    storage.put_peer(&swarm, &peer(1), Role::Leecher, When::At(at(7))).await.unwrap();
    storage.graduate_peer(&swarm, &peer(1), When::At(at(TIME))).await.unwrap();
    let downloads = || (b"CHI_D".as_slice(), hash([(swarm.as_bytes(), "1")]));
    let (counters_s, counters_l) = (b"CHI_C_S".as_slice(), b"CHI_C_L".as_slice());
    let members = (b"CHI_I".as_slice(), set([&seeders, &stays]));
    let graduated = [of_other(), (&seeders, one()), downloads(), members];
    let counters = [(counters_s, once.clone()), (counters_l, once.clone())];
    holds_all(database, graduated, counters).await;

    storage.put_peer(&swarm, &peer(1), Role::Leecher, When::At(at(TIME))).await.unwrap();
    let members = (b"CHI_I".as_slice(), set([&leechers, &stays]));
    let moved = [of_other(), (&leechers, one()), downloads(), members];
    let counters = [(counters_s, none.clone()), (counters_l, string("2"))];
    holds_all(database, moved, counters).await;

    storage.delete_leecher(&swarm, &peer(1)).await.unwrap();
    let members = (b"CHI_I".as_slice(), set([&stays]));
    holds_all(database, [of_other(), downloads(), members], [(counters_s, none), (counters_l, once)]).await;

    storage.forget_swarm(&swarm).await.unwrap();
    let found = raw::all(&mut database.connect().await).await.unwrap();
    assert_eq!(found.get(&Text::from("CHI_D")), None, "its downloads are forgotten too");
}

async fn holds_all<const N: usize, const M: usize>(
    database: &TestDatabase,
    expected: [(&[u8], Content); N],
    counters: [(&[u8], Content); M],
) {
    let expected: Keys =
        expected.into_iter().chain(counters).map(|(key, content)| (Text::from(key), content)).collect();
    raw::assert_same(&raw::all(&mut database.connect().await).await.unwrap(), &expected);
}

/// Each context is a hash, also the empty one, and no other key is written.
pub(super) async fn data_is_in_the_key_of_its_context(database: &TestDatabase) {
    let storage = database.open().await;
    let bytes = Bytes::from_static;
    let entries = [(bytes(b"\0\xff"), bytes(b"")), (bytes(b""), bytes(b"\r\n"))];
    storage.put_data(&context("MW"), &entries).await.unwrap();
    storage.put_data(&context(""), &entries[..1]).await.unwrap();
    storage.put_data(&context("ключи"), &entries[1..]).await.unwrap();
    storage.delete_data(&context("ключи"), &[bytes(b"")]).await.unwrap();

    let both = hash([(b"\0\xff".as_slice(), b"".as_slice()), (b"", b"\r\n")]);
    holds(database, [(b"CHI_MW", both), (b"CHI_", hash([(b"\0\xff", b"")]))]).await;
}

/// Imported records are stored as if calls had written them.
pub(super) async fn is_the_same_after_imports(database: &TestDatabase) {
    let storage = database.open().await;
    let swarm = swarm(1);
    let peers =
        [record(swarm, peer(1), Role::Seeder, at(TIME)), record(swarm, peer_v6(2), Role::Leecher, at(TIME))];
    storage.import_peers(&peers).await.unwrap();
    storage.import_downloads(&[DownloadsRecord { info_hash: swarm, downloads: 3 }]).await.unwrap();
    let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
    storage.import_data(&[DataRecord { context: context("MW"), key, value }]).await.unwrap();

    let (seeders, leechers) = (swarm_key("S4", &swarm), swarm_key("L6", &swarm));
    holds(
        database,
        [
            (&seeders, hash([(peer_key(&peer(1)), TIME_TEXT)])),
            (&leechers, hash([(peer_key(&peer_v6(2)), TIME_TEXT)])),
            (b"CHI_I", set([&seeders, &leechers])),
            (b"CHI_C_S", string("1")),
            (b"CHI_C_L", string("1")),
            (b"CHI_D", hash([(swarm.as_bytes(), "3")])),
            (b"CHI_MW", hash([("key", "value")])),
        ],
    )
    .await;
}
