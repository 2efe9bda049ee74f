//! The UDP tracker protocol (BEP 15): requests and responses, encoded and decoded. All numbers are big endian.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use storage_core::{AnnounceEvent, InfoHash, PeerId, SwarmCounts};

/// What a connect request has in place of a connection id.
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;

/// The most swarms of a scrape.
const MAX_SCRAPE: usize = 74;

/// The bytes of an announce response before its peers.
const ANNOUNCE_RESPONSE: usize = 20;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpRequest {
    /// Asks for a connection id.
    Connect,
    /// An announce.
    Announce(UdpAnnounce),
    /// Asks for the counts of swarms.
    Scrape(Vec<InfoHash>),
    /// An announce that is too short.
    ShortAnnounce,
    /// A scrape without a whole info hash.
    ShortScrape,
}

/// An announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpAnnounce {
    /// The swarm, a v1 info hash or the first 20 bytes of a v2 one.
    pub info_hash: [u8; 20],
    /// The client's peer id.
    pub peer_id: PeerId,
    /// Bytes left to download.
    pub left: u64,
    /// Why the client announces.
    pub event: AnnounceEvent,
    /// The client's address, or 0.0.0.0 for the one that the packet comes from.
    pub address: Ipv4Addr,
    /// How many peers the client wants; negative: it leaves that to the tracker.
    pub num_want: i32,
    /// The client's port.
    pub port: u16,
}

/// A response of a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpResponse {
    /// A connection id.
    Connect(u64),
    /// The answer to an announce.
    Announce {
        /// Seconds until the next announce.
        interval: u32,
        /// How many leechers the swarm has.
        leechers: u32,
        /// How many seeders the swarm has.
        seeders: u32,
        /// Peers of the client's address family.
        peers: Vec<SocketAddr>,
    },
    /// The counts of the swarms asked for, each up to [`u32::MAX`].
    Scrape(Vec<SwarmCounts>),
    /// Why the request is refused.
    Error(String),
}

impl UdpRequest {
    /// Reads connection id, transaction id and request; `None` if the packet is no request.
    pub fn decode(bytes: &[u8]) -> Option<(u64, u32, Self)> {
        let mut rest = PacketReader(bytes);
        let (connection, action, transaction) = (rest.u64()?, rest.u32()?, rest.u32()?);
        let request = match action {
            CONNECT if connection == PROTOCOL_ID => Self::Connect,
            ANNOUNCE => UdpAnnounce::decode(rest).map_or(Self::ShortAnnounce, Self::Announce),
            SCRAPE => match rest.0.as_chunks() {
                ([], _) => Self::ShortScrape,
                (hashes, _) => {
                    Self::Scrape(hashes.iter().take(MAX_SCRAPE).copied().map(InfoHash::V1).collect())
                }
            },
            _ => return None,
        };
        Some((connection, transaction, request))
    }

    /// The packet.
    pub fn encode(&self, connection: u64, transaction: u32) -> Vec<u8> {
        let action = match self {
            Self::Connect => CONNECT,
            Self::Announce(_) | Self::ShortAnnounce => ANNOUNCE,
            Self::Scrape(_) | Self::ShortScrape => SCRAPE,
        };
        let mut bytes = connection.to_be_bytes().to_vec();
        bytes.extend([action, transaction].into_iter().flat_map(u32::to_be_bytes));
        match self {
            Self::Announce(announce) => announce.encode(&mut bytes),
            Self::Scrape(hashes) => hashes.iter().for_each(|hash| bytes.extend(&hash.as_bytes()[..20])),
            Self::Connect | Self::ShortAnnounce | Self::ShortScrape => {}
        }
        bytes
    }
}

