//! The sockets of the front ends, and the file descriptors for their connections.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use crate::error_code::ErrorCode;
use crate::exit_code::CommandError;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Bytes of packets that wait to be read; the system may allow less.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Listens for connections; gives the address, too.
pub(crate) fn tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // A tracker that is started again must not wait for connections of the one before.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(StdTcpListener::from(socket))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Receives packets; gives the address, too.
pub(crate) fn udp(address: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    // It is served with a smaller one, too.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(StdUdpSocket::from(socket))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // `0.0.0.0:6969` and `[::]:6969` are two addresses, and either may be left out.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Why nothing is served there.
pub(crate) fn failed(what: &str, address: SocketAddr, error: &io::Error) -> CommandError {
    let way_out = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; stop what listens there, or choose another address with --{what}")
        }
        _ => String::new(),
    };
    let message = format!("--{what}: cannot listen on {address}: {error}{way_out}");
    CommandError::finding(ErrorCode::CannotListen, message)
}

/// File descriptors that everything else needs: sockets, files, connections of the storage.
const RESERVED: usize = 256;

/// Asks for as many descriptors as the system allows, and says how many connections of clients they are
/// enough for: `wanted`, or fewer.
pub(crate) fn connection_limit(wanted: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let fd_limit = usize::try_from(if raised.is_ok() { hard } else { soft }).unwrap_or(usize::MAX);
    // Half of them if there are not enough for both.
    let enough = wanted.min(fd_limit.saturating_sub(RESERVED).max(fd_limit / 2));
    if enough < wanted {
        tracing::warn!(
            connections = enough,
            "the limit of open files allows fewer connections: raise `ulimit -n`"
        );
    }
    enough
}
