//! Clients over UDP.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use storage_cli::bep15::{PROTOCOL_ID, UdpAnnounce, UdpRequest, UdpResponse};
use storage_core::{AnnounceEvent, InfoHash, PeerId, SwarmCounts};

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client.
pub struct Udp {
    socket: UdpSocket,
}

/// An announce of the peer whose id is this byte.
pub const fn announce(info_hash: [u8; 20], peer: u8, port: u16, left: u64) -> UdpAnnounce {
    let (peer_id, event, address) = (PeerId([peer; 20]), AnnounceEvent::None, Ipv4Addr::UNSPECIFIED);
    UdpAnnounce { info_hash, peer_id, left, event, address, num_want: -1, port }
}

/// A packet that may be no request.
pub fn request(connection: u64, action: u32, transaction: u32, more: &[u8]) -> Vec<u8> {
    [&connection.to_be_bytes(), &action.to_be_bytes()[..], &transaction.to_be_bytes(), more].concat()
}

/// The number that begins at this byte.
pub fn number(answer: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(answer[at..at + 4].try_into().unwrap())
}

impl Udp {
    pub fn to(tracker: SocketAddr) -> Self {
        let any = if tracker.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(tracker).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { socket }
    }

    pub fn send(&self, packet: &[u8]) {
        self.socket.send(packet).unwrap();
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = self.socket.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// The answer to a packet that has one.
    pub fn ask(&self, packet: &[u8]) -> Vec<u8> {
        self.send(packet);
        self.receive()
    }

    /// Whether nothing is answered to these packets: the next answer is that to a connect after them.
    pub fn is_silent_on(&self, packets: &[Vec<u8>]) -> bool {
        for packet in packets {
            self.send(packet);
        }
        let answer = self.ask(&UdpRequest::Connect.encode(PROTOCOL_ID, 0xfeed));
        matches!(UdpResponse::decode(&answer, true), Some((0xfeed, UdpResponse::Connect(_))))
    }

    pub fn connect(&self) -> u64 {
        match self.response(PROTOCOL_ID, &UdpRequest::Connect) {
            UdpResponse::Connect(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Connects and announces.
    pub fn announce(&self, announce: &UdpAnnounce) -> UdpResponse {
        self.response(self.connect(), &UdpRequest::Announce(announce.clone()))
    }

    /// The counts of a swarm.
    pub fn scrape(&self, info_hash: [u8; 20]) -> SwarmCounts {
        let scrape = UdpRequest::Scrape(vec![InfoHash::V1(info_hash)]);
        match self.response(self.connect(), &scrape) {
            UdpResponse::Scrape(counts) if counts.len() == 1 => counts[0],
            other => panic!("{other:?}"),
        }
    }

    fn response(&self, connection: u64, request: &UdpRequest) -> UdpResponse {
        let answer = self.ask(&request.encode(connection, 5));
        let is_ipv4 = self.socket.local_addr().unwrap().is_ipv4();
        match UdpResponse::decode(&answer, is_ipv4) {
            Some((5, response)) => response,
            other => panic!("{other:?} of {answer:?}"),
        }
    }
}

/// The reason of a refusal.
pub fn error(response: &UdpResponse) -> Option<&str> {
    match response {
        UdpResponse::Error(reason) => Some(reason),
        _ => None,
    }
}

/// The peers of an answered announce.
pub fn peers(response: UdpResponse) -> Vec<SocketAddr> {
    match response {
        UdpResponse::Announce { peers, .. } => peers,
        other => panic!("{other:?}"),
    }
}
