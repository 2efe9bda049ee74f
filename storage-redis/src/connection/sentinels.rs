//! Which server is the primary, as the sentinels say: they are asked again and again, and listened to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, Value};
use storage_core::TaskSpawner;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::clients::NodeClients;
use super::connector::explain;
use crate::NAME;

/// The time between two questions to a sentinel. An old primary goes on taking writes, which are lost, for as long as
/// its clients do not know of the new one.
const INTERVAL: Duration = Duration::from_millis(300);

/// The longest that connecting to a sentinel may take, and its answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long the answer of a sentinel counts that answers no more: the one that led the failover may be gone before the
/// others know of it.
const TRUSTED: Duration = Duration::from_secs(30);

/// Where sentinels announce that another server is the primary.
const CHANNEL: &str = "+switch-master";

/// A server, as sentinels name it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PrimaryAddress {
    host: String,
    port: u16,
}

/// What is known from one sentinel.
#[derive(Default)]
struct SentinelClient {
    /// What it named last: when, the number of that decision, the server.
    named: Option<(Instant, u64, PrimaryAddress)>,
    /// How the last question ended: `None` while it has not.
    asked: Option<RedisResult<()>>,
}

/// The primary that counts, and how many there were before.
#[derive(Clone)]
struct Primary {
    generation: u64,
    address: PrimaryAddress,
}

/// Follows the sentinels.
pub(super) struct Sentinels {
    /// The name by which they know the primary.
    master: String,
    /// One for each.
    clients: Vec<Client>,
    known: Mutex<Vec<SentinelClient>>,
    /// Changes with every answer.
    primary: watch::Sender<Option<Primary>>,
    generation: Arc<AtomicU64>,
    data_nodes: NodeClients,
}

/// Tells whether a server is the primary still.
#[derive(Clone)]
pub(super) struct Term {
    generation: u64,
    current: Arc<AtomicU64>,
}

impl Term {
    /// Whether the sentinels have named another primary since.
    pub(super) fn is_over(&self) -> bool {
        self.current.load(Ordering::Acquire) != self.generation
    }
}

impl Sentinels {
    /// Those that these clients reach, for the primary of this name; `client_of` makes a client of the server at a
    /// host and port.
    pub(super) fn new(master: String, clients: Vec<Client>, data_nodes: NodeClients) -> Self {
        let known = Mutex::new(clients.iter().map(|_| SentinelClient::default()).collect());
        let primary = watch::Sender::new(None);
        Self { master, clients, known, primary, generation: Arc::default(), data_nodes }
    }

    /// Asks all of them and listens to them, until it is time to stop.
    pub(super) fn follow(self: &Arc<Self>, tasks: &TaskSpawner) {
        for place in 0..self.clients.len() {
            let sentinels = Arc::clone(self);
            tasks.spawn_until_stopped(async move {
                loop {
                    if let Err(error) = sentinels.follow_one(place, &sentinels.clients[place]).await {
                        sentinels.note(place, Err(error));
                    }
                    tokio::time::sleep(INTERVAL).await;
                }
            });
        }
    }

    /// A client of the primary. Waits until a sentinel names one.
    ///
    /// # Errors
    /// Why there is none, once all sentinels have been asked in vain.
    pub(super) async fn primary(&self) -> RedisResult<(Client, Term)> {
        let mut primary = self.primary.subscribe();
        loop {
            let named = primary.borrow_and_update().clone();
            if let Some(Primary { generation, address: PrimaryAddress { host, port } }) = named {
                let client = (self.data_nodes)(&host, port)?;
                return Ok((client, Term { generation, current: Arc::clone(&self.generation) }));
            }
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if primary.changed().await.is_err() {
                return Err(unknown());
            }
        }
    }

    /// Why no sentinel names a primary; `None` while one has not been asked.
    fn failure(&self) -> Option<RedisError> {
        let known = self.known.lock();
        if known.iter().any(|sentinel| sentinel.asked.is_none()) {
            return None;
        }
        let errors = || known.iter().filter_map(|sentinel| sentinel.asked.as_ref()?.as_ref().err());
        // One that can't be reached says less than one that answers.
        let error = errors().find(|error| !error.is_io_error()).or_else(|| errors().next());
        Some(error.cloned().unwrap_or_else(unknown))
    }

    /// How the last question to each of them failed, if it did, in their order.
    pub(super) fn failures(&self) -> Vec<Option<RedisError>> {
        let known = self.known.lock();
        known.iter().map(|sentinel| sentinel.asked.clone()?.err()).collect()
    }

