//! The command `tracker-storage` with one backend more:
//! `cargo run --example tracker-storage-with-example -- example-config example`.

use std::process::ExitCode;

use example_backend::ExampleDriver;
use storage_core::Backends;
use storage_memory::MemoryDriver;

fn main() -> ExitCode {
    storage_cli::run(Backends::new().with(MemoryDriver).with(ExampleDriver))
}
