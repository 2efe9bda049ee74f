//! The tracker over UDP (BEP 15, BEP 41).

mod connection_id;
mod socket;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::poll;
use storage_core::{AddressFamily, Announce, AnnounceAnswer, InfoHash, Peer, Role, TaskSpawner};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::metrics::{FrontMetrics, RequestOutcome, ServedAction, TrackerProtocol};
use super::settings::ClientLimits;
use super::tracker::{Refusal, Tracker, distinct};
use crate::bep15::{UdpAnnounce, UdpRequest, UdpResponse, peers_that_fit, saturated};
use connection_id::ConnectionIds;
use socket::{PacketAddresses, PacketSocket};

/// The most requests in flight; further ones are dropped.
const MAX_IN_FLIGHT: usize = 4_096;

/// Longer than any request: a scrape of 74 info hashes.
const MAX_PACKET: usize = 2_048;

/// The pause after a failed read.
const RECEIVE_RETRY: Duration = Duration::from_millis(10);

const WRONG_CONNECTION: &str = "connection id mismatch";

/// The tracker for all sockets.
pub(crate) struct UdpTracker {
    tracker: Arc<Tracker>,
    allow_ip_spoofing: bool,
    ids: ConnectionIds,
    metrics: Arc<FrontMetrics>,
    in_flight: Arc<Semaphore>,
}

/// What to do about a packet.
enum PacketAction {
    /// Nothing: it is no request.
    Ignore,
    /// Answer without looking anything up.
    Answer(Vec<u8>),
    /// Ask the tracker.
    Ask(u32, UdpRequest),
}

impl UdpTracker {
    pub(crate) fn new(tracker: Arc<Tracker>, allow_ip_spoofing: bool, metrics: Arc<FrontMetrics>) -> Self {
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        Self { tracker, allow_ip_spoofing, ids: ConnectionIds::new(), metrics, in_flight }
    }

    /// Without a valid connection id the answer is never longer than the request, so that a forged sender
    /// gains nothing.
    fn step(&self, bytes: &[u8], client: IpAddr) -> PacketAction {
        let begun = Instant::now();
        let Some((connection, transaction, request)) = UdpRequest::decode(bytes) else {
            return PacketAction::Ignore;
        };
        let answer = |outcome, response: UdpResponse| {
            self.metrics.record(TrackerProtocol::Udp, action(&request), outcome, begun.elapsed());
            response.encode(transaction)
        };
        if request == UdpRequest::Connect {
            let id = self.ids.give(client);
            return PacketAction::Answer(answer(RequestOutcome::Ok, UdpResponse::Connect(id)));
        }
        if !self.ids.accepts(connection, client) {
            let answer = answer(RequestOutcome::Malformed, UdpResponse::Error(WRONG_CONNECTION.to_owned()));
            return if answer.len() > bytes.len() {
                PacketAction::Ignore
            } else {
                PacketAction::Answer(answer)
            };
        }
        match self.tracker.admit(client) {
            Ok(()) => PacketAction::Ask(transaction, request),
            Err(refusal) => {
                let refusal = UdpResponse::Error(refusal.to_string());
                PacketAction::Answer(answer(RequestOutcome::Limited, refusal))
            }
        }
    }

    async fn answer(&self, transaction: u32, request: UdpRequest, client: IpAddr) -> Vec<u8> {
        let begun = Instant::now();
        let action = action(&request);
        let result = self.result(request, client).await;
        self.metrics.record(TrackerProtocol::Udp, action, RequestOutcome::of(&result), begun.elapsed());
        result.unwrap_or_else(|refusal| UdpResponse::Error(refusal.to_string())).encode(transaction)
    }

    async fn result(&self, request: UdpRequest, client: IpAddr) -> Result<UdpResponse, Refusal> {
        let malformed = |reason: &str| Refusal::Malformed(reason.to_owned());
        match request {
            UdpRequest::Connect => Ok(UdpResponse::Connect(self.ids.give(client))),
            UdpRequest::ShortAnnounce | UdpRequest::ShortScrape => Err(malformed("the packet is too short")),
            UdpRequest::Announce(announce) if announce.port == 0 => Err(malformed("the port is 0")),
            UdpRequest::Announce(announce) => {
                let answer = self.tracker.announce(&self.read(announce, client)).await?;
                Ok(announce_response(&answer, &self.tracker.limits))
            }
            UdpRequest::Scrape(info_hashes) => {
                Ok(UdpResponse::Scrape(self.tracker.scrape(&info_hashes).await?))
            }
        }
    }

