//! The code of each kind of error, and that the exit code is what it was.

mod common;

use std::net::TcpListener;
use std::process::Stdio;

use common::{CommandOutput, MEMORY, command, file, run, run_on};

/// What was printed on both outputs.
fn printed(ran: &CommandOutput) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn problems_of_a_configuration_have_codes() {
    for (config, code) in [
        ("store: {name: memory}", "TS-1002"),
        ("storage: {name: memroy}", "TS-1003"),
        ("storage: {name: keydb}", "TS-1003"),
        ("storage: {name: memory, config: {shard_cuont: 4}}", "TS-1004"),
        ("storage: {nam: memory}", "TS-1004"),
        ("storage: {name: pg}", "TS-1005"),
        ("storage: {config: {}}", "TS-1005"),
        ("storage: {name: memory, config: {shard_count: many}}", "TS-1006"),
        ("storage: {name: memory}\nprehooks: [{name: jwt}]\n", "TS-1007"),
    ] {
        let ran = run_on(config, "check", &[]);
        assert_eq!(ran.code, Some(1), "{config}: {ran:?}");
        let problem = ran.stdout.lines().nth(1).unwrap_or_default();
        assert!(problem.ends_with(&format!(" [{code}]")), "{config}: {ran:?}");
    }
}

#[test]
fn each_of_several_problems_has_its_own_code() {
    let config = "storage: {name: memory, config: {shard_cuont: 4, gc_interval: often}}";
    let ran = run_on(config, "ping", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for (key, code) in [("shard_cuont", "[TS-1004]"), ("gc_interval", "[TS-1006]")] {
        let line = ran.stderr.lines().find(|line| line.contains(key)).unwrap_or_default();
        assert!(line.starts_with("error: ") && line.ends_with(code), "{ran:?}");
    }
}

#[test]
fn a_server_that_is_away_and_two_that_are_one_have_codes() {
    let config = "storage:\n  name: redis\n  config: {addresses: ['127.0.0.1:1'], startup_timeout: 100ms}\n";
    let ran = run_on(config, "ping", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.lines().any(|line| line.ends_with("[TS-2001]")), "{ran:?}");
    let file = file(config);
    let path = file.to_str().unwrap();
    let ran = run(&["migrate", "--from", path, "--to", path]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.ends_with("[TS-5001]\n"), "{ran:?}");
}

#[test]
fn findings_of_commands_have_codes() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (name, more, exit, code) in [
        ("data", vec!["get", "--context", "a", "00"], 1, "[TS-4009]"),
        ("swarm", vec!["show", "0123456789abcdef0123456789abcdef01234567"], 1, "[TS-4009]"),
        ("swarm", vec!["remove", "0123456789abcdef0123456789abcdef01234567"], 2, "[TS-9002]"),
        ("data", vec!["get", "--context", "a", "--", "xyz"], 2, "[TS-9001]"),
        ("conformance", vec!["--filter", "no such case"], 2, "[TS-9001]"),
        ("serve", vec!["--http", "none", "--udp", "none"], 2, "[TS-9001]"),
        ("serve", vec!["--http", &address, "--udp", "none", "--admin", "none"], 1, "[TS-6001]"),
    ] {
        let config = file(MEMORY);
        let (action, rest) = more.split_at(usize::from(name == "data" || name == "swarm"));
        let mut arguments = vec![name];
        arguments.extend(action);
        arguments.extend(["-c", config.to_str().unwrap()]);
        arguments.extend(rest);
        let ran: CommandOutput = command(&arguments).stdin(Stdio::null()).output().unwrap().into();
        assert_eq!(ran.code, Some(exit), "{arguments:?}: {ran:?}");
        assert!(printed(&ran).contains(code), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn unreadable_lines_have_a_code_in_text_and_json() {
    use std::io::Write;
    let config = file(MEMORY);
    for more in [&[][..], &["--json"]] {
        let arguments = [&["import", "-c", config.to_str().unwrap()], more].concat();
        let mut child = command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"nonsense\n").unwrap();
        let ran: CommandOutput = child.wait_with_output().unwrap().into();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.ends_with("code: TS-5005\n"), "{ran:?}");
        assert_eq!(ran.stdout.contains(r#""code":"TS-5005""#), !more.is_empty(), "{ran:?}");
    }
}
