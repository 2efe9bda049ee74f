//! A tracker on a server that others write to, and that fails.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

mod common;
mod tracker;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use conformance_tests::harness::unless_missing;
use conformance_tests::servers::Servers;
use conformance_tests::servers::redis::{Node, Setup};
use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::Signal;
use tracker::RunningTracker;
use tracker::bencode::BencodeMap;
use tracker::http::{client, connect, counts, get, read};
use tracker::udp::{Udp, announce, error};

const LISTED: [u8; 20] = [1; 20];
/// A v2 torrent whose first 20 bytes are listed.
const LISTED_V2: [u8; 32] = [1; 32];
const OTHER: [u8; 20] = [2; 20];

fn main() -> ExitCode {
    let test = |name: &str, case: fn(&Node)| {
        Trial::ignorable_test(name, move || {
            let node = match Node::start(&Setup::default()) {
                Ok(node) => node,
                Err(missing) => return unless_missing("redis", missing),
            };
            case(&node);
            node.stop();
            Ok(Completion::Completed)
        })
    };
    let trials = vec![
        test("the_list_that_mochi_keeps_says_what_is_served", the_list_that_mochi_keeps_says_what_is_served),
        test(
            "a_list_that_cannot_be_read_approves_of_nothing",
            a_list_that_cannot_be_read_approves_of_nothing,
        ),
        test("what_is_under_way_is_finished_before_the_end", what_is_under_way_is_finished_before_the_end),
        test("health_is_what_clients_get", health_is_what_clients_get),
        test("health_is_probed_where_there_are_no_clients", health_is_probed_where_there_are_no_clients),
        test(
            "a_frozen_server_does_not_keep_it_from_stopping",
            a_frozen_server_does_not_keep_it_from_stopping,
        ),
        test("writes_lost_by_a_mirror_are_reported", writes_lost_by_a_mirror_are_reported),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

fn tracker(node: &Node, more: &str) -> RunningTracker {
    let address = node.address();
    RunningTracker::with(
        &format!("storage: {{name: redis, config: {{addresses: ['{address}']}}}}\n{more}"),
        &[],
    )
}

/// As MoChi writes it.
fn list(node: &Node) {
    let mut put = redis::cmd("HSET");
    put.arg("CHI_APPROVED").arg(&LISTED).arg("_");
    node.ask::<()>(&put).unwrap();
}

fn refusal(answer: &BencodeMap) -> Option<&str> {
    answer.has("failure reason").then(|| answer.text("failure reason"))
}

fn is_served_over_udp(tracker: &RunningTracker, info_hash: [u8; 20]) -> bool {
    error(&Udp::to(tracker.udp()).announce(&announce(info_hash, b'S', 6881, 0))).is_none()
}

fn the_list_that_mochi_keeps_says_what_is_served(node: &Node) {
    list(node);
    for (inverted, listed, other) in
        [(false, None, Some("unapproved torrent")), (true, Some("unapproved torrent"), None)]
    {
        let tracker = tracker(node, &format!("approval: {{context: APPROVED, inverted: {inverted}}}\n"));
        let announce = |info_hash: &[u8]| client(b's', 1).announce(tracker.http(), info_hash, 0, "");
        assert_eq!(refusal(&announce(&LISTED)), listed);
        assert_eq!(refusal(&announce(&LISTED_V2)), listed);
        assert_eq!(refusal(&announce(&OTHER)), other);
        assert_eq!(is_served_over_udp(&tracker, LISTED), listed.is_none());
        assert_eq!(is_served_over_udp(&tracker, OTHER), other.is_none());
        assert_eq!(counts(tracker.http(), &LISTED)[0] > 0, listed.is_none());
    }
}

fn a_list_that_cannot_be_read_approves_of_nothing(node: &Node) {
    list(node);
    for inverted in [false, true] {
        let tracker = tracker(node, &format!("approval: {{context: APPROVED, inverted: {inverted}}}\n"));
        node.kill().unwrap();
        for info_hash in [LISTED, OTHER] {
            let answer = client(b's', 1).announce(tracker.http(), &info_hash, 0, "");
            assert_eq!(refusal(&answer), Some("the tracker cannot answer at this time"));
            assert!(!is_served_over_udp(&tracker, info_hash));
        }
        // With so few announces the next probe decides.
        while get(tracker.admin(), "/health").status != 503 {}
        let stats = get(tracker.admin(), "/stats").json();
        assert_eq!(stats["requests"]["failed"], 4, "{stats}");
        assert!(stats["last_error"]["message"].as_str().unwrap().contains("not available"), "{stats}");
        node.start_again().unwrap();
        list(node);
        let served = if inverted { OTHER } else { LISTED };
        // The connection is made anew by one of the next calls.
        while !is_served_over_udp(&tracker, served) {}
        while get(tracker.http(), "/health").status != 200 {}
    }
}

fn what_is_under_way_is_finished_before_the_end(node: &Node) {
    let tracker = tracker(node, "");
    client(b's', 1).announce(tracker.http(), &LISTED, 0, "");
    node.freeze().unwrap();
    let mut stream = connect(tracker.http());
    let query = client(b'l', 2).query(&LISTED, 9, "");
    stream.write_all(format!("GET {query} HTTP/1.1\r\nhost: tracker\r\n\r\n").as_bytes()).unwrap();
    // Long enough for it to be read; the storage has five seconds.
    std::thread::sleep(Duration::from_secs(1));
    tracker.signal(Signal::SIGTERM);
    while std::net::TcpStream::connect(tracker.http()).is_ok() {}
    node.thaw().unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = BencodeMap::read(&read(&answer).unwrap().body);
    assert_eq!(answer.bytes("peers").len(), 6, "{answer:?}");
    assert_eq!(tracker.end_by(Signal::SIGTERM).code, Some(0));
}

/// Makes the server refuse everything that takes memory, while it answers all the rest.
fn limit_memory(node: &Node, bytes: u32) {
    node.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes)).unwrap();
}

