//! Packets (BEP 15): requests read, answers written. All numbers are big endian.

use std::net::{IpAddr, Ipv4Addr};

use storage_core::{AnnounceAnswer, AnnounceEvent, InfoHash, PeerId, Role, SwarmCounts};

use crate::serve::settings::ClientLimits;
use crate::serve::tracker::distinct;

/// What every connect begins with.
const MAGIC: u64 = 0x0417_2710_1980;

/// The most swarms of a scrape.
pub(super) const MAX_SCRAPE: usize = 74;

/// What a packet asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    /// A connection id.
    Connect { transaction: u32 },
    /// Something that needs one.
    Request { connection: u64, transaction: u32, request: UdpRequest },
}

/// A request of a client that has a connection id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UdpRequest {
    Announce(AnnounceRequest),
    Scrape(Vec<InfoHash>),
    /// An announce or a scrape that is too short.
    Malformed(UdpAction),
}

/// What a malformed request would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UdpAction {
    Announce,
    Scrape,
}

/// An announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnnounceRequest {
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: PeerId,
    pub(super) role: Role,
    pub(super) event: AnnounceEvent,
    /// An address that the client names.
    pub(super) address: Option<Ipv4Addr>,
    pub(super) num_want: Option<usize>,
    pub(super) port: u16,
}

/// What is left of a packet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}

impl Packet {
    /// Reads a packet; nothing, if it is no request.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let connection = u64::from_be_bytes(rest.take()?);
        let action = u32::from_be_bytes(rest.take()?);
        let transaction = u32::from_be_bytes(rest.take()?);
        let request = match action {
            0 if connection == MAGIC => return Some(Self::Connect { transaction }),
            1 => announce(&mut rest).map_or(UdpRequest::Malformed(UdpAction::Announce), UdpRequest::Announce),
            2 => scrape(&rest).map_or(UdpRequest::Malformed(UdpAction::Scrape), UdpRequest::Scrape),
            _ => return None,
        };
        Some(Self::Request { connection, transaction, request })
    }
}

/// Options behind the announce (BEP 41) say nothing that is needed.
fn announce(rest: &mut Rest<'_>) -> Option<AnnounceRequest> {
    let info_hash = InfoHash::V1(rest.take()?);
    let peer_id = PeerId(rest.take()?);
    let _downloaded: [u8; 8] = rest.take()?;
    let left = u64::from_be_bytes(rest.take()?);
    let _uploaded: [u8; 8] = rest.take()?;
    let event = match u32::from_be_bytes(rest.take()?) {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        _ => AnnounceEvent::None,
    };
    let address = Ipv4Addr::from(rest.take::<4>()?);
    let _key: [u8; 4] = rest.take()?;
    // -1 says nothing, and no other negative number says more.
    let num_want = usize::try_from(i32::from_be_bytes(rest.take()?)).ok();
    let port = u16::from_be_bytes(rest.take()?);
    Some(AnnounceRequest {
        info_hash,
        peer_id,
        role: Role::from_is_seeder(left == 0),
        event,
        address: Some(address).filter(|address| !address.is_unspecified()),
        num_want,
        port,
    })
}

fn scrape(rest: &Rest<'_>) -> Option<Vec<InfoHash>> {
    let (info_hashes, _) = rest.0.as_chunks();
    let info_hashes: Vec<_> = info_hashes.iter().take(MAX_SCRAPE).copied().map(InfoHash::V1).collect();
    Some(info_hashes).filter(|info_hashes| !info_hashes.is_empty())
}

/// The answer to a connect.
pub(super) fn connected(transaction: u32, connection: u64) -> Vec<u8> {
    let mut answer = header(0, transaction, 8);
    answer.extend(connection.to_be_bytes());
    answer
}

/// The bytes of an announce's answer before its peers.
const ANNOUNCED: usize = 20;

/// How many peers of this family fit an answer of so many bytes.
pub(super) fn peers_that_fit(bytes: usize, is_ipv4: bool) -> usize {
    bytes.saturating_sub(ANNOUNCED) / if is_ipv4 { 6 } else { 18 }
}

/// The answer to an announce: peers are of the client's family. Counts that could not be read are zero.
pub(super) fn announced(transaction: u32, answer: &AnnounceAnswer, limits: &ClientLimits) -> Vec<u8> {
    let peers = answer.peers.as_deref().unwrap_or_default();
    let counts = answer.counts.unwrap_or_default();
    let (interval, _) = limits.intervals(answer);
    let mut bytes = header(1, transaction, 12 + 18 * peers.len());
    bytes.extend(saturated(interval.as_secs()));
    bytes.extend(saturated(counts.leechers));
    bytes.extend(saturated(counts.seeders));
    for peer in distinct(peers) {
        match peer.address() {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
        bytes.extend(peer.port().to_be_bytes());
    }
    bytes
}

/// The answer to a scrape.
pub(super) fn scraped(transaction: u32, counts: &[SwarmCounts]) -> Vec<u8> {
    let mut bytes = header(2, transaction, 12 * counts.len());
    for SwarmCounts { seeders, leechers, downloads } in counts {
        bytes.extend([seeders, downloads, leechers].into_iter().copied().flat_map(saturated));
    }
    bytes
}

/// The answer to a request that is refused.
pub(super) fn failed(transaction: u32, reason: &str) -> Vec<u8> {
    let mut bytes = header(3, transaction, reason.len());
    bytes.extend(reason.as_bytes());
    bytes
}

fn header(action: u32, transaction: u32, more: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + more);
    bytes.extend(action.to_be_bytes());
    bytes.extend(transaction.to_be_bytes());
    bytes
}

