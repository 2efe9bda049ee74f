//! Clients over UDP.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const MAGIC: u64 = 0x0417_2710_1980;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client.
pub struct Udp {
    socket: UdpSocket,
}

/// An announce.
pub struct UdpAnnounce {
    pub info_hash: [u8; 20],
    pub peer: u8,
    pub port: u16,
    pub left: u64,
    pub event: u32,
    pub num_want: i32,
}

impl UdpAnnounce {
    pub fn bytes(&self, connection: u64, transaction: u32) -> Vec<u8> {
        let mut bytes = request(connection, 1, transaction, &self.info_hash);
        bytes.extend([self.peer; 20]);
        bytes.extend([0; 8]);
        bytes.extend(self.left.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(self.event.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(self.num_want.to_be_bytes());
        bytes.extend(self.port.to_be_bytes());
        bytes
    }
}

pub fn request(connection: u64, action: u32, transaction: u32, more: &[u8]) -> Vec<u8> {
    let mut bytes = connection.to_be_bytes().to_vec();
    bytes.extend(action.to_be_bytes());
    bytes.extend(transaction.to_be_bytes());
    bytes.extend(more);
    bytes
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
        let answer = self.ask(&request(MAGIC, 0, 0xfeed, &[]));
        number(&answer, 0) == 0 && number(&answer, 4) == 0xfeed
    }

    pub fn connect(&self) -> u64 {
        let answer = self.ask(&request(MAGIC, 0, 77, &[]));
        assert_eq!((answer.len(), number(&answer, 0), number(&answer, 4)), (16, 0, 77));
        u64::from_be_bytes(answer[8..].try_into().unwrap())
    }

    /// Connects and announces.
    pub fn announce(&self, announce: &UdpAnnounce) -> Vec<u8> {
        self.ask(&announce.bytes(self.connect(), 5))
    }

    /// The seeders, downloads and leechers of a swarm.
    pub fn scrape(&self, info_hash: [u8; 20]) -> [u32; 3] {
        let answer = self.ask(&request(self.connect(), 2, 6, &info_hash));
        assert_eq!((answer.len(), number(&answer, 0), number(&answer, 4)), (20, 2, 6));
        [8, 12, 16].map(|at| number(&answer, at))
    }
}
