//! Data that old MoChi nodes and other programs have left in Redis.

use std::collections::BTreeSet;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use storage_core::{
    Collected, DownloadsRecord, Error, ErrorKind, ExportScope, InfoHash, Peer, PeerChange, PeerRecord,
    PeerSelection, PeerStorageExt, PeerWrite, Role, Statistics, Storage, SwarmCounts, When, Written,
};

use super::fixtures::{all_peers, announced, at, peer, record, swarm};
use super::raw::{self, Content, Text, peer_key, swarm_key};
use super::test_env::TestDatabase;

/// Adds a peer to a swarm key, as MoChi does.
async fn add(connection: &mut MultiplexedConnection, key: &[u8], peer: impl AsRef<[u8]>, time: &str) {
    let () = connection.hset(key, peer.as_ref(), time).await.unwrap();
    let () = connection.sadd("CHI_I", key).await.unwrap();
}

async fn add_peer(connection: &mut MultiplexedConnection, key: &[u8], peer: &Peer, time: i64) {
    add(connection, key, peer_key(peer), &time.to_string()).await;
}

async fn unreadable(storage: &dyn Storage) -> u64 {
    storage.export_peers(ExportScope::All, None, 1_000).await.unwrap().unreadable
}

/// A peer that is in both roles has the one with the later time in exports and announces, at equal times seeder;
/// scrapes count it in both until its next announce through this storage.
pub(super) async fn a_peer_in_both_roles_has_the_later_one(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let swarm = swarm(1);
    let (seeders, leechers) = (swarm_key("S4", &swarm), swarm_key("L4", &swarm));
    // The later time has more digits, so that comparing text would be wrong.
    for (peer, seeded, leeched) in [(peer(1), 1_000, 999), (peer(2), 999, 1_000), (peer(3), 1_000, 1_000)] {
        add_peer(&mut connection, &seeders, &peer, seeded).await;
        add_peer(&mut connection, &leechers, &peer, leeched).await;
    }

    let storage = database.open().await;
    let expected = [
        record(swarm, peer(1), Role::Seeder, at(1_000)),
        record(swarm, peer(2), Role::Leecher, at(1_000)),
        record(swarm, peer(3), Role::Seeder, at(1_000)),
    ];
    assert_eq!(all_peers(&*storage).await.unwrap(), expected);
    assert_eq!(announced(&*storage, swarm, true).await, [peer(2)], "leechers for a seeder");
    assert_eq!(announced(&*storage, swarm, false).await, [peer(1), peer(2), peer(3)], "none comes twice");

    let twice = SwarmCounts { seeders: 3, leechers: 3, downloads: 0 };
    assert_eq!(storage.scrape_swarm(&swarm).await.unwrap(), twice, "a scrape reads no times");
    let twice = Statistics::new(1, 3, 3);
    assert_eq!(storage.statistics().await.unwrap(), twice, "nor do the statistics");

    storage.put_peer(&swarm, &peer(1), Role::Leecher, When::At(at(2_000))).await.unwrap();
    storage.put_peer(&swarm, &peer(2), Role::Seeder, When::At(at(2_000))).await.unwrap();
    assert!(!storage.graduate_peer(&swarm, &peer(3), When::At(at(2_000))).await.unwrap());
    let counts = SwarmCounts { seeders: 2, leechers: 1, downloads: 0 };
    assert_eq!(storage.scrape_swarm(&swarm).await.unwrap(), counts);
}

/// For a graduation the peer has the role with the later time, at equal times seeder.
pub(super) async fn a_leecher_by_the_later_time_is_a_download(database: &TestDatabase) {
    let (storage, mut connection) = (database.open().await, database.connect().await);
    for (number, seeded, leeched) in [(1, 1_000, 999), (2, 999, 1_000), (3, 1_000, 1_000), (4, -999, -1_000)]
    {
        let (swarm, peer) = (swarm(number), peer(1));
        add_peer(&mut connection, &swarm_key("S4", &swarm), &peer, seeded).await;
        add_peer(&mut connection, &swarm_key("L4", &swarm), &peer, leeched).await;
        let is_download = storage.graduate_peer(&swarm, &peer, When::At(at(2_000))).await.unwrap();
        assert_eq!(is_download, leeched > seeded, "{seeded} and {leeched}");
        let counts = SwarmCounts { seeders: 1, leechers: 0, downloads: u64::from(is_download) };
        assert_eq!(storage.scrape_swarm(&swarm).await.unwrap(), counts);
    }
}

