//! Bencoded responses (BEP 3, 7, 23, 48).

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use storage_core::{AnnounceAnswer, InfoHash, Peer, SwarmCounts};

use super::request::PeersFormat;
use crate::bep15::push_compact;
use crate::serve::settings::ClientLimits;
use crate::serve::tracker::distinct;

/// Bytes that bencode writes as they are.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Raw<B>(B);

impl<B: AsRef<[u8]>> Serialize for Raw<B> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0.as_ref())
    }
}

#[derive(Serialize)]
struct AnnounceResponse<P: Serialize> {
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downloaded: Option<u64>,
    interval: u64,
    #[serde(rename = "min interval")]
    min_interval: u64,
    peers: P,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers6: Option<Raw<Vec<u8>>>,
}

#[derive(Serialize)]
struct Dictionary {
    #[serde(rename = "peer id", skip_serializing_if = "Option::is_none")]
    peer_id: Option<Raw<[u8; 20]>>,
    ip: String,
    port: u16,
}

#[derive(Serialize)]
struct ScrapeResponse<'a> {
    files: BTreeMap<Raw<&'a [u8]>, ScrapeCounts>,
}

#[derive(Serialize)]
struct ScrapeCounts {
    complete: u64,
    downloaded: u64,
    incomplete: u64,
}

/// The response to a request that is refused.
#[derive(Serialize, Deserialize)]
pub(crate) struct FailureResponse<'a> {
    /// Why, for the client's user.
    #[serde(rename = "failure reason")]
    pub(crate) reason: Cow<'a, str>,
}

/// The response to an announce, without counts that could not be read.
pub(super) fn announced(answer: &AnnounceAnswer, format: PeersFormat, limits: &ClientLimits) -> Bytes {
    let peers = answer.peers.as_deref().unwrap_or_default();
    match format {
        PeersFormat::Compact => {
            let (v4, v6) = compact(peers);
            with_peers(answer, limits, Raw(v4), Some(Raw(v6)))
        }
        PeersFormat::Dictionaries { peer_id } => {
            let dictionary = |peer: &Peer| Dictionary {
                peer_id: peer_id.then_some(Raw(*peer.id().as_bytes())),
                ip: peer.address().to_string(),
                port: peer.port(),
            };
            let peers: Vec<_> = if peer_id {
                peers.iter().map(dictionary).collect()
            } else {
                distinct(peers).map(dictionary).collect()
            };
            with_peers(answer, limits, peers, None)
        }
    }
}

fn with_peers<P: Serialize>(
    answer: &AnnounceAnswer,
    limits: &ClientLimits,
    peers: P,
    peers6: Option<Raw<Vec<u8>>>,
) -> Bytes {
    let (interval, min_interval) = limits.intervals(answer);
    bencoded(&AnnounceResponse {
        complete: answer.counts.map(|counts| counts.seeders),
        incomplete: answer.counts.map(|counts| counts.leechers),
        downloaded: answer.counts.map(|counts| counts.downloads),
        interval: interval.as_secs(),
        min_interval: min_interval.as_secs(),
        peers,
        peers6,
    })
}

/// The answer to a scrape.
pub(super) fn scraped(info_hashes: &[InfoHash], counts: &[SwarmCounts]) -> Bytes {
    let files = info_hashes.iter().zip(counts).map(|(info_hash, counts)| {
        let SwarmCounts { seeders, leechers, downloads } = *counts;
        let counts = ScrapeCounts { complete: seeders, downloaded: downloads, incomplete: leechers };
        (Raw(info_hash.as_bytes()), counts)
    });
    bencoded(&ScrapeResponse { files: files.collect() })
}

/// The answer to a request that is refused.
pub(super) fn failed(reason: &str) -> Bytes {
    bencoded(&FailureResponse { reason: reason.into() })
}

/// Address and port of peers, IPv4 and IPv6 apart.
fn compact(peers: &[Peer]) -> (Vec<u8>, Vec<u8>) {
    let (mut v4, mut v6) = (Vec::with_capacity(6 * peers.len()), Vec::new());
    for peer in distinct(peers) {
        let peers = if peer.address().is_ipv4() { &mut v4 } else { &mut v6 };
        push_compact(peers, peer.address(), peer.port());
    }
    (v4, v6)
}

