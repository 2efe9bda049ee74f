//! Moving and comparing with the command, from a real Redis to a real PostgreSQL.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "everything here is a test, though not by that attribute"
)]

mod common;

use std::io::Write;
use std::net::IpAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use conformance_tests::harness::unless_missing;
use conformance_tests::runtime::block_on;
use conformance_tests::servers::redis::{Node, Setup};
use conformance_tests::servers::{Found, Missing, Postgres, Schema, Servers};
use conformance_tests::storages::backends;
use conformance_tests::storages::pg::Design;
use conformance_tests::storages::redis::config;
use libtest_mimic::{Arguments, Completion, Trial};
use storage_core::{DownloadsRecord, InfoHash, Peer, PeerId, PeerRecord, Role, Storage, Timestamp};
use tempfile::TempPath;

use common::{CommandOutput, command, connected, file, run};

fn main() -> ExitCode {
    let test = |name: &str, case: fn(&MigrationSetup)| {
        Trial::ignorable_test(name, move || {
            let setup = match MigrationSetup::set() {
                Ok(setup) => setup,
                Err(missing) => return unless_missing("pg", missing),
            };
            case(&setup);
            block_on(setup.schema.remove())?;
            Ok(Completion::Completed)
        })
    };
    // Others would not like their server to restart.
    let test_of_restarts = |name: &str, case: fn(&MigrationSetup, &Postgres)| {
        Trial::ignorable_test(name, move || {
            let set =
                Postgres::of_a_test().and_then(|server| Ok((MigrationSetup::on(server.clone())?, server)));
            match set {
                Ok((setup, server)) => case(&setup, &server),
                Err(missing) => return unless_missing("pg", missing),
            }
            Ok(Completion::Completed)
        })
    };
    let trials = vec![
        test("everything moves and is compared, and no password is shown", moves),
        test("without anybody to ask nothing is moved", nobody_to_ask),
        test("a dry run asks nothing and writes nothing", dry_run),
        test("what the target cannot take is refused by the missing key", missing_queries),
        test("a missing table is told with the command that prints it", missing_table),
        test("the same storage on both sides is refused", same_storage),
        test("unreadable entries are a finding only if strict", unreadable_entries),
        test("what export prints import takes", export_and_import),
        test("a line that cannot be read is named", unreadable_lines),
        test("Ctrl-C ends it with 130, and it can be started again", interrupted),
        test_of_restarts("killed at random points it comes to the same end", killed),
        test_of_restarts("a source that restarts is waited for", source_restarts),
        test_of_restarts("a target that restarts is waited for", target_restarts),
        test("two million peers within 200 MiB", two_million).with_ignored_flag(true),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

/// An empty Redis that keeps what it has acknowledged, and empty tables.
struct MigrationSetup {
    redis: Node,
    schema: Schema,
    from: TempPath,
    to: TempPath,
}

impl MigrationSetup {
    fn set() -> Found<Self> {
        Self::on(Servers::shared().postgres()?)
    }

    fn on(server: Arc<Postgres>) -> Found<Self> {
        let redis = Node::start(&Setup::default().durable())?;
        let tables = recommended(&[]).tables;
        let schema =
            block_on(Schema::create(server, &tables)).map_err(|error| Missing::Failed(error.to_string()))?;
        let from = format!("storage:\n  name: redis\n  config:\n    addresses: ['{}']\n", redis.address());
        let to = connected(&recommended(&[]).config, &schema.connection_string());
        Ok(Self { redis, schema, from: file(&from), to: file(&to) })
    }

    /// A command on both.
    fn both(&self, command: &str, more: &[&str]) -> Vec<String> {
        let sides = [command, "--from", self.from.to_str().unwrap(), "--to", self.to.to_str().unwrap()];
        sides.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    }

    fn run(&self, command: &str, more: &[&str]) -> CommandOutput {
        let arguments = self.both(command, more);
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, command_name: &str, more: &[&str]) -> Child {
        let arguments = self.both(command_name, more);
        let mut command = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn source(&self) -> Arc<dyn Storage> {
        block_on(backends().open(config(self.redis.settings()))).unwrap().storage
    }

    /// Puts peers and downloads into the source.
    fn fill(&self, peers: u32) {
        let source = self.source();
        for numbers in (0..peers).collect::<Vec<_>>().chunks(20_000) {
            let records: Vec<_> = numbers.iter().map(|number| record(*number)).collect();
            block_on(source.import_peers(&records)).unwrap();
        }
        let downloads =
            |number| DownloadsRecord { info_hash: swarm(number), downloads: 1 + u64::from(number) };
        block_on(source.import_downloads(&(0..100).map(downloads).collect::<Vec<_>>())).unwrap();
        block_on(source.close()).unwrap();
    }

    fn assert_equal(&self) {
        let compared = self.run("verify", &[]);
        assert_eq!(compared.code, Some(0), "{compared:#?}");
        assert!(compared.stdout.ends_with("equal\n"), "{compared:#?}");
    }
}

fn printed(arguments: &[&str]) -> String {
    let ran = run(arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

fn recommended(more: &[&str]) -> Design {
    let config = printed(&[&["example-config", "pg"], more].concat());
    Design { tables: printed(&["schema", "pg"]), config }
}

/// About fifty peers a swarm.
fn swarm(number: u32) -> InfoHash {
    let mut bytes = [7; 20];
    bytes[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    InfoHash::V1(bytes)
}

fn record(number: u32) -> PeerRecord {
    let mut id = *b"-TR4040-000000000000";
    id[16..].copy_from_slice(&number.to_be_bytes());
    let address = match number % 2 {
        0 => IpAddr::from((0x0A00_0000 + number).to_be_bytes()),
        _ => IpAddr::from(((0x2001_0db8_u128 << 96) + u128::from(number)).to_be_bytes()),
    };
    PeerRecord {
        info_hash: swarm(number / 50),
        peer: Peer::new(PeerId(id), address, 6881),
        role: Role::from_is_seeder(number % 4 < 2),
        announced: Timestamp::from_nanoseconds(1_795_361_289_123_456_789 + i64::from(number) * 1_001),
    }
}

fn moves(setup: &MigrationSetup) {
    setup.fill(2_000);
    let moved = setup.run("migrate", &["--yes"]);
    assert_eq!(moved.code, Some(0), "{moved:#?}");
    assert!(moved.stdout.contains("read") && moved.stdout.contains("2000"), "{moved:#?}");
    assert!(moved.stderr.contains("from redis") && moved.stderr.contains("to   pg"), "{moved:#?}");
    let url = setup.schema.connection_string();
    let password = url.split_once(':').unwrap().1.split_once(':').unwrap().1.split_once('@').unwrap().0;
    assert!(!format!("{moved:?}").contains(password));
    setup.assert_equal();
    let told = "2000 peers are older than the source's `peer_lifetime`";
    assert!(moved.stderr.contains(told) && moved.stderr.contains("--skip-stale"), "{moved:#?}");
    let again = setup.run("migrate", &["--yes", "--json", "--only", "peers"]);
    assert!(again.stdout.contains(r#""peers":{"read":2000,"written":0,"kept":2000"#), "{again:#?}");

    let source = setup.source();
    block_on(source.delete_peer(&swarm(0), &record(0).peer, record(0).role)).unwrap();
    let compared = setup.run("verify", &[]);
    assert_eq!(compared.code, Some(1), "{compared:#?}");
    assert!(compared.stdout.contains("1 only at the target"), "{compared:#?}");
    assert!(compared.stdout.contains(&swarm(0).to_string()), "{compared:#?}");
    let told = "1999 peers are older than the source's `peer_lifetime` (1860s)";
    assert!(compared.stderr.contains(told) && compared.stderr.contains("--skip-stale"), "{compared:#?}");
    let without = setup.run("verify", &["--skip-stale"]);
    assert_eq!(without.code, Some(0), "{without:#?}");
    assert!(!without.stderr.contains("older than"), "{without:#?}");
    let told = "1999 stale peers of the source were not compared";
    assert!(without.stderr.contains(told), "{without:#?}");
}

fn nobody_to_ask(setup: &MigrationSetup) {
    setup.fill(10);
    let ran = setup.run("migrate", &[]);
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("--yes"), "{ran:#?}");
    assert!(block_on(setup.schema.rows()).unwrap().values().all(Vec::is_empty));
}

fn dry_run(setup: &MigrationSetup) {
    setup.fill(10);
    let ran = setup.run("migrate", &["--dry-run"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(block_on(setup.schema.rows()).unwrap().values().all(Vec::is_empty));
}

fn missing_queries(setup: &MigrationSetup) {
    let for_mochi =
        file(&connected(&recommended(&["--for", "mochi"]).config, &setup.schema.connection_string()));
    let (from, to) = (setup.from.to_str().unwrap(), for_mochi.to_str().unwrap());
    let ran = run(&["migrate", "--from", from, "--to", to, "--yes"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    for word in ["import.peers_query", "import.downloads_query", "import.data_query", "--only"] {
        assert!(ran.stderr.contains(word), "{word}: {ran:#?}");
    }
}

fn missing_table(setup: &MigrationSetup) {
    let config =
        connected(&recommended(&[]).config.replace("mo_kv", "mo_other"), &setup.schema.connection_string());
    let (from, to) = (setup.from.to_str().unwrap(), file(&config));
    let ran = run(&["migrate", "--from", from, "--to", to.to_str().unwrap(), "--yes"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.stderr.contains("tracker-storage schema pg"), "{ran:#?}");
}

fn same_storage(setup: &MigrationSetup) {
    let to = setup.to.to_str().unwrap();
    let ran = run(&["migrate", "--from", to, "--to", to, "--yes"]);
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("the same storage"), "{ran:#?}");
}

fn unreadable_entries(setup: &MigrationSetup) {
    setup.fill(100);
    let mut spoil = redis::cmd("HSET");
    spoil.arg("CHI_D").arg("no hash").arg(7);
    let _: u32 = setup.redis.ask(&spoil).unwrap();
    let lax = setup.run("migrate", &["--yes"]);
    assert_eq!(lax.code, Some(0), "{lax:#?}");
    assert!(lax.stderr.contains("1 unreadable downloads, the first: `no hash`"), "{lax:#?}");
    assert_eq!(setup.run("migrate", &["--yes", "--strict"]).code, Some(1));
    setup.assert_equal();
}

fn export_and_import(setup: &MigrationSetup) {
    setup.fill(1_500);
    let dump = printed(&["export", "-c", setup.from.to_str().unwrap()]);
    let taken = import(setup, &dump, &[]);
    assert_eq!(taken.code, Some(0), "{taken:#?}");
    assert!(taken.stdout.contains("peers: 1500 written"), "{taken:#?}");
    setup.assert_equal();
    let again = import(setup, &dump, &["--json"]);
    assert!(again.stdout.contains(r#""peers":{"written":0,"kept":1500}"#), "{again:#?}");
}

fn unreadable_lines(setup: &MigrationSetup) {
    setup.fill(2);
    let dump = printed(&["export", "-c", setup.from.to_str().unwrap(), "--only", "peers"]);
    let (header, records) = dump.split_once('\n').unwrap();
    let dump = format!("{header}\n{}", records.replacen('\n', "\nnonsense\n", 1));
    let stopped = import(setup, &dump, &["--stop-on-error"]);
    assert_eq!(stopped.code, Some(1), "{stopped:#?}");
    assert!(stopped.stdout.contains("peers: 1 written"), "{stopped:#?}");
    let went_on = import(setup, &dump, &[]);
    assert_eq!(went_on.code, Some(1), "{went_on:#?}");
    assert!(went_on.stderr.contains("line 3: "), "{went_on:#?}");
    assert!(went_on.stdout.contains("peers: 1 written, 1 kept"), "{went_on:#?}");
}

fn import(setup: &MigrationSetup, dump: &str, more: &[&str]) -> CommandOutput {
    let arguments = [&["import", "-c", setup.to.to_str().unwrap()], more].concat();
    let mut command = command(&arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

fn interrupted(setup: &MigrationSetup) {
    setup.fill(5_000);
    let child = setup.start("migrate", &["--yes", "--rate", "1000/s"]);
    std::thread::sleep(Duration::from_secs(2));
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let ran: CommandOutput = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    assert!(ran.stderr.contains("run the command again"), "{ran:#?}");
    assert_eq!(setup.run("migrate", &["--yes"]).code, Some(0));
    setup.assert_equal();
}

/// Ten times: the command itself, or one of the servers beneath it and then the command.
fn killed(setup: &MigrationSetup, server: &Postgres) {
    setup.fill(40_000);
    for time in 0..10 {
        let mut child = setup.start("migrate", &["--yes", "--rate", "4000/s", "--batch", "100"]);
        a_while();
        match time % 3 {
            0 => {}
            1 => {
                setup.redis.kill().unwrap();
                setup.redis.start_again().unwrap();
                a_while();
            }
            _ => {
                server.crash().unwrap();
                server.start_again().unwrap();
                a_while();
            }
        }
        assert!(child.try_wait().unwrap().is_none(), "it has ended before it could be killed");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ran = setup.run("migrate", &["--yes"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    setup.assert_equal();
}

/// Until it has connected at least, and not until it is done.
fn a_while() {
    std::thread::sleep(Duration::from_millis(rand::random_range(100..1_500)));
}

fn source_restarts(setup: &MigrationSetup, _: &Postgres) {
    setup.fill(5_000);
    let child = setup.start("migrate", &["--yes", "--rate", "2500/s", "--batch", "100"]);
    std::thread::sleep(Duration::from_secs(1));
    setup.redis.kill().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    setup.redis.start_again().unwrap();
    let ran: CommandOutput = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    setup.assert_equal();
}

fn target_restarts(setup: &MigrationSetup, server: &Postgres) {
    setup.fill(5_000);
    let child = setup.start("migrate", &["--yes", "--rate", "2500/s", "--batch", "100"]);
    std::thread::sleep(Duration::from_secs(1));
    server.crash().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    server.start_again().unwrap();
    let ran: CommandOutput = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    setup.assert_equal();
}

/// Takes minutes, so that it runs only when asked for:
/// `cargo test --release -p storage-cli --test migrate -- --ignored --nocapture`.
fn two_million(setup: &MigrationSetup) {
    const PEERS: u32 = 2_000_000;
    setup.fill(PEERS);
    for (command, more) in [("migrate", &["--yes"][..]), ("verify", &[])] {
        let begun = std::time::Instant::now();
        let mut child = setup.start(command, more);
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            peak = peak.max(peak_memory(child.id()).unwrap_or(0));
            std::thread::sleep(Duration::from_millis(100));
        }
        let took = begun.elapsed();
        let ran: CommandOutput = child.wait_with_output().unwrap().into();
        println!(
            "{command}: {took:.1?}, {:.0} peers a second, {peak} KiB of resident memory at most\n{}",
            f64::from(PEERS) / took.as_secs_f64(),
            ran.stdout
        );
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        assert!(peak > 0 && peak < 200 * 1024, "{peak} KiB");
    }
}

/// The most resident memory that a process has had, in KiB.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
