//! A tracker on a server that others write to, and that fails.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

mod common;
mod tracker;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use conformance_tests::harness::unless_missing;
use conformance_tests::servers::Servers;
use conformance_tests::servers::redis::{Node, Setup};
use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::Signal;
use tracker::Tracker;
use tracker::bencode::Dictionary;
use tracker::http::{client, connect, counts, get, read};
use tracker::udp::{Announce, Udp, number};

const LISTED: [u8; 20] = [1; 20];
/// A v2 torrent whose first 20 bytes are listed.
const LISTED_V2: [u8; 32] = [1; 32];
const OTHER: [u8; 20] = [2; 20];

fn main() -> ExitCode {
    let test = |name: &str, story: fn(&Node)| {
        Trial::ignorable_test(name, move || {
            let node = match Node::start(&Setup::default()) {
                Ok(node) => node,
                Err(missing) => return unless_missing("redis", missing),
            };
            story(&node);
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
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

fn tracker(node: &Node, more: &str) -> Tracker {
    let address = node.address();
    Tracker::with(&format!("storage: {{name: redis, config: {{addresses: ['{address}']}}}}\n{more}"), &[])
}

/// As MoChi writes it.
fn list(node: &Node) {
    let mut put = redis::cmd("HSET");
    put.arg("CHI_APPROVED").arg(&LISTED).arg("_");
    node.ask::<()>(&put).unwrap();
}

fn refusal(answer: &Dictionary) -> Option<&str> {
    answer.has("failure reason").then(|| answer.text("failure reason"))
}

fn udp_action(tracker: &Tracker, info_hash: [u8; 20]) -> u32 {
    let announce = Announce { info_hash, peer: b'S', port: 6881, left: 0, event: 0, num_want: -1 };
    number(&Udp::to(tracker.udp()).announce(&announce), 0)
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
        assert_eq!(udp_action(&tracker, LISTED) == 1, listed.is_none());
        assert_eq!(udp_action(&tracker, OTHER) == 1, other.is_none());
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
            assert_eq!(udp_action(&tracker, info_hash), 3);
        }
        assert_eq!(get(tracker.admin(), "/health").status, 503);
        let stats = get(tracker.admin(), "/stats").json();
        assert_eq!(stats["requests"]["failed"], 4, "{stats}");
        assert!(stats["last_error"]["message"].as_str().unwrap().contains("not available"), "{stats}");
        node.start_again().unwrap();
        list(node);
        let served = if inverted { OTHER } else { LISTED };
        // The connection is made anew by one of the next calls.
        while udp_action(&tracker, served) != 1 {}
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
    let answer = Dictionary::read(&read(&answer).unwrap().body);
    assert_eq!(answer.bytes("peers").len(), 6, "{answer:?}");
    assert_eq!(tracker.end_by(Signal::SIGTERM).code, Some(0));
}
