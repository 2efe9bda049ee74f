//! A tracker that serves some torrents and not others.

mod common;
mod tracker;

use common::MEMORY;
use nix::sys::signal::Signal;
use storage_cli::bep15::UdpAnnounce;
use tracker::RunningTracker;
use tracker::http::{client, counts};
use tracker::udp::{Udp, announce, error};

const INFO_HASH: [u8; 20] = [7; 20];

/// Nothing is on the list of a storage that is new.
fn tracker(inverted: bool) -> RunningTracker {
    RunningTracker::with(&format!("{MEMORY}approval: {{context: approved, inverted: {inverted}}}\n"), &[])
}

const ANNOUNCE: UdpAnnounce = announce(INFO_HASH, b'S', 6881, 0);

#[test]
fn what_is_not_on_the_allow_list_is_refused() {
    let tracker = tracker(false);
    let answer = client(b's', 1).announce(tracker.http(), &INFO_HASH, 0, "");
    assert_eq!(answer.text("failure reason"), "unapproved torrent");
    let answer = Udp::to(tracker.udp()).announce(&ANNOUNCE);
    assert_eq!(error(&answer), Some("unapproved torrent"));
    assert_eq!(counts(tracker.http(), &INFO_HASH), [0, 0, 0]);
}

#[test]
fn what_is_not_on_the_deny_list_is_served() {
    let tracker = tracker(true);
    client(b's', 1).announce(tracker.http(), &INFO_HASH, 0, "");
    assert_eq!(error(&Udp::to(tracker.udp()).announce(&ANNOUNCE)), None);
    assert_eq!(counts(tracker.http(), &INFO_HASH), [2, 0, 0]);
}

/// Whoever mistakes the list, or its place in the file, shall not serve everything, or nothing, without a word.
#[test]
fn an_empty_list_and_one_in_the_wrong_place_are_told() {
    let ran = tracker(false).end_by(Signal::SIGTERM);
    assert!(ran.stdout.contains("only torrents listed in the context approved"), "{ran:?}");
    assert!(ran.stderr.contains("`approval.context`: no torrent is served"), "{ran:?}");
    let ran = tracker(true).end_by(Signal::SIGTERM);
    assert!(ran.stdout.contains("all torrents but those listed in the context approved"), "{ran:?}");
    assert!(!ran.stderr.contains("empty"), "{ran:?}");

    let config = "storage: {name: memory, config: {approval: {context: approved}}}\n";
    let ran = common::run_on(config, "serve", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let told = "`storage.config.approval`: belongs to the top level of the file, as `approval`";
    assert!(ran.stderr.contains(told), "{ran:?}");

    let file = common::file(MEMORY);
    let put = ["data", "put", "-c", file.to_str().unwrap(), "--context", "approved", "00", "01"];
    let put = common::run(&put);
    assert!(put.code == Some(0) && put.stderr.contains("nothing is kept"), "{put:?}");
}

#[test]
fn a_file_with_hooks_is_served_only_by_who_says_so() {
    let config = format!("{MEMORY}prehooks: [{{name: torrent approval}}]\nposthooks: []\n");
    let ran = common::run_on(&config, "serve", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("`prehooks`: `torrent approval` would not be run"), "{ran:?}");
    let tracker = RunningTracker::with(&config, &["--ignore-hooks"]);
    client(b's', 1).announce(tracker.http(), &INFO_HASH, 0, "");
    let ran = tracker.end_by(Signal::SIGTERM);
    assert!(ran.stderr.contains("warning"), "{ran:?}");
}

#[test]
fn hooks_that_are_none_are_no_hooks() {
    RunningTracker::with(&format!("{MEMORY}prehooks: []\nposthooks:\n"), &[]);
}
