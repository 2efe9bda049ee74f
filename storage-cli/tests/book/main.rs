//! Runs the commands of the README and the book as they stand: the `sh` blocks of a page, in one shell, in an empty directory with
//! links to the files of the repository, with a PostgreSQL server in the `PG*` variables and Redis at 127.0.0.1:6379.
//!
//! Everything runs in a network namespace of its own, so that the ports of the examples are free. A block that cannot
//! run says why in its info string (`sh,takes-minutes`), and is an ignored test.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "everything here is a test, though not by that attribute"
)]

mod namespace;
mod pages;
mod servers;

use std::path::PathBuf;
use std::process::ExitCode;

use conformance_tests::harness::unless_missing;
use conformance_tests::servers::Servers;
use libtest_mimic::{Arguments, Completion, Trial};

use pages::{CommandBlock, Runnable, read_pages};
use servers::ExampleServers;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let is_inside = namespace::enter(&arguments);
    // The examples share ports and databases.
    arguments.test_threads = Some(1);
    let mut trials = vec![Trial::test("every reason is used", || {
        let unused = pages::unused_reasons();
        if unused.is_empty() { Ok(()) } else { Err(format!("no block is marked {unused:?}").into()) }
    })];
    for page in read_pages() {
        let (run, marked): (Vec<_>, Vec<_>) =
            page.blocks.into_iter().partition(|block| block.runnable == Runnable::Yes);
        for CommandBlock { line, runnable, .. } in marked {
            trials.push(Trial::ignorable_test(format!("{}:{line}", page.name), move || match runnable {
                Runnable::No(reason) => Ok(Completion::ignored_with(reason)),
                Runnable::Unclear(what) => Err(what.into()),
                Runnable::Yes => Ok(Completion::Completed),
            }));
        }
        if run.is_empty() {
            continue;
        }
        let is_inside = is_inside.clone();
        trials.push(Trial::ignorable_test(page.name.clone(), move || {
            let servers = match is_inside.and_then(|()| ExampleServers::shared()) {
                Ok(servers) => servers,
                Err(missing) => return unless_missing("book", missing),
            };
            servers.run(&page.name, &run)?;
            Ok(Completion::Completed)
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    servers::stop();
    Servers::shared().stop();
    conclusion.exit_code()
}

/// The root of the workspace.
fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
