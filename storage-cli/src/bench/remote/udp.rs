//! Announces over UDP (BEP 15).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::time::{Duration, Instant};

use storage_core::{Announce, Error, ErrorKind, PeerId, Result};
use tokio::net::UdpSocket;

use super::{TrackerUrl, failed, with_timeout};
use crate::bench::clients::Announcer;
use crate::bep15::{PROTOCOL_ID, UdpAnnounce, UdpRequest, UdpResponse};
use crate::serve::TrackerProtocol;

/// How long a client may use a connection id.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);
/// Room for more than 200 IPv6 peers.
const ANSWER: usize = 4_096;

/// A client over UDP.
pub(super) struct UdpAnnouncer {
    socket: UdpSocket,
    is_ipv4: bool,
    connection: Option<(u64, Instant)>,
    transaction: u32,
}

impl UdpAnnouncer {
    pub(super) fn new(tracker: &TrackerUrl) -> io::Result<Self> {
        let any: SocketAddr = match tracker.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = StdUdpSocket::bind(any)?;
        socket.connect(tracker.address)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            is_ipv4: tracker.address.is_ipv4(),
            connection: None,
            transaction: rand::random(),
        })
    }

    /// A valid connection id.
    async fn connection(&mut self) -> Result<u64> {
        match self.connection {
            Some((id, given)) if given.elapsed() < CONNECTION_LIFETIME => Ok(id),
            _ => {
                let given = Instant::now();
                match self.ask(PROTOCOL_ID, &UdpRequest::Connect).await? {
                    UdpResponse::Connect(id) => {
                        self.connection = Some((id, given));
                        Ok(id)
                    }
                    _ => Err(failed(TrackerProtocol::Udp, ErrorKind::Corrupt)),
                }
            }
        }
    }

    /// The tracker's response to a request.
    async fn ask(&mut self, connection: u64, request: &UdpRequest) -> Result<UdpResponse> {
        self.transaction = self.transaction.wrapping_add(1);
        self.socket.send(&request.encode(connection, self.transaction)).await.map_err(unavailable)?;
        let mut buffer = [0; ANSWER];
        loop {
            let length = self.socket.recv(&mut buffer).await.map_err(unavailable)?;
            match UdpResponse::decode(&buffer[..length], self.is_ipv4) {
                Some((transaction, UdpResponse::Error(reason))) if transaction == self.transaction => {
                    self.connection = None;
                    let reason = reason.escape_debug().to_string();
                    return Err(failed(TrackerProtocol::Udp, ErrorKind::Rejected).with_message(reason));
                }
                Some((transaction, response)) if transaction == self.transaction => return Ok(response),
                // A late response to a request that timed out.
                _ => {}
            }
        }
    }
}

impl Announcer for UdpAnnouncer {
    async fn announce(&mut self, announce: &Announce) -> Result<()> {
        let request = UdpRequest::Announce(request(announce));
        let asked = async {
            let connection = self.connection().await?;
            match self.ask(connection, &request).await? {
                UdpResponse::Announce { .. } => Ok(()),
                _ => Err(failed(TrackerProtocol::Udp, ErrorKind::Corrupt)),
            }
        };
        with_timeout(TrackerProtocol::Udp, asked).await
    }
}

fn unavailable(error: io::Error) -> Error {
    failed(TrackerProtocol::Udp, ErrorKind::Unavailable).with_source(error)
}

/// The tracker sees the address that the packet comes from.
fn request(announce: &Announce) -> UdpAnnounce {
    let peer = announce.peers().first();
    let mut info_hash = [0; 20];
    info_hash.copy_from_slice(&announce.info_hash.as_bytes()[..20]);
    UdpAnnounce {
        info_hash,
        peer_id: peer.map_or(PeerId([0; 20]), |peer| *peer.id()),
        left: u64::from(!announce.role.is_seeder()),
        event: announce.event,
        address: Ipv4Addr::UNSPECIFIED,
        num_want: i32::try_from(announce.num_want).unwrap_or(-1),
        port: peer.map_or(0, |peer| peer.port()),
    }
}
