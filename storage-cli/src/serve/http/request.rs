//! Announces and scrapes over HTTP (BEP 3, 7, 23, 48, 52): their parameters.

use std::net::IpAddr;

use storage_core::{
    AddressFamily, Announce, AnnounceEvent, InfoHash, InvalidInfoHash, InvalidPeerId, Peer, PeerId, Role,
};

use super::address::address;
use super::query::{Encoded, parameters};
use crate::serve::settings::ClientLimits;
use crate::serve::tracker::Refusal;

/// The format of the peers in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeersFormat {
    /// 6 or 18 bytes each (BEP 23, BEP 7).
    Compact,
    /// A dictionary each (BEP 3).
    Dictionaries {
        /// Whether with the peer id.
        peer_id: bool,
    },
}

/// The parameters; of repeated ones the first counts.
#[derive(Default)]
struct AnnounceParameters<'a> {
    info_hash: Option<Encoded<'a>>,
    peer_id: Option<Encoded<'a>>,
    port: Option<Encoded<'a>>,
    left: Option<Encoded<'a>>,
    event: Option<Encoded<'a>>,
    numwant: Option<Encoded<'a>>,
    compact: Option<Encoded<'a>>,
    no_peer_id: Option<Encoded<'a>>,
    addresses: Vec<Encoded<'a>>,
}

/// Reads an announce of a client at `from`; addresses in the parameters count only with `spoofing`.
pub(super) fn read_announce(
    query: &[u8],
    from: IpAddr,
    spoofing: bool,
    limits: &ClientLimits,
) -> Result<(Announce, PeersFormat), Malformed> {
    let given = AnnounceParameters::read(query)?;
    let info_hash = required("info_hash", given.info_hash)?;
    let peer_id = required("peer_id", given.peer_id)?;
    let named = if spoofing { &given.addresses[..] } else { &[] };
    let (info_hash, peer_id) = (InfoHash::try_from(&info_hash[..])?, PeerId::try_from(&peer_id[..])?);
    let port = given.port.ok_or(Malformed::Missing("port"))?.parse();
    let port = port.filter(|port| *port > 0).ok_or(Malformed::Port)?;
    let peers = addresses(from, named).into_iter().map(|address| Peer::new(peer_id, address, port));
    let announce = Announce::new(info_hash, peers)
        .with_role(role(given.left.ok_or(Malformed::Missing("left"))?)?)
        .with_event(given.event.map_or(AnnounceEvent::None, event))
        // -1 or no number: the client leaves it to the tracker.
        .with_num_want(limits.num_want(given.numwant.and_then(Encoded::parse)))
        .with_families(families(from));
    Ok((announce, peers_format(&given)))
}

impl<'a> AnnounceParameters<'a> {
    fn read(query: &'a [u8]) -> Result<Self, Malformed> {
        let mut given = Self::default();
        for (name, value) in parameters(query) {
            let parameter = match &*name {
                b"info_hash" if given.info_hash.is_some() => return Err(Malformed::SeveralInfoHashes),
                b"info_hash" => &mut given.info_hash,
                b"peer_id" => &mut given.peer_id,
                b"port" => &mut given.port,
                b"left" => &mut given.left,
                b"event" => &mut given.event,
                b"numwant" => &mut given.numwant,
                b"compact" => &mut given.compact,
                b"no_peer_id" => &mut given.no_peer_id,
                b"ip" | b"ipv4" | b"ipv6" => {
                    given.addresses.push(value);
                    continue;
                }
                _ => continue,
            };
            parameter.get_or_insert(value);
        }
        Ok(given)
    }
}

fn required<'a>(
    name: &'static str,
    given: Option<Encoded<'a>>,
) -> Result<std::borrow::Cow<'a, [u8]>, Malformed> {
    given.ok_or(Malformed::Missing(name))?.decode().map_err(|_| Malformed::NotEncoded(name))
}

/// A client with nothing left is a seeder. Some clients send a negative number if they do not know.
fn role(left: Encoded<'_>) -> Result<Role, Malformed> {
    let text = left.text().ok_or(Malformed::Left)?;
    let digits = text.strip_prefix('-').unwrap_or(&text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed::Left);
    }
    Ok(Role::from_is_seeder(digits.bytes().all(|byte| byte == b'0')))
}

/// Unknown events, such as `paused` (BEP 21), are regular announces.
fn event(given: Encoded<'_>) -> AnnounceEvent {
    match given.text().unwrap_or_default().to_ascii_lowercase().as_str() {
        "started" => AnnounceEvent::Started,
        "completed" => AnnounceEvent::Completed,
        "stopped" => AnnounceEvent::Stopped,
        _ => AnnounceEvent::None,
    }
}

