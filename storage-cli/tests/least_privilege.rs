//! The command with a user that has only the privileges of the example configuration.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

mod common;

use std::process::ExitCode;

use common::{CommandOutput, file, run};
use conformance_tests::harness::unless_missing;
use conformance_tests::servers::Servers;
use conformance_tests::servers::redis::{Login, Node, Rights, Setup};
use libtest_mimic::{Arguments, Completion, Trial};
use tempfile::TempPath;

const HASH: &str = "0101010101010101010101010101010101010101";

fn main() -> ExitCode {
    let test = |name: &str, case: fn(&Node, &Node)| {
        Trial::ignorable_test(name, move || {
            let start = || Node::start(&Setup::default());
            match (start(), start()) {
                (Ok(from), Ok(to)) => case(&from, &to),
                (Err(missing), _) | (_, Err(missing)) => return unless_missing("redis", missing),
            }
            Ok(Completion::Completed)
        })
    };
    let trials = vec![
        test("every command needs no more than the example says", every_command),
        test("a user without what is dangerous is served and told", without_dangerous),
        test("keys of another type are counted and named", keys_of_another_type),
        test("a database of another program is told", database_of_another_program),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

fn config(node: &Node, login: Option<&Login>) -> TempPath {
    let user = login.map(|Login { name, password }| format!(", login: {name}, password: {password}"));
    let address = node.address();
    file(&format!(
        "storage: {{name: redis, config: {{addresses: ['{address}']{}}}}}\n",
        user.unwrap_or_default()
    ))
}

fn on(config: &TempPath, command: &[&str], more: &[&str]) -> CommandOutput {
    done(&[command, &["-c", config.to_str().unwrap()], more].concat())
}

fn between(command: &str, from: &TempPath, to: &TempPath, more: &[&str]) -> CommandOutput {
    done(&[&[command, "--from", from.to_str().unwrap(), "--to", to.to_str().unwrap()], more].concat())
}

fn done(arguments: &[&str]) -> CommandOutput {
    let ran = run(arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:#?}");
    ran
}

fn fill(node: &Node) {
    let peer = b"-TR4040-abcdefghijkl\x1A\xE1\xC0\x00\x02\x01";
    let key = [b"CHI_S4_".as_slice(), &[1; 20]].concat();
    node.ask::<()>(redis::cmd("HSET").arg(&key).arg(peer.as_slice()).arg("1795361289097667000")).unwrap();
    node.ask::<()>(redis::cmd("SADD").arg("CHI_I").arg(&key)).unwrap();
    node.ask::<()>(redis::cmd("HSET").arg("CHI_D").arg([1_u8; 20].as_slice()).arg(3)).unwrap();
    node.ask::<()>(redis::cmd("HSET").arg("CHI_MW").arg("key").arg("value")).unwrap();
}

fn use_all(from: &Node, to: &Node, login: &Login) {
    fill(from);
    let (source, target) = (config(from, Some(login)), config(to, Some(login)));
    let checked = on(&source, &["check"], &[]);
    for told in ["refuses INFO", "`+info`", "refuses CONFIG GET", "`+config|get`", "single node"] {
        assert!(checked.stdout.contains(told), "{told}: {checked:#?}");
    }
    between("migrate", &source, &target, &["--yes"]);
    let verified = between("verify", &source, &target, &[]);
    assert!(verified.stdout.ends_with("equal\n"), "{verified:#?}");
    let swarm = on(&target, &["swarm", "show"], &[HASH]);
    assert!(swarm.stdout.contains("192.0.2.1"), "{swarm:#?}");
    on(&target, &["data", "get"], &["--context", "MW", "--text", "key"]);
    for command in ["ping", "stats", "export", "gc"] {
        on(&target, &[command], &[]);
    }
    on(&target, &["conformance"], &[]);
    on(&target, &["swarm", "remove"], &[HASH, "--yes"]);
    on(&target, &["data", "delete"], &["--context", "MW", "--text", "key", "--yes"]);
}

fn every_command(from: &Node, to: &Node) {
    let login = Login::new("tracker");
    for node in [from, to] {
        Rights::Data.grant(node, &login).unwrap();
    }
    use_all(from, to, &login);
}

fn without_dangerous(from: &Node, to: &Node) {
    let login = Login::new("tracker");
    for node in [from, to] {
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER").arg(login.name).arg("on").arg(format!(">{}", login.password));
        node.ask::<()>(user.arg(&["+@all", "-@admin", "-@dangerous", "~CHI_*"])).unwrap();
    }
    use_all(from, to, &login);
}

fn keys_of_another_type(from: &Node, to: &Node) {
    fill(from);
    let key = [b"CHI_L4_".as_slice(), &[1; 20]].concat();
    from.ask::<()>(redis::cmd("SET").arg(&key).arg("secret")).unwrap();
    from.ask::<()>(redis::cmd("SET").arg("CHI_list").arg("secret")).unwrap();
    let (source, target) = (config(from, None), config(to, None));
    for ran in [between("migrate", &source, &target, &["--yes"]), between("verify", &source, &target, &[])] {
        for told in
            ["1 unreadable peers, the first: CHI_L4_01010101", "1 unreadable data, the first: `CHI_list`"]
        {
            assert!(ran.stderr.contains(told), "{told}: {ran:#?}");
        }
        assert!(!format!("{ran:?}").contains("secret"), "{ran:#?}");
    }
}

fn database_of_another_program(from: &Node, to: &Node) {
    from.ask::<()>(redis::cmd("SET").arg("torrent:1").arg("secret")).unwrap();
    let (source, target) = (config(from, None), config(to, None));
    let told = "has 1 keys, none of them in MoChi's layout";
    assert!(on(&source, &["check"], &[]).stdout.contains(told));
    assert!(between("migrate", &source, &target, &["--yes"]).stderr.contains(told));
    assert!(between("verify", &source, &target, &[]).stderr.contains(told));
}