impl UdpAnnounce {
    /// Options behind the announce (BEP 41) say nothing that a tracker needs.
    fn decode(mut rest: PacketReader<'_>) -> Option<Self> {
        let (info_hash, peer_id) = (rest.take()?, PeerId(rest.take()?));
        let [_downloaded, left, _uploaded] = [rest.u64()?, rest.u64()?, rest.u64()?];
        let event = match rest.u32()? {
            1 => AnnounceEvent::Completed,
            2 => AnnounceEvent::Started,
            3 => AnnounceEvent::Stopped,
            _ => AnnounceEvent::None,
        };
        let (address, _key) = (Ipv4Addr::from(rest.u32()?), rest.u32()?);
        let num_want = i32::from_be_bytes(rest.take()?);
        let port = u16::from_be_bytes(rest.take()?);
        Some(Self { info_hash, peer_id, left, event, address, num_want, port })
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let event: u32 = match self.event {
            AnnounceEvent::None => 0,
            AnnounceEvent::Completed => 1,
            AnnounceEvent::Started => 2,
            AnnounceEvent::Stopped => 3,
        };
        bytes.extend(self.info_hash);
        bytes.extend(self.peer_id.as_bytes());
        // Downloaded, left, uploaded.
        bytes.extend([0, self.left, 0].into_iter().flat_map(u64::to_be_bytes));
        // Event, address, key.
        bytes.extend([event, self.address.to_bits(), 0].into_iter().flat_map(u32::to_be_bytes));
        bytes.extend(self.num_want.to_be_bytes());
        bytes.extend(self.port.to_be_bytes());
    }
}

impl UdpResponse {
    /// The packet.
    pub fn encode(&self, transaction: u32) -> Vec<u8> {
        let (action, length) = match self {
            Self::Connect(_) => (CONNECT, 8),
            Self::Announce { peers, .. } => (ANNOUNCE, 12 + 18 * peers.len()),
            Self::Scrape(counts) => (SCRAPE, 12 * counts.len()),
            Self::Error(reason) => (ERROR, reason.len()),
        };
        let mut bytes = Vec::with_capacity(8 + length);
        bytes.extend([action, transaction].into_iter().flat_map(u32::to_be_bytes));
        match self {
            Self::Connect(connection) => bytes.extend(connection.to_be_bytes()),
            Self::Announce { interval, leechers, seeders, peers } => {
                bytes.extend([*interval, *leechers, *seeders].into_iter().flat_map(u32::to_be_bytes));
                peers.iter().for_each(|peer| push_compact(&mut bytes, peer.ip(), peer.port()));
            }
            Self::Scrape(counts) => {
                for SwarmCounts { seeders, leechers, downloads } in counts {
                    let counts = [seeders, downloads, leechers].map(|count| saturated(*count));
                    bytes.extend(counts.into_iter().flat_map(u32::to_be_bytes));
                }
            }
            Self::Error(reason) => bytes.extend(reason.as_bytes()),
        }
        bytes
    }

    /// Reads transaction id and response, sent over IPv4 or IPv6; `None` if the packet is no response.
    pub fn decode(bytes: &[u8], is_ipv4: bool) -> Option<(u32, Self)> {
        let mut rest = PacketReader(bytes);
        let (action, transaction) = (rest.u32()?, rest.u32()?);
        let response = match action {
            CONNECT => Self::Connect(rest.u64()?),
            ANNOUNCE => {
                let [interval, leechers, seeders] = [rest.u32()?, rest.u32()?, rest.u32()?];
                let mut peers = Vec::with_capacity(rest.0.len() / peer_bytes(is_ipv4));
                while let Some(peer) = rest.peer(is_ipv4) {
                    peers.push(peer);
                }
                Self::Announce { interval, leechers, seeders, peers }
            }
            SCRAPE => {
                let counts = rest.0.as_chunks::<12>().0.iter().map(|counts| {
                    let mut counts = PacketReader(counts);
                    let [seeders, downloads, leechers] = [counts.u32()?, counts.u32()?, counts.u32()?];
                    Some(SwarmCounts {
                        seeders: seeders.into(),
                        leechers: leechers.into(),
                        downloads: downloads.into(),
                    })
                });
                Self::Scrape(counts.collect::<Option<_>>()?)
            }
            ERROR => Self::Error(String::from_utf8_lossy(rest.0).into_owned()),
            _ => return None,
        };
        Some((transaction, response))
    }
}