    /// The announce of a client at this address.
    fn read(&self, announce: UdpAnnounce, from: IpAddr) -> Announce {
        let UdpAnnounce { info_hash, peer_id, left, event, address, num_want, port } = announce;
        let is_named = self.allow_ip_spoofing && from.is_ipv4() && !address.is_unspecified();
        let limits = &self.tracker.limits;
        let fitting = peers_that_fit(limits.max_udp_answer, from.is_ipv4());
        let peer = Peer::new(peer_id, if is_named { address.into() } else { from }, port);
        Announce::new(InfoHash::V1(info_hash), [peer])
            .with_role(Role::from_is_seeder(left == 0))
            .with_event(event)
            .with_num_want(limits.num_want(usize::try_from(num_want).ok()).min(fitting))
            // A response has peers of one family.
            .with_families(if from.is_ipv4() { &[AddressFamily::V4] } else { &[AddressFamily::V6] })
    }
}

/// Counts that could not be read are zero.
fn announce_response(answer: &AnnounceAnswer, limits: &ClientLimits) -> UdpResponse {
    let (counts, (interval, _)) = (answer.counts.unwrap_or_default(), limits.intervals(answer));
    let peers = distinct(answer.peers.as_deref().unwrap_or_default());
    UdpResponse::Announce {
        interval: saturated(interval.as_secs()),
        leechers: saturated(counts.leechers),
        seeders: saturated(counts.seeders),
        peers: peers.map(|peer| (peer.address(), peer.port()).into()).collect(),
    }
}

fn action(request: &UdpRequest) -> ServedAction {
    match request {
        UdpRequest::Connect => ServedAction::Connect,
        UdpRequest::Announce(_) | UdpRequest::ShortAnnounce => ServedAction::Announce,
        UdpRequest::Scrape(_) | UdpRequest::ShortScrape => ServedAction::Scrape,
    }
}

/// Starts `loops` tasks that answer packets until it is time to stop.
///
/// # Errors
/// If the system does not support packet info.
pub(crate) fn serve(
    socket: UdpSocket,
    tracker: &Arc<UdpTracker>,
    loops: usize,
    tasks: &TaskSpawner,
) -> io::Result<()> {
    let socket = Arc::new(PacketSocket::new(socket)?);
    for _ in 0..loops {
        tasks.spawn(answer_packets(Arc::clone(&socket), Arc::clone(tracker), tasks.clone()));
    }
    Ok(())
}

async fn answer_packets(socket: Arc<PacketSocket>, tracker: Arc<UdpTracker>, tasks: TaskSpawner) {
    let mut buffer = [0; MAX_PACKET];
    loop {
        let received = tokio::select! {
            () = tasks.stopped() => return,
            received = socket.receive(&mut buffer) => received,
        };
        let (length, addresses) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "cannot receive packets");
                tokio::time::sleep(RECEIVE_RETRY).await;
                continue;
            }
        };
        let client = addresses.client.ip().to_canonical();
        let (transaction, request) = match tracker.step(&buffer[..length], client) {
            PacketAction::Ignore => continue,
            PacketAction::Answer(answer) => {
                send(&socket, &answer, addresses).await;
                continue;
            }
            PacketAction::Ask(transaction, request) => (transaction, request),
        };
        let Ok(permit) = Arc::clone(&tracker.in_flight).try_acquire_owned() else {
            let dropped = RequestOutcome::Dropped;
            tracker.metrics.record(TrackerProtocol::Udp, action(&request), dropped, Duration::ZERO);
            continue;
        };
        // It is answered at once if the storage answers at once, and otherwise in a task of its own.
        let (of_socket, of_tracker) = (Arc::clone(&socket), Arc::clone(&tracker));
        let mut answering = Box::pin(async move {
            let answer = of_tracker.answer(transaction, request, client).await;
            send(&of_socket, &answer, addresses).await;
            drop(permit);
        });
        if poll!(&mut answering).is_pending() {
            tasks.spawn(answering);
        }
    }
}