fn saturated(count: u64) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use storage_core::Peer;

    fn packet(action: u32, more: &[u8]) -> Vec<u8> {
        [&7u64.to_be_bytes(), &action.to_be_bytes()[..], &9u32.to_be_bytes(), more].concat()
    }

    fn announce_bytes(left: u64, event: u32, num_want: i32) -> Vec<u8> {
        let mut more = [[0xaa; 20], [0xbb; 20]].concat();
        more.extend([0; 8]);
        more.extend(left.to_be_bytes());
        more.extend([0; 8]);
        more.extend(event.to_be_bytes());
        more.extend([0; 8]);
        more.extend(num_want.to_be_bytes());
        more.extend(6881u16.to_be_bytes());
        packet(1, &more)
    }

    fn read_announce(bytes: &[u8]) -> AnnounceRequest {
        match Packet::read(bytes) {
            Some(Packet::Request {
                connection: 7,
                transaction: 9,
                request: UdpRequest::Announce(announce),
            }) => announce,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_announce_is_read_with_and_without_options() {
        let bytes = announce_bytes(0, 1, -1);
        assert_eq!(bytes.len(), 98);
        let announce = read_announce(&bytes);
        assert_eq!(announce.info_hash, InfoHash::V1([0xaa; 20]));
        assert_eq!(announce.peer_id, PeerId([0xbb; 20]));
        assert_eq!((announce.role, announce.event), (Role::Seeder, AnnounceEvent::Completed));
        assert_eq!((announce.num_want, announce.port, announce.address), (None, 6881, None));
        for options in [b"\x02\x05/x?y=".as_slice(), b"\x01\x01\x00", b"\x02\xff", b"\xff\xff\xff"] {
            assert_eq!(read_announce(&[&bytes, options].concat()), announce);
        }
        assert_eq!(read_announce(&announce_bytes(1, 0, 30)).num_want, Some(30));
    }

    #[test]
    fn a_short_request_is_malformed_and_less_than_a_header_is_nothing() {
        let bytes = announce_bytes(0, 0, 1);
        for length in 0..bytes.len() {
            let read = Packet::read(&bytes[..length]);
            let malformed = UdpRequest::Malformed(UdpAction::Announce);
            let expected = Packet::Request { connection: 7, transaction: 9, request: malformed };
            assert_eq!(read, (length >= 16).then_some(expected), "{length}");
        }
    }

    #[test]
    fn a_scrape_has_1_to_74_whole_info_hashes() {
        let scrape = |bytes: usize| match Packet::read(&packet(2, &vec![1; bytes])) {
            Some(Packet::Request { request: UdpRequest::Scrape(info_hashes), .. }) => info_hashes.len(),
            _ => 0,
        };
        assert_eq!([0, 19, 20, 39, 40, 1480, 2000].map(scrape), [0, 0, 1, 1, 2, 74, 74]);
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        assert_eq!(Packet::read(&packet(0, &[])), None, "a connect without its magic");
        assert_eq!(Packet::read(&packet(3, &[0; 82])), None);
        assert_eq!(Packet::read(b"GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn peers_of_an_answer_are_of_6_or_18_bytes() {
        let counts = SwarmCounts { seeders: 1, leechers: u64::MAX, downloads: 0 };
        let peers = vec![Peer::new(PeerId([0; 20]), [192, 0, 2, 1].into(), 6881)];
        let mut answer = AnnounceAnswer::after_write(false, Ok(peers), Ok(counts));
        let bytes = announced(9, &answer, &ClientLimits::default());
        let expected = b"\0\0\0\x01\0\0\0\x09\0\0\x07\x08\xff\xff\xff\xff\0\0\0\x01\xc0\0\x02\x01\x1a\xe1";
        assert_eq!(bytes, expected);
        answer.peers = Some(vec![Peer::new(PeerId([0; 20]), "2001:db8::1".parse().unwrap(), 6881)]);
        assert_eq!(announced(9, &answer, &ClientLimits::default()).len(), 20 + 18);
        let of_id = |id| Peer::new(PeerId([id; 20]), [192, 0, 2, 1].into(), 6881);
        answer.peers = Some(vec![of_id(1), of_id(2)]);
        assert_eq!(
            announced(9, &answer, &ClientLimits::default()).len(),
            20 + 6,
            "an address and port is told once"
        );
        assert_eq!(scraped(9, &[counts])[8..], *b"\0\0\0\x01\0\0\0\0\xff\xff\xff\xff");
    }

    #[test]
    fn an_answer_holds_67_peers_of_ipv6_and_202_of_ipv4_unless_configured_otherwise() {
        let bytes = ClientLimits::default().max_udp_answer;
        assert_eq!((peers_that_fit(bytes, false), peers_that_fit(bytes, true)), (67, 202));
        assert_eq!(peers_that_fit(0, true), 0);
    }

    proptest! {
        #[test]
        fn packets_of_every_length_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            let _ = Packet::read(&bytes);
        }

        #[test]
        fn requests_of_every_length_are_read_without_a_panic(
            action in 0u32..4,
            more in prop::collection::vec(any::<u8>(), 0..2048),
        ) {
            let read = Packet::read(&packet(action, &more));
            prop_assert_eq!(read.is_some(), action == 1 || action == 2);
        }
    }
}
