//! What `check`, `ping` and `stats` say to right and wrong configurations.

mod common;

use common::{CommandOutput, MEMORY, command, file, run, run_on};

fn check(config: &str) -> CommandOutput {
    run_on(config, "check", &[])
}

#[test]
fn a_right_configuration_is_ok_and_described() {
    let ran = check(MEMORY);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout.lines().next(), Some("ok"));
    let row = |item: &str| ran.stdout.lines().find(|line| line.trim_start().starts_with(item));
    assert!(row("backend").unwrap().ends_with("memory"), "{ran:?}");
    assert!(row("server").is_some() && row("durable").is_some(), "{ran:?}");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_file_that_cannot_be_read_exits_with_2() {
    let ran = run(&["check", "-c", "/nonexistent/storage.yaml"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("/nonexistent/storage.yaml: No such file"), "{ran:?}");

    let ran = check("storage:\n  name: memory\n config: [hunter2\n");
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("not YAML"), "{ran:?}");
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
}

#[test]
fn each_wrong_setting_is_a_finding_that_names_the_way_out() {
    let wrong = [
        (
            "storage: {name: memroy}",
            &["no backend `memroy`; did you mean `memory`? Known backends: memory, pg"] as &[_],
        ),
        ("storage: {name: postgres}", &["did you mean `pg`?"]),
        ("storage: {name: keydb}", &["KeyDB", "use `redis` or `pg`"]),
        ("storage: {name: LMDB}", &["LMDB", "use `memory` or `pg`"]),
        ("storage: {name: pg}", &["`connection_string`: is missing"]),
        (
            "storage: {name: memory, config: {shard_cuont: 4}}",
            &["`shard_cuont`: unknown key; did you mean `shard_count`?"],
        ),
        ("storage: {name: memory, config: {shard_count: many}}", &["`shard_count`: expected a whole number"]),
        ("storage: {name: memory, config: 3}", &["expected a section with keys, found a number"]),
        ("storage: {nam: memory}", &["unknown key `nam`; did you mean `name`?"]),
        ("storage: memory", &["expected a section with `name` and `config`"]),
        ("store: {name: memory}", &["no key `storage` here; the keys are `store`"]),
        (
            "storage: {name: memory, config: {shard_count: x, gc_interval: often}}",
            &["`shard_count`", "`gc_interval`"],
        ),
    ];
    for (config, words) in wrong {
        let ran = check(config);
        assert_eq!(ran.code, Some(1), "{config}: {ran:?}");
        for word in words {
            assert!(ran.stdout.contains(word), "{config} without {word}: {ran:?}");
        }
        let mut lines = ran.stdout.lines();
        assert_eq!(lines.next(), Some("failed"), "{ran:?}");
        assert!(lines.next().unwrap().contains(".yaml: "), "{ran:?}");
    }
}

#[test]
fn an_unknown_key_is_an_error_in_check_and_a_warning_elsewhere() {
    let config = "storage: {name: memory, config: {colour: red}}";
    assert_eq!(check(config).code, Some(1));
    let ran = run_on(config, "ping", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("ok: memory responds in "), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("`colour`: unknown key; known keys are"), "{ran:?}");
}

