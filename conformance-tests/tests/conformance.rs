//! The tests' `main`; see the crate's front page.

fn main() -> std::process::ExitCode {
    conformance_tests::harness::main()
}
