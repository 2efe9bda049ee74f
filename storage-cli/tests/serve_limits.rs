//! Clients that are wrong, slow or many: an error or silence for them, and service for all others.

mod common;
mod tracker;

use std::io::{Read, Write};

use common::MEMORY;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use storage_cli::bep15::{UdpAnnounce, UdpRequest};
use tracker::RunningTracker;
use tracker::bencode::BencodeMap;
use tracker::http::{Answer, client, connect, connect_from, counts, encoded, exchange, get, send};
use tracker::udp::{Udp, announce, error, number, request};

const INFO_HASH: [u8; 20] = [7; 20];

const ANNOUNCE: UdpAnnounce = announce(INFO_HASH, b'S', 6881, 0);

/// Others are served: over HTTP and over UDP.
fn serves_others(tracker: &RunningTracker) {
    let answer = client(b'o', 1).announce(tracker.http(), &[9; 20], 0, "");
    assert_eq!(answer.counts()[0], 1);
    client(b'o', 1).announce(tracker.http(), &[9; 20], 0, "&event=stopped");
    assert_eq!(error(&Udp::to(tracker.udp()).announce(&ANNOUNCE)), None);
}

/// Ends the tracker and looks whether it panicked.
fn ends_well(tracker: RunningTracker) {
    serves_others(&tracker);
    let ran = tracker.end_by(Signal::SIGTERM);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
}

#[test]
fn a_wrong_announce_is_answered_with_the_reason() {
    let tracker = RunningTracker::start();
    let right = client(b's', 6881).query(&INFO_HASH, 0, "");
    let with = |from: &str, to: &str| right.replace(from, to);
    let hash = format!("info_hash={}", encoded(&INFO_HASH));
    let wrong = [
        ("/announce".to_owned(), "`info_hash` is missing"),
        ("/announce?".to_owned(), "`info_hash` is missing"),
        (with(&hash, &format!("info_hash={}", "%07".repeat(19))), "20 or 32 bytes, found 19"),
        (with(&hash, &format!("info_hash={}", "%07".repeat(33))), "20 or 32 bytes, found 33"),
        (with(&hash, "info_hash=%0"), "not percent-encoded"),
        (format!("{right}&{hash}"), "is given more than once"),
        (with("peer_id=", "peer_id=x"), "expected a peer id of 20 bytes, found 21"),
        (with("port=6881", "port=0"), "`port`: expected"),
        (with("port=6881", "port=66000"), "`port`: expected"),
        (with("left=0", "left=much"), "`left`: expected"),
        (with("&left=0", ""), "`left` is missing"),
    ];
    for (query, reason) in wrong {
        let answer = get(tracker.http(), &query);
        assert_eq!(answer.status, 200, "{query}");
        let answer = BencodeMap::read(&answer.body);
        assert!(answer.text("failure reason").contains(reason), "{query}: {answer:?}");
    }
    assert_eq!(counts(tracker.http(), &INFO_HASH), [0, 0, 0]);
    let scrape = BencodeMap::read(&get(tracker.http(), "/scrape").body);
    assert!(scrape.text("failure reason").contains("missing"));
    ends_well(tracker);
}

#[test]
fn what_is_not_http_is_refused() {
    let tracker = RunningTracker::start();
    let status = |answer: Option<Answer>| answer.map(|answer| answer.status);
    let post = b"POST /announce HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(status(send(tracker.http(), post)), Some(405));
    for nonsense in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a client that speaks TLS\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET /announce?info_hash=\0\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let refused = status(send(tracker.http(), nonsense));
        assert!(matches!(refused, None | Some(400..500)), "{refused:?}: {nonsense:?}");
    }
    ends_well(tracker);
}

#[test]
fn a_request_of_ten_megabytes_is_cut_off() {
    let tracker = RunningTracker::start();
    let much = "a".repeat(10_000_000);
    let long_uri = format!("GET /announce?info_hash={much} HTTP/1.1\r\nhost: x\r\n\r\n");
    let long_header = format!("GET /health HTTP/1.1\r\nx: {much}\r\n\r\n");
    let many_headers = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100_000));
    for request in [long_uri, long_header, many_headers] {
        let refused = send(tracker.http(), request.as_bytes()).map(|answer| answer.status);
        assert!(matches!(refused, None | Some(400..500)), "{refused:?}");
    }
    let body = format!("GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\n{much}");
    let answer = send(tracker.http(), body.as_bytes()).map(|answer| answer.status);
    assert!(matches!(answer, None | Some(200)), "{answer:?}");
    assert!(resident_kilobytes(&tracker) < 100_000, "{} kB", resident_kilobytes(&tracker));
    ends_well(tracker);
}

#[test]
fn slow_senders_are_cut_off_and_nobody_waits_for_them() {
    let tracker = RunningTracker::start();
    let mut slow: Vec<_> = (0..50).map(|_| connect(tracker.http())).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /announce?info_hash=").unwrap();
    }
    serves_others(&tracker);
    for mut stream in slow {
        // An end, with or without words.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    ends_well(tracker);
}

