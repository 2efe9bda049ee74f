//! The tracker over UDP (BEP 15, BEP 41).

mod connection_id;
mod packet;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, poll};
use storage_core::{AddressFamily, InfoHash, Peer, TaskSpawner};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::{Action, FrontMetrics, Outcome, Protocol};
use super::tracker::{ClientAnnounce, Refusal, Tracker};
use connection_id::ConnectionIds;
use packet::{Announce, Packet, Request};

/// Requests that wait for the storage; further ones are dropped, as packets may be.
const MAX_UNDER_WAY: usize = 4_096;

/// At most so many packets are read before the announces among them are made together.
const TOGETHER: usize = 64;

/// More than any request that is read: 74 info hashes.
const PACKET: usize = 2_048;

/// How long reading waits after the system refused to read.
const REFUSED: Duration = Duration::from_millis(10);

const WRONG_CONNECTION: &str = "connection id mismatch";

/// The tracker for all sockets.
pub(crate) struct UdpTracker {
    tracker: Arc<Tracker>,
    allow_ip_spoofing: bool,
    ids: ConnectionIds,
    metrics: Arc<FrontMetrics>,
    places: Arc<Semaphore>,
}

/// What to do about a packet.
enum Step {
    /// Nothing: it is no request.
    Ignore,
    /// Answer without looking anything up.
    Answer(Vec<u8>),
    /// Announce to the storage.
    Announce(u32, Announce),
    /// Scrape these.
    Scrape(u32, Vec<InfoHash>),
}

/// A request whose answer the storage has to give.
struct Asked<R> {
    request: R,
    transaction: u32,
    from: SocketAddr,
    begun: Instant,
    place: OwnedSemaphorePermit,
}

impl UdpTracker {
    pub(crate) fn new(tracker: Arc<Tracker>, allow_ip_spoofing: bool, metrics: Arc<FrontMetrics>) -> Self {
        let places = Arc::new(Semaphore::new(MAX_UNDER_WAY));
        Self { tracker, allow_ip_spoofing, ids: ConnectionIds::new(), metrics, places }
    }

    /// An answer to who has no connection id yet is never longer than the packet that asked for it.
    fn step(&self, bytes: &[u8], client: IpAddr) -> Step {
        let begun = Instant::now();
        let record = |action, outcome| self.metrics.record(Protocol::Udp, action, outcome, begun.elapsed());
        match Packet::read(bytes) {
            None => Step::Ignore,
            Some(Packet::Connect { transaction }) => {
                record(Action::Connect, Outcome::Ok);
                Step::Answer(packet::connected(transaction, self.ids.give(client)))
            }
            Some(Packet::Request { connection, transaction, request }) => {
                let action = action(&request);
                if !self.ids.accepts(connection, client) {
                    record(action, Outcome::Malformed);
                    let answer = packet::failed(transaction, WRONG_CONNECTION);
                    return if answer.len() > bytes.len() { Step::Ignore } else { Step::Answer(answer) };
                }
                let malformed = |reason| {
                    record(action, Outcome::Malformed);
                    Step::Answer(packet::failed(transaction, reason))
                };
                match request {
                    Request::Malformed(_) => malformed("the packet is too short"),
                    Request::Announce(announce) if announce.port == 0 => malformed("the port is 0"),
                    Request::Announce(announce) => Step::Announce(transaction, announce),
                    Request::Scrape(info_hashes) => Step::Scrape(transaction, info_hashes),
                }
            }
        }
    }