/// Packets that cannot be sent are dropped.
async fn send(socket: &PacketSocket, answer: &[u8], to: PacketAddresses) {
    if let Err(error) = socket.answer(answer, to).await {
        tracing::trace!(%error, ?to, "cannot send a response");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::health::Health;
    use crate::serve::rate_limit::{Rate, RateLimit};
    use prometheus::{IntGauge, Registry};
    use std::net::Ipv4Addr;
    use storage_core::{AnnounceEvent, PeerId, Storage, SwarmCounts, with_default_layers};
    use storage_memory::{MemoryConfig, MemoryStorage};

    #[test]
    fn a_response_has_each_address_and_port_once() {
        let peer = |id, port| Peer::new(PeerId([id; 20]), [192, 0, 2, 1].into(), port);
        let peers = vec![peer(1, 6881), peer(2, 6881), peer(3, 6882)];
        let answer = AnnounceAnswer::after_write(false, Ok(peers), Ok(SwarmCounts::default()));
        let peers = [6881, 6882].map(|port| ([192, 0, 2, 1], port).into()).to_vec();
        let expected = UdpResponse::Announce { interval: 1_800, leechers: 0, seeders: 0, peers };
        assert_eq!(announce_response(&answer, &ClientLimits::default()), expected);
    }

    fn announce(connection: u64, port: u16) -> Vec<u8> {
        let mut peer_id = PeerId([0; 20]);
        peer_id.0[18..].copy_from_slice(&port.to_be_bytes());
        let announce = UdpAnnounce {
            info_hash: [0xaa; 20],
            peer_id,
            left: 0,
            event: AnnounceEvent::None,
            address: Ipv4Addr::UNSPECIFIED,
            num_want: -1,
            port: 6881,
        };
        UdpRequest::Announce(announce).encode(connection, 9)
    }

    #[tokio::test]
    async fn a_flood_from_one_address_is_refused_before_the_storage_is_asked() {
        let memory = MemoryStorage::new(MemoryConfig::default());
        let storage: Arc<dyn Storage> =
            with_default_layers(Arc::new(memory), storage_core::layer::Limits::default());
        let health = Health::new(IntGauge::new("healthy", "healthy").unwrap());
        let rate_limit = RateLimit::new(Rate::default(), Vec::new());
        let limits = ClientLimits::default();
        let (storage_of_tracker, by_family) = (Arc::clone(&storage), Arc::default());
        let tracker =
            Tracker { storage: storage_of_tracker, approval: None, limits, rate_limit, health, by_family };
        let tracker = Arc::new(tracker);
        let metrics = Arc::new(FrontMetrics::register(&Registry::new()).unwrap());
        let udp = UdpTracker::new(tracker, false, Arc::clone(&metrics));
        let (flooder, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let connection = udp.ids.give(flooder);
        let (begun, mut asked, mut refusal) = (Instant::now(), 0, Vec::new());
        for port in 0..60_000 {
            match udp.step(&announce(connection, port), flooder) {
                PacketAction::Ask(transaction, request) => {
                    udp.answer(transaction, request, flooder).await;
                    asked += 1;
                }
                PacketAction::Answer(answer) => refusal = answer,
                PacketAction::Ignore => panic!("a request is not answered"),
            }
        }
        let most = 1_000 + 100 * (begun.elapsed().as_secs() + 1);
        assert!((1_000..=most).contains(&asked), "{asked} of at most {most}");
        let statistics = storage.statistics().await.unwrap();
        assert_eq!(statistics.seeders + statistics.leechers, asked);
        assert_eq!(refusal, b"\0\0\0\x03\0\0\0\x09too many requests from this address");
        assert_eq!(metrics.totals().limited, 60_000 - asked);
        assert!(matches!(udp.step(&announce(udp.ids.give(other), 1), other), PacketAction::Ask(..)));
    }
}
