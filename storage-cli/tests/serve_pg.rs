//! A tracker on a database whose tables change, whose sessions hang, and whose clients hang up.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

mod common;
mod tracker;

use std::io::Write;
use std::net::TcpStream;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{command, connected, file, run};
use conformance_tests::chaos::target::{ChaosTarget, ROLE, TargetServer};
use conformance_tests::harness::unless_missing;
use conformance_tests::runtime::block_on;
use conformance_tests::servers::postgres::Postgres;
use conformance_tests::servers::{PgUrl, Servers};
use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::AssertSqlSafe;
use sqlx::{Connection, PgConnection};
use tracker::RunningTracker;
use tracker::http::{client, connect, counts, get};

const SWARM: [u8; 20] = [1; 20];

/// All that stopping may take.
const STOP: Duration = Duration::from_secs(10);

/// A server with the recommended tables, the proxy before it, and what the tracker needs to know.
struct TrackedServer {
    target: ChaosTarget,
    config: String,
}

fn main() -> ExitCode {
    let test = |name: &str, case: fn(&TrackedServer)| {
        Trial::ignorable_test(name, move || {
            let postgres = match Postgres::of_a_test() {
                Ok(postgres) => postgres,
                Err(missing) => return unless_missing("pg", missing),
            };
            let target = block_on(ChaosTarget::new(TargetServer::Pg(postgres))).unwrap();
            let url = PgUrl::parse(&target.direct_address()).at(&[target.proxy.address().to_string()]);
            let config = connected(&run(&["example-config", "pg"]).stdout, &url.to_string());
            case(&TrackedServer { target, config });
            Ok(Completion::Completed)
        })
    };
    let trials = vec![
        test("health_is_what_clients_get", health_is_what_clients_get),
        test("health_is_probed_where_there_are_no_clients", health_is_probed_where_there_are_no_clients),
        test("frozen_sessions_do_not_keep_it_from_stopping", frozen_sessions_do_not_keep_it_from_stopping),
        test("it_stops_while_it_starts", it_stops_while_it_starts),
        test("clients_that_hang_up_cost_no_sessions", clients_that_hang_up_cost_no_sessions),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

impl TrackedServer {
    fn tracker(&self) -> RunningTracker {
        RunningTracker::with(&self.config, &[])
    }

    fn postgres(&self) -> &Arc<Postgres> {
        let TargetServer::Pg(postgres) = &self.target.server else { unreachable!("it was started as that") };
        postgres
    }

    fn connect(&self) -> PgConnection {
        block_on(self.postgres().connect()).unwrap()
    }

    fn execute(&self, script: &str) {
        let mut connection = self.connect();
        block_on(sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection)).unwrap();
    }
}

/// On the public and on the operator's address.
fn health(tracker: &RunningTracker) -> [u16; 2] {
    [tracker.http(), tracker.admin()].map(|address| get(address, "/health").status)
}

fn wait_for_health(tracker: &RunningTracker, awaited: u16) {
    while health(tracker) != [awaited; 2] {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A table that an operator changes, and changes back.
const RENAME: &str = "ALTER TABLE mo_peers RENAME TO old_peers";
const RENAME_BACK: &str = "ALTER TABLE old_peers RENAME TO mo_peers";

fn health_is_what_clients_get(setup: &TrackedServer) {
    let tracker = setup.tracker();
    assert_eq!(health(&tracker), [200, 200]);
    setup.execute(RENAME);
    for number in 1..26 {
        let answer = client(b's', number).announce(tracker.http(), &SWARM, 0, "");
        assert!(answer.has("failure reason"), "{answer:?}");
    }
    let asked = Instant::now();
    assert_eq!(health(&tracker), [503, 503]);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    setup.execute(RENAME_BACK);
    for number in 1..61 {
        let answer = client(b's', number).announce(tracker.http(), &SWARM, 0, "");
        assert!(!answer.has("failure reason"), "{answer:?}");
    }
    assert_eq!(health(&tracker), [200, 200]);
    let ended = tracker.end_by(Signal::SIGTERM);
    assert_eq!(ended.code, Some(0));
    for line in ["the storage is failing", "the storage works again"] {
        assert_eq!(ended.stderr.matches(line).count(), 1, "{}", ended.stderr);
    }
}

fn health_is_probed_where_there_are_no_clients(setup: &TrackedServer) {
    let tracker = setup.tracker();
    setup.execute(RENAME);
    wait_for_health(&tracker, 503);
    setup.execute(RENAME_BACK);
    wait_for_health(&tracker, 200);
    // A probe leaves no trace.
    let traces = "SELECT (SELECT count(*) FROM mo_peers) + (SELECT count(*) FROM mo_swarms)
                  + (SELECT count(*) FROM mo_downloads) + (SELECT count(*) FROM mo_kv)";
    let traces: i64 = block_on(sqlx::query_scalar(traces).fetch_one(&mut setup.connect())).unwrap();
    assert_eq!(traces, 0);
}

/// Sends an announce and waits for nothing.
fn send(tracker: &RunningTracker, number: u16, left: u64, more: &str) -> TcpStream {
    let mut stream = connect(tracker.http());
    let query = client(b'l', number).query(&SWARM, left, more);
    stream.write_all(format!("GET {query} HTTP/1.1\r\nhost: tracker\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn frozen_sessions_do_not_keep_it_from_stopping(setup: &TrackedServer) {
    let tracker = setup.tracker();
    client(b's', 1).announce(tracker.http(), &SWARM, 0, "");
    let frozen = block_on(setup.postgres().freeze_sessions(ROLE)).unwrap();
    assert!(!frozen.is_empty());
    let _hanging: Vec<_> = (1..101).map(|number| send(&tracker, number, 9, "")).collect();
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    let ended = tracker.end_by(Signal::SIGTERM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(begun.elapsed() < STOP, "{:?}", begun.elapsed());
}

fn it_stops_while_it_starts(setup: &TrackedServer) {
    let _frozen = setup.postgres().freeze().unwrap();
    let config = file(&setup.config);
    let mut serve = command(&["serve", "-c", config.to_str().unwrap(), "--http", "127.0.0.1:0"]);
    serve.args(["--udp", "none", "--admin", "none"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = serve.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    kill(Pid::from_raw(process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(begun.elapsed() < STOP, "{:?}", begun.elapsed());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn clients_that_hang_up_cost_no_sessions(setup: &TrackedServer) {
    const CLIENTS: u16 = 200;
    let tracker = setup.tracker();
    for number in 1..=CLIENTS {
        client(b'l', number).announce(tracker.http(), &SWARM, 9, "");
    }
    let before = setup.target.proxy.accepted();
    // Completions wait for this row.
    let mut holder = setup.connect();
    let mut transaction = block_on(holder.begin()).unwrap();
    let lock = "INSERT INTO mo_downloads VALUES (decode(repeat('01', 20), 'hex'), 1)";
    block_on(sqlx::raw_sql(lock).execute(&mut *transaction)).unwrap();
    for number in 1..=CLIENTS {
        drop(send(&tracker, number, 0, "&event=completed"));
    }
    std::thread::sleep(Duration::from_secs(1));
    block_on(transaction.commit()).unwrap();

    // Others are served.
    let downloads = counts(tracker.http(), &SWARM)[2];
    let answer = client(b'o', 1).announce(tracker.http(), &SWARM, 0, "&event=completed");
    assert!(!answer.has("failure reason"), "{answer:?}");
    assert!(counts(tracker.http(), &SWARM)[2] > downloads);
    let new = setup.target.proxy.accepted() - before;
    assert!(new <= 8, "{new} sessions for {CLIENTS} clients");
    assert_eq!(tracker.end_by(Signal::SIGTERM).code, Some(0));
}
