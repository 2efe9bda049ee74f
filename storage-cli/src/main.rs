//! `tracker-storage` with the backends of this workspace.

use std::process::ExitCode;

use storage_core::Backends;
use storage_memory::MemoryDriver;
use storage_mirror::MirrorDriver;
use storage_pg::PgDriver;
use storage_redis::RedisDriver;

fn main() -> ExitCode {
    let backends = Backends::new().with(MemoryDriver).with(PgDriver).with(RedisDriver);
    storage_cli::run(backends.clone().with(MirrorDriver::new(backends)))
}
