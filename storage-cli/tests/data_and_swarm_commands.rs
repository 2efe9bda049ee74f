//! `data` and `swarm` on real servers: a storage in memory does not outlive the command.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "everything here is a test, though not by that attribute"
)]

mod common;
mod test_storage;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, ExitCode, Stdio};

use conformance_tests::runtime::block_on;
use conformance_tests::servers::Servers;
use libtest_mimic::{Arguments, Trial};
use storage_core::{
    Context, DownloadsRecord, InfoHash, Peer, PeerId, PeerRecord, PeerStorageExt, Role, Timestamp,
};

use common::{CommandOutput, command, file, run};
use test_storage::{ServerHandle, ServerKind, StorageCase, StorageUnderTest, on};

const INFO_HASH: &str = "0123456789abcdef0123456789abcdef01234567";

fn main() -> ExitCode {
    let cases: [(&str, StorageCase); 6] = [
        ("data that is put is got, listed and deleted", data),
        ("text is taken as it is", text),
        ("a list is longer than a page", long_list),
        ("nothing is removed without being asked for", nobody_to_ask),
        ("a swarm is shown and removed", swarm),
        ("the largest swarms are listed", largest_swarms),
    ];
    let both = cases.iter().flat_map(|(name, case)| ServerKind::BOTH.map(|kind| on(kind, name, *case)));
    let mut trials: Vec<Trial> = both.collect();
    trials.push(on(ServerKind::Pg, "data of a storage without peers is at hand", data_alone));
    trials.push(on(ServerKind::Pg, "a list of swarms ends at Ctrl-C with 130", interrupted_list));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

fn data(setup: &StorageUnderTest) {
    let of = |more: &[&'static str]| [&["--context", "MW"], more].concat();
    setup.done(["data", "put"], &of(&["00ff", "01"]));
    setup.done(["data", "put"], &of(&["00ff", "02"]));
    setup.done(["data", "put"], &of(&["ab", ""]));
    setup.done(["data", "put"], &["--context", "other", "00ff", "03"]);
    assert_eq!(setup.done(["data", "get"], &of(&["00FF"])), "02\n");
    assert_eq!(setup.done(["data", "get"], &of(&["ab"])), "\n", "empty is not absent");
    let list = setup.done(["data", "list"], &of(&[]));
    let mut lines: Vec<_> = list.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["00ff\t02", "ab\t"]);
    assert_eq!(setup.done(["data", "contexts"], &[]), "2\tMW\n1\tother\n");
    let list = setup.done(["data", "list"], &of(&["--json"]));
    assert!(list.contains(r#"{"kind":"data","context":"MW","key":"00ff","value":"02"}"#), "{list}");

    assert_eq!(setup.done(["data", "delete"], &of(&["--yes", "00ff", "cc"])), "removed 1\n");
    assert_eq!(setup.run(["data", "get"], &of(&["00ff"])).code, Some(1));
    assert_eq!(setup.done(["data", "get"], &["--context", "other", "00ff"]), "03\n");
}

fn text(setup: &StorageUnderTest) {
    let of = |more: &[&'static str]| [&["--context", "", "--text"], more].concat();
    setup.done(["data", "put"], &of(&["ключ", "a value"]));
    assert_eq!(setup.done(["data", "get"], &of(&["ключ"])), "a value\n");
    assert_eq!(setup.done(["data", "get"], &["--context", "", &hex::encode("ключ")]), "612076616c7565\n");
    setup.done(["data", "put"], &["--context", "", "00", "ff"]);
    let list = setup.done(["data", "list"], &of(&[]));
    assert!(list.contains("ключ\ta value\n") && list.contains("hex:00\thex:ff\n"), "{list}");
    let wrong = setup.run(["data", "put"], &["--context", "", "ключ", "00"]);
    assert_eq!(wrong.code, Some(2), "{wrong:#?}");
    assert!(wrong.stderr.contains("--text"), "{wrong:#?}");
    assert_eq!(setup.run(["data", "put"], &["--context", "S4_x", "00", "00"]).code, Some(2));
}

fn long_list(setup: &StorageUnderTest) {
    block_on(async {
        let entry = |number: u32| (number.to_be_bytes().to_vec().into(), vec![1].into());
        let storage = setup.open().await;
        for numbers in (0..2_500).collect::<Vec<_>>().chunks(500) {
            let entries: Vec<_> = numbers.iter().map(|number| entry(*number)).collect();
            storage.put_data(&Context::new("MW").unwrap(), &entries).await.unwrap();
        }
        storage.close().await.unwrap();
    });
    let list = setup.done(["data", "list"], &["--context", "MW"]);
    let keys: std::collections::BTreeSet<_> = list.lines().collect();
    assert_eq!((list.lines().count(), keys.len()), (2_500, 2_500));
    assert_eq!(setup.done(["data", "list"], &["--context", "other"]), "");
}

fn nobody_to_ask(setup: &StorageUnderTest) {
    setup.done(["data", "put"], &["--context", "MW", "00", "01"]);
    let asked = setup.run(["data", "delete"], &["--context", "MW", "00"]);
    assert_eq!(asked.code, Some(2), "{asked:#?}");
    assert!(asked.stderr.contains("--yes"), "{asked:#?}");
    assert_eq!(setup.done(["data", "get"], &["--context", "MW", "00"]), "01\n");
    assert_eq!(setup.run(["swarm", "remove"], &[INFO_HASH]).code, Some(2));
}

fn swarm(setup: &StorageUnderTest) {
    let info_hash = INFO_HASH.parse().unwrap();
    block_on(async {
        let storage = setup.open().await;
        let peer =
            |address: &str, port| Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), address.parse().unwrap(), port);
        storage.graduate_leecher(&info_hash, &peer("192.0.2.1", 6881)).await.unwrap();
        storage.put_leecher(&info_hash, &peer("2001:db8::1", 51413)).await.unwrap();
        storage.close().await.unwrap();
    });
    let shown = setup.done(["swarm", "show"], &[INFO_HASH]);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], format!("{INFO_HASH}: seeders 1, leechers 1, downloads 1"));
    assert_eq!(lines.len(), 4, "{shown}");
    let id = hex::encode("-TR4040-abcdefghijkl");
    for [role, port, address] in [["seeder", "6881", "192.0.2.1"], ["leecher", "51413", "2001:db8::1"]] {
        let line = lines.iter().find(|line| line.ends_with(address)).unwrap();
        assert!(line.starts_with(role) && line.contains(port) && line.contains(&id), "{shown}");
    }
    assert!(!shown.contains("stale"), "{shown}");
    let json = setup.done(["swarm", "show"], &[INFO_HASH, "--json"]);
    assert!(json.contains(r#""seeders":1,"leechers":1,"downloads":1"#), "{json}");
    assert_eq!(json.matches(r#""kind":"peer""#).count(), 2, "{json}");

    let removed = setup.done(["swarm", "remove"], &[INFO_HASH, "--yes"]);
    assert_eq!(removed, "removed 2 peers and the downloads\n");
    let shown = setup.run(["swarm", "show"], &[INFO_HASH]);
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert_eq!(shown.stdout, format!("{INFO_HASH}: seeders 0, leechers 0, downloads 0\n"));
    assert!(shown.stderr.contains("unknown swarm"), "{shown:?}");
}

/// More peers than a page holds: a swarm of 1,500, one with peers of both families, small ones, and one that has
/// downloads and no peers.
fn largest_swarms(setup: &StorageUnderTest) {
    let none = setup.run(["swarm", "list"], &[]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), ""), "{none:#?}");
    assert_eq!(none.stderr, "no swarm has peers\n");
    let hash = |number: u8| InfoHash::V1([number; 20]);
    let peers = |swarm: u8, seeders: u16, leechers: u16| {
        (0..seeders + leechers).map(move |number| PeerRecord {
            info_hash: hash(swarm),
            peer: match number % 2 {
                0 => Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), Ipv4Addr::LOCALHOST.into(), 1 + number),
                _ => Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), Ipv6Addr::LOCALHOST.into(), 1 + number),
            },
            role: if number < seeders { Role::Seeder } else { Role::Leecher },
            announced: Timestamp::now(),
        })
    };
    block_on(async {
        let storage = setup.open().await;
        let records: Vec<_> = peers(1, 1_000, 500)
            .chain(peers(2, 2, 600))
            .chain(peers(3, 0, 9))
            .chain((10..=109).flat_map(|swarm| peers(swarm, 1, 0)))
            .collect();
        for records in records.chunks(500) {
            storage.import_peers(records).await.unwrap();
        }
        let downloads = [(3, 5), (4, 7)].map(|(swarm, downloads)| (hash(swarm), downloads));
        let downloads = downloads.map(|(info_hash, downloads)| DownloadsRecord { info_hash, downloads });
        storage.import_downloads(&downloads).await.unwrap();
        storage.close().await.unwrap();
    });
    let json = |swarm, [seeders, leechers, downloads]: [u64; 3]| {
        let info_hash = hash(swarm);
        format!(
            r#"{{"info_hash":"{info_hash}","seeders":{seeders},"leechers":{leechers},"downloads":{downloads}}}"#
        )
    };
    let (first, second) = (json(1, [1_000, 500, 0]), json(2, [2, 600, 0]));
    let (third, last) = (json(3, [0, 9, 5]), json(4, [0, 0, 7]));
    for (sort, expected) in [
        ("peers", [&first, &second, &third]),
        ("seeders", [&first, &second, &json(10, [1, 0, 0])]),
        ("leechers", [&second, &first, &third]),
        ("info-hash", [&first, &second, &third]),
    ] {
        let list = setup.done(["swarm", "list"], &["--sort", sort, "--limit", "3", "--json"]);
        assert_eq!(list.lines().collect::<Vec<_>>(), expected, "{sort}");
    }
    let list = setup.done(["swarm", "list"], &["--sort", "downloads", "--json"]);
    assert_eq!(list.lines().collect::<Vec<_>>(), [&last, &third]);

    let list = setup.run(["swarm", "list"], &[]);
    assert_eq!(list.code, Some(0), "{list:#?}");
    let lines: Vec<Vec<_>> = list.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["info", "hash", "seeders", "leechers", "downloads"]);
    assert_eq!(lines[3], [hash(3).to_string().as_str(), "0", "9", "5"]);
    assert_eq!(lines.len(), 51, "{list:#?}");
    assert!(list.stderr.contains("these are the first 50; a larger --limit lists more"), "{list:#?}");
    let all = setup.run(["swarm", "list"], &["--limit", "100000"]);
    assert_eq!((all.stdout.lines().count(), all.stderr.as_str()), (104, ""), "{all:#?}");
    for limit in ["0", "100001"] {
        assert_eq!(setup.run(["swarm", "list"], &["--limit", limit]).code, Some(2));
    }
}