fn health(tracker: &RunningTracker) -> [u16; 2] {
    [tracker.http(), tracker.admin()].map(|address| get(address, "/health").status)
}

fn health_is_what_clients_get(node: &Node) {
    let tracker = tracker(node, "");
    assert_eq!(health(&tracker), [200, 200]);
    limit_memory(node, 1);
    for number in 1..26 {
        let answer = client(b's', number).announce(tracker.http(), &LISTED, 0, "");
        assert_eq!(refusal(&answer), Some("the tracker cannot answer at this time"));
    }
    assert_eq!(health(&tracker), [503, 503]);
    limit_memory(node, 0);
    for number in 1..61 {
        let answer = client(b's', number).announce(tracker.http(), &LISTED, 0, "");
        assert_eq!(refusal(&answer), None);
    }
    assert_eq!(health(&tracker), [200, 200]);
    let ended = tracker.end_by(Signal::SIGTERM);
    assert_eq!(ended.code, Some(0));
    for line in ["the storage is failing", "the storage works again"] {
        assert_eq!(ended.stderr.matches(line).count(), 1, "{}", ended.stderr);
    }
}

fn health_is_probed_where_there_are_no_clients(node: &Node) {
    let tracker = tracker(node, "");
    limit_memory(node, 1);
    while health(&tracker) != [503, 503] {
        std::thread::sleep(Duration::from_millis(100));
    }
    limit_memory(node, 0);
    while health(&tracker) != [200, 200] {
        std::thread::sleep(Duration::from_millis(100));
    }
    // A probe leaves no trace.
    assert_eq!(node.ask::<u64>(&redis::cmd("DBSIZE")).unwrap(), 0);
}

/// All that stopping may take.
const STOP: Duration = Duration::from_secs(10);

fn a_frozen_server_does_not_keep_it_from_stopping(node: &Node) {
    let tracker = tracker(node, "");
    client(b's', 1).announce(tracker.http(), &LISTED, 0, "");
    node.freeze().unwrap();
    let mut hanging = Vec::new();
    for number in 1..101 {
        let mut stream = connect(tracker.http());
        let query = client(b'l', number).query(&LISTED, 9, "");
        stream.write_all(format!("GET {query} HTTP/1.1\r\nhost: tracker\r\n\r\n").as_bytes()).unwrap();
        hanging.push(stream);
    }
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    let ended = tracker.end_by(Signal::SIGTERM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(begun.elapsed() < STOP, "{:?}", begun.elapsed());
    node.thaw().unwrap();
}

fn writes_lost_by_a_mirror_are_reported(node: &Node) {
    let secondary = format!("{{name: redis, config: {{addresses: ['{}']}}}}", node.address());
    let sides = format!("primary: {{name: memory, config: {{}}}}, secondary: {secondary}");
    let tracker = RunningTracker::with(&format!("storage: {{name: mirror, config: {{{sides}}}}}\n"), &[]);
    let frozen = node.freeze_process().unwrap();
    for number in 1..6 {
        let answer = client(b's', number).announce(tracker.http(), &LISTED, 0, "");
        assert_eq!(refusal(&answer), None);
    }
    let begun = Instant::now();
    let ended = tracker.end_by(Signal::SIGTERM);
    assert!(begun.elapsed() < STOP, "{:?}", begun.elapsed());
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("5 acknowledged writes") && ended.stderr.contains("`migrate`"),
        "{}",
        ended.stderr
    );
    drop(frozen);
}
