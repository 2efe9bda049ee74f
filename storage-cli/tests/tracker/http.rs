//! Clients over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use socket2::{Domain, Socket, Type};

use super::bencode::BencodeMap;

/// Longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub fn connect(to: SocketAddr) -> TcpStream {
    with_timeouts(TcpStream::connect(to).unwrap())
}

/// From another address of this machine.
pub fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    with_timeouts(socket.into())
}

fn with_timeouts(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Sends bytes as they are; nothing, if no answer came.
pub fn send(to: SocketAddr, request: &[u8]) -> Option<Answer> {
    exchange(connect(to), request)
}

/// The same on an open connection.
pub fn exchange(mut stream: TcpStream, request: &[u8]) -> Option<Answer> {
    // A server that refuses need not read all of it.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    read(&bytes)
}

pub fn read(bytes: &[u8]) -> Option<Answer> {
    let end_of_head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end_of_head].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head, body: bytes[end_of_head + 4..].to_vec() })
}

pub fn get(from: SocketAddr, target: &str) -> Answer {
    get_with(from, target, "")
}

/// With further headers, each with its line end.
pub fn get_with(from: SocketAddr, target: &str, headers: &str) -> Answer {
    let request = format!("GET {target} HTTP/1.1\r\nhost: tracker\r\nconnection: close\r\n{headers}\r\n");
    send(from, request.as_bytes()).unwrap()
}

/// A client that announces.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pub id: [u8; 20],
    pub port: u16,
}

pub fn client(letter: u8, port: u16) -> HttpClient {
    let mut id = *b"-TR4040-............";
    id[8..].fill(letter);
    HttpClient { id, port }
}

pub fn encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, NON_ALPHANUMERIC).to_string()
}

impl HttpClient {
    pub fn query(&self, info_hash: &[u8], left: u64, more: &str) -> String {
        let (info_hash, id, port) = (encoded(info_hash), encoded(&self.id), self.port);
        format!("/announce?info_hash={info_hash}&peer_id={id}&port={port}&left={left}{more}")
    }

    pub fn announce(&self, to: SocketAddr, info_hash: &[u8], left: u64, more: &str) -> BencodeMap {
        let answer = get(to, &self.query(info_hash, left, more));
        assert_eq!(answer.status, 200, "{answer:?}");
        BencodeMap::read(&answer.body)
    }
}

pub fn scrape(from: SocketAddr, info_hashes: &[&[u8]]) -> BencodeMap {
    let query: Vec<_> = info_hashes.iter().map(|hash| format!("info_hash={}", encoded(hash))).collect();
    BencodeMap::read(&get(from, &format!("/scrape?{}", query.join("&"))).body)
}

/// The counts of one swarm.
pub fn counts(from: SocketAddr, info_hash: &[u8]) -> [i64; 3] {
    scrape(from, &[info_hash]).within("files").within(info_hash).counts()
}
