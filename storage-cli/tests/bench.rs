//! Measuring, with the real command.

mod common;
mod tracker;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::{CommandOutput, MEMORY, command, file, run, run_on};
use serde_json::Value;
use tracker::RunningTracker;

const SHORT: [&str; 4] = ["--duration", "20ms", "--warmup", "5ms"];
const WORKLOADS: [&str; 6] = ["put", "announce", "scrape", "lifecycle", "put-new", "tracker"];

fn bench(more: &[&str]) -> CommandOutput {
    run_on(MEMORY, "bench", &[&SHORT, more].concat())
}

#[test]
fn json_is_an_object_a_workload() {
    let ran = bench(&["--json", "--concurrency", "3", "--swarms", "50", "--peers", "20"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let objects: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = objects.iter().map(|object| object["workload"].as_str().unwrap()).collect();
    assert_eq!(names, WORKLOADS);
    for object in &objects {
        assert_eq!(object["backend"], "memory", "{object}");
        assert_eq!(object["concurrency"], 3, "{object}");
        assert_eq!(object["errors"], 0, "{object}");
        let number = |key: &str| object[key].as_f64().unwrap_or_else(|| panic!("{key} in {object}"));
        for key in ["operations", "seconds", "rate", "max_us", "bytes_per_peer"] {
            assert!(number(key) > 0.0, "{key} in {object}");
        }
        assert!(number("p50_us") <= number("p90_us"), "{object}");
        assert!(number("p90_us") <= number("p99_us"), "{object}");
        assert!(number("p99_us") <= number("max_us"), "{object}");
        assert_eq!(object.as_object().unwrap().len(), 12, "{object}");
    }
}

#[test]
fn the_table_has_a_row_per_workload_in_any_order_of_names() {
    let ran = bench(&["--workload", "scrape", "put", "--swarms", "5"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("memory (embedded"), "{ran:?}");
    let header: Vec<_> = lines[1].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(header, ["workload", "per second", "p50", "p90", "p99", "max", "errors"]);
    let rows: Vec<_> = lines[2..4].iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(rows, ["put", "scrape"]);
    assert!(lines[4].ends_with(" bytes per peer in swarms of 100"), "{ran:?}");
}

#[test]
fn a_tracker_is_measured_over_the_network() {
    let tracker = RunningTracker::start();
    for url in [format!("http://{}/announce", tracker.http()), format!("udp://{}", tracker.udp6())] {
        let sizes = ["--swarms", "20", "--peers", "8", "--concurrency", "3", "--json"];
        let ran = run(&[&["bench", "--announce-url", &url], &SHORT[..], &sizes].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["backend"], url.split(':').next().unwrap(), "{ran:?}");
        assert_eq!((&report["workload"], &report["errors"]), (&"tracker".into(), &0.into()), "{ran:?}");
        assert!(report["operations"].as_u64() > Some(0), "{ran:?}");
        assert!(ran.stderr.contains("info hashes begin with "), "{ran:?}");
    }
}

#[test]
fn a_tracker_that_is_not_there_is_a_finding() {
    for url in ["http://127.0.0.1:9/announce", "udp://127.0.0.1:9"] {
        let ran = run(&[&["bench", "--announce-url", url], &SHORT[..]].concat());
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("a peer cannot start"), "{ran:?}");
    }
    let ran = run(&["bench", "--announce-url", "http://127.0.0.1:9", "--workload", "put"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn an_unknown_workload_is_answered_with_those_there_are() {
    let ran = bench(&["--workload", "graduate"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for name in WORKLOADS {
        assert!(ran.stderr.contains(name), "{name} in {ran:?}");
    }
}

#[test]
fn a_day_reports_what_was_announced_and_the_processor_time() {
    let sizes = ["--workload", "day", "--peers", "1K", "--swarms", "200"];
    let ran = bench(&[&sizes[..], &["--json"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["workload"], &report["errors"]), (&"day".into(), &0.into()), "{ran:?}");
    assert_eq!(report["announces"], report["operations"], "{ran:?}");
    assert!(report["intervals"].as_f64() > Some(0.0), "{ran:?}");
    assert_eq!(report["server_cpu_ms_per_10k"], Value::Null, "{ran:?}");

    let paced = ["--announce-interval", "2s", "--speed", "4", "--server-process", "tracker-storage"];
    let long = ["--duration", "200ms", "--warmup", "10ms"];
    let ran = run_on(MEMORY, "bench", &[&sizes[..], &paced, &long].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().skip(3).collect();
    assert!(lines[0].ends_with(" intervals of 2s; 2000 per second were due"), "{ran:?}");
    assert!(lines[1].starts_with("processor time for 10,000 announces: "), "{ran:?}");
    assert!(lines[1].ends_with(" of tracker-storage"), "{ran:?}");
    let announces: u64 = lines[0].split(' ').next().unwrap().parse().unwrap();
    assert!((100..=500).contains(&announces), "{ran:?}");
}

#[test]
fn options_that_do_not_fit_a_day_are_refused() {
    let refused: [(&[&str], &str); 4] = [
        (&["--speed", "2"], "--speed needs --workload day"),
        (&["--workload", "day", "put"], "cannot be combined with others"),
        (&["--workload", "day", "--peers", "10", "--swarms", "1K"], "1000 swarms need as many peers or more"),
        (&["--workload", "day", "--server-process", "no-such"], "no process is called no-such"),
    ];
    for (arguments, message) in refused {
        let ran = bench(arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(message), "{ran:?}");
    }
}

#[test]
fn no_time_and_no_swarms_are_wrong_usage() {
    for wrong in [["--duration", "0s"], ["--swarms", "0"], ["--peers", "0"], ["--concurrency", "0"]] {
        let ran = bench(&wrong);
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}

#[test]
fn ctrl_c_removes_the_peers_and_ends_with_130() {
    let file = file(MEMORY);
    let arguments = ["bench", "-c", file.to_str().unwrap(), "--duration", "10m", "--json"];
    let mut child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    until(&mut stderr, "put: ");
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let drained = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
    let output = child.wait_with_output().unwrap();
    let said = drained.join().unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert_eq!(output.stdout, b"", "an interrupted measurement is not reported");
    assert!(said.contains("stopping: "), "{said}");
    assert!(!said.contains("not everything was removed"), "{said}");
}

/// Reads until these words come.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn until(stderr: &mut impl std::io::Read, words: &str) {
    let begun = std::time::Instant::now();
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&read).contains(words) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{read:?}");
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{:?}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
}
