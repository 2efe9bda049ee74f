//! A server for one test that crashes and is restarted.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Postgres, START_TIMEOUT, programs, says_it_is_ready, start};
use crate::servers::server_process::ServerProcess;
use crate::servers::{Found, Missing};

/// It keeps what it has acknowledged, except in a crash of the machine.
const SETTINGS: [&str; 2] = ["max_connections=50", "fsync=off"];

impl Postgres {
    /// Starts a server for one test that keeps what it has acknowledged when it crashes.
    ///
    /// # Errors
    /// [`Missing`] if there are no programs for it, or they do not start.
    pub fn of_a_test() -> Found<Arc<Self>> {
        let programs = programs().ok_or_else(|| Missing::Absent("no PostgreSQL server programs".into()))?;
        start(&programs, &SETTINGS).map(Arc::new).map_err(Missing::failed)
    }

    /// Kills the server, which recovers from its write-ahead log when it is started again.
    ///
    /// # Errors
    /// [`Missing`] if it could not be done, or if the server was not started here.
    pub fn crash(&self) -> Found<()> {
        self.with_process(|process| {
            process.send("QUIT").map_err(Missing::failed)?;
            while !process.has_ended() {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        })
    }

    /// Starts the server again after a [`crash`](Self::crash), where it was, and waits until it is ready.
    ///
    /// # Errors
    /// [`Missing`] if it does not start.
    pub fn start_again(&self) -> Found<()> {
        self.with_process(|process| {
            process.start_again().map_err(Missing::failed)?;
            process.wait_until(START_TIMEOUT, says_it_is_ready).map_err(Missing::failed)
        })
    }

    pub(super) fn with_process(&self, order: impl FnOnce(&ServerProcess) -> Found<()>) -> Found<()> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map_or_else(|| Err(Missing::failed("the server is not ours to restart")), order)
    }
}
