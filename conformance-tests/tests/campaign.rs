//! The fault campaign's `main`; see `campaign` in the crate.

fn main() -> std::process::ExitCode {
    conformance_tests::campaign::main()
}
