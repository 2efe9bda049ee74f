//! The tracker over UDP (BEP 15, BEP 41).

mod connection_id;
mod packet;
mod socket;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::poll;
use storage_core::{AddressFamily, TaskSpawner};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::metrics::{AnnounceOutcome, FrontMetrics, ServedAction, ServedProtocol};
use super::tracker::{ClientAnnounce, Tracker};
use connection_id::ConnectionIds;
use packet::{AnnounceRequest, Packet, UdpRequest};
use socket::{PacketAddresses, PacketSocket};

/// Requests that wait for the storage; further ones are dropped, as packets may be.
const MAX_IN_FLIGHT: usize = 4_096;

/// More than any request that is read: 74 info hashes.
const MAX_PACKET: usize = 2_048;

/// How long reading waits after the system refused to read.
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

    /// An answer to who has no connection id yet is never longer than the packet that asked for it.
    fn step(&self, bytes: &[u8], client: IpAddr) -> PacketAction {
        let begun = Instant::now();
        let record =
            |action, outcome| self.metrics.record(ServedProtocol::Udp, action, outcome, begun.elapsed());
        match Packet::read(bytes) {
            None => PacketAction::Ignore,
            Some(Packet::Connect { transaction }) => {
                record(ServedAction::Connect, AnnounceOutcome::Ok);
                PacketAction::Answer(packet::connected(transaction, self.ids.give(client)))
            }
            Some(Packet::Request { connection, transaction, request }) => {
                if self.ids.accepts(connection, client) {
                    let Err(refusal) = self.tracker.admit(client) else {
                        return PacketAction::Ask(transaction, request);
                    };
                    record(action(&request), refusal.into());
                    return PacketAction::Answer(packet::failed(transaction, &refusal.to_string()));
                }
                record(action(&request), AnnounceOutcome::Malformed);
                let answer = packet::failed(transaction, WRONG_CONNECTION);
                if answer.len() > bytes.len() { PacketAction::Ignore } else { PacketAction::Answer(answer) }
            }
        }
    }

    async fn answer(&self, transaction: u32, request: UdpRequest, client: IpAddr) -> Vec<u8> {
        let begun = Instant::now();
        let action = action(&request);
        let result = self.result(transaction, request, client).await;
        let outcome = result.as_ref().map_or_else(|(outcome, _)| *outcome, |_| AnnounceOutcome::Ok);
        self.metrics.record(ServedProtocol::Udp, action, outcome, begun.elapsed());
        result.unwrap_or_else(|(_, reason)| packet::failed(transaction, &reason))
    }

    async fn result(
        &self,
        transaction: u32,
        request: UdpRequest,
        client: IpAddr,
    ) -> Result<Vec<u8>, (AnnounceOutcome, String)> {
        let malformed = |reason: &str| (AnnounceOutcome::Malformed, reason.to_owned());
        match request {
            UdpRequest::Malformed(_) => Err(malformed("the packet is too short")),
            UdpRequest::Announce(announce) if announce.port == 0 => Err(malformed("the port is 0")),
            UdpRequest::Announce(announce) => {
                let answer = self.tracker.announce(&self.client(announce, client)).await;
                let answer = answer.map_err(|refusal| (refusal.into(), refusal.to_string()))?;
                Ok(packet::announced(transaction, &answer, self.tracker.limits()))
            }
            UdpRequest::Scrape(info_hashes) => {
                let counts = self.tracker.scrape(&info_hashes).await;
                let counts = counts.map_err(|refusal| (refusal.into(), refusal.to_string()))?;
                Ok(packet::scraped(transaction, &counts))
            }
        }
    }

    fn client(&self, announce: AnnounceRequest, from: IpAddr) -> ClientAnnounce {
        let AnnounceRequest { info_hash, peer_id, role, event, address, num_want, port } = announce;
        let named = address.filter(|_| self.allow_ip_spoofing && from.is_ipv4());
        let limits = self.tracker.limits();
        let fitting = packet::peers_that_fit(limits.max_udp_answer, from.is_ipv4());
        ClientAnnounce {
            info_hash,
            peer_id,
            addresses: vec![named.map_or(from, IpAddr::V4)],
            port,
            role,
            event,
            num_want: Some(limits.num_want(num_want).min(fitting)),
            // An answer has peers of one family.
            families: if from.is_ipv4() { &[AddressFamily::V4] } else { &[AddressFamily::V6] },
        }
    }
}

