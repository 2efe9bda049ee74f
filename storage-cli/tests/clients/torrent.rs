//! A file, its torrent, and the counts of a tracker.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_bencode::value::Value;

use crate::client::{PYTHON, WITH_LIBTORRENT};

pub const NAME: &str = "a file.bin";
const PIECE: usize = 32 * 1024;

/// Versions of torrents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// BEP 3.
    V1,
    /// BEP 52.
    V2,
    /// Both in one, with an info hash of each.
    Hybrid,
}

/// A torrent of one file of random bytes.
pub struct Torrent {
    pub content: Vec<u8>,
    /// What clients announce: of v2 the first 20 bytes.
    info_hashes: Vec<[u8; 20]>,
    /// All that its file has but for the tracker.
    fields: HashMap<Vec<u8>, Value>,
}

impl Torrent {
    pub fn new(format: Format) -> Self {
        let content: Vec<u8> = (0..1_000_000).map(|_| rand::random()).collect();
        match format {
            Format::V1 => Self::by_hand(content),
            Format::V2 => Self::by_libtorrent(content, "v2"),
            Format::Hybrid => Self::by_libtorrent(content, "hybrid"),
        }
    }

    fn by_hand(content: Vec<u8>) -> Self {
        let pieces: Vec<u8> = content.chunks(PIECE).flat_map(sha1).collect();
        let info = [
            ("length", Value::Int(content.len() as i64)),
            ("name", Value::Bytes(NAME.into())),
            ("piece length", Value::Int(PIECE as i64)),
            ("pieces", Value::Bytes(pieces)),
            // Peers come from the tracker alone (BEP 27).
            ("private", Value::Int(1)),
        ];
        let info = Value::Dict(info.map(|(key, value)| (key.into(), value)).into());
        let info_hashes = vec![sha1(&serde_bencode::to_bytes(&info).unwrap())];
        Self { content, info_hashes, fields: [("info".into(), info)].into() }
    }

    fn by_libtorrent(content: Vec<u8>, format: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (file, torrent) = (directory.path().join(NAME), directory.path().join("made.torrent"));
        std::fs::write(&file, &content).unwrap();
        let mut make = Command::new(PYTHON);
        let made = make.args([WITH_LIBTORRENT, "make", format]).arg(&file).arg(&torrent).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let printed = String::from_utf8(made.stdout).unwrap();
        let info_hashes =
            printed.lines().map(|line| hex::decode(line).unwrap().try_into().unwrap()).collect();
        let made = serde_bencode::from_bytes(&std::fs::read(&torrent).unwrap()).unwrap();
        let Value::Dict(fields) = made else { panic!("{made:?}") };
        Self { content, info_hashes, fields }
    }

    /// The torrent's file, with this tracker and no other.
    pub fn file(&self, tracker: &str) -> Vec<u8> {
        let mut fields = self.fields.clone();
        fields.insert("announce".into(), Value::Bytes(tracker.into()));
        serde_bencode::to_bytes(&Value::Dict(fields)).unwrap()
    }

    /// Waits until the tracker says that there are so many seeders, leechers and downloads, of each info hash.
    pub fn wait_for(&self, tracker: SocketAddr, expected: [i64; 3]) {
        let begun = Instant::now();
        loop {
            let found: Vec<_> = self.info_hashes.iter().map(|info_hash| scrape(tracker, info_hash)).collect();
            if found.iter().all(|counts| *counts == expected) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "{found:?}, and never {expected:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Seeders, leechers and downloads (BEP 48).
fn scrape(tracker: SocketAddr, info_hash: &[u8]) -> [i64; 3] {
    let encoded: String = info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
    let request =
        format!("GET /scrape?info_hash={encoded} HTTP/1.1\r\nHost: {tracker}\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(tracker).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let files: BTreeMap<String, Value> = serde_bencode::from_bytes(&answer[body..]).unwrap();
    let Some(Value::Dict(files)) = files.get("files") else { panic!("{files:?}") };
    let Some(Value::Dict(counts)) = files.get(info_hash) else { return [0; 3] };
    ["complete", "incomplete", "downloaded"].map(|name| match counts.get(name.as_bytes()) {
        Some(Value::Int(count)) => *count,
        other => panic!("{name}: {other:?}"),
    })
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    sha1_smol::Sha1::from(bytes).digest().bytes()
}
