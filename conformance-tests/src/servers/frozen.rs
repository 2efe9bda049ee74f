//! Processes that are stopped for a while.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Found, Missing};

/// Processes that are stopped with SIGSTOP: their connections stay open and nothing is read or answered.
/// They run on when this is dropped.
#[derive(Debug)]
pub struct Frozen(Vec<Pid>);

impl Frozen {
    /// Stops these processes.
    ///
    /// # Errors
    /// [`Missing`] if a process cannot be stopped; one that has ended is passed over.
    pub(super) fn stop(processes: &[i32]) -> Found<Self> {
        let mut frozen = Self(Vec::new());
        for process in processes {
            if signal(*process, Signal::SIGSTOP)? {
                frozen.0.push(Pid::from_raw(*process));
            }
        }
        Ok(frozen)
    }

    /// The number of processes that were stopped.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no process was stopped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and others together.
    pub(super) fn and(mut self, mut others: Self) -> Self {
        self.0.append(&mut others.0);
        self
    }

    /// Lets the processes run on.
    pub fn resume(self) {}
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.0 {
            // It may have been killed meanwhile.
            let _ = kill(*process, Signal::SIGCONT);
        }
    }
}

/// Sends a signal; `false` if there is no such process.
pub(super) fn signal(process: i32, signal: Signal) -> Found<bool> {
    match kill(Pid::from_raw(process), signal) {
        Ok(()) => Ok(true),
        Err(nix::Error::ESRCH) => Ok(false),
        Err(error) => Err(Missing::failed(format!("{signal} to process {process}: {error}"))),
    }
}

/// The processes that this one has started and that still run.
pub(super) fn children(parent: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| parent_of(*process) == Some(parent))
        .collect()
}

fn parent_of(process: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in parentheses and may have any character in it; the state and the parent follow.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
