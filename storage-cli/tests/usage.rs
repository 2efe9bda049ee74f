//! Help, versions, and wrong usage.

mod common;

use common::run;

#[test]
fn help_of_each_level_names_what_is_there() {
    let expected: [(&[&str], &[&str]); 8] = [
        (
            &["--help"],
            &[
                "check",
                "conformance",
                "schema",
                "example-config",
                "ping",
                "stats",
                "--log",
                "RUST_LOG",
                "Exit codes",
            ],
        ),
        (&["check", "--help"], &["--config <FILE>", "--at <PATH>", "prehooks.0.config.storage", "TRACKER_"]),
        (&["conformance", "--help"], &["--filter", "--exclusive", "--json", "N passed, N failed, N skipped"]),
        (&["schema", "--help"], &["pg", "--dialect", "cockroachdb", "--address", "bytea", "--unlogged"]),
        (&["example-config", "--help"], &["memory", "pg", "--for", "mochi", "--dialect"]),
        (&["ping", "--help"], &["--config <FILE>"]),
        (&["stats", "--help"], &["--config <FILE>", "--json"]),
        (
            &["bench", "--help"],
            &[
                "[default: a storage of the backend memory]",
                "--workload <NAME>",
                "put-new",
                "day",
                "--speed",
                "tracker",
                "--concurrency",
                "64",
                "--keep",
            ],
        ),
    ];
    for (arguments, words) in expected {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        // Long lines are broken anywhere.
        let text = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(text.contains(word), "{arguments:?} lacks {word}: {}", ran.stdout);
        }
    }
}

#[test]
fn the_help_of_a_command_is_about_the_command() {
    for command in ["check", "ping", "stats", "migrate", "serve", "bench", "gc"] {
        for help in ["--help", "-h"] {
            let ran = run(&[command, help]);
            assert!(!ran.stdout.contains("--log"), "{}", ran.stdout);
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let ran = run(&["--version"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.stdout, format!("tracker-storage {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_arguments_the_help_is_shown() {
    let ran = run(&[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("Usage: tracker-storage"), "{ran:?}");
}

#[test]
fn wrong_usage_exits_with_2() {
    let file = common::file(common::MEMORY);
    let config = file.to_str().unwrap();
    let wrong: [&[&str]; 10] = [
        &["chekc"],
        &["check"],
        &["check", "-c", config, "--now"],
        &["schema"],
        &["schema", "memory"],
        &["example-config", "lmdb"],
        &["example-config", "memory", "--unlogged"],
        &["conformance", "-c", config, "--filter", "no such case"],
        &["ping", "-c", config, "--log-format", "xml"],
        &["ping", "-c", config, "--log", "storage=loud"],
    ];
    for arguments in wrong {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}
