//! The sockets of the front ends.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use crate::exit_code::CommandError;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Bytes of packets that wait to be read; the system may allow less.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Listens for connections.
pub(crate) fn tcp(what: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), CommandError> {
    let listen = || -> io::Result<TcpListener> {
        let socket = socket(address, Type::STREAM, Protocol::TCP)?;
        // A tracker that is started again must not wait for connections of the one before.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(StdTcpListener::from(socket))
    };
    let listener = listen().map_err(|error| failed(what, address, &error))?;
    let address = listener.local_addr().map_err(|error| failed(what, address, &error))?;
    Ok((listener, address))
}

/// Receives packets.
pub(crate) fn udp(what: &str, address: SocketAddr) -> Result<(UdpSocket, SocketAddr), CommandError> {
    let bind = || -> io::Result<UdpSocket> {
        let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
        // It is served with a smaller one, too.
        let _ = socket.set_recv_buffer_size(UDP_BUFFER);
        socket.bind(&address.into())?;
        UdpSocket::from_std(StdUdpSocket::from(socket))
    };
    let socket = bind().map_err(|error| failed(what, address, &error))?;
    let address = socket.local_addr().map_err(|error| failed(what, address, &error))?;
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
    CommandError::finding(format!("error: --{what}: cannot listen on {address}: {error}"))
}
