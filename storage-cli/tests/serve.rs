//! A tracker that serves: what clients get, over HTTP and UDP, IPv4 and IPv6.

mod common;
mod tracker;

use std::net::Ipv6Addr;

use common::{command, file};
use nix::sys::signal::Signal;
use storage_cli::bep15::{UdpAnnounce, UdpResponse};
use storage_core::{AnnounceEvent, SwarmCounts};
use tracker::RunningTracker;
use tracker::http::{client, counts, get, get_with, scrape};
use tracker::udp::{Udp, announce, error, peers, request};

const V1: [u8; 20] = [0xfe; 20];
const V2: [u8; 32] = [0xfe; 32];

const LEECHER: UdpAnnounce = UdpAnnounce { event: AnnounceEvent::Started, ..announce(V1, b'L', 6881, 9) };
const SEEDER: UdpAnnounce = announce(V1, b'S', 6882, 0);

#[test]
fn a_download_over_http_from_its_start_to_its_end() {
    let tracker = RunningTracker::start();
    let (seeder, leecher) = (client(b's', 6881), client(b'l', 6882));
    let first = seeder.announce(tracker.http(), &V1, 0, "&event=started");
    assert_eq!((first.bytes("peers"), first.bytes("peers6")), (&b""[..], &b""[..]));
    assert_eq!((first.number("interval"), first.number("min interval")), (1800, 900));

    let answer = leecher.announce(tracker.http(), &V1, 9, "&event=started&compact=1");
    assert_eq!(answer.bytes("peers"), b"\x7f\0\0\x01\x1a\xe1");
    assert_eq!(answer.counts(), [1, 1, 0]);
    let answer = leecher.announce(tracker.http(), &V1, 0, "&event=completed");
    assert_eq!(answer.counts(), [2, 0, 1]);
    assert_eq!(answer.bytes("peers"), b"", "a seeder needs no seeders");
    assert_eq!(counts(tracker.http(), &V1), [2, 0, 1]);
    for client in [&seeder, &leecher] {
        client.announce(tracker.http(), &V1, 0, "&event=stopped");
    }
    assert_eq!(counts(tracker.http(), &V1), [0, 0, 1]);
}

#[test]
fn a_download_over_udp_from_its_start_to_its_end() {
    let tracker = RunningTracker::start();
    let udp = Udp::to(tracker.udp());
    udp.announce(&SEEDER);
    let answer = udp.announce(&LEECHER);
    let peers = vec![([127, 0, 0, 1], 6882).into()];
    assert_eq!(answer, UdpResponse::Announce { interval: 1800, leechers: 1, seeders: 1, peers });
    udp.announce(&UdpAnnounce { left: 0, event: AnnounceEvent::Completed, ..LEECHER });
    assert_eq!(udp.scrape(V1), SwarmCounts { seeders: 2, leechers: 0, downloads: 1 });
    udp.announce(&UdpAnnounce { left: 0, event: AnnounceEvent::Stopped, ..LEECHER });
    udp.announce(&UdpAnnounce { event: AnnounceEvent::Stopped, ..SEEDER });
    assert_eq!(udp.scrape(V1), SwarmCounts { seeders: 0, leechers: 0, downloads: 1 });
    assert_eq!(counts(tracker.http(), &V1), [0, 0, 1], "it is one tracker");
}