#[test]
fn a_slip_is_an_error_everywhere_and_no_server_is_waited_for() {
    let config = "storage: {name: memory, config: {shard_cuont: 4}}";
    for command in ["check", "ping", "stats", "gc"] {
        let ran = run_on(config, command, &[]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("`shard_cuont`: unknown key; did you mean `shard_count`?"), "{ran:?}");
    }
    let config = "storage: {name: redis, config: {adresses: ['192.0.2.1:6379']}}";
    for (command, longest) in [("check", 10), ("ping", 3), ("serve", 3)] {
        let begun = std::time::Instant::now();
        let ran = run_on(config, command, &[]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("`adresses`: unknown key; did you mean `addresses`?"), "{ran:?}");
        assert!(begun.elapsed().as_secs() < longest, "{command}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_setting_taken_though_not_as_written_is_a_warning_of_check() {
    let ran = check("storage: {name: memory, config: {gc_interval: 0s}}");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout.lines().next(), Some("ok, 1 warning"), "{ran:?}");
    let warning = ran.stdout.lines().nth(1).unwrap();
    assert!(warning.starts_with("warning: ") && warning.contains("`gc_interval`"), "{ran:?}");
}

#[test]
fn a_refusal_hides_no_other_and_no_warning() {
    let ran = check(
        "storage: {name: memory, config: {gc_interval: often, peer_lifetime: 0s, shard_cuont: 4, colour: red}}\n\
         announce_interval: often\nmax_numwant: 0\n",
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for key in ["gc_interval", "peer_lifetime", "shard_cuont", "colour", "announce_interval", "max_numwant"] {
        let about = ran.stdout.lines().filter(|line| line.contains(&format!("`{key}`:")));
        assert_eq!(about.count(), 1, "{key}: {ran:?}");
    }
}

#[test]
fn what_serve_would_refuse_is_refused_by_check() {
    for (text, key) in [
        ("anounce_interval: 5m", "anounce_interval"),
        ("announce_interval: often", "announce_interval"),
        ("prehooks: [{name: jwt}]", "prehooks"),
    ] {
        let config = format!("storage: {{name: memory}}\n{text}\n");
        let ran = check(&config);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(ran.stdout.lines().next(), Some("failed"), "{ran:?}");
        let said = ran.stdout.lines().find(|line| line.contains(" (serve refuses) [TS-"));
        assert!(said.is_some_and(|said| said.contains(&format!("`{key}`"))), "{ran:?}");
        assert_eq!(run_on(&config, "serve", &[]).code, Some(1));
    }
    let hooks = "storage: {name: memory}\nprehooks: [{name: jwt}]\n";
    let ran = run_on(hooks, "check", &["--ignore-hooks"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("ok, 1 warning\nwarning: "), "{ran:?}");
}

#[test]
fn a_lifetime_that_is_short_for_the_interval_is_a_warning_of_check_and_serve() {
    for (lifetime, interval, warns) in [
        ("31m", "30m", false),
        ("30m", "30m", true),
        ("30m59s", "30m", true),
        ("31m", "1h", true),
        ("62m", "1h", false),
        ("5m", "4m", false),
    ] {
        let config = format!(
            "storage: {{name: memory, config: {{peer_lifetime: {lifetime}}}}}\nannounce_interval: {interval}\n"
        );
        let ran = check(&config);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let said =
            ran.stdout.lines().any(|line| line.ends_with("(serve)") && line.contains("`peer_lifetime`"));
        assert_eq!(said, warns, "{lifetime} {interval}: {ran:?}");
    }
    let defaults = check("storage: {name: memory}\n");
    assert!(!defaults.stdout.contains("`peer_lifetime`"), "{defaults:?}");
    let off = check("storage: {name: memory, config: {peer_lifetime: 1m, maintenance: false}}\n");
    assert!(!off.stdout.contains("`peer_lifetime`"), "no peer is stale where nobody collects: {off:?}");
}

#[test]
fn a_storage_deeper_in_the_file_is_found() {
    let config = "prehooks:\n- config:\n    storage: {name: memory}\n";
    let ran = run_on(config, "check", &["--at", "prehooks.0.config.storage"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = run_on(config, "check", &["--at", "prehooks.1.config.storage"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("index 1 is out of range: the list has 1 item"), "{ran:?}");
}

#[test]
fn environment_variables_are_laid_over_the_file() {
    let config = file("storage: {name: pg}");
    let check = |name: &str, value: &str| -> CommandOutput {
        let arguments = ["check", "-c", config.to_str().unwrap()];
        command(&arguments).env(name, value).output().unwrap().into()
    };
    assert_eq!(check("TRACKER_STORAGE__NAME", "memory").code, Some(0));
    let ran = check("TRACKER_STORAGE____NAME", "memory");
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("TRACKER_STORAGE____NAME"), "{ran:?}");
    let ran = check("TRACKER_STORAGE__CONFIG__STARTUP_TIMEOUT", "hunter2");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("environment variable TRACKER_STORAGE__CONFIG__STARTUP_TIMEOUT"), "{ran:?}");
    assert!(!ran.stdout.contains("hunter2"), "{ran:?}");
}

#[cfg(unix)]
#[test]
fn an_environment_that_is_no_text_is_left_alone() {
    use std::os::unix::ffi::OsStrExt;
    let config = file(MEMORY);
    let mut command = command(&["ping", "-c", config.to_str().unwrap()]);
    let ran: CommandOutput =
        command.env("NO_TEXT", std::ffi::OsStr::from_bytes(b"\xff")).output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn statistics_are_a_table_or_json() {
    let ran = run_on(MEMORY, "stats", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let rows = |ran: &CommandOutput| -> Vec<String> {
        ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let counts = ["info hashes 0", "seeders 0", "leechers 0", "downloads 0"];
    let maintenance = ["peer lifetime 1860s", "garbage collection every 180s", "statistics every 1s"];
    assert_eq!(rows(&ran), [&counts[..], &maintenance].concat());
    let ran = run_on(MEMORY, "stats", &["--peers"]);
    let peers = ["IPv4 peers 0", "IPv6 peers 0", "stale peers 0"];
    assert_eq!(rows(&ran), [&counts[..], &peers, &maintenance].concat());

    let config = "storage: {name: memory, config: {maintenance: false, gc_interval: 1m}}\n";
    let ran = run_on(config, "stats", &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    for key in ["info_hashes", "seeders", "leechers", "downloads"] {
        assert_eq!(told[key], 0, "{ran:?}");
    }
    assert_eq!(told["maintenance"]["enabled"], false, "{ran:?}");
    assert_eq!(told["maintenance"]["gc_interval_seconds"], 60.0, "{ran:?}");
    assert_eq!(told["peers"], serde_json::Value::Null, "{ran:?}");
}

#[test]
fn logs_go_to_the_standard_error_in_the_form_asked_for() {
    let config = "storage: {name: memory, config: {colour: red}}";
    let ran = run_on(config, "ping", &["--log", "warn", "--log-format", "json"]);
    let logged = ran.stderr.lines().find(|line| line.starts_with('{')).unwrap();
    let logged: serde_json::Value = serde_json::from_str(logged).unwrap();
    assert_eq!(logged["level"], "WARN");
    assert!(logged["fields"]["message"].as_str().unwrap().contains("colour"), "{logged}");
    assert!(!ran.stdout.contains("colour"), "{ran:?}");

    let file = file(config);
    let mut command = command(&["ping", "-c", file.to_str().unwrap()]);
    let ran: CommandOutput = command.env("RUST_LOG", "warn").output().unwrap().into();
    assert!(ran.stderr.lines().any(|line| line.contains(" WARN ")), "{ran:?}");
}