/// Reads 12 pages that take half a second each; progress is shown after 5 seconds.
fn interrupted_list(setup: &StorageUnderTest) {
    let record = |number: u32| PeerRecord {
        info_hash: InfoHash::V1([(number % 200) as u8; 20]),
        peer: Peer::new(PeerId([1; 20]), Ipv4Addr::from(0x0A00_0000 + number).into(), 6881),
        role: Role::Seeder,
        announced: Timestamp::now(),
    };
    block_on(async {
        let storage = setup.open().await;
        let records: Vec<_> = (0..12_000).map(record).collect();
        storage.import_peers(&records).await.unwrap();
        storage.close().await.unwrap();
    });
    let config = std::fs::read_to_string(&setup.config).unwrap();
    // Without its query the list is made of a scan.
    let (before, section) = config.split_once("    swarm:\n").unwrap();
    let (_, after) = section.split_once("\n\n").unwrap();
    let config = format!("{before}\n{after}");
    let slow = config.replacen("created FROM mo_peers", "created FROM pg_sleep(0.5), mo_peers", 1);
    assert_ne!(slow, config);
    let slow = file(&slow);
    let mut list = command(&["swarm", "list", "-c", slow.to_str().unwrap()]);
    let mut list = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(list.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(told.contains(",000 peers read in "), "{told}");
    let interrupt = Command::new("kill").args(["-INT", &list.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let ended: CommandOutput = list.wait_with_output().unwrap().into();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""), "{ended:#?}");
}

/// As a hook has it: queries of data, and none of peers.
fn data_alone(setup: &StorageUnderTest) {
    let ServerHandle::Pg(schema) = &setup.place else { return };
    let config = format!(
        "prehooks:\n  - config:\n      storage:\n        name: pg\n        config:\n          \
         connection_string: {}\n          data:\n            \
         add_query: INSERT INTO mo_kv VALUES (@context, @key, @value) ON CONFLICT (context, name) DO UPDATE SET value = EXCLUDED.value\n            \
         get_query: SELECT value FROM mo_kv WHERE context = @context AND name = @key\n            \
         del_query: DELETE FROM mo_kv WHERE context = @context AND name = ANY(@key)\n",
        schema.connection_string()
    );
    let hooks = file(&config);
    let of = |action: &'static str| {
        [
            "data",
            action,
            "-c",
            hooks.to_str().unwrap(),
            "--at",
            "prehooks.0.config.storage",
            "--context",
            "MW",
        ]
    };
    let put = run(&[&of("put")[..], &["00", "01"]].concat());
    assert_eq!(put.code, Some(0), "{put:#?}");
    assert_eq!(run(&[&of("get")[..], &["00"]].concat()).stdout, "01\n");
}