#[test]
fn peers_of_the_other_family_are_returned_where_they_fit() {
    let tracker = RunningTracker::start();
    client(b'4', 1).announce(tracker.http(), &V1, 0, "");
    client(b'6', 2).announce(tracker.http6(), &V1, 0, "");
    let mut ipv6 = [0; 18];
    ipv6[15] = 1;
    ipv6[17] = 2;
    for address in [tracker.http(), tracker.http6()] {
        let answer = client(b'l', 3).announce(address, &V1, 9, "");
        assert_eq!((answer.bytes("peers"), answer.bytes("peers6")), (&b"\x7f\0\0\x01\0\x01"[..], &ipv6[..]));
    }
    let preferred = client(b'l', 3).announce(tracker.http6(), &V1, 9, "&numwant=1");
    assert_eq!((preferred.bytes("peers"), preferred.bytes("peers6")), (&b""[..], &ipv6[..]));
    let answer = Udp::to(tracker.udp6()).announce(&UdpAnnounce { num_want: 1, ..LEECHER });
    let expected = vec![(Ipv6Addr::LOCALHOST, 2).into()];
    assert_eq!(peers(answer), expected, "a packet has peers of one family");
}

#[test]
fn peers_are_dictionaries_for_who_wants_them_so() {
    let tracker = RunningTracker::start();
    let seeder = client(b's', 6881);
    seeder.announce(tracker.http6(), &V1, 0, "");
    let leecher = client(b'l', 6882);
    let peer = leecher.announce(tracker.http(), &V1, 9, "&compact=0").list("peers").remove(0);
    assert_eq!((peer.bytes("peer id"), peer.text("ip"), peer.number("port")), (&seeder.id[..], "::1", 6881));
    let peers = leecher.announce(tracker.http(), &V1, 9, "&compact=0&no_peer_id=1").list("peers");
    assert!(!peers[0].has("peer id"));
}

#[test]
fn v1_and_v2_hashes_name_swarms_of_their_own() {
    let tracker = RunningTracker::start();
    client(b's', 1).announce(tracker.http(), &V1, 0, "");
    client(b's', 1).announce(tracker.http(), &V2, 9, "");
    let files = scrape(tracker.http(), &[&V1, &V2, &[0; 20]]).within("files");
    assert_eq!(files.within(V1).counts(), [1, 0, 0]);
    assert_eq!(files.within(V2).counts(), [0, 1, 0]);
    assert_eq!(files.within([0; 20]).counts(), [0, 0, 0]);
}

#[test]
fn limits_and_intervals_are_those_of_the_file() {
    let config = "storage: {name: memory}\nannounce_interval: 10m\nmin_announce_interval: 5m\n\
                  max_numwant: 3\ndefault_numwant: 2\nmax_scrape_infohashes: 1\n";
    let tracker = RunningTracker::with(config, &[]);
    for letter in b'a'..=b'e' {
        client(letter, letter.into()).announce(tracker.http(), &V1, 0, "");
    }
    for (asked, expected) in [("", 2), ("&numwant=-1", 2), ("&numwant=1", 1), ("&numwant=99", 3)] {
        let answer = client(b'l', 1).announce(tracker.http(), &V1, 9, asked);
        assert_eq!(answer.bytes("peers").len(), 6 * expected, "{asked}");
        assert_eq!((answer.number("interval"), answer.number("min interval")), (600, 300));
    }
    let udp = Udp::to(tracker.udp());
    for (num_want, expected) in [(-1, 2), (i32::MIN, 2), (1, 1), (99, 3), (0, 0)] {
        let answer = udp.announce(&UdpAnnounce { num_want, ..LEECHER });
        assert_eq!(peers(answer).len(), expected, "{num_want}");
    }
    let answer = udp.ask(&request(udp.connect(), 2, 6, &[V1, [0; 20]].concat()));
    assert_eq!(answer.len(), 8 + 12);
    let files = scrape(tracker.http(), &[&V1, &[0; 20]]).within("files");
    assert!(files.has(V1) && !files.has([0; 20]));
}

#[test]
fn an_answer_over_udp_fits_a_packet_of_ipv6_unless_configured_otherwise() {
    for (more, expected) in [("", 67), ("max_udp_answer: 4096\n", 100)] {
        let tracker = RunningTracker::with(&format!("storage: {{name: memory}}\n{more}"), &[]);
        let udp = Udp::to(tracker.udp6());
        for peer in 100..=250 {
            udp.announce(&UdpAnnounce { num_want: 0, ..announce(V1, peer, peer.into(), 9) });
        }
        let found = peers(udp.announce(&UdpAnnounce { num_want: 100, ..LEECHER }));
        assert_eq!(found.len(), expected, "{more}");
    }
}