/// The same in swarms that Redis stores as listpacks and as hash tables, read whole or sampled.
pub(super) async fn peers_in_both_roles_have_the_later_one_in_swarms_of_all_sizes(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let storage = database.open().await;
    for (info_hash, size) in [(1, 12), (2, 39), (3, 81), (4, 300), (5, 900)] {
        let swarm = swarm(info_hash);
        let (seeders, leechers) = (swarm_key("S4", &swarm), swarm_key("L4", &swarm));
        // Of three peers one is a seeder only, one a leecher who was a seeder, and one the reverse.
        for number in 0..size {
            add_peer(&mut connection, &seeders, &peer(number), 1_000 + i64::from(number % 3)).await;
            if number % 3 != 0 {
                add_peer(&mut connection, &leechers, &peer(number), 1_003 - i64::from(number % 3)).await;
            }
        }
        let all_leechers: BTreeSet<_> = (1..size).step_by(3).map(peer).collect();
        let (leechers, all) = (all_leechers.len(), size as usize);
        for (want, for_seeder) in [(5, false), (5, true), (50, false), (50, true), (all - 2, false)] {
            let selection = PeerSelection { for_seeder, ..PeerSelection::new(swarm, want) };
            let found = storage.announce_peers(&selection).await.unwrap();
            let message = format!("{want} of {size} peers, for a seeder: {for_seeder}");
            let distinct: BTreeSet<_> = found.iter().collect();
            let eligible = if for_seeder { leechers } else { all };
            assert_eq!((found.len(), distinct.len()), (want.min(eligible), want.min(eligible)), "{message}");
            let seeders = if for_seeder { 0 } else { want.min(all - leechers) };
            let (first, then) = found.split_at(seeders);
            assert!(first.iter().all(|peer| !all_leechers.contains(peer)), "seeders first: {message}");
            assert!(then.iter().all(|peer| all_leechers.contains(peer)), "leechers then: {message}");
        }
    }
}

/// Garbage collection removes the stale role of a peer that is in both, and keeps the fresh one.
pub(super) async fn a_stale_second_role_is_garbage(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let swarm = swarm(1);
    add_peer(&mut connection, &swarm_key("S4", &swarm), &peer(1), 1_000).await;
    add_peer(&mut connection, &swarm_key("L4", &swarm), &peer(1), 500).await;
    let storage = database.open().await;
    assert_eq!(storage.collect_garbage(at(500)).await.unwrap(), Collected::removed(1));
    let counts = SwarmCounts { seeders: 1, leechers: 0, downloads: 0 };
    assert_eq!(storage.scrape_swarm(&swarm).await.unwrap(), counts);
}

/// A v2 info hash and the v1 info hash that it begins with are two swarms.
pub(super) async fn a_v2_hash_and_its_beginning_are_two_swarms(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let (v1, v2) = (InfoHash::V1([7; 20]), InfoHash::V2([7; 32]));
    add_peer(&mut connection, &swarm_key("S4", &v1), &peer(1), 1_000).await;
    add_peer(&mut connection, &swarm_key("L4", &v2), &peer(2), 1_000).await;
    let () = connection.hset("CHI_D", v2.as_bytes(), 3).await.unwrap();

    let storage = database.open().await;
    let counts = async |info_hash| storage.scrape_swarm(&info_hash).await.unwrap();
    assert_eq!(counts(v1).await, SwarmCounts { seeders: 1, leechers: 0, downloads: 0 });
    assert_eq!(counts(v2).await, SwarmCounts { seeders: 0, leechers: 1, downloads: 3 });
    assert_eq!(announced(&*storage, v1, false).await, [peer(1)]);
    assert_eq!(announced(&*storage, v2, false).await, [peer(2)]);
    let of_v1 = storage.export_peers(ExportScope::Swarm(v1), None, 10).await.unwrap().records;
    assert_eq!(of_v1, [record(v1, peer(1), Role::Seeder, at(1_000))]);
    let statistics = Statistics::new(2, 1, 1);
    assert_eq!(storage.statistics().await.unwrap(), statistics);
    storage.forget_swarm(&v1).await.unwrap();
    assert_eq!(counts(v2).await, SwarmCounts { seeders: 0, leechers: 1, downloads: 3 });
}