#[test]
fn an_address_has_its_share_of_connections_and_a_trusted_proxy_any_number() {
    let config = format!("{MEMORY}max_connections_per_address: 3\ntrusted_proxies: [127.0.0.2]\n");
    let tracker = RunningTracker::with(&config, &[]);
    let asks = |stream| exchange(stream, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut own: Vec<_> = (0..3).map(|_| connect(tracker.http())).collect();
    assert!(asks(connect(tracker.http())).is_none());
    let proxied: Vec<_> = (0..9).map(|_| connect_from([127, 0, 0, 2], tracker.http())).collect();
    assert!(proxied.into_iter().all(|stream| asks(stream).is_some()));
    assert!(asks(connect(tracker.http6())).is_some());
    assert!(asks(own.remove(0)).is_some());
    // The end of a connection is heard of soon.
    while asks(connect(tracker.http())).is_none() {}
    let metrics = get(tracker.admin(), "/metrics").text();
    assert!(!metrics.contains("tracker_http_connections_refused_total 0"), "{metrics}");
    drop(own);
    ends_well(tracker);
}

#[test]
fn ten_thousand_idle_connections_take_nothing_from_others() {
    let tracker = RunningTracker::with(&format!("{MEMORY}max_connections_per_address: 10000\n"), &[]);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let idle: Vec<_> = (0..most.saturating_sub(300).min(10_100)).map(|_| connect(tracker.http())).collect();
    serves_others(&tracker);
    assert!(resident_kilobytes(&tracker) < 300_000, "{} kB", resident_kilobytes(&tracker));
    drop(idle);
    ends_well(tracker);
}

#[test]
fn packets_that_are_no_requests_are_not_answered() {
    let tracker = RunningTracker::start();
    let udp = Udp::to(tracker.udp());
    let id = udp.connect();
    let announce = UdpRequest::Announce(ANNOUNCE).encode(id, 5);
    let short = (0..16).map(|length| announce[..length].to_vec());
    let unknown = [3, 4, u32::MAX].map(|action| request(id, action, 5, &[0; 82]));
    let connect_without_protocol_id = request(id, 0, 5, &[]);
    let packets: Vec<_> = short.chain(unknown).chain([connect_without_protocol_id]).collect();
    assert!(udp.is_silent_on(&packets));
    ends_well(tracker);
}

#[test]
fn packets_that_are_too_short_are_answered_with_the_reason() {
    let tracker = RunningTracker::start();
    let udp = Udp::to(tracker.udp());
    let id = udp.connect();
    let announce = UdpRequest::Announce(ANNOUNCE).encode(id, 5);
    for length in 16..98 {
        let answer = udp.ask(&announce[..length]);
        assert_eq!((number(&answer, 0), number(&answer, 4)), (3, 5), "{length}");
    }
    assert_eq!(number(&udp.ask(&announce), 0), 1);
    assert_eq!(number(&udp.ask(&[&announce[..], &[2, 255, 0, 1]].concat()), 0), 1, "options of any form");
    assert_eq!(number(&udp.ask(&request(id, 2, 5, &[0; 19])), 0), 3);
    assert_eq!(udp.ask(&request(id, 2, 5, &[0; 80 * 20])).len(), 8 + 12 * 50);
    let port_0 = UdpRequest::Announce(UdpAnnounce { port: 0, ..ANNOUNCE });
    assert_eq!(number(&udp.ask(&port_0.encode(id, 5)), 0), 3);
    ends_well(tracker);
}

#[test]
fn without_a_connection_id_of_ones_own_nothing_is_done_and_answers_are_short() {
    let tracker = RunningTracker::start();
    let (udp, other) = (Udp::to(tracker.udp()), Udp::to(tracker.udp6()));
    let id = udp.connect();
    for wrong in [0, 1, id ^ 1, id.swap_bytes(), other.connect(), u64::MAX] {
        let packet = UdpRequest::Announce(ANNOUNCE).encode(wrong, 5);
        let answer = udp.ask(&packet);
        assert_eq!((number(&answer, 0), number(&answer, 4)), (3, 5), "{wrong}");
        assert!(answer.len() <= packet.len());
        let scrape = request(wrong, 2, 5, &INFO_HASH);
        assert!(udp.ask(&scrape).len() <= scrape.len());
    }
    let shorter_than_the_reason = [1, 2].map(|action| request(0, action, 5, &[]));
    assert!(udp.is_silent_on(&shorter_than_the_reason));
    assert_eq!(counts(tracker.http(), &INFO_HASH), [0, 0, 0]);
    ends_well(tracker);
}

/// The resident set of a tracker, on Linux.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn resident_kilobytes(tracker: &RunningTracker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", tracker.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
