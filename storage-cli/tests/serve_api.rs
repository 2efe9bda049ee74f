//! The API at the admin address, on each backend, against its own description.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

mod common;
mod openapi;
mod tracker;

use std::process::ExitCode;
use std::sync::Arc;

use common::{MEMORY, connected, run};
use conformance_tests::chaos::target::{ChaosTarget, TargetServer};
use conformance_tests::harness::unless_missing;
use conformance_tests::runtime::block_on;
use conformance_tests::servers::postgres::Postgres;
use conformance_tests::servers::redis::{Node, Setup};
use conformance_tests::servers::{PgUrl, Servers};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use openapi::Description;
use serde_json::{Value, json};
use tracker::RunningTracker;
use tracker::http::{client, get, send};
use tracker::udp::{Udp, announce};

/// A v2 torrent.
const V2: [u8; 32] = [0xee; 32];

fn main() -> ExitCode {
    let on_memory = |name: &str, case: fn()| {
        Trial::test(name, move || {
            case();
            Ok(())
        })
    };
    let trials = vec![
        on_memory("every_path_answers_as_it_is_described", every_path_answers_as_it_is_described),
        on_memory("swarms_are_listed_and_counted_on_memory", || {
            swarms_are_listed_and_counted(&RunningTracker::with(MEMORY, &[]));
        }),
        on_memory("a_mirror_lists_what_its_primary_has", || {
            let sides = "primary: {name: memory, config: {}}, secondary: {name: memory, config: {}}";
            let config = format!("storage: {{name: mirror, config: {{{sides}}}}}\n");
            swarms_are_listed_and_counted(&RunningTracker::with(&config, &[]));
        }),
        on_memory("what_is_wrong_is_said", what_is_wrong_is_said),
        on_memory("nothing_can_be_changed", nothing_can_be_changed),
        Trial::ignorable_test("swarms_are_listed_and_counted_on_pg", on_pg),
        Trial::ignorable_test("redis_counts_swarms_and_lists_none", || on_redis(redis_counts_and_lists_none)),
        Trial::ignorable_test("a_storage_that_is_away_is_unavailable", || on_redis(a_storage_that_is_away)),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

fn on_pg() -> Result<Completion, Failed> {
    let postgres: Arc<Postgres> = match Postgres::of_a_test() {
        Ok(postgres) => postgres,
        Err(missing) => return unless_missing("pg", missing),
    };
    let target = block_on(ChaosTarget::new(TargetServer::Pg(postgres))).unwrap();
    let url = PgUrl::parse(&target.direct_address()).at(&[target.proxy.address().to_string()]);
    let config = connected(&run(&["example-config", "pg"]).stdout, &url.to_string());
    let tracker = RunningTracker::with(&config, &[]);
    swarms_are_listed_and_counted(&tracker);
    let pool = &Description::of(tracker.admin()).get("/api/stats", 200)["storage"]["pool"];
    let [open, in_use, most] = ["open", "in_use", "max_open"].map(|key| pool[key].as_u64().unwrap());
    assert!(1 <= open && open <= most && in_use <= open, "{pool}");

    let api = Description::of(tracker.admin());
    target.proxy.refuse_new(true);
    target.proxy.close_open();
    let error = api.get("/api/swarms?limit=7", 503);
    assert!(is_away(&error), "{error}");
    target.proxy.refuse_new(false);
    while get(tracker.admin(), "/api/swarms?limit=7").status != 200 {}
    Ok(Completion::Completed)
}

fn on_redis(case: fn(&Node, &RunningTracker)) -> Result<Completion, Failed> {
    let node = match Node::start(&Setup::default()) {
        Ok(node) => node,
        Err(missing) => return unless_missing("redis", missing),
    };
    let config = format!("storage: {{name: redis, config: {{addresses: ['{}']}}}}\n", node.address());
    case(&node, &RunningTracker::with(&config, &[]));
    node.stop();
    Ok(Completion::Completed)
}

fn v1(number: u8) -> [u8; 20] {
    [number; 20]
}

/// Swarms 1 to 3 with so many seeders, a leecher of each, and a leecher of a v2 swarm.
fn in_use(tracker: &RunningTracker) {
    for number in 1..=3 {
        for port in 1..=number {
            client(b's', port.into()).announce(tracker.http(), &v1(number), 0, "");
        }
        Udp::to(tracker.udp6()).announce(&announce(v1(number), b'l', 99, 1));
    }
    client(b'l', 1).announce(tracker.http(), &V2, 9, "");
    client(b'l', 98).announce(tracker.http(), &v1(2), 0, "&event=completed");
}

fn swarm(info_hash: &[u8], [seeders, leechers, downloads]: [u64; 3]) -> Value {
    json!({
        "info_hash": hex::encode(info_hash),
        "seeders": seeders,
        "leechers": leechers,
        "downloads": downloads,
    })
}

fn all() -> [Value; 4] {
    [swarm(&v1(2), [3, 1, 1]), swarm(&v1(3), [3, 1, 0]), swarm(&v1(1), [1, 1, 0]), swarm(&V2, [0, 1, 0])]
}

fn swarms_are_listed_and_counted(tracker: &RunningTracker) {
    in_use(tracker);
    let api = Description::of(tracker.admin());
    let list = api.get("/api/swarms", 200);
    assert_eq!(list["swarms"], json!(all()));
    assert_eq!(list["next_cursor"], Value::Null);
    assert!(list["age_seconds"].as_u64().unwrap() < 60, "{list}");

    for (sort, expected) in [
        ("seeders", all().to_vec()),
        ("downloads", all()[..1].to_vec()),
        ("info_hash", vec![all()[2].clone(), all()[0].clone(), all()[1].clone(), all()[3].clone()]),
    ] {
        assert_eq!(api.get(&format!("/api/swarms?sort={sort}"), 200)["swarms"], json!(expected), "{sort}");
    }

    let (mut paged, mut more) = (Vec::new(), String::new());
    for _ in 0..4 {
        let page = api.get(&format!("/api/swarms?limit=1&sort=peers{more}"), 200);
        paged.extend(page["swarms"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        more = format!("&cursor={next}");
    }
    assert_eq!(paged, all());
    scrapes_are_answered(&api);
}

fn scrapes_are_answered(api: &Description) {
    let (two, unknown) = (hex::encode_upper(v1(2)), "9".repeat(64));
    assert_eq!(api.get(&format!("/api/swarms/{two}"), 200), all()[0]);
    assert_eq!(api.get(&format!("/api/swarms/{unknown}"), 200)["seeders"], 0);
    let target = format!(
        "/api/swarms?info_hash={}&info_hash={two}&info_hash={unknown}&info_hash={two}",
        hex::encode(V2)
    );
    let counts = api.get(&target, 200);
    assert_eq!(counts["swarms"].as_array().unwrap()[..2], [all()[3].clone(), all()[0].clone()]);
    assert_eq!(counts["swarms"].as_array().unwrap().len(), 3, "each once: {counts}");
    assert_eq!(counts["next_cursor"], Value::Null);
}

fn every_path_answers_as_it_is_described() {
    let tracker = RunningTracker::start();
    let api = Description::of(tracker.admin());
    // First while nothing is known yet, and then with something in each part.
    for _ in 0..2 {
        for operation in api.operations() {
            assert_eq!(operation.method, "get", "{}", operation.path);
            for target in operation.examples() {
                api.get(&target, 200);
            }
            if operation.has(400) {
                let wrong = format!("{}?no_such_parameter=1", operation.examples()[0]);
                assert_eq!(api.get(&wrong, 400)["error"]["code"], "unknown_parameter");
            }
        }
        in_use(&tracker);
        while api.get("/api/stats", 200)["leechers"] != 4 {}
    }
    assert_eq!(api.operations().count(), 8);
}

fn what_is_wrong_is_said() {
    let tracker = RunningTracker::start();
    let api = Description::of(tracker.admin());
    let many = "&info_hash=".to_owned() + &"0".repeat(64);
    for (target, code, word) in [
        ("/api/swarms?sort=size", "invalid_parameter", "peers, seeders"),
        ("/api/swarms?limit=501", "invalid_parameter", "500"),
        ("/api/swarms?cursor=seeders-00", "invalid_parameter", "cursor"),
        ("/api/swarms?info_hash=zz", "invalid_parameter", "40 or 64"),
        (&format!("/api/swarms?x{}", many.repeat(100)), "unknown_parameter", "`x`"),
        (&format!("/api/swarms?{}", many.repeat(101)), "invalid_parameter", "100"),
        ("/api/swarms/zz", "invalid_parameter", "40 or 64"),
        ("/api/stats?verbose=1", "unknown_parameter", "verbose"),
    ] {
        let error = api.get(target, 400);
        assert_eq!(error["error"]["code"], code, "{target}");
        assert!(error["error"]["message"].as_str().unwrap().contains(word), "{target}: {error}");
    }
    // As many as may be.
    assert_eq!(
        api.get(&format!("/api/swarms?{}", many.repeat(100)), 200)["swarms"].as_array().unwrap().len(),
        1
    );
    for target in ["/api", "/api/", "/api/swarms/", "/api/peers"] {
        let error = api.error("GET", target, 404);
        assert!(error["error"]["message"].as_str().unwrap().contains("/api/swarms/{info_hash}"), "{error}");
    }
    assert_eq!(get(tracker.admin(), "/nothing").status, 404);
    // The server refuses it before it has read all of it, which may cost the client the answer.
    let too_long = format!("GET /api/swarms?{} HTTP/1.1\r\nhost: x\r\n\r\n", many.repeat(1_000));
    let refused = send(tracker.admin(), too_long.as_bytes());
    assert!(refused.is_none_or(|answer| (400..500).contains(&answer.status)));
    api.get("/api/swarms", 200);
}

fn nothing_can_be_changed() {
    let tracker = RunningTracker::start();
    in_use(&tracker);
    let api = Description::of(tracker.admin());
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for target in ["/api/swarms", "/api/stats", &format!("/api/swarms/{}", hex::encode(V2))] {
            assert_eq!(api.error(method, target, 405)["error"]["code"], "method_not_allowed");
        }
    }
    assert_eq!(api.get("/api/swarms", 200)["swarms"], json!(all()));
    // Pages of other origins may not read it.
    let request =
        b"GET /api/swarms HTTP/1.1\r\nhost: x\r\norigin: https://example.org\r\nconnection: close\r\n\r\n";
    let answer = send(tracker.admin(), request).unwrap();
    assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    let head = send(tracker.admin(), b"HEAD /api/swarms HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(head.is_some_and(|answer| answer.status == 200 && answer.body.is_empty()));
}

fn redis_counts_and_lists_none(_: &Node, tracker: &RunningTracker) {
    in_use(tracker);
    let api = Description::of(tracker.admin());
    for target in ["/api/swarms", "/api/swarms?sort=downloads&limit=1"] {
        let error = api.get(target, 501);
        assert_eq!(error["error"]["code"], "unsupported");
        assert_eq!(error["error"]["capability"], "list swarms");
    }
    scrapes_are_answered(&api);
    let storage = &api.get("/api/stats", 200)["storage"];
    assert_eq!(
        [&storage["pool"]["open"], &storage["pool"]["waiting"]],
        [&storage["pool"]["max_open"], &Value::Null]
    );
    assert_eq!(storage["missing_capabilities"][0]["capability"], "list swarms", "{storage}");
}

fn a_storage_that_is_away(node: &Node, tracker: &RunningTracker) {
    let api = Description::of(tracker.admin());
    let target = format!("/api/swarms/{}", hex::encode(V2));
    api.get(&target, 200);
    node.kill().unwrap();
    let error = api.get(&target, 503);
    assert!(is_away(&error), "{error}");
    api.get(&format!("/api/swarms?info_hash={}", hex::encode(V2)), 503);
    api.get("/api/stats", 200);
    node.start_again().unwrap();
    while get(tracker.admin(), &target).status != 200 {}
    api.get(&target, 200);
}

fn is_away(error: &Value) -> bool {
    ["storage_unavailable", "timeout"].iter().any(|code| error["error"]["code"] == *code)
}