#[test]
fn answers_over_udp_come_from_the_address_that_was_asked() {
    let tracker = RunningTracker::with("storage: {name: memory}\n", &["--udp", "0.0.0.0:0"]);
    // The address printed after those that every tracker of these tests has.
    let port = tracker.last_udp().port();
    for asked in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
        // A connected socket receives from the address that it asked, and from no other.
        let udp = Udp::to(format!("{asked}:{port}").parse().unwrap());
        assert_eq!(error(&udp.announce(&LEECHER)), None, "{asked}");
    }
}

#[test]
fn clients_need_not_wait_longer_than_they_are_asked_to() {
    let tracker = RunningTracker::with("storage: {name: memory}\nannounce_interval: 5m\n", &[]);
    let answer = client(b'l', 1).announce(tracker.http(), &V1, 9, "");
    assert_eq!((answer.number("interval"), answer.number("min interval")), (300, 300));
}

#[test]
fn a_client_has_the_address_that_a_trusted_proxy_names() {
    let config = "storage: {name: memory}\nreal_ip_header: X-Real-IP\ntrusted_proxies: [127.0.0.0/8]\n";
    let tracker = RunningTracker::with(config, &[]);
    let query = client(b's', 1).query(&V1, 0, "");
    get_with(tracker.http(), &query, "x-real-ip: 192.0.2.7\r\n");
    get_with(tracker.http6(), &query, "x-real-ip: 192.0.2.8\r\n");
    let answer = client(b'l', 2).announce(tracker.http(), &V1, 9, "");
    assert_eq!(answer.bytes("peers"), b"\xc0\0\x02\x07\0\x01");
    assert_eq!(answer.bytes("peers6").len(), 18, "nobody trusts ::1");
}

