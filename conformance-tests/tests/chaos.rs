//! The `main` of the chaos tests; see `chaos` in the crate.

fn main() -> std::process::ExitCode {
    conformance_tests::chaos::main()
}
