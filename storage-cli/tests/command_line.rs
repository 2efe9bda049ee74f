//! The help, the manual pages and the completions of every command.

mod common;

use std::process::{Command, Stdio};

use common::{CommandOutput, command, run};

/// The widest line of help where there is no terminal.
const WIDTH: usize = 100;
/// The longest help of `-h`: a screen.
const HEIGHT: usize = 50;

/// The names of all commands and their subcommands, as the help lists them.
fn commands() -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for name in listed(&[]) {
        let subcommands = listed(&[&name]);
        commands.extend(subcommands.into_iter().map(|subcommand| vec![name.clone(), subcommand]));
        commands.push(vec![name]);
    }
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

fn listed(of: &[&str]) -> Vec<String> {
    let help = run(&[of, &["-h"]].concat()).stdout;
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = list.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn help_of(command: &[String], help: &str) -> CommandOutput {
    let arguments: Vec<_> = command.iter().map(String::as_str).chain([help]).collect();
    run(&arguments)
}

#[test]
fn short_help_fits_a_screen_and_long_help_teaches() {
    for command in commands().into_iter().chain([Vec::new()]) {
        let (short, long) = (help_of(&command, "-h"), help_of(&command, "--help"));
        assert_eq!((short.code, long.code), (Some(0), Some(0)), "{command:?}");
        assert!(short.stdout.lines().count() <= HEIGHT, "{command:?}: {}", short.stdout);
        assert!(long.stdout.len() >= short.stdout.len(), "{command:?}");
        for help in [&short.stdout, &long.stdout] {
            let widest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= WIDTH, "{command:?}: {widest}");
            let examples =
                help.split("\nExamples:\n").nth(1).unwrap_or_else(|| panic!("{command:?}: {help}"));
            assert!(examples.lines().all(|line| line.starts_with("  ")), "examples are at the end: {help}");
            assert!(!help.contains('\u{1b}'), "no colours without a terminal: {help}");
        }
    }
}

#[test]
fn every_example_of_the_help_is_a_valid_command_line() {
    for command in commands() {
        let help = help_of(&command, "--help").stdout;
        let examples = help.split("\nExamples:\n").nth(1).unwrap();
        for example in examples.lines() {
            let words = example.split("tracker-storage ").nth(1).unwrap();
            let words = words.split(['|', '>', '<', ')', '#']).next().unwrap();
            // A wrong option is reported before the request for help is answered, if it comes first.
            let words: Vec<_> = words.split_whitespace().chain(["--help"]).collect();
            let ran = run(&words);
            assert_eq!(ran.code, Some(0), "{example}: {ran:?}");
        }
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("man1");
    let ran = run(&["man", target.to_str().unwrap()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    let commands = commands();
    for command in &commands {
        let file = target.join(format!("tracker-storage-{}.1", command.join("-")));
        let page =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for part in [".TH", ".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLES", "SEE ALSO"] {
            assert!(page.contains(part), "{command:?} without {part}: {page}");
        }
    }
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), commands.len() + 1);
    let main = std::fs::read_to_string(target.join("tracker-storage.1")).unwrap();
    assert_eq!(run(&["man"]).stdout.trim_end(), main.trim_end());
    for part in ["SUBCOMMANDS", ".SH \"EXIT CODES\"", "RUST_LOG"] {
        assert!(main.contains(part), "{part}: {main}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ran = run(&["man", file.path().to_str().unwrap()]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("cannot write the pages into ") && ran.stderr.contains("[TS-9004]"),
        "{ran:?}"
    );
}

#[test]
fn each_shell_has_completions_for_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for command in commands() {
            let name = command.last().unwrap();
            assert!(ran.stdout.contains(name.as_str()), "{shell} does not know {name}");
        }
        // fish writes long options without the dashes.
        for option in ["log-format", "from-at", "announce-url"] {
            assert!(ran.stdout.contains(option), "{shell} does not know {option}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).code, Some(2));
}

#[test]
fn bash_accepts_the_completions_and_completes() {
    let script = run(&["completions", "bash"]).stdout;
    let checked = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let complete = r#"
        COMP_WORDS=(tracker-storage swarm l); COMP_CWORD=2
        _tracker__storage tracker-storage l swarm; echo "${COMPREPLY[*]}""#;
    let script = format!("{script}\n{complete}");
    let completed =
        Command::new("bash").args(["--norc", "-c", &script]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "list", "{completed:?}");
}

#[test]
fn explain_prints_an_entry_or_all_of_them() {
    let ran = run(&["explain", "ts-1004"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("TS-1004: ") && ran.stdout.contains("\nWhat to do: "), "{ran:?}");
    let all = run(&["explain", "--all"]).stdout;
    assert!(all.starts_with("# Error codes\n") && all.contains("### TS-9001: "), "{all}");
    for wrong in [&["explain"][..], &["explain", "TS-0001"], &["explain", "TS-1004", "--all"]] {
        let ran = run(wrong);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.ends_with("code: TS-9001\n"), "{ran:?}");
    }
}

#[test]
fn errors_are_json_where_logs_are() {
    let ran: CommandOutput =
        command(&["ping", "-c", "/nonexistent.yaml", "--log-format", "json"]).output().unwrap().into();
    assert_eq!(ran.code, Some(2));
    let error: serde_json::Value = serde_json::from_str(ran.stderr.trim()).unwrap();
    assert_eq!((&error["level"], &error["fields"]["code"]), (&"ERROR".into(), &"TS-1001".into()), "{ran:?}");
    assert!(error["fields"]["message"].as_str().unwrap().starts_with("/nonexistent.yaml: No such file"));
}