#[test]
fn a_flood_from_one_address_is_refused_and_others_are_served() {
    let config = "storage: {name: memory}\nreal_ip_header: X-Real-IP\ntrusted_proxies: [127.0.0.0/8]\n\
                  max_requests_per_address: 1\nmax_burst_per_address: 20\n";
    let tracker = RunningTracker::with(config, &[]);
    let announce = |peer: u8, from: &str| {
        let path = format!(
            "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-TR4040-abcdefghi{peer:03}&port=6881&left=5"
        );
        let answer = get_with(tracker.http(), &path, &format!("X-Real-IP: {from}\r\n"));
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    let flood: Vec<_> = (0..100).map(|peer| announce(peer, "192.0.2.1")).collect();
    let refused =
        flood.iter().filter(|answer| answer.contains("too many requests from this address")).count();
    assert!((60..=80).contains(&refused), "{refused}");
    assert!(announce(100, "192.0.2.2").contains("complete"));
    assert!(announce(101, "2001:db8::1").contains("complete"));
    let answer = announce(102, "198.51.100.1");
    assert!(
        answer.contains("5:peers12:"),
        "over 20 peer ids at one address and port are told once: {answer}"
    );
    let metrics = get(tracker.admin(), "/metrics").text();
    let limited = r#"tracker_requests_total{action="announce",outcome="limited",protocol="http"} "#;
    assert!(metrics.contains(&format!("{limited}{refused}\n")), "{metrics}");
}

#[test]
fn a_full_storage_refuses_new_clients_and_counts_them() {
    let tracker = RunningTracker::with("storage: {name: memory, config: {max_peers: 1}}\n", &[]);
    client(b'a', 1).announce(tracker.http(), &V1, 0, "");
    let answer = Udp::to(tracker.udp()).announce(&LEECHER);
    assert_eq!(error(&answer), Some("the tracker is full at this time"));
    client(b'a', 1).announce(tracker.http(), &V1, 0, "");
    let metrics = get(tracker.admin(), "/metrics").text();
    let full = r#"tracker_requests_total{action="announce",outcome="full",protocol="udp"} 1"#;
    assert!(metrics.contains(full), "{metrics}");
}

#[test]
fn forwarded_names_the_client() {
    let config = "storage: {name: memory}\nreal_ip_header: Forwarded\ntrusted_proxies: [127.0.0.0/8]\n";
    let tracker = RunningTracker::with(config, &[]);
    let query = client(b's', 1).query(&V1, 0, "");
    let header = "Forwarded: for=203.0.113.1, for=\"192.0.2.7:4711\";proto=https, for=127.0.0.2\r\n";
    get_with(tracker.http(), &query, header);
    get_with(tracker.http(), &query, "Forwarded: For=\"[2001:db8::1]:4711\"\r\n");
    let answer = client(b'l', 2).announce(tracker.http(), &V1, 9, "");
    assert_eq!(answer.bytes("peers"), b"\xc0\0\x02\x07\0\x01");
    assert_eq!(answer.bytes("peers6")[..4], [0x20, 1, 0x0d, 0xb8]);
    let hidden = get_with(tracker.http(), &query, "Forwarded: for=192.0.2.9, for=_hidden\r\n").text();
    assert_eq!(hidden, "d14:failure reason48:the proxy did not send the address of the cliente");
}

#[test]
fn announces_are_served_at_the_routes_of_the_file() {
    let query = client(b's', 1).query(&V1, 0, "").replace("/announce", "");
    let status = |tracker: &RunningTracker, path: &str| get(tracker.http(), &format!("{path}{query}")).status;
    let tracker = RunningTracker::start();
    for (path, expected) in [("/announce/", 200), ("/announce.php", 404), ("/passkey/announce", 404)] {
        assert_eq!(status(&tracker, path), expected, "{path}");
    }
    let config =
        "storage: {name: memory}\nannounce_routes: [/announce, announce.php, '/:passkey/announce']\n";
    let tracker = RunningTracker::with(config, &[]);
    for path in ["/announce", "/announce/", "/announce.php", "/0123456789abcdef/announce"] {
        assert_eq!(status(&tracker, path), 200, "{path}");
    }
    for path in ["/scrape", "/scrape.php", "/0123456789abcdef/scrape"] {
        assert_eq!(status(&tracker, path), 200, "{path}");
    }
    assert_eq!(status(&tracker, "/a/b/announce"), 404);
}

#[test]
fn an_address_in_the_request_counts_only_where_that_is_allowed() {
    for (allow, expected) in [(true, b"\xc0\0\x02\x09\0\x01"), (false, b"\x7f\0\0\x01\0\x01")] {
        let config = format!("storage: {{name: memory}}\nallow_ip_spoofing: {allow}\n");
        let tracker = RunningTracker::with(&config, &[]);
        client(b's', 1).announce(tracker.http(), &V1, 0, "&ip=192.0.2.9");
        let answer = client(b'l', 2).announce(tracker.http(), &V1, 9, "");
        assert_eq!(answer.bytes("peers"), expected);
    }
}

#[test]
fn connections_are_kept_for_who_wants_that() {
    use std::io::{Read, Write};
    let tracker = RunningTracker::start();
    let mut stream = tracker::http::connect(tracker.http());
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: tracker\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    }
}

#[test]
fn the_port_of_the_tracker_has_announces_scrapes_and_health_alone() {
    let tracker = RunningTracker::start();
    assert_eq!(get(tracker.http(), "/health").text(), "ok\n");
    for path in ["/", "/stats", "/metrics", "/announces", "/favicon.ico"] {
        assert_eq!(get(tracker.http(), path).status, 404, "{path}");
    }
}

