//! Open TCP sockets of this machine.

use std::fs;

/// `01` of the column `st` is an open connection.
const ESTABLISHED: &str = "01";
/// What the column `tr` begins with while the timer of keepalives runs.
const KEEPALIVE: &str = "02:";

/// Open connections to a port of the IPv4 loopback interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSockets {
    /// Their number.
    pub all: usize,
    /// How many of them the system asks, when they are idle, whether their other end is still there.
    pub kept_alive: usize,
}

/// Counts the open connections to a port, as `/proc/net/tcp` lists them.
///
/// # Errors
/// What the system says.
pub fn open_sockets_to(port: u16) -> std::io::Result<OpenSockets> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    // Number, own address, address of the other end, state, queues, timer.
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let other_end = format!("0100007F:{port:04X}");
    let open: Vec<_> = rows.filter(|row| row[2] == other_end && row[3] == ESTABLISHED).collect();
    let kept_alive = open.iter().filter(|row| row[5].starts_with(KEEPALIVE)).count();
    Ok(OpenSockets { all: open.len(), kept_alive })
}