/// What is left of a packet.
struct PacketReader<'a>(&'a [u8]);

impl PacketReader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn peer(&mut self, is_ipv4: bool) -> Option<SocketAddr> {
        let address = if is_ipv4 { IpAddr::from(self.take::<4>()?) } else { self.take::<16>()?.into() };
        Some((address, self.take().map(u16::from_be_bytes)?).into())
    }
}

/// Appends address and port, in the compact form that HTTP uses, too (BEP 7, BEP 23).
pub(crate) fn push_compact(bytes: &mut Vec<u8>, address: IpAddr, port: u16) {
    match address {
        IpAddr::V4(address) => bytes.extend(address.octets()),
        IpAddr::V6(address) => bytes.extend(address.octets()),
    }
    bytes.extend(port.to_be_bytes());
}

/// How many peers of this family fit in an announce response of so many bytes.
pub(crate) fn peers_that_fit(bytes: usize, is_ipv4: bool) -> usize {
    bytes.saturating_sub(ANNOUNCE_RESPONSE) / peer_bytes(is_ipv4)
}

fn peer_bytes(is_ipv4: bool) -> usize {
    if is_ipv4 { 6 } else { 18 }
}

/// A count as far as 32 bits hold it.
pub(crate) fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(action: u32, more: &[u8]) -> Vec<u8> {
        [&7u64.to_be_bytes(), &action.to_be_bytes()[..], &9u32.to_be_bytes(), more].concat()
    }

    fn announce() -> UdpAnnounce {
        UdpAnnounce {
            info_hash: [0xaa; 20],
            peer_id: PeerId([0xbb; 20]),
            left: 0,
            event: AnnounceEvent::Completed,
            address: Ipv4Addr::new(192, 0, 2, 1),
            num_want: -1,
            port: 6881,
        }
    }

    #[test]
    fn an_announce_is_read_with_and_without_options() {
        let mut more = [[0xaa; 20], [0xbb; 20]].concat();
        more.extend([0; 24]);
        more.extend(b"\0\0\0\x01\xc0\0\x02\x01\0\0\0\0\xff\xff\xff\xff\x1a\xe1");
        let bytes = packet(1, &more);
        let request = UdpRequest::Announce(announce());
        assert_eq!(request.encode(7, 9), bytes);
        for options in [b"".as_slice(), b"\x02\x05/x?y=", b"\x01\x01\x00", b"\x02\xff", b"\xff\xff\xff"] {
            let read = UdpRequest::decode(&[&bytes, options].concat());
            assert_eq!(read, Some((7, 9, request.clone())));
        }
    }

    #[test]
    fn a_short_request_is_malformed_and_less_than_a_header_is_nothing() {
        let bytes = UdpRequest::Announce(announce()).encode(7, 9);
        for length in 0..bytes.len() {
            let expected = (length >= 16).then_some((7, 9, UdpRequest::ShortAnnounce));
            assert_eq!(UdpRequest::decode(&bytes[..length]), expected, "{length}");
        }
    }

    #[test]
    fn a_scrape_has_1_to_74_whole_info_hashes() {
        let scrape = |bytes: usize| match UdpRequest::decode(&packet(2, &vec![1; bytes])) {
            Some((_, _, UdpRequest::Scrape(info_hashes))) => info_hashes.len(),
            _ => 0,
        };
        assert_eq!([0, 19, 20, 39, 40, 1480, 2000].map(scrape), [0, 0, 1, 1, 2, 74, 74]);
    }

    #[test]
    fn packets_that_are_no_requests_are_ignored() {
        assert_eq!(UdpRequest::decode(&packet(0, &[])), None, "a connect without its protocol id");
        assert_eq!(UdpRequest::decode(&packet(3, &[0; 82])), None);
        assert_eq!(UdpRequest::decode(b"GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn peers_of_a_response_have_6_or_18_bytes_and_counts_saturate() {
        let response = |peer: &str| UdpResponse::Announce {
            interval: 1_800,
            leechers: saturated(u64::MAX),
            seeders: 1,
            peers: vec![peer.parse().unwrap()],
        };
        let expected = b"\0\0\0\x01\0\0\0\x09\0\0\x07\x08\xff\xff\xff\xff\0\0\0\x01\xc0\0\x02\x01\x1a\xe1";
        assert_eq!(response("192.0.2.1:6881").encode(9), expected);
        assert_eq!(response("[2001:db8::1]:6881").encode(9).len(), 20 + 18);
        let counts = SwarmCounts { seeders: 1, leechers: u64::MAX, downloads: 0 };
        let expected = b"\0\0\0\x02\0\0\0\x09\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(UdpResponse::Scrape(vec![counts]).encode(9), expected);
    }

    #[test]
    fn a_response_holds_67_peers_of_ipv6_and_202_of_ipv4_in_1232_bytes() {
        assert_eq!((peers_that_fit(1_232, false), peers_that_fit(1_232, true)), (67, 202));
        assert_eq!(peers_that_fit(0, true), 0);
    }

    proptest! {
        #[test]
        fn packets_of_every_length_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            let _ = UdpRequest::decode(&bytes);
            let _ = (UdpResponse::decode(&bytes, true), UdpResponse::decode(&bytes, false));
        }

        #[test]
        fn requests_of_every_length_are_read_without_a_panic(
            action in 0u32..4,
            more in prop::collection::vec(any::<u8>(), 0..2048),
        ) {
            let read = UdpRequest::decode(&packet(action, &more));
            prop_assert_eq!(read.is_some(), action == 1 || action == 2);
        }

        #[test]
        fn requests_are_read_as_they_were_written(
            connection: u64,
            transaction: u32,
            (left, num_want, port, address) in any::<(u64, i32, u16, u32)>(),
            event in 0..4usize,
            hashes in prop::collection::vec(any::<[u8; 20]>(), 1..75),
        ) {
            use AnnounceEvent::{Completed, None, Started, Stopped};
            let event = [None, Completed, Started, Stopped][event];
            let announce = UdpAnnounce { left, event, num_want, port, address: address.into(), ..announce() };
            let scrape = UdpRequest::Scrape(hashes.into_iter().map(InfoHash::V1).collect());
            for request in [UdpRequest::Announce(announce), scrape, UdpRequest::ShortScrape] {
                let read = UdpRequest::decode(&request.encode(connection, transaction));
                prop_assert_eq!(read, Some((connection, transaction, request)));
            }
            let connect = UdpRequest::Connect.encode(PROTOCOL_ID, transaction);
            prop_assert_eq!(UdpRequest::decode(&connect), Some((PROTOCOL_ID, transaction, UdpRequest::Connect)));
        }

        #[test]
        fn responses_are_read_as_they_were_written(
            transaction: u32,
            connection: u64,
            reason: String,
            [interval, leechers, seeders] in any::<[u32; 3]>(),
            v4 in prop::collection::vec(any::<([u8; 4], u16)>(), 0..203),
            v6 in prop::collection::vec(any::<([u8; 16], u16)>(), 0..68),
        ) {
            let counts = SwarmCounts { seeders: seeders.into(), leechers: leechers.into(), downloads: 7 };
            let v4: Vec<SocketAddr> = v4.into_iter().map(SocketAddr::from).collect();
            let v6 = v6.into_iter().map(SocketAddr::from).collect();
            for (is_ipv4, response) in [
                (true, UdpResponse::Connect(connection)),
                (true, UdpResponse::Announce { interval, leechers, seeders, peers: v4 }),
                (false, UdpResponse::Announce { interval, leechers, seeders, peers: v6 }),
                (true, UdpResponse::Scrape(vec![counts; 3])),
                (true, UdpResponse::Error(reason)),
            ] {
                let read = UdpResponse::decode(&response.encode(transaction), is_ipv4);
                prop_assert_eq!(read, Some((transaction, response)));
            }
        }
    }
}