#[test]
fn sigterm_is_success_and_ctrl_c_is_not() {
    use std::io::Write;
    for (signal, code) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 130)] {
        let tracker = RunningTracker::start();
        let address = tracker.http();
        let _idle = tracker::http::connect(address);
        let mut half = tracker::http::connect(address);
        half.write_all(b"GET /annou").unwrap();
        client(b's', 1).announce(address, &V1, 0, "");
        let ran = tracker.end_by(signal);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(!ran.stderr.contains("in time"), "nobody asked anything: {ran:?}");
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}

#[test]
fn an_address_in_use_is_named() {
    let tracker = RunningTracker::start();
    let taken = tracker.http().to_string();
    let ran: common::CommandOutput =
        command(&["serve", "--http", &taken, "--udp", "none", "--admin", "none"]).output().unwrap().into();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains(&format!("--http: cannot listen on {taken}")), "{ran:?}");
}

#[test]
fn without_a_file_the_environment_may_name_the_storage() {
    let serve = ["serve", "--http", "127.0.0.1:0", "--udp", "none", "--admin", "none"];
    let ran: common::CommandOutput =
        command(&serve).env("TRACKER_STORAGE__NAME", "memroy").output().unwrap().into();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("environment: `name`: there is no backend `memroy`"), "{ran:?}");
}

#[test]
fn each_wrong_setting_is_a_finding_that_names_the_way_out() {
    let wrong = [
        ("announce_interval: often", &["`announce_interval`: expected a duration"] as &[_]),
        ("announce_interval: 1m\nmin_announce_interval: 2m", &["longer than `announce_interval`"]),
        ("max_numwant: 0\nmax_scrape_infohashes: many", &["`max_numwant`", "`max_scrape_infohashes`"]),
        ("real_ip_header: X-Real-IP", &["`real_ip_header`: needs `trusted_proxies`"]),
        ("trusted_proxies: [home]", &["`trusted_proxies`: expected addresses or networks"]),
        (
            "announce_routes: [/a]\nscrape_routes: [/a]",
            &["`scrape_routes`: contains a route of `announce_routes`"],
        ),
        ("approval: {}", &["`approval.context`: is missing"]),
        ("approval: {context: I}", &["`approval.context`", "reserved"]),
        ("aproval: {context: approved}", &["`aproval`: unknown key; did you mean `approval`?"]),
        ("prehooks: [{name: jwt}]\nposthooks: [{name: log}]", &["`jwt`", "`log`", "--ignore-hooks"]),
    ];
    for (config, words) in wrong {
        let file = file(&format!("storage: {{name: memory}}\n{config}\n"));
        let ran = common::run(&["serve", "-c", file.to_str().unwrap()]);
        assert_eq!(ran.code, Some(1), "{config}: {ran:?}");
        for word in words {
            assert!(ran.stderr.contains(word), "{config} without {word}: {ran:?}");
        }
        assert!(ran.stderr.starts_with(&format!("error: {}", file.to_str().unwrap())), "{ran:?}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let wrong: [&[&str]; 4] = [
        &["serve", "--http", "localhost"],
        &["serve", "--http", "none", "--udp", "none"],
        &["serve", "--http", "none", "--http", "127.0.0.1:0"],
        &["serve", "-c", "/nonexistent.yaml"],
    ];
    for arguments in wrong {
        let ran = common::run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
    }
}

/// Before anything happens to it: alerts compare with what was.
#[test]
fn metrics_of_a_mirror_are_there_from_the_start() {
    let sides = "primary: {name: memory, config: {}}, secondary: {name: memory, config: {}}";
    let tracker = RunningTracker::with(&format!("storage: {{name: mirror, config: {{{sides}}}}}\n"), &[]);
    let metrics = get(tracker.admin(), "/metrics").text();
    for metric in ["missed_writes_total", "queued_writes", "suspended"] {
        let line = format!("tracker_storage_mirror_{metric}{{backend=\"mirror\"}} 0\n");
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
}
