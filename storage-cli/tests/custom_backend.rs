//! The command of a tracker that has a backend of its own. This binary is that command too: started
//! with the variable below it calls [`storage_cli::run`].

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use storage_core::config::Section;
use storage_core::layer::{Layer, Layered};
use storage_core::{
    Backends, DataStorage, Driver, OpenError, Opener, Operation, Result, SharedObserver, Storage,
};
use storage_memory::{MemoryConfig, MemoryStorage};

const AS_COMMAND: &str = "STORAGE_CLI_TEST_AS_COMMAND";
const EXAMPLE: &str = "# Never in a hurry.\nstorage:\n  name: slow\n";

fn main() -> ExitCode {
    if std::env::var_os(AS_COMMAND).is_some() {
        return storage_cli::run(Backends::new().with(SlowDriver));
    }
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let mut trials = vec![
        trial("its_example_is_offered", its_example_is_offered),
        trial("it_is_among_the_known_names", it_is_among_the_known_names),
        trial("its_program_has_its_own_name", its_program_has_its_own_name),
    ];
    if cfg!(unix) {
        trials.push(trial("control_c_stops_with_130", control_c_stops_with_130));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn its_example_is_offered() {
    let output = command(&["example-config", "slow"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), EXAMPLE);
    let help = command(&["example-config", "--help"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("[possible values: slow]"));
}

fn it_is_among_the_known_names() {
    let file = configuration("storage: {name: memory}");
    let output = command(&["check", "-c", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("known backends: slow"));
}

/// Help, completions and manual pages name the program that embeds the command, not `tracker-storage`.
fn its_program_has_its_own_name() {
    use std::os::unix::process::CommandExt;
    let run = |arguments: &[&str]| {
        let output = command(arguments).arg0("/opt/bin/slow-tracker").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for (arguments, expected) in [
        (["ping", "--help"], "  slow-tracker ping -c tracker.yaml"),
        (["ping", "-h"], "Usage: slow-tracker ping"),
        (["completions", "bash"], "complete -F _slow__tracker"),
        (["completions", "fish"], "complete -c slow-tracker"),
    ] {
        let text = run(&arguments);
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert!(!text.contains("tracker-storage"), "{arguments:?}: {text}");
    }
    let directory = tempfile::tempdir().unwrap();
    run(&["man", directory.path().to_str().unwrap()]);
    assert!(directory.path().join("slow-tracker.1").is_file());
    let page = std::fs::read_to_string(directory.path().join("slow-tracker-swarm-list.1")).unwrap();
    assert!(page.contains("slow\\-tracker swarm list"), "{page}");
}

fn control_c_stops_with_130() {
    let file = configuration(EXAMPLE);
    let mut child = command(&["conformance", "-c", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    // The title is out; Ctrl-C is listened for a moment later.
    std::thread::sleep(Duration::from_millis(500));
    interrupt(&child);
    let mut printed = String::new();
    stdout.read_to_string(&mut printed).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{printed}");
    assert!(printed.lines().any(|line| line.starts_with("skipped P") && line.ends_with(": interrupted")));
    assert!(printed.lines().next_back().unwrap().ends_with(" skipped"), "{printed}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("stopping"));
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).env(AS_COMMAND, "1").env_remove("RUST_LOG");
    command
}

fn configuration(text: &str) -> tempfile::TempPath {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    file.into_temp_path()
}

struct SlowDriver;

impl Driver for SlowDriver {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn configure(&self, _section: &mut Section) -> Box<dyn Opener> {
        Box::new(SlowOpener)
    }

    fn is_private(&self) -> bool {
        true
    }

    fn example_config(&self) -> Option<String> {
        Some(EXAMPLE.into())
    }
}

struct SlowOpener;

#[async_trait]
impl Opener for SlowOpener {
    async fn open(self: Box<Self>, _observer: SharedObserver) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(Arc::new(slow()))
    }

    async fn open_data(
        self: Box<Self>,
        _observer: SharedObserver,
    ) -> Result<Arc<dyn DataStorage>, OpenError> {
        Ok(Arc::new(slow()))
    }
}

fn slow() -> Layered<MemoryStorage, PutsThatNeverEnd> {
    Layered::new(Arc::new(MemoryStorage::new(MemoryConfig::default())), PutsThatNeverEnd)
}

struct PutsThatNeverEnd;

impl Layer for PutsThatNeverEnd {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation == Operation::PutPeer {
            std::future::pending::<()>().await;
        }
        call.await
    }
}
