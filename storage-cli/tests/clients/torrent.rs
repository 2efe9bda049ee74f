//! A file, its torrent (BEP 3), and what a tracker says of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_bencode::value::Value;

pub const NAME: &str = "a file.bin";
const PIECE: usize = 32 * 1024;

/// A torrent of one file of random bytes.
pub struct Torrent {
    pub content: Vec<u8>,
    pub info_hash: [u8; 20],
    info: Value,
}

impl Torrent {
    pub fn new() -> Self {
        let content: Vec<u8> = (0..1_000_000).map(|_| rand::random()).collect();
        let pieces: Vec<u8> = content.chunks(PIECE).flat_map(sha1).collect();
        let info = Value::Dict(
            [
                ("length", Value::Int(content.len() as i64)),
                ("name", Value::Bytes(NAME.into())),
                ("piece length", Value::Int(PIECE as i64)),
                ("pieces", Value::Bytes(pieces)),
                // Peers come from the tracker alone (BEP 27).
                ("private", Value::Int(1)),
            ]
            .map(|(key, value)| (key.into(), value))
            .into(),
        );
        let info_hash = sha1(&serde_bencode::to_bytes(&info).unwrap());
        Self { content, info_hash, info }
    }

    /// The torrent's file, with this tracker and no other.
    pub fn file(&self, tracker: &str) -> Vec<u8> {
        let torrent = [("announce", Value::Bytes(tracker.into())), ("info", self.info.clone())];
        let torrent = torrent.map(|(key, value)| (key.into(), value));
        serde_bencode::to_bytes(&Value::Dict(torrent.into())).unwrap()
    }

    /// Waits until the tracker says that there are so many seeders, leechers and downloads.
    pub fn wait_for(&self, tracker: SocketAddr, expected: [i64; 3]) {
        let begun = Instant::now();
        loop {
            let found = self.scrape(tracker);
            if found == expected {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "{found:?}, and never {expected:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Seeders, leechers and downloads (BEP 48).
    fn scrape(&self, tracker: SocketAddr) -> [i64; 3] {
        let info_hash: String = self.info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
        let request = format!(
            "GET /scrape?info_hash={info_hash} HTTP/1.1\r\nHost: {tracker}\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(tracker).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let files: BTreeMap<String, Value> = serde_bencode::from_bytes(&answer[body..]).unwrap();
        let Some(Value::Dict(files)) = files.get("files") else { panic!("{files:?}") };
        let Some(Value::Dict(counts)) = files.get(&self.info_hash[..]) else { return [0; 3] };
        ["complete", "incomplete", "downloaded"].map(|name| match counts.get(name.as_bytes()) {
            Some(Value::Int(count)) => *count,
            other => panic!("{name}: {other:?}"),
        })
    }
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    sha1_smol::Sha1::from(bytes).digest().bytes()
}
