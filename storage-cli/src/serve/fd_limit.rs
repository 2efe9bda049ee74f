//! File descriptors: a connection needs one, and systems give a process few unless it asks for more.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What everything else needs: sockets, files, connections of the storage.
const RESERVED: usize = 256;

/// Asks for as many descriptors as the system allows, and says how many connections of clients they are
/// enough for: `wanted`, or fewer.
pub(crate) fn connections(wanted: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let fd_limit = usize::try_from(if raised.is_ok() { hard } else { soft }).unwrap_or(usize::MAX);
    // Half of what is too little for both.
    let enough = wanted.min(fd_limit.saturating_sub(RESERVED).max(fd_limit / 2));
    if enough < wanted {
        tracing::warn!(
            connections = enough,
            "the limit of open files allows fewer connections: raise `ulimit -n`"
        );
    }
    enough
}
