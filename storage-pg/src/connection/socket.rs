//! Options of the TCP sockets of connections, by libpq's names: `keepalives` and what belongs to it, and
//! `tcp_user_timeout`. By them the system ends connections whose other end is gone without a word, and keeps
//! firewalls from forgetting those that are idle.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, getpeername, sendmsg};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};

use super::host::Host;
use super::parameters::Parameters;

/// What is set; the system's value stays where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketSettings {
    keepalive: Option<Keepalive>,
    /// How long what was sent may stay unconfirmed (30 s).
    user_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keepalive {
    /// How long a connection is idle before it is asked (30 s).
    idle: Option<Duration>,
    /// How long until it is asked again (10 s).
    interval: Option<Duration>,
    /// How many questions without an answer end it (3).
    count: Option<u32>,
}

/// Takes libpq's keys out. Zero leaves the system's value.
pub(super) fn take_socket(parameters: &mut Parameters) -> SocketSettings {
    let mut number = |key, default: u32| {
        let given = parameters.number(key, 0..=i32::MAX.unsigned_abs()).unwrap_or(default);
        Some(given).filter(|number| *number > 0)
    };
    let is_on = number("keepalives", 1).is_some();
    let seconds = |number: u32| Duration::from_secs(number.into());
    let keepalive = Keepalive {
        idle: number("keepalives_idle", 30).map(seconds),
        interval: number("keepalives_interval", 10).map(seconds),
        count: number("keepalives_count", 3),
    };
    SocketSettings {
        keepalive: is_on.then_some(keepalive),
        user_timeout: number("tcp_user_timeout", 30_000).map(|number| Duration::from_millis(number.into())),
    }
}

impl SocketSettings {
    /// Sets the options of this process' sockets that lead to `host`: sqlx doesn't hand out the one that it
    /// opens. Those that have keepalives already are left as they are.
    ///
    /// # Errors
    /// No socket leads there, or the system refuses.
    pub(super) fn set_on_sockets_to(&self, host: &Host) -> io::Result<()> {
        let addresses: Vec<_> = (host.target(), host.port).to_socket_addrs()?.map(comparable).collect();
        let leads_there = |fd| peer(fd).is_some_and(|peer| addresses.contains(&peer));
        let mut is_found = false;
        for entry in std::fs::read_dir("/proc/self/fd")? {
            let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if !leads_there(fd) {
                continue;
            }
            let socket = duplicate(fd)?;
            // Another file may have got the number in the meantime.
            if leads_there(socket.as_raw_fd()) {
                is_found = true;
                self.set(&socket)?;
            }
        }
        if is_found {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "the socket of the connection was not found"))
        }
    }

    fn set(&self, socket: &OwnedFd) -> io::Result<()> {
        if sockopt::socket_keepalive(socket)? {
            return Ok(());
        }
        if let Some(timeout) = self.user_timeout {
            sockopt::set_tcp_user_timeout(socket, u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX))?;
        }
        let Some(Keepalive { idle, interval, count }) = self.keepalive else { return Ok(()) };
        if let Some(idle) = idle {
            sockopt::set_tcp_keepidle(socket, idle)?;
        }
        if let Some(interval) = interval {
            sockopt::set_tcp_keepintvl(socket, interval)?;
        }
        if let Some(count) = count {
            sockopt::set_tcp_keepcnt(socket, count)?;
        }
        Ok(sockopt::set_socket_keepalive(socket, true)?)
    }
}

/// Where a TCP socket leads to; nothing if the file is none.
fn peer(fd: RawFd) -> Option<(IpAddr, u16)> {
    let peer = getpeername::<SockaddrStorage>(fd).ok()?;
    let v4 = peer.as_sockaddr_in().map(|address| SocketAddr::V4(SocketAddrV4::from(*address)));
    let v6 = || peer.as_sockaddr_in6().map(|address| SocketAddr::V6(SocketAddrV6::from(*address)));
    v4.or_else(v6).map(comparable)
}

fn comparable(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// Another descriptor of the same file, which the caller owns: sent to ourselves, for which its number is
/// enough. Borrowing a file by its number alone would be unsafe code.
fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    let (sender, receiver) = UnixStream::pair()?;
    let rights = [ControlMessage::ScmRights(&[fd])];
    sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::empty(), None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut messages = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(receiver.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut messages, RecvFlags::CMSG_CLOEXEC)?;
    let files = messages.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    files.flatten().next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::ConnectionSettings;
    use std::net::{TcpListener, TcpStream};

    fn take(text: &str) -> (SocketSettings, Vec<String>) {
        let mut parameters = Parameters::gather(text, &|_| None);
        (take_socket(&mut parameters), parameters.problems)
    }

    #[test]
    fn libpq_keys_are_read() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let standard = Keepalive { idle: seconds(30), interval: seconds(10), count: Some(3) };
        let (settings, _) = take("host=db1");
        assert_eq!(settings, SocketSettings { keepalive: Some(standard), user_timeout: seconds(30) });
        let (settings, _) = take("keepalives_idle=60 keepalives_interval=0 keepalives_count=5");
        let keepalive = Keepalive { idle: seconds(60), interval: None, count: Some(5) };
        assert_eq!(settings.keepalive, Some(keepalive));
        let (settings, _) = take("keepalives=0 tcp_user_timeout=0");
        assert_eq!(settings, SocketSettings { keepalive: None, user_timeout: None });
        let keys = ["keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"];
        for key in keys {
            assert_eq!(take(&format!("{key}=-1")).1.len(), 1, "{key}");
        }
    }

    #[test]
    fn only_sockets_to_the_host_are_set() {
        let listeners = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap()];
        for listener in listeners {
            let address = listener.local_addr().unwrap();
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            let (ours, theirs) = (
                TcpStream::connect(address).unwrap(),
                TcpStream::connect(other.local_addr().unwrap()).unwrap(),
            );
            let text = format!(
                "host={} port={} user=me keepalives_idle=61 keepalives_interval=7 keepalives_count=4 \
                 tcp_user_timeout=12345",
                address.ip(),
                address.port()
            );
            let settings = ConnectionSettings::parse(&text, &|_| None).unwrap();
            settings.socket.set_on_sockets_to(&settings.hosts[0]).unwrap();
            assert!(sockopt::socket_keepalive(&ours).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&ours).unwrap(), Duration::from_secs(61));
            assert_eq!(sockopt::tcp_keepintvl(&ours).unwrap(), Duration::from_secs(7));
            assert_eq!(sockopt::tcp_keepcnt(&ours).unwrap(), 4);
            assert_eq!(sockopt::tcp_user_timeout(&ours).unwrap(), 12345);
            assert!(!sockopt::socket_keepalive(&theirs).unwrap());
            let [host] = &settings.hosts[..] else { unreachable!() };
            drop((ours, listener));
            let error = settings.socket.set_on_sockets_to(host).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}