/// A peer key that is too short, one that is too long, one of the other family, and a time that is no
/// number.
async fn add_unreadable(connection: &mut MultiplexedConnection, key: &[u8]) {
    add(connection, key, b"-TR4040-", "1000").await;
    add(connection, key, [peer_key(&peer(8)), vec![0]].concat(), "1000").await;
    add(connection, key, peer_key(&super::fixtures::peer_v6(8)), "1000").await;
    add(connection, key, peer_key(&peer(9)), "soon").await;
}

/// Exports skip and count what cannot be read.
pub(super) async fn unreadable_entries_are_left_out_of_exports_and_counted(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let (swarm, key) = (swarm(1), swarm_key("S4", &swarm(1)));
    add_peer(&mut connection, &key, &peer(1), 1_000).await;
    add_unreadable(&mut connection, &key).await;
    let storage = database.open().await;
    assert_eq!(all_peers(&*storage).await.unwrap(), [record(swarm, peer(1), Role::Seeder, at(1_000))]);
    assert_eq!(unreadable(&*storage).await, 4);
}

/// Of unreadable entries an announce returns only the one whose address is known.
pub(super) async fn announces_return_no_unreadable_peer(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let swarm = swarm(1);
    for kind in ["S4", "L4"] {
        add_unreadable(&mut connection, &swarm_key(kind, &swarm)).await;
    }
    add_peer(&mut connection, &swarm_key("S4", &swarm), &peer(1), 1_000).await;
    let storage = database.open().await;
    assert_eq!(announced(&*storage, swarm, false).await, [peer(1), peer(9)]);
}

/// Garbage collection keeps unreadable entries and reports them.
pub(super) async fn garbage_collection_leaves_unreadable_entries(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let key = swarm_key("L4", &swarm(1));
    add_peer(&mut connection, &key, &peer(1), 1_000).await;
    add_unreadable(&mut connection, &key).await;
    let storage = database.open().await;
    let Collected { removed, unreadable, withheld, .. } = storage.collect_garbage(at(1_000)).await.unwrap();
    assert_eq!((removed, unreadable, withheld), (1, 4, 0));
    let left: u64 = connection.hlen(&key).await.unwrap();
    assert_eq!(left, 4);
}

/// The next announce of a peer replaces a time that is no number.
pub(super) async fn an_announce_repairs_an_unreadable_time(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let (swarm, key) = (swarm(1), swarm_key("S4", &swarm(1)));
    add(&mut connection, &key, peer_key(&peer(9)), "soon").await;
    let storage = database.open().await;
    storage.put_peer(&swarm, &peer(9), Role::Seeder, When::At(at(5))).await.unwrap();
    assert_eq!(all_peers(&*storage).await.unwrap(), [record(swarm, peer(9), Role::Seeder, at(5))]);
    assert_eq!(unreadable(&*storage).await, 0);
}

/// Swarms that MoChi has lost from `CHI_I` are exported, and garbage collection puts them back there.
/// Of the writes in one script only those fail that the server rejects.
pub(super) async fn a_rejected_write_stops_no_other(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let (info_hash, storage) = (swarm(1), database.open().await);
    let () = connection.hset("CHI_D", info_hash.as_bytes(), "many").await.unwrap();
    let write =
        |number, change| PeerWrite { info_hash, peer: peer(number), change, announced: storage.now() };
    let put = PeerChange::Put(Role::Leecher);
    let writes = [write(1, put), write(2, PeerChange::Graduate), write(3, put)];
    let results = storage.write_peers(&writes).await;
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().map_err(Error::kind).copied()).collect();
    assert_eq!(kinds, [Ok(Written::Applied), Err(ErrorKind::Rejected), Ok(Written::Applied)]);
    assert_eq!(storage.scrape_swarm(&info_hash).await.unwrap().leechers, 2);

    let () = connection.sadd(swarm_key("L6", &info_hash), "of another kind").await.unwrap();
    let over_v6 = Peer::new(*peer(4).id(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 4].into(), 6881);
    let writes = [PeerWrite { peer: over_v6, ..write(4, put) }, write(3, PeerChange::Delete)];
    let results = storage.write_peers(&writes).await;
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().map_err(Error::kind).copied()).collect();
    assert_eq!(kinds, [Err(ErrorKind::Corrupt), Ok(Written::Applied)]);
}

