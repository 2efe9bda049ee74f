//! Makes a named test of each case on each storage, and runs them.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use storage_core::conformance::{Case, Outcome, Suite};

use crate::matrix::{Mark, Matrix};
use crate::runtime::block_on;
use crate::servers::{Missing, Servers, is_required};
use crate::storages::{self, Fresh, UnderTest};
use crate::{
    broken, migration_scenarios, mirror_scenarios, pg_scenarios, random_sequences, redis_scenarios, safety,
};

/// Tests wait for servers and clocks most of the time, so several share a core.
const TESTS_PER_CORE: usize = 4;

/// Whether a signal has interrupted the run.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Runs all tests that the command line asks for, and stops the servers.
pub fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(cores * TESTS_PER_CORE);

    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        Servers::shared().stop();
        std::process::exit(130);
    })
    .expect("nobody else handles signals in this process");

    let _stop = StopServers;
    let matrix = Arc::new(Matrix::default());
    let conclusion = libtest_mimic::run(&arguments, tests(&arguments, &matrix));
    while INTERRUPTED.load(Ordering::SeqCst) {
        // Tests that lost their server say nothing; the handler of the signal ends the process.
        std::thread::park();
    }
    print!("{matrix}");
    conclusion.exit_code()
}

/// Stops the servers when `main` ends, in whatever way.
struct StopServers;

impl Drop for StopServers {
    fn drop(&mut self) {
        Servers::shared().stop();
    }
}

fn tests(arguments: &Arguments, matrix: &Arc<Matrix>) -> Vec<Trial> {
    let mut tests = Vec::new();
    for under_test in storages::all() {
        tests.extend(tests_of(Arc::new(under_test), arguments, matrix));
    }
    tests.push(Trial::test("pg/seed/the flaws are named after cases that there are", every_flaw_is_a_case));
    tests.extend(broken::tests());
    tests.extend(safety::tests());
    tests.extend(migration_scenarios::tests());
    tests.extend(redis_scenarios::tests());
    tests.extend(pg_scenarios::tests());
    tests.extend(mirror_scenarios::tests());
    tests
}

/// All tests of a storage; or the one that says why they can't be run.
fn tests_of(under_test: Arc<UnderTest>, arguments: &Arguments, matrix: &Arc<Matrix>) -> Vec<Trial> {
    let mut tests: Vec<_> = Suite::cases().iter().map(|case| case_test(&under_test, case, matrix)).collect();
    if under_test.has_random_sequences {
        tests.extend(random_sequences::tests(&under_test));
    }
    let will_run = !arguments.list && tests.iter().any(|test| is_selected(test.name(), arguments));
    if will_run && let Err(missing) = under_test.probe() {
        tests = vec![missing_test(&under_test, missing)];
    }
    tests
}

fn missing_test(under_test: &UnderTest, missing: Missing) -> Trial {
    let required_as = under_test.required_as.clone();
    Trial::ignorable_test(format!("{}/every case", under_test.name), move || {
        unless_missing(&required_as, missing)
    })
}

/// Whether the command line asks for the test with this name.
fn is_selected(name: &str, arguments: &Arguments) -> bool {
    let is_meant = |filter: &String| if arguments.exact { name == filter } else { name.contains(filter) };
    arguments.filter.as_ref().is_none_or(is_meant) && !arguments.skip.iter().any(is_meant)
}

fn case_test(under_test: &Arc<UnderTest>, case: &'static Case, matrix: &Arc<Matrix>) -> Trial {
    let (under_test, matrix) = (Arc::clone(under_test), Arc::clone(matrix));
    Trial::ignorable_test(format!("{}/{}", under_test.name, case.name()), move || {
        let completed = with_fresh(&under_test, |fresh| {
            let outcome = block_on(fresh.suite().run(case));
            check_outcome(&under_test, case, outcome)
        });
        let mark = match &completed {
            Ok(Completion::Completed) => Mark::Passed,
            Ok(Completion::Ignored { .. }) => Mark::Skipped,
            Err(_) => Mark::Failed,
        };
        matrix.record(&under_test.name, case.rule(), mark);
        completed
    })
}

/// Runs a test on a fresh storage, which is gone afterwards; without a server for it, the test is
/// ignored, or fails where the server is required.
pub fn with_fresh(
    under_test: &UnderTest,
    test: impl FnOnce(&Fresh) -> Result<Completion, Failed>,
) -> Result<Completion, Failed> {
    let fresh = match under_test.fresh() {
        Ok(fresh) => fresh,
        Err(missing) => return unless_missing(&under_test.required_as, missing),
    };
    let result = test(&fresh);
    block_on(fresh.remove())?;
    result
}

/// The result of a test without a server: it is ignored, unless the server is required or has failed.
pub fn unless_missing(backend: &str, missing: Missing) -> Result<Completion, Failed> {
    match missing {
        Missing::Absent(reason) if is_required(backend) => {
            Err(format!("a server for `{backend}` is required, and there is none: {reason}").into())
        }
        Missing::Absent(reason) => Ok(Completion::ignored_with(format!("no server: {reason}"))),
        Missing::Failed(error) => Err(error.into()),
    }
}

/// Whether the outcome of a case is the expected one for this storage.
fn check_outcome(under_test: &UnderTest, case: &Case, outcome: Outcome) -> Result<Completion, Failed> {
    let name = case.name();
    let is_flaw = under_test.flaws.contains(&name.as_str());
    match outcome {
        Outcome::Failed(_) if is_flaw => Ok(Completion::Completed),
        other if is_flaw => Err(format!("must find a flaw of this configuration, but: {other:?}").into()),
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Warned(failure) if under_test.is_sample() => {
            eprintln!("warning: {}/{name}\n{failure}", under_test.name);
            Ok(Completion::Completed)
        }
        // What the project ships must keep the SHOULDs too.
        Outcome::Warned(failure) | Outcome::Failed(failure) => Err(format!("\n{failure}").into()),
    }
}

/// A case that was renamed would no longer be expected to fail.
fn every_flaw_is_a_case() -> Result<(), Failed> {
    let cases: Vec<_> = Suite::cases().iter().map(Case::name).collect();
    for under_test in storages::all() {
        for flaw in under_test.flaws {
            if !cases.iter().any(|case| case == flaw) {
                return Err(format!("{}: there is no case `{flaw}`", under_test.name).into());
            }
        }
    }
    Ok(())
}