fn bencoded(answer: &impl Serialize) -> Bytes {
    // All of these types can be bencoded.
    serde_bencode::to_bytes(answer).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_core::{Error, ErrorKind, Operation, PeerId};

    fn answer() -> AnnounceAnswer {
        let peer = |address: &str, port| Peer::new(PeerId([0xfe; 20]), address.parse().unwrap(), port);
        AnnounceAnswer::after_write(
            false,
            Ok(vec![peer("192.0.2.1", 6881), peer("::1", 258)]),
            Ok(SwarmCounts { seeders: 2, leechers: 1, downloads: 7 }),
        )
    }

    #[test]
    fn compact_peers_are_of_6_and_18_bytes() {
        let mut expected = b"d8:completei2e10:downloadedi7e10:incompletei1e8:intervali1800e\
            12:min intervali900e5:peers6:\xc0\x00\x02\x01\x1a\xe16:peers618:"
            .to_vec();
        expected.extend([0; 15]);
        expected.extend(b"\x01\x01\x02e");
        assert_eq!(announced(&answer(), PeersFormat::Compact, &ClientLimits::default()), expected);
    }

    #[test]
    fn without_peer_ids_each_address_and_port_is_returned_once() {
        let peers = [1, 2, 3, 4]
            .map(|id| Peer::new(PeerId([id; 20]), [192, 0, 2, 1].into(), if id < 4 { 6881 } else { 6882 }));
        let (v4, v6) = compact(&peers);
        assert_eq!(
            (v4.as_slice(), v6.as_slice()),
            (&b"\xc0\0\x02\x01\x1a\xe1\xc0\0\x02\x01\x1a\xe2"[..], &b""[..])
        );
        let answer = AnnounceAnswer::after_write(false, Ok(peers.to_vec()), Ok(SwarmCounts::default()));
        let told = |format| {
            let text = announced(&answer, format, &ClientLimits::default());
            text.windows(5).filter(|part| part == b"4:por").count()
        };
        assert_eq!(told(PeersFormat::Dictionaries { peer_id: true }), 4);
        assert_eq!(told(PeersFormat::Dictionaries { peer_id: false }), 2);
    }

    #[test]
    fn what_could_not_be_read_is_asked_for_again_soon() {
        let failed = || Error::new("pg", Operation::ScrapeSwarm, ErrorKind::Timeout);
        let answer = AnnounceAnswer::after_write(true, Err(failed()), Err(failed()));
        let expected = "d8:intervali60e12:min intervali60e5:peers0:6:peers60:e";
        assert_eq!(announced(&answer, PeersFormat::Compact, &ClientLimits::default()), expected);
    }

    #[test]
    fn dictionaries_have_peers_of_both_families() {
        let expected = "d2:ip9:192.0.2.14:porti6881eed2:ip3:::14:porti258eeee";
        let format = PeersFormat::Dictionaries { peer_id: false };
        let text = announced(&answer(), format, &ClientLimits::default());
        assert!(text.ends_with(expected.as_bytes()), "{text:?}");
        let format = PeersFormat::Dictionaries { peer_id: true };
        let text = announced(&answer(), format, &ClientLimits::default());
        let with_id = [b"7:peer id20:".as_slice(), &[0xfe; 20], b"4:porti258e"].concat();
        assert!(text.windows(with_id.len()).any(|part| part == with_id), "{text:?}");
    }

    #[test]
    fn a_scrape_names_swarms_by_raw_bytes_in_their_order() {
        let counts = [SwarmCounts::default(), SwarmCounts { seeders: 1, leechers: 2, downloads: 3 }];
        let text = scraped(&[InfoHash::V1([0xff; 20]), InfoHash::V2([0xee; 32])], &counts);
        let expected = [
            b"d5:filesd32:".as_slice(),
            &[0xee; 32],
            b"d8:completei1e10:downloadedi3e10:incompletei2ee20:",
            &[0xff; 20],
            b"d8:completei0e10:downloadedi0e10:incompletei0eeee",
        ];
        assert_eq!(text, expected.concat());
    }

    #[test]
    fn a_refusal_says_why() {
        assert_eq!(failed("no"), "d14:failure reason2:noe");
    }
}
