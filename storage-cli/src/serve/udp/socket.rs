//! A UDP socket that responds from the address that a packet was sent to, also if it listens on all addresses.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A UDP socket with packet info.
pub(super) struct PacketSocket(UdpSocket);

/// Both ends of an exchange of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketAddresses {
    /// Where the packet came from.
    pub(super) client: SocketAddr,
    /// Where it was sent to. Clients, NATs and firewalls drop answers from elsewhere.
    local: Option<IpAddr>,
}

impl PacketSocket {
    /// Enables packet info, which has the destination of each packet.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Self(socket))
    }

    /// Waits for a packet; gives its length and where it came from.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, PacketAddresses)> {
        self.0.async_io(Interest::READABLE, || receive(&self.0, buffer)).await
    }

    /// Sends an answer back.
    pub(super) async fn answer(&self, packet: &[u8], to: PacketAddresses) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send(&self.0, packet, to)).await
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, PacketAddresses)> {
    let mut control = cmsg_space!(in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let client = message.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
    let local = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(ipv4(info.ipi_spec_dst).into()),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        _ => None,
    });
    // Nothing can be sent from a multicast address: the system chooses one then.
    let local = local.filter(|local: &IpAddr| !local.is_multicast() && !local.is_unspecified());
    Ok((message.bytes, PacketAddresses { client, local }))
}

fn send(socket: &UdpSocket, packet: &[u8], to: PacketAddresses) -> io::Result<()> {
    let parts = [IoSlice::new(packet)];
    let send = |control: &[ControlMessage<'_>]| {
        let client = SockaddrStorage::from(to.client);
        sendmsg(socket.as_raw_fd(), &parts, control, MsgFlags::empty(), Some(&client))
    };
    match to.local {
        None => send(&[]),
        Some(IpAddr::V4(local)) => {
            let source = in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: in_addr { s_addr: 0 } };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(IpAddr::V6(local)) => {
            // The interface of a link-local client is in the client's address.
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: local.octets() }, ipi6_ifindex: 0 };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
    }?;
    Ok(())
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

fn ipv4(address: in_addr) -> Ipv4Addr {
    Ipv4Addr::from(address.s_addr.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as StdUdpSocket;
    use std::time::Duration;

    use super::*;

    /// The address from which a packet to `asked` is answered by a socket bound to `any`.
    async fn answered_from(any: &str, client: &str, asked: IpAddr) -> IpAddr {
        let socket = PacketSocket::new(UdpSocket::bind(any).await.unwrap()).unwrap();
        let port = socket.0.local_addr().unwrap().port();
        let client = StdUdpSocket::bind(client).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.send_to(b"question", (asked, port)).unwrap();
        let mut buffer = [0; 64];
        let (length, addresses) = socket.receive(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"question");
        assert_eq!(addresses.client, client.local_addr().unwrap());
        socket.answer(b"answer", addresses).await.unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.port()), (&b"answer"[..], port));
        from.ip()
    }

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        for asked in ["127.0.0.1", "127.0.0.2", "127.9.8.7"] {
            let asked = asked.parse().unwrap();
            assert_eq!(answered_from("0.0.0.0:0", "127.0.0.1:0", asked).await, asked);
        }
        let asked = "127.0.0.2".parse().unwrap();
        assert_eq!(answered_from("127.0.0.2:0", "127.0.0.1:0", asked).await, asked);
    }

    #[tokio::test]
    async fn an_answer_over_ipv6_comes_from_the_address_that_was_asked() {
        let loopback = "::1".parse().unwrap();
        assert_eq!(answered_from("[::]:0", "[::1]:0", loopback).await, loopback);
        // The machine's own address, if it has one beside loopback.
        let Some(own) = own_ipv6() else { return };
        assert_eq!(answered_from("[::]:0", "[::1]:0", own).await, own);
    }

    fn own_ipv6() -> Option<IpAddr> {
        let addresses = nix::ifaddrs::getifaddrs().ok()?;
        let mut addresses = addresses.filter_map(|interface| Some(address(&interface.address?)?.ip()));
        addresses.find(
            |address| matches!(address, IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local()),
        )
    }
}
