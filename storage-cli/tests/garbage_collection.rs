//! Garbage collection by a tracker and by `gc`, on real servers.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

mod common;
mod test_storage;
mod tracker;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use conformance_tests::runtime::block_on;
use conformance_tests::servers::Servers;
use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::Signal;
use storage_core::{InfoHash, Peer, PeerId, Role, Timestamp, When};

use common::{CommandOutput, command};
use test_storage::{ServerKind, StorageCase, StorageUnderTest, on};
use tracker::RunningTracker;
use tracker::http::{client, counts, get};

const SWARM: [u8; 20] = [1; 20];

/// How long ago everything went down.
const OUTAGE: Duration = Duration::from_secs(7_200);

fn main() -> ExitCode {
    let mut cases: Vec<(&str, StorageCase)> = vec![
        ("who could not announce is not stale", an_outage),
        ("more than half of all peers are not removed", too_many),
    ];
    let clocks: [(&str, StorageCase); 2] = [
        ("a node whose clock is an hour ahead loses no peers", |setup| wrong_clock(setup, 3_600)),
        ("a node whose clock is an hour behind loses no peers", |setup| wrong_clock(setup, -3_600)),
    ];
    let mut trials = Vec::new();
    if shifted(0).is_some() {
        cases.extend(clocks);
    } else {
        let ignored = || Ok(Completion::ignored_with("Debian's package `faketime` is not installed"));
        trials.extend(clocks.map(|(name, _)| Trial::ignorable_test(name, ignored)));
    }
    trials.extend(cases.iter().flat_map(|(name, case)| ServerKind::BOTH.map(|kind| on(kind, name, *case))));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

/// Puts leechers as they announced so long ago.
fn put(setup: &StorageUnderTest, ports: std::ops::Range<u16>, ago: Duration) {
    block_on(async {
        let storage = setup.open().await;
        for port in ports {
            let peer = Peer::new(PeerId(*b"-TR4040-aaaaaaaaaaaa"), [192, 0, 2, 1].into(), port);
            let announced = Timestamp::now().before(ago);
            storage.put_peer(&InfoHash::V1(SWARM), &peer, Role::Leecher, When::At(announced)).await.unwrap();
        }
        storage.close().await.unwrap();
    });
}

fn leechers(tracker: &RunningTracker) -> i64 {
    counts(tracker.http(), &SWARM)[1]
}

/// The configuration with these lines in place of its own.
fn config(setup: &StorageUnderTest, settings: &[(&str, &str)]) -> String {
    let text = std::fs::read_to_string(&setup.config).unwrap();
    let is_set = |line: &str| {
        settings
            .iter()
            .any(|(key, _)| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
    };
    let mut lines: Vec<_> = text.lines().filter(|line| !is_set(line)).map(ToOwned::to_owned).collect();
    let within = lines.iter().position(|line| line == "  config:").unwrap() + 1;
    lines.splice(within..within, settings.iter().map(|(key, text)| format!("    {key}: {text}")));
    lines.join("\n") + "\n"
}

fn an_outage(setup: &StorageUnderTest) {
    const LIFETIME: Duration = Duration::from_secs(8);
    put(setup, 1..41, OUTAGE);
    let tracker =
        RunningTracker::with(&config(setup, &[("gc_interval", "200ms"), ("peer_lifetime", "8s")]), &[]);
    let begun = Instant::now();
    let answer = client(b'f', 100).announce(tracker.http(), &SWARM, 9, "&numwant=50");
    assert_eq!(answer.bytes("peers").len(), 40 * 6, "the first leecher gets all peers");
    // Most come back.
    std::thread::sleep(LIFETIME / 4);
    let came_back = Instant::now();
    put(setup, 1..31, Duration::ZERO);
    client(b'f', 100).announce(tracker.http(), &SWARM, 9, "");
    while leechers(&tracker) == 41 {
        assert!(begun.elapsed() < LIFETIME * 5, "stale peers stay");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= LIFETIME, "{:?}", begun.elapsed());
    let left = leechers(&tracker);
    assert!(left == 31 || came_back.elapsed() >= LIFETIME, "{left} leechers are left");
    assert_eq!(tracker.end_by(Signal::SIGTERM).code, Some(0));
}

fn too_many(setup: &StorageUnderTest) {
    put(setup, 1..31, OUTAGE);
    put(setup, 31..41, Duration::ZERO);
    let settings = [("gc_interval", "200ms"), ("gc_grace", "0")];
    let tracker = RunningTracker::with(&config(setup, &settings), &[]);
    let withheld =
        || get(tracker.admin(), "/stats").json()["last_garbage_collection"]["withheld_peers"].as_u64();
    while withheld().is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(withheld() > Some(20), "{:?}", withheld());
    let metrics = get(tracker.admin(), "/metrics").text();
    let metric = metrics.lines().find(|line| line.starts_with("tracker_storage_gc_withheld_peers")).unwrap();
    assert!(!metric.ends_with(" 0"), "{metric}");
    assert_eq!(leechers(&tracker), 40);

    let refused = setup.run(["gc"], &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for word in ["of 40 peers are stale", "`gc_max_share` (0.5)", "--force"] {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    assert_eq!(leechers(&tracker), 40);
    assert!(setup.done(["gc"], &["--force"]).starts_with("removed 30 peers"));
    assert_eq!(leechers(&tracker), 10);
    assert!(setup.done(["gc"], &["--json"]).contains(r#""removed":0"#));
    while withheld() != Some(0) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = tracker.end_by(Signal::SIGTERM);
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("more peers are stale than `gc_max_share` allows"), "{}", ended.stderr);
}

/// The environment in which a program sees another time.
fn shifted(seconds: i64) -> Option<Vec<(String, String)>> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let library =
        libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())?;
    let variables = [
        ("LD_PRELOAD", library.to_str()?.to_owned()),
        ("FAKETIME", format!("{seconds:+}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    Some(variables.map(|(name, value)| (name.to_owned(), value)).into())
}

fn wrong_clock(setup: &StorageUnderTest, ahead: i64) {
    const LIFETIME: Duration = Duration::from_secs(8);
    const CLIENTS: std::ops::Range<u16> = 1..21;
    let shifted = shifted(ahead).unwrap();
    let settings =
        [("gc_interval", "200ms"), ("peer_lifetime", "8s"), ("gc_grace", "0"), ("gc_max_share", "1")];
    let config = config(setup, &settings);
    let (right, wrong) =
        (RunningTracker::with(&config, &[]), RunningTracker::in_environment(&config, &shifted));
    let begun = Instant::now();
    let mut announced = begun;
    // Longer than the other node leaves all garbage alone since the clocks differ.
    while begun.elapsed() < LIFETIME * 2 {
        if begun == announced || announced.elapsed() > LIFETIME / 4 {
            announced = Instant::now();
            for port in CLIENTS {
                client(b'r', port).announce(right.http(), &SWARM, 9, "");
                client(b'w', port).announce(wrong.http(), &SWARM, 9, "");
            }
        }
        assert_eq!(leechers(&right), 40);
        std::thread::sleep(Duration::from_millis(100));
    }
    for (tracker, expected) in [(&right, 0), (&wrong, -ahead)] {
        let stats = get(tracker.admin(), "/stats").json();
        let told = stats["clock_ahead_seconds"].as_f64().unwrap();
        assert!((told - expected as f64).abs() < 5.0, "{stats}");
        let metrics = get(tracker.admin(), "/metrics").text();
        let metric =
            metrics.lines().find(|line| line.starts_with("tracker_storage_clock_ahead_seconds{")).unwrap();
        let told: f64 = metric.split_whitespace().last().unwrap().parse().unwrap();
        assert!((told - expected as f64).abs() < 5.0, "{metric}");
    }
    // Who is gone is removed by the one that is right, and the other one alone.
    assert_eq!(right.end_by(Signal::SIGTERM).code, Some(0));
    while leechers(&wrong) > 0 {
        assert!(announced.elapsed() < LIFETIME * 3, "stale peers stay");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(announced.elapsed() > LIFETIME - Duration::from_secs(1), "{:?}", announced.elapsed());
    let ended = wrong.end_by(Signal::SIGTERM);
    assert_eq!(ended.code, Some(0));
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    assert!(ended.stderr.contains(&format!("s {direction} this machine's")), "{}", ended.stderr);

    let mut check = command(&["check", "-c", setup.config.to_str().unwrap()]);
    let checked: CommandOutput = check.envs(shifted).output().unwrap().into();
    assert!(format!("{checked:?}").contains(&format!("s {direction} this machine's")), "{checked:?}");
}