fn peers_format(given: &AnnounceParameters<'_>) -> PeersFormat {
    let is = |flag: Option<Encoded<'_>>, text: &str| flag.and_then(Encoded::text).as_deref() == Some(text);
    if is(given.compact, "0") {
        PeersFormat::Dictionaries { peer_id: !is(given.no_peer_id, "1") }
    } else {
        PeersFormat::Compact
    }
}

/// One address per family: from the parameters, or else that of the request.
fn addresses(from: IpAddr, named: &[Encoded<'_>]) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(2);
    let named = named.iter().filter_map(|named| address(&named.text()?));
    for address in named.chain([from]) {
        if addresses.iter().all(|known| known.is_ipv4() != address.is_ipv4()) {
            addresses.push(address);
        }
    }
    addresses
}

fn families(from: IpAddr) -> &'static [AddressFamily] {
    match from {
        IpAddr::V4(_) => &[AddressFamily::V4, AddressFamily::V6],
        IpAddr::V6(_) => &[AddressFamily::V6, AddressFamily::V4],
    }
}

/// Reads the distinct info hashes of a scrape, up to `most`. A scrape of all swarms is refused.
pub(super) fn read_scrape(query: &[u8], most: usize) -> Result<Vec<InfoHash>, Malformed> {
    let mut info_hashes = Vec::new();
    for (name, value) in parameters(query) {
        if *name != *b"info_hash" {
            continue;
        }
        let bytes = value.decode().map_err(|_| Malformed::NotEncoded("info_hash"))?;
        let info_hash = InfoHash::try_from(&bytes[..])?;
        if info_hashes.len() < most && !info_hashes.contains(&info_hash) {
            info_hashes.push(info_hash);
        }
    }
    if info_hashes.is_empty() { Err(Malformed::Missing("info_hash")) } else { Ok(info_hashes) }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Why a request is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// A required parameter is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value has a `%` that no two hexadecimal digits follow.
    #[error("`{0}` is not percent-encoded: two hexadecimal digits follow each %")]
    NotEncoded(&'static str),
    /// An announce is for one swarm.
    #[error("`info_hash` is given more than once")]
    SeveralInfoHashes,
    /// Not an info hash.
    #[error("`info_hash`: {0}")]
    InfoHash(#[from] InvalidInfoHash),
    /// Not a peer id.
    #[error("`peer_id`: {0}")]
    PeerId(#[from] InvalidPeerId),
    /// Not a port from 1 to 65535.
    #[error("`port`: expected a whole number from 1 to 65535")]
    Port,
    /// Not a number of bytes.
    #[error("`left`: expected a number of bytes")]
    Left,
    /// The header of the proxy has no address.
    #[error("the proxy did not send the address of the client")]
    Address,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-TR4040-abcdefghijkl&port=6881&left=5";

    fn read_from(query: &str, from: &str, spoofing: bool) -> Result<(Announce, PeersFormat), Malformed> {
        read_announce(query.as_bytes(), from.parse().unwrap(), spoofing, &ClientLimits::default())
    }

    fn good(more: &str) -> (Announce, PeersFormat) {
        read_from(&format!("{GOOD}{more}"), "192.0.2.1", false).unwrap()
    }

    fn without(parameter: &str) -> Result<(Announce, PeersFormat), Malformed> {
        let query: Vec<_> = GOOD.split('&').filter(|part| !part.starts_with(parameter)).collect();
        read_from(&query.join("&"), "192.0.2.1", false)
    }

    fn replaced(parameter: &str, by: &str) -> Result<(Announce, PeersFormat), Malformed> {
        let query = GOOD.split('&').map(|part| if part.starts_with(parameter) { by } else { part });
        read_from(&query.collect::<Vec<_>>().join("&"), "192.0.2.1", false)
    }

    #[test]
    fn what_must_be_there_is_named_when_it_is_not() {
        for name in ["info_hash", "peer_id", "port", "left"] {
            assert_eq!(without(name), Err(Malformed::Missing(name)));
        }
    }

    #[test]
    fn info_hashes_have_20_or_32_bytes_and_stay_whole() {
        let of = |length: usize| replaced("info_hash", &format!("info_hash={}", "%ff".repeat(length)));
        assert_eq!(of(20).unwrap().0.info_hash, InfoHash::V1([0xff; 20]));
        assert_eq!(of(32).unwrap().0.info_hash, InfoHash::V2([0xff; 32]));
        for length in [0, 19, 21, 31, 33, 40, 64] {
            assert!(matches!(of(length), Err(Malformed::InfoHash(_))), "{length}");
        }
        let twice = read_from(&format!("{GOOD}&info_hash=x"), "192.0.2.1", false);
        assert_eq!(twice, Err(Malformed::SeveralInfoHashes));
    }

    #[test]
    fn ports_and_bytes_left_are_numbers() {
        for wrong in ["port=0", "port=65536", "port=", "port=-1", "port=x"] {
            assert_eq!(replaced("port", wrong), Err(Malformed::Port), "{wrong}");
        }
        for wrong in ["left=", "left=-", "left=x", "left=1.5", "left=%ff"] {
            assert_eq!(replaced("left", wrong), Err(Malformed::Left), "{wrong}");
        }
        let role = |left| replaced("left", left).unwrap().0.role;
        assert_eq!(role("left=0"), Role::Seeder);
        assert_eq!(role("left=1"), Role::Leecher);
        assert_eq!(role("left=-1"), Role::Leecher);
        assert_eq!(role("left=340282366920938463463374607431768211456"), Role::Leecher);
    }

    #[test]
    fn num_want_is_a_number_or_not_said() {
        assert_eq!(good("&numwant=7").0.num_want, 7);
        assert_eq!(good("&numwant=0").0.num_want, 0);
        for nothing in ["", "&numwant=", "&numwant=-1", "&numwant=many", "&numwant=1e3"] {
            assert_eq!(good(nothing).0.num_want, 50, "{nothing}");
        }
    }

    #[test]
    fn peers_are_compact_unless_asked_otherwise() {
        for compact in ["", "&compact=1", "&compact=", "&no_peer_id=1"] {
            assert_eq!(good(compact).1, PeersFormat::Compact, "{compact}");
        }
        assert_eq!(good("&compact=0").1, PeersFormat::Dictionaries { peer_id: true });
        assert_eq!(good("&compact=0&no_peer_id=1").1, PeersFormat::Dictionaries { peer_id: false });
    }

    #[test]
    fn events_are_known_or_none() {
        assert_eq!(good("&event=completed").0.event, AnnounceEvent::Completed);
        assert_eq!(good("&event=Stopped").0.event, AnnounceEvent::Stopped);
        assert_eq!(good("&event=started").0.event, AnnounceEvent::Started);
        for none in ["", "&event=", "&event=paused", "&event=%ff"] {
            assert_eq!(good(none).0.event, AnnounceEvent::None, "{none}");
        }
    }

    #[test]
    fn an_address_in_the_request_counts_only_where_that_is_allowed() {
        let addresses = |more: &str, spoofing| -> Vec<String> {
            let read = read_from(&format!("{GOOD}{more}"), "192.0.2.1", spoofing).unwrap();
            read.0.peers().iter().map(|peer| peer.address().to_string()).collect()
        };
        assert_eq!(addresses("&ip=198.51.100.7", false), ["192.0.2.1"]);
        assert_eq!(addresses("&ip=198.51.100.7", true), ["198.51.100.7"]);
        assert_eq!(addresses("&ipv6=%5B2001:db8::1%5D:6881", true), ["2001:db8::1", "192.0.2.1"]);
        assert_eq!(addresses("&ipv4=198.51.100.7&ipv6=2001:db8::1", true), ["198.51.100.7", "2001:db8::1"]);
        assert_eq!(addresses("&ip=example.org", true), ["192.0.2.1"]);
    }

    #[test]
    fn several_info_hashes_are_read_each_once_and_no_more_than_the_limit() {
        let (a, b, c) = ("a".repeat(20), "b".repeat(32), "c".repeat(20));
        let query = format!("info_hash={a}&x=y&info_hash={b}&info_hash={a}&info_hash={c}");
        let [a, b, c] = [InfoHash::V1([b'a'; 20]), InfoHash::V2([b'b'; 32]), InfoHash::V1([b'c'; 20])];
        assert_eq!(read_scrape(query.as_bytes(), 50).unwrap(), [a, b, c]);
        assert_eq!(read_scrape(query.as_bytes(), 2).unwrap(), [a, b]);
    }

    #[test]
    fn a_scrape_of_everything_or_of_nonsense_is_refused() {
        assert_eq!(read_scrape(b"", 50), Err(Malformed::Missing("info_hash")));
        assert_eq!(read_scrape(b"passkey=1", 50), Err(Malformed::Missing("info_hash")));
        assert_eq!(read_scrape(b"info_hash=%zz", 50), Err(Malformed::NotEncoded("info_hash")));
        assert!(matches!(read_scrape(b"info_hash=aaa", 50), Err(Malformed::InfoHash(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(query: Vec<u8>, spoofing: bool) {
            let _ = read_announce(&query, [192, 0, 2, 1].into(), spoofing, &ClientLimits::default());
        }

        #[test]
        fn any_values_are_read_without_a_panic(values in prop::collection::vec("[ -~]{0,40}", 8)) {
            let names = ["info_hash", "peer_id", "port", "left", "numwant", "event", "compact", "ip"];
            let query: Vec<_> = names.iter().zip(values).map(|(name, value)| format!("{name}={value}")).collect();
            let _ = read_from(&query.join("&"), "2001:db8::1", true);
        }

        #[test]
        fn any_scrape_is_read_without_a_panic(query: Vec<u8>) {
            let _ = read_scrape(&query, 50);
        }
    }
}