fn action(request: &UdpRequest) -> ServedAction {
    match request {
        UdpRequest::Announce(_) | UdpRequest::Malformed(packet::UdpAction::Announce) => {
            ServedAction::Announce
        }
        UdpRequest::Scrape(_) | UdpRequest::Malformed(packet::UdpAction::Scrape) => ServedAction::Scrape,
    }
}

/// Answers packets until it is time to stop, in so many loops.
///
/// # Errors
/// If the system does not tell to which address packets are sent.
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
        match tracker.step(&buffer[..length], addresses.client.ip().to_canonical()) {
            PacketAction::Ignore => {}
            PacketAction::Answer(answer) => send(&socket, &answer, addresses).await,
            PacketAction::Ask(transaction, request) => {
                ask(&socket, &tracker, transaction, request, addresses, &tasks).await
            }
        }
    }
}

/// Answers a request at once if nothing has to be waited for, and by a task of its own otherwise.
async fn ask(
    socket: &Arc<PacketSocket>,
    tracker: &Arc<UdpTracker>,
    transaction: u32,
    request: UdpRequest,
    addresses: PacketAddresses,
    tasks: &TaskSpawner,
) {
    let Ok(permit) = Arc::clone(&tracker.in_flight).try_acquire_owned() else {
        tracker.metrics.record(
            ServedProtocol::Udp,
            action(&request),
            AnnounceOutcome::Dropped,
            Duration::ZERO,
        );
        return;
    };
    let (of_socket, of_tracker) = (Arc::clone(socket), Arc::clone(tracker));
    let mut answering = Box::pin(async move {
        let answer = of_tracker.answer(transaction, request, addresses.client.ip().to_canonical()).await;
        send(&of_socket, &answer, addresses).await;
        drop(permit);
    });
    if poll!(&mut answering).is_pending() {
        tasks.spawn(answering);
    }
}

/// What the system refuses to send is lost, as packets may be.
async fn send(socket: &PacketSocket, answer: &[u8], to: PacketAddresses) {
    if let Err(error) = socket.answer(answer, to).await {
        tracing::trace!(%error, ?to, "an answer is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::health::Health;
    use crate::serve::rate_limit::{Rate, RateLimit};
    use crate::serve::settings::ClientLimits;
    use prometheus::{IntGauge, Registry};
    use storage_core::{Storage, with_default_layers};
    use storage_memory::{MemoryConfig, MemoryStorage};

    fn announce(connection: u64, port: u16) -> Vec<u8> {
        let mut packet = connection.to_be_bytes().to_vec();
        packet.extend([0, 0, 0, 1, 0, 0, 0, 9]);
        packet.extend([0xaa; 20]);
        packet.extend([0; 18]);
        packet.extend(port.to_be_bytes());
        packet.extend([0; 40]);
        packet.extend((-1i32).to_be_bytes());
        packet.extend(6881u16.to_be_bytes());
        packet
    }

    #[tokio::test]
    async fn a_flood_from_one_address_is_refused_before_the_storage_is_asked() {
        let memory = MemoryStorage::new(MemoryConfig::default());
        let storage: Arc<dyn Storage> =
            with_default_layers(Arc::new(memory), storage_core::layer::Limits::default());
        let health = Health::new(IntGauge::new("healthy", "healthy").unwrap());
        let rate_limit = RateLimit::new(Rate::default(), Vec::new());
        let limits = ClientLimits::default();
        let storage_of_tracker = Arc::clone(&storage);
        let tracker =
            Arc::new(Tracker { storage: storage_of_tracker, approval: None, limits, rate_limit, health });
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