    /// A request that is to be answered; `None` if so many wait that it is dropped.
    fn admit<R>(&self, transaction: u32, request: R, action: Action, from: SocketAddr) -> Option<Asked<R>> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Some(Asked { request, transaction, from, begun: Instant::now(), place }),
            Err(_) => {
                self.metrics.record(Protocol::Udp, action, Outcome::Dropped, Duration::ZERO);
                None
            }
        }
    }

    /// Makes announces together, and answers each as soon as it can be.
    async fn announce(&self, socket: &UdpSocket, asked: Vec<Asked<Announce>>) {
        let client = |asked: &Asked<Announce>| self.client(&asked.request, asked.from.ip().to_canonical());
        let clients: Vec<_> = asked.iter().map(client).collect();
        let announces = self.tracker.announces(&clients);
        let mut answers = self.tracker.announce_many(&clients, &announces);
        let mut asked: Vec<_> = asked.into_iter().map(Some).collect();
        while let Some((place, answer)) = answers.next().await {
            let Some(asked) = asked.get_mut(place).and_then(Option::take) else { continue };
            let answer =
                answer.map(|answer| packet::announced(asked.transaction, &answer, self.tracker.limits()));
            self.answer(socket, asked, Action::Announce, answer).await;
        }
    }

    async fn scrape(&self, socket: &UdpSocket, asked: Asked<Vec<InfoHash>>) {
        let counts = self.tracker.scrape(&asked.request).await;
        let answer = counts.map(|counts| packet::scraped(asked.transaction, &counts));
        self.answer(socket, asked, Action::Scrape, answer).await;
    }

    async fn answer<R>(
        &self,
        socket: &UdpSocket,
        asked: Asked<R>,
        action: Action,
        answer: Result<Vec<u8>, Refusal>,
    ) {
        let Asked { transaction, from, begun, place, .. } = asked;
        let outcome = answer.as_ref().map_or_else(|refusal| (*refusal).into(), |_| Outcome::Ok);
        self.metrics.record(Protocol::Udp, action, outcome, begun.elapsed());
        let answer = answer.unwrap_or_else(|refusal| packet::failed(transaction, &refusal.to_string()));
        send(socket, &answer, from).await;
        drop(place);
    }

    fn client(&self, announce: &Announce, from: IpAddr) -> ClientAnnounce {
        let Announce { info_hash, peer_id, role, event, address, num_want, port } = *announce;
        let named = address.filter(|_| self.allow_ip_spoofing && from.is_ipv4());
        ClientAnnounce {
            info_hash,
            peer_id,
            peers: vec![Peer::new(peer_id, named.map_or(from, IpAddr::V4), port)],
            role,
            event,
            num_want,
            // An answer has peers of one family.
            families: if from.is_ipv4() { &[AddressFamily::V4] } else { &[AddressFamily::V6] },
        }
    }
}

fn action(request: &Request) -> Action {
    match request {
        Request::Announce(_) | Request::Malformed(packet::Action::Announce) => Action::Announce,
        Request::Scrape(_) | Request::Malformed(packet::Action::Scrape) => Action::Scrape,
    }
}

/// Answers packets until it is time to stop. Several may do so on one socket.
pub(crate) async fn serve(socket: Arc<UdpSocket>, tracker: Arc<UdpTracker>, tasks: TaskSpawner) {
    let mut buffer = [0; PACKET];
    loop {
        let received = tokio::select! {
            () = tasks.stopped() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (mut length, mut from) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "cannot receive packets");
                tokio::time::sleep(REFUSED).await;
                continue;
            }
        };
        let mut announces = Vec::new();
        for read in 1..=TOGETHER {
            match tracker.step(&buffer[..length], from.ip().to_canonical()) {
                Step::Ignore => {}
                Step::Answer(answer) => send(&socket, &answer, from).await,
                Step::Announce(transaction, announce) => {
                    announces.extend(tracker.admit(transaction, announce, Action::Announce, from));
                }
                Step::Scrape(transaction, info_hashes) => {
                    if let Some(asked) = tracker.admit(transaction, info_hashes, Action::Scrape, from) {
                        let (socket, tracker) = (Arc::clone(&socket), Arc::clone(&tracker));
                        at_once(async move { tracker.scrape(&socket, asked).await }, &tasks).await;
                    }
                }
            }
            if read == TOGETHER {
                break;
            }
            match socket.try_recv_from(&mut buffer) {
                Ok(received) => (length, from) = received,
                // Nothing is left to read: `recv_from` waits for more.
                Err(_) => break,
            }
        }
        if !announces.is_empty() {
            let (socket, tracker) = (Arc::clone(&socket), Arc::clone(&tracker));
            at_once(async move { tracker.announce(&socket, announces).await }, &tasks).await;
        }
    }
}

/// Answers at once if nothing has to be waited for, and by a task of its own otherwise.
async fn at_once(answering: impl Future<Output = ()> + Send + 'static, tasks: &TaskSpawner) {
    let mut answering = Box::pin(answering);
    if poll!(&mut answering).is_pending() {
        tasks.spawn(answering);
    }
}

/// What the system refuses to send is lost, as packets may be.
async fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(answer, to).await {
        tracing::trace!(%error, %to, "an answer is lost");
    }
}