    async fn follow_one(&self, place: usize, client: &Client) -> RedisResult<()> {
        let announced = Arc::new(Notify::new());
        let announces = Arc::clone(&announced);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            // An announcement, or the loss of the connection: either is a reason to ask.
            .set_push_sender(move |_| {
                announces.notify_one();
                Ok::<_, redis::aio::SendError>(())
            });
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => return Err(explain(error, client.get_connection_info().addr()).await),
        };
        if let Err(error) = connection.subscribe(CHANNEL).await {
            tracing::debug!(backend = NAME, %error, "cannot subscribe to a sentinel: it is polled instead");
        }
        loop {
            let named = self.ask(&mut connection).await?;
            self.note(place, Ok(named));
            let _ = timeout(INTERVAL, announced.notified()).await;
        }
    }

    /// Asks a sentinel for the number of its last decision and the server that it takes for the primary, both at once.
    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<Option<(u64, PrimaryAddress)>> {
        let mut questions = redis::pipe();
        questions.cmd("SENTINEL").arg("MASTER").arg(&self.master);
        questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let mut answers = connection.req_packed_commands(&questions, 0, 2).await?.into_iter();
        let (state, address) = (answers.next(), answers.next().unwrap_or(Value::Nil));
        let address = redis::from_redis_value::<Option<(String, u16)>>(address.extract_error()?);
        let Some((host, port)) = address.map_err(unexpected)? else { return Ok(None) };
        let state = state.unwrap_or(Value::Nil).extract_error()?;
        let state: HashMap<String, String> = redis::from_redis_value(state).map_err(unexpected)?;
        let epoch = state.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        Ok(Some((epoch, PrimaryAddress { host, port })))
    }

    /// Notes the answer of a sentinel, and tells those who wait for one.
    fn note(&self, place: usize, answer: RedisResult<Option<(u64, PrimaryAddress)>>) {
        let mut known = self.known.lock();
        let Some(sentinel) = known.get_mut(place) else { return };
        match answer {
            Ok(named) => {
                sentinel.asked = Some(if named.is_some() { Ok(()) } else { Err(unknown()) });
                sentinel.named = named.map(|(epoch, address)| (Instant::now(), epoch, address));
            }
            Err(error) => sentinel.asked = Some(Err(error)),
        }
        self.primary.send_modify(|primary| {
            let current = primary.as_ref().map(|primary| &primary.address);
            let Some(address) = newest(&known, current) else { return };
            if current != Some(&address) {
                if current.is_some() {
                    let (host, port) = (&address.host, address.port);
                    tracing::debug!(backend = NAME, %host, port, "the sentinels name another primary");
                }
                let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
                *primary = Some(Primary { generation, address });
            }
        });
    }
}

/// The primary by the latest decision that a sentinel knows of; the current one where it is among several.
fn newest(known: &[SentinelClient], current: Option<&PrimaryAddress>) -> Option<PrimaryAddress> {
    let named = || {
        let named = known.iter().filter_map(|sentinel| sentinel.named.as_ref());
        named.filter(|(at, ..)| at.elapsed() < TRUSTED)
    };
    let latest = named().map(|(_, epoch, _)| *epoch).max()?;
    let mut of_latest = named().filter(|(_, epoch, _)| *epoch == latest).map(|(.., address)| address);
    let stays = current.filter(|current| of_latest.clone().any(|address| address == *current));
    stays.or_else(|| of_latest.next()).cloned()
}

/// No sentinel knows a primary of the name.
fn unknown() -> RedisError {
    (ErrorKind::MasterNameNotFoundBySentinel, "no sentinel knows the primary").into()
}

fn unexpected(error: redis::ParsingError) -> RedisError {
    (ErrorKind::Parse, "a sentinel returned an unexpected answer", error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> PrimaryAddress {
        PrimaryAddress { host: "10.0.0.1".into(), port }
    }

    fn named(epoch: u64, port: u16) -> SentinelClient {
        SentinelClient { named: Some((Instant::now(), epoch, address(port))), asked: Some(Ok(())) }
    }

    fn client(host: &str, port: u16) -> RedisResult<Client> {
        Client::open(format!("redis://{host}:{port}"))
    }

    fn sentinels(number: u16) -> Sentinels {
        let clients = (1..=number).map(|port| client("10.0.0.2", port).unwrap());
        Sentinels::new("m".into(), clients.collect(), Arc::new(client))
    }

    #[test]
    fn the_latest_decision_counts_and_not_the_majority() {
        let known = [named(7, 1), named(8, 2), named(7, 1)];
        assert_eq!(newest(&known, Some(&address(1))), Some(address(2)));
    }

    #[test]
    fn of_two_servers_by_the_same_decision_the_current_one_stays() {
        let known = [named(7, 1), named(7, 2)];
        assert_eq!(newest(&known, Some(&address(2))), Some(address(2)));
        assert_eq!(newest(&known, None), Some(address(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sentinel_that_is_gone_counts_for_a_while() {
        let sentinels = sentinels(2);
        sentinels.note(0, Ok(Some((8, address(2)))));
        sentinels.note(1, Ok(Some((7, address(1)))));
        sentinels.note(0, Err(std::io::Error::other("gone").into()));
        let port = || sentinels.primary.borrow().as_ref().map(|primary| primary.address.port);
        assert_eq!(port(), Some(2));
        tokio::time::advance(TRUSTED).await;
        sentinels.note(1, Ok(Some((7, address(1)))));
        assert_eq!(port(), Some(1));
    }

    #[tokio::test]
    async fn a_term_is_over_when_another_primary_is_named() {
        let sentinels = sentinels(1);
        sentinels.note(0, Ok(Some((1, address(1)))));
        let (_, term) = sentinels.primary().await.unwrap();
        sentinels.note(0, Ok(Some((1, address(1)))));
        assert!(!term.is_over());
        sentinels.note(0, Ok(Some((2, address(2)))));
        assert!(term.is_over());
    }

    #[tokio::test]
    async fn without_a_primary_the_most_telling_error_is_given() {
        let sentinels = sentinels(2);
        sentinels.note(0, Err(std::io::Error::other("gone").into()));
        assert!(sentinels.failure().is_none());
        sentinels.note(1, Ok(None));
        let error = sentinels.primary().await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MasterNameNotFoundBySentinel);
    }
}