pub(super) async fn swarms_lost_from_the_set_are_found(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let (swarm, key) = (swarm(1), swarm_key("S4", &swarm(1)));
    let () = connection.hset(&key, peer_key(&peer(1)), 1_000).await.unwrap();
    let () = connection.hset(&key, peer_key(&peer(2)), 500).await.unwrap();
    let storage = database.open().await;
    let exported: Vec<_> = all_peers(&*storage).await.unwrap().iter().map(|record| record.peer).collect();
    assert_eq!(exported, [peer(1), peer(2)]);

    assert_eq!(storage.collect_garbage(at(500)).await.unwrap().removed, 1);
    let named: BTreeSet<Vec<u8>> = connection.smembers("CHI_I").await.unwrap();
    assert_eq!(named, BTreeSet::from([key]));
    assert_eq!(storage.statistics().await.unwrap().seeders, 1);
    assert_eq!(announced(&*storage, swarm, false).await, [peer(1)]);
}

/// A database that MoChi's `keydb` storage has used: a set where a hash should be, beside a sound swarm.
async fn with_a_set(database: &TestDatabase) -> Vec<u8> {
    let mut connection = database.connect().await;
    let key = swarm_key("S4", &swarm(1));
    let () = connection.sadd(&key, peer_key(&peer(1))).await.unwrap();
    let () = connection.sadd("CHI_I", &key).await.unwrap();
    add_peer(&mut connection, &swarm_key("S4", &swarm(2)), &peer(2), 1_000).await;
    key
}

fn names_keydb<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("`keydb`"), "{error}");
}

/// Calls on a swarm that is a set fail, name MoChi's `keydb` storage as the likely cause, and change nothing; calls
/// on other swarms succeed.
pub(super) async fn a_set_is_reported_as_keydb(database: &TestDatabase) {
    with_a_set(database).await;
    let before = raw::all(&mut database.connect().await).await.unwrap();
    let storage = database.open().await;
    let swarm = swarm(1);
    names_keydb(storage.put_seeder(&swarm, &peer(1)).await);
    names_keydb(storage.put_leecher(&swarm, &peer(1)).await);
    names_keydb(storage.delete_seeder(&swarm, &peer(1)).await);
    names_keydb(storage.graduate_leecher(&swarm, &peer(1)).await);
    names_keydb(storage.scrape_swarm(&swarm).await);
    names_keydb(storage.announce_peers(&storage_core::PeerSelection::new(swarm, 10)).await);
    let sound: PeerRecord = record(super::fixtures::swarm(2), peer(2), Role::Seeder, at(1_000));
    names_keydb(storage.import_peers(&[record(swarm, peer(1), Role::Seeder, at(5)), sound]).await);
    raw::assert_same(&raw::all(&mut database.connect().await).await.unwrap(), &before);
    assert_eq!(announced(&*storage, sound.info_hash, false).await, [peer(2)]);
}

