//! Configurations and tables to begin with.

mod common;

use common::{run, run_on};

#[test]
fn the_example_of_memory_passes_its_check() {
    let example = run(&["example-config", "memory"]);
    assert_eq!(example.code, Some(0), "{example:?}");
    assert!(example.stdout.contains("# "), "{example:?}");
    let ran = run_on(&example.stdout, "check", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn the_tables_of_pg_follow_the_choices() {
    let schema = |choices: &[&str]| {
        let ran = run(&[&["schema", "pg"], choices].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout.to_lowercase()
    };
    let plain = schema(&[]);
    assert!(plain.contains("create table"), "{plain}");
    assert!(plain.contains("address inet"), "{plain}");
    assert!(schema(&["--unlogged"]).contains("create unlogged table"));
    assert!(schema(&["--address", "bytea"]).contains("address bytea"));
    assert!(schema(&["--dialect", "cockroachdb"]).contains("address bytea"));
    let ran = run(&["schema", "pg", "--dialect", "cockroachdb", "--unlogged"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn the_example_for_mochi_is_another_one() {
    let ours = run(&["example-config", "pg"]);
    let for_mochi = run(&["example-config", "pg", "--for", "mochi"]);
    assert_eq!((ours.code, for_mochi.code), (Some(0), Some(0)));
    for example in [&ours, &for_mochi] {
        assert!(example.stdout.contains("name: pg"), "{example:?}");
        assert!(example.stdout.contains("connection_string:"), "{example:?}");
    }
    assert_ne!(ours.stdout, for_mochi.stdout);
}
