//! Measuring servers in use: whatever happens, they are left as they were.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "everything here is a test, though not by that attribute"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ExitCode, Stdio};

use conformance_tests::harness::unless_missing;
use conformance_tests::runtime::block_on;
use conformance_tests::servers::redis::{Node, Setup};
use conformance_tests::servers::{Found, Schema, Servers};
use conformance_tests::storages::pg::Design;
use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempPath;

use common::{CommandOutput, command, connected, file, run};

/// What a tracker in use keeps.
const IN_USE: &str = r#"{"kind":"peer","info_hash":"1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a","peer_id":"2d5452343034302d616161616161616161616161","address":"192.0.2.1","port":6881,"seeder":true,"announced":"2026-11-22T15:28:09.123456Z"}
{"kind":"peer","info_hash":"1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a","peer_id":"2d5452343034302d626262626262626262626262","address":"2001:db8::1","port":6881,"seeder":false,"announced":"2026-11-22T15:28:09.123456Z"}
{"kind":"downloads","info_hash":"1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a","downloads":7}
{"kind":"data","context":"MW","key":"01","value":"02"}
"#;

type BenchCase = fn(&BenchTarget);

fn main() -> ExitCode {
    let cases: [(&str, BenchCase); 4] = [
        ("all workloads leave a server as it was", all_workloads),
        ("Ctrl-C while it fills leaves a server as it was", |target| interrupted(target, "loading", "put")),
        ("Ctrl-C among new swarms leaves a server as it was", |target| {
            interrupted(target, "put-new", "put-new");
        }),
        ("Ctrl-C among whole announces leaves a server as it was", |target| {
            interrupted(target, "tracker", "tracker");
        }),
    ];
    let on = |backend: &'static str, set: fn() -> Found<BenchTarget>| {
        cases.map(|(name, case)| {
            Trial::ignorable_test(format!("{backend}: {name}"), move || {
                let target = match set() {
                    Ok(target) => target,
                    Err(missing) => return unless_missing(backend, missing),
                };
                target.import();
                case(&target);
                target.remove();
                Ok(Completion::Completed)
            })
        })
    };
    let trials = [on("redis", BenchTarget::redis), on("pg", BenchTarget::pg)].into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

enum BenchServer {
    Redis(Node),
    Pg(Schema),
}

/// A server, and the configuration for it.
struct BenchTarget {
    server: BenchServer,
    file: TempPath,
}

impl BenchTarget {
    fn redis() -> Found<Self> {
        let node = Node::start(&Setup::default())?;
        let config = format!("storage:\n  name: redis\n  config:\n    addresses: ['{}']\n", node.address());
        Ok(Self { server: BenchServer::Redis(node), file: file(&config) })
    }

    fn pg() -> Found<Self> {
        let design =
            Design { tables: printed(&["schema", "pg"]), config: printed(&["example-config", "pg"]) };
        let schema = design.schema()?;
        let config = connected(&design.config, &schema.connection_string());
        Ok(Self { server: BenchServer::Pg(schema), file: file(&config) })
    }

    fn start(&self, name: &str, more: &[&str]) -> Child {
        let mut command = command(&[&[name, "-c", self.file.to_str().unwrap()], more].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run(&self, name: &str, more: &[&str]) -> CommandOutput {
        let ran: CommandOutput = self.start(name, more).wait_with_output().unwrap().into();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    }

    fn import(&self) {
        let mut import = self.start("import", &[]);
        import.stdin.take().unwrap().write_all(IN_USE.as_bytes()).unwrap();
        let ran: CommandOutput = import.wait_with_output().unwrap().into();
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    /// All that the server holds, whether the storage knows of it or not.
    fn held(&self) -> BTreeMap<String, Vec<String>> {
        match &self.server {
            BenchServer::Redis(node) => keys(node),
            BenchServer::Pg(schema) => block_on(schema.content()).unwrap(),
        }
    }

    fn remove(self) {
        match self.server {
            BenchServer::Redis(node) => node.stop(),
            BenchServer::Pg(schema) => block_on(schema.remove()).unwrap(),
        }
    }
}

fn printed(arguments: &[&str]) -> String {
    let ran = run(arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

/// Every key, and what is in it.
fn keys(node: &Node) -> BTreeMap<String, Vec<String>> {
    let read = |name: &str, key: &[u8]| {
        let mut read = redis::cmd(name);
        read.arg(key);
        read
    };
    let keys: Vec<Vec<u8>> = node.ask(&read("KEYS", b"*")).unwrap();
    let content = |key: &[u8]| {
        let kind: String = node.ask(&read("TYPE", key)).unwrap();
        match kind.as_str() {
            "hash" => {
                let fields: BTreeMap<Vec<u8>, Vec<u8>> = node.ask(&read("HGETALL", key)).unwrap();
                fields.iter().map(|field| format!("{field:?}")).collect()
            }
            "set" => {
                let members: BTreeSet<Vec<u8>> = node.ask(&read("SMEMBERS", key)).unwrap();
                members.iter().map(|member| format!("{member:?}")).collect()
            }
            _ => vec![node.ask::<String>(&read("GET", key)).unwrap()],
        }
    };
    keys.iter().map(|key| (format!("{key:?}"), content(key))).collect()
}

fn all_workloads(target: &BenchTarget) {
    let before = target.held();
    let small = ["--swarms", "30", "--peers", "20", "--concurrency", "8"];
    let ran =
        target.run("bench", &[&small[..], &["--duration", "200ms", "--warmup", "20ms", "--json"]].concat());
    assert_eq!(ran.stdout.lines().count(), 6, "{ran:?}");
    assert_eq!(target.held(), before, "{ran:?}");
}

/// Ctrl-C as soon as the command reports `phase`.
fn interrupted(target: &BenchTarget, phase: &str, workload: &str) {
    let before = target.held();
    // So many that loading takes long enough to be reported.
    let (swarms, peers) = if phase == "loading" { ("20000", "500") } else { ("100", "100") };
    let many = ["--swarms", swarms, "--peers", peers, "--concurrency", "8"];
    let arguments = [&many[..], &["--workload", workload, "--duration", "10m"]].concat();
    let mut child = target.start("bench", &arguments);
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains(&format!("{phase}: ")) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let drained = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
    let output = child.wait_with_output().unwrap();
    said += &drained.join().unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(!said.contains("not everything was removed"), "{said}");
    assert_eq!(target.held(), before, "{said}");
}