/// Exports and statistics skip a key of another type; exports count and name it. The other role of the swarm, small
/// or large, and all other swarms are returned.
pub(super) async fn keys_of_another_type_are_skipped_and_counted(database: &TestDatabase) {
    let set = with_a_set(database).await;
    let mut connection = database.connect().await;
    for number in 0..2_000 {
        add_peer(&mut connection, &swarm_key("L4", &swarm(1)), &peer(number), 1_000).await;
    }
    add_peer(&mut connection, &swarm_key("L4", &swarm(3)), &peer(3), 1_000).await;
    let () = connection.set(swarm_key("S4", &swarm(3)), "text").await.unwrap();
    let () = connection.set("CHI_D", "text").await.unwrap();
    let () = connection.rpush("CHI_list", "text").await.unwrap();
    let () = connection.hset("CHI_data", "key", "value").await.unwrap();

    let storage = database.open().await;
    let (mut from, mut records, mut passed_over, mut names) = (None, 0, 0, BTreeSet::new());
    loop {
        let page = storage.export_peers(ExportScope::All, from.as_ref(), 100).await.unwrap();
        records += page.records.len();
        passed_over += page.unreadable;
        names.extend(page.unreadable_names);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!((records, passed_over), (2_002, 2));
    let expected = [set.clone(), swarm_key("S4", &swarm(3))];
    assert_eq!(names, expected.into_iter().map(Into::into).collect());
    let of_swarm = storage.export_peers(ExportScope::Swarm(swarm(3)), None, 10).await.unwrap();
    assert_eq!((of_swarm.records.len(), of_swarm.unreadable), (1, 1));
    let downloads = storage.export_downloads(None, 10).await.unwrap();
    assert_eq!((downloads.records.len(), downloads.unreadable, downloads.next), (0, 1, None));
    assert_eq!(downloads.unreadable_names, ["CHI_D"]);
    let data = storage.export_data(None, 10).await.unwrap();
    assert_eq!((data.records.len(), data.unreadable), (1, 1));
    assert_eq!(data.unreadable_names, ["CHI_list"]);

    let statistics = Statistics::new(3, 1, 2_001);
    assert_eq!(storage.statistics().await.unwrap(), statistics);
    let collected = storage.collect_garbage(at(500)).await.unwrap();
    assert_eq!((collected.removed, collected.unreadable), (0, 2));
    let warnings = storage.diagnostics().await.unwrap().warnings;
    assert!(
        warnings.iter().any(|warning| warning.starts_with("the key CHI_D holds another type")),
        "{warnings:?}"
    );
}

/// A call that needs a key of another type names it, and its value is never repeated.
pub(super) async fn a_key_of_another_type_is_named(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let () = connection.hset("CHI_I", "secret", "secret").await.unwrap();
    let () = connection.set("CHI_D", "secret").await.unwrap();
    let () = connection.rpush("CHI_list", "secret").await.unwrap();
    let storage = database.open().await;
    let names = |error: Error, key: &str| {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains(key) && !format!("{error:?}").contains("secret"), "{error:?}");
    };
    names(storage.statistics().await.unwrap_err(), "the key CHI_I holds");
    names(storage.collect_garbage(at(500)).await.unwrap_err(), "the key CHI_I holds");
    names(storage.put_seeder(&swarm(1), &peer(1)).await.unwrap_err(), "CHI_I, ");
    let downloads = DownloadsRecord { info_hash: swarm(1), downloads: 1 };
    names(storage.import_downloads(&[downloads]).await.unwrap_err(), "the key CHI_D holds");
    let list = super::fixtures::context("list");
    names(storage.load_data(&list, b"key").await.unwrap_err(), "the key CHI_list holds");
    let seeders = swarm_key("S4", &swarm(1));
    let () = connection.set(&seeders, "secret").await.unwrap();
    let key = format!("CHI_S4_{}", swarm(1));
    names(storage.scrape_swarm(&swarm(1)).await.unwrap_err(), &key);
    let change = PeerChange::Put(Role::Seeder);
    let write = PeerWrite { info_hash: swarm(1), peer: peer(1), change, announced: at(1_000) };
    names(storage.write_peers(&[write]).await.remove(0).unwrap_err(), &format!("swarm {}: ", swarm(1)));
    let warnings = storage.diagnostics().await.unwrap().warnings;
    let about = |key: &str| warnings.iter().filter(|warning| warning.contains(key)).count();
    assert_eq!((about("the key CHI_I holds"), about("the key CHI_D holds")), (1, 1), "{warnings:?}");
}

/// A database that has only keys of another program is reported; one with any of MoChi's keys is not.
pub(super) async fn a_database_of_another_program_is_reported(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let storage = database.open().await;
    let is_told = async || {
        let warnings = storage.diagnostics().await.unwrap().warnings;
        warnings.iter().any(|warning| warning.contains("none of them in MoChi's layout (CHI_…)"))
    };
    assert!(!is_told().await, "an empty one");
    for number in 0..3_000 {
        let () = connection.set(format!("torrent:{number}"), "text").await.unwrap();
    }
    let warnings = storage.diagnostics().await.unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("has 3000 keys, none of them")), "{warnings:?}");
    let () = connection.hset("CHI_data", "key", "value").await.unwrap();
    assert!(!is_told().await, "with data");
    let () = connection.del("CHI_data").await.unwrap();
    assert!(is_told().await);
    storage.put_seeder(&swarm(1), &peer(1)).await.unwrap();
    assert!(!is_told().await, "with a peer");
}

/// Garbage collection skips a set and continues with the other swarms.
pub(super) async fn garbage_collection_skips_a_set(database: &TestDatabase) {
    let key = with_a_set(database).await;
    let storage = database.open().await;
    assert_eq!(storage.collect_garbage(at(1_000)).await.unwrap().removed, 1);
    let left = raw::all(&mut database.connect().await).await.unwrap();
    assert!(matches!(left.get(&Text::from(&key)), Some(Content::Set(_))), "{left:?}");
    assert_eq!(left.get(&Text::from(swarm_key("S4", &swarm(2)))), None);
}
