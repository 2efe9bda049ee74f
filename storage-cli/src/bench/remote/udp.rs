//! Announces over UDP (BEP 15).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::time::{Duration, Instant};

use storage_core::{Announce, AnnounceEvent, Error, ErrorKind, Result};
use tokio::net::UdpSocket;

use super::{TrackerUrl, UrlProtocol, failed, with_timeout};
use crate::bench::clients::Announcer;

/// What every connect begins with.
const MAGIC: u64 = 0x0417_2710_1980;
/// How long a client may use a connection id.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);
/// More than 200 peers with IPv6 addresses.
const ANSWER: usize = 4_096;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const REFUSAL: u32 = 3;

/// A client over UDP.
pub(super) struct UdpAnnouncer {
    socket: UdpSocket,
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
        Ok(Self { socket: UdpSocket::from_std(socket)?, connection: None, transaction: rand::random() })
    }

    /// The connection id, a new one where there is none that is good.
    async fn connection(&mut self) -> Result<u64> {
        match self.connection {
            Some((id, given)) if given.elapsed() < CONNECTION_LIFETIME => Ok(id),
            _ => {
                let given = Instant::now();
                let answer = self.ask(MAGIC, CONNECT, &[]).await?;
                let id = answer.first_chunk().ok_or_else(|| failed(UrlProtocol::Udp, ErrorKind::Corrupt))?;
                let id = u64::from_be_bytes(*id);
                self.connection = Some((id, given));
                Ok(id)
            }
        }
    }

    /// What the tracker answers, without its header.
    async fn ask(&mut self, connection: u64, action: u32, more: &[u8]) -> Result<Vec<u8>> {
        self.transaction = self.transaction.wrapping_add(1);
        let header = [action.to_be_bytes(), self.transaction.to_be_bytes()].concat();
        let packet = [&connection.to_be_bytes(), &header[..], more].concat();
        self.socket.send(&packet).await.map_err(unavailable)?;
        let mut buffer = [0; ANSWER];
        loop {
            let length = self.socket.recv(&mut buffer).await.map_err(unavailable)?;
            let Some((head, rest)) = buffer[..length].split_first_chunk::<8>() else { continue };
            if *head == header[..] {
                return Ok(rest.to_vec());
            }
            // Answers to what was given up are late.
            let is_ours = head[4..] == self.transaction.to_be_bytes();
            if is_ours && head[..4] == REFUSAL.to_be_bytes() {
                self.connection = None;
                let reason = rest.escape_ascii().to_string();
                return Err(failed(UrlProtocol::Udp, ErrorKind::Rejected).with_message(reason));
            }
        }
    }
}

impl Announcer for UdpAnnouncer {
    async fn announce(&mut self, announce: &Announce<'_>) -> Result<()> {
        let said = body(announce);
        let asked = async {
            let connection = self.connection().await?;
            self.ask(connection, ANNOUNCE, &said).await.map(drop)
        };
        with_timeout(UrlProtocol::Udp, asked).await
    }
}

fn unavailable(error: io::Error) -> Error {
    failed(UrlProtocol::Udp, ErrorKind::Unavailable).with_source(error)
}

/// What a client says of itself; of its addresses the tracker sees one.
fn body(announce: &Announce<'_>) -> Vec<u8> {
    let event: u32 = match announce.event {
        AnnounceEvent::None => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
    };
    let left = u64::from(!announce.role.is_seeder());
    let (id, port) = announce.peers.first().map_or(([0; 20], 0), |peer| (*peer.id().as_bytes(), peer.port()));
    let num_want = i32::try_from(announce.num_want).unwrap_or(-1);
    let mut body = announce.info_hash.as_bytes().to_vec();
    body.extend(id);
    // Downloaded, left, uploaded.
    body.extend([0, left, 0].into_iter().flat_map(u64::to_be_bytes));
    // Event, address, key.
    body.extend([event, 0, 0].into_iter().flat_map(u32::to_be_bytes));
    body.extend(num_want.to_be_bytes());
    body.extend(port.to_be_bytes());
    body
}
