//! The command `tracker-storage` with one backend more:
//! `cargo run --example tracker-storage-with-example -- example-config example`.

use std::process::ExitCode;

use example_backend::ExampleDriver;
use storage_core::Registry;
use storage_memory::MemoryDriver;

fn main() -> ExitCode {
    storage_cli::run(Registry::new().with(MemoryDriver).with(ExampleDriver))
}
