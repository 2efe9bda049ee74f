//! The suite, as the command runs it.

mod common;

use common::{MEMORY, run_on};
use serde_json::Value;
use storage_core::conformance::Suite;

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn counts(line: &str) -> [usize; 3] {
    let parts: Vec<_> = line.split(", ").collect();
    let count = |part: &str, word: &str| part.strip_suffix(word).unwrap().parse().unwrap();
    assert_eq!(parts.len(), 3, "{line}");
    [count(parts[0], " passed"), count(parts[1], " failed"), count(parts[2], " skipped")]
}

#[test]
fn memory_passes_a_line_a_case_and_the_counts_come_last() {
    let ran = run_on(MEMORY, "conformance", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("conformance suite 2.0 on memory ("), "{}", lines[0]);
    assert!(lines[0].ends_with(", exclusive"), "{}", lines[0]);
    let [passed, failed, skipped] = counts(lines.last().unwrap());
    assert_eq!(passed + failed + skipped, Suite::cases().len());
    assert_eq!(failed, 0, "{}", ran.stdout);
    for case in Suite::cases() {
        let name = case.name();
        let lines = lines
            .iter()
            .filter(|line| **line == format!("ok {name}") || line.starts_with(&format!("skipped {name}: ")));
        assert_eq!(lines.count(), 1, "{name} in {}", ran.stdout);
    }
}

#[test]
fn a_filter_chooses_by_name_in_whatever_case() {
    let of_p3 = Suite::cases().iter().filter(|case| case.rule() == "P3").count();
    let ran = run_on(MEMORY, "conformance", &["--filter", "p3 "]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.ends_with(&format!("\n{of_p3} passed, 0 failed, 0 skipped\n")), "{ran:?}");
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("ok P3 ")).count(), of_p3, "{ran:?}");
}

#[test]
fn json_is_an_object_a_case_and_one_with_the_counts() {
    let ran = run_on(MEMORY, "conformance", &["--json", "--filter", "P"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.starts_with("conformance suite "), "{ran:?}");
    let mut objects: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let total = objects.pop().unwrap();
    let count = |outcome: &str| objects.iter().filter(|object| object["outcome"] == outcome).count();
    assert_eq!(total["passed"], count("passed") + count("warned"));
    assert_eq!(total["failed"], 0);
    assert_eq!(total["skipped"], count("skipped"));
    for object in &objects {
        let (case, rule) = (object["case"].as_str().unwrap(), object["rule"].as_str().unwrap());
        assert!(case.starts_with(&format!("{rule} ")), "{object}");
        assert!(["MUST", "SHOULD"].contains(&object["level"].as_str().unwrap()), "{object}");
        assert_eq!(object["outcome"] == "skipped", object["reason"].is_string(), "{object}");
    }
}

#[test]
fn a_storage_that_cannot_be_opened_is_no_storage_to_test() {
    let ran = run_on("storage: {name: memory, config: {shard_count: many}}", "conformance", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("`shard_count`"), "{ran:?}");
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code() {
    use std::process::Stdio;
    let file = common::file(MEMORY);
    let mut command = common::command(&["conformance", "-c", file.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
