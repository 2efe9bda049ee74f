//! A cluster, whose slots may move from node to node while it serves.
//!
//! Commands are sent to nodes from here, and not by the cluster client of redis-rs: that sends `ASKING` and the
//! command apart, so that a command of another caller may come between them, and while it looks where the slots are
//! now it lets all other commands rest, for ever if there are many.
//!
//! Where a node refers to another one (`ASK` while the slot is moved, `MOVED` afterwards), the command is sent on.
//! What is referred has not been carried out, so this is done for calls made once, too.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all, select_ok, try_join_all};
use parking_lot::Mutex;
use rand::seq::IteratorRandom;
use redis::aio::ConnectionLike;
use redis::cluster_routing::Slot;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
};
use storage_core::ServerClock;
use tokio::time::{Instant, timeout, timeout_at};

use super::clients::NodeClients;
use super::connector::{ConnectError, Link};
use super::node::ReplicaWait;
use super::request::{SendError, by, keys};
use super::shared_connection::SharedConnection;

/// How often in a row a command is sent on; then the nodes disagree, and it is tried again after a moment.
const MOST_REFERRALS: usize = 5;
/// The longest that looking where the slots are takes.
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// The longest that a node is waited for when all are asked for their time.
const LONGEST_TIME: Duration = Duration::from_secs(1);

/// Connections to the nodes of a cluster.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Nodes>);

struct Nodes {
    client: NodeClients,
    config: AsyncConnectionConfig,
    wait: Option<ReplicaWait>,
    /// The configured addresses.
    seeds: Vec<Arc<str>>,
    /// The address of the node that has each slot, as far as it is known.
    slots: Mutex<HashMap<Slot, Arc<str>>>,
    links: Mutex<HashMap<Arc<str>, Arc<SharedLink>>>,
    /// Looks where the slots are, once for all who want to know.
    look: SharedConnection<(), ConnectError>,
}

type SharedLink = SharedConnection<Link, ConnectError>;

/// Where a node has referred a command to.
struct Referral {
    address: Arc<str>,
    /// The slot is not that node's yet.
    is_ask: bool,
}

impl Cluster {
    /// Looks where the slots are, and connects to all nodes that can be reached.
    pub(super) async fn connect(
        seeds: &[String],
        client: NodeClients,
        config: AsyncConnectionConfig,
        wait: Option<ReplicaWait>,
    ) -> Result<Self, ConnectError> {
        let nodes = Nodes {
            client,
            config,
            wait,
            seeds: seeds.iter().map(|seed| Arc::from(seed.as_str())).collect(),
            slots: Mutex::default(),
            links: Mutex::default(),
            look: SharedConnection::default(),
        };
        let cluster = Self(Arc::new(nodes));
        cluster.look().await?;
        Ok(cluster)
    }

    /// Sends a command to the node that has its key, wherever that is, and waits for the answer until the deadline.
    pub(super) async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Value, SendError> {
        let slot = keys(command).next().map(Slot::for_key);
        let answer = self.send_on(command, slot, deadline).await;
        if answer.as_ref().is_err_and(is_of_moved_slots) {
            // Whatever comes of it: the command fails, and finds the slots anew when it is sent again.
            let _ = timeout_at(deadline, self.look()).await;
        }
        answer
    }

    async fn send_on(
        &self,
        command: &Cmd,
        slot: Option<Slot>,
        deadline: Instant,
    ) -> Result<Value, SendError> {
        let address = self.0.address(slot);
        let mut answer = self.send_to(&address, command, deadline).await;
        for _ in 0..MOST_REFERRALS {
            let Some(referral) = answer.as_ref().err().and_then(Referral::read) else { break };
            if referral.is_ask {
                answer = self.ask(&referral.address, command, deadline).await;
                continue;
            }
            if let Some(slot) = slot {
                self.0.slots.lock().insert(slot, Arc::clone(&referral.address));
            }
            answer = self.send_to(&referral.address, command, deadline).await;
        }
        answer
    }

    /// Sends a command to the node of an address.
    pub(super) async fn send_to(
        &self,
        address: &str,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, SendError> {
        let link = self.link_in_time(address, deadline).await?;
        link.node.send(Cow::Borrowed(command), deadline).await.and_then(checked)
    }

    /// Sends a command to a node that is about to get the slot.
    async fn ask(&self, address: &str, command: &Cmd, deadline: Instant) -> Result<Value, SendError> {
        let link = self.link_in_time(address, deadline).await?;
        let mut asking = Pipeline::with_capacity(2);
        asking.add_command(redis::cmd("ASKING")).add_command(command.clone());
        let mut answers = by(deadline, link.node.send_all(&asking)).await?;
        checked(answers.pop().unwrap_or(Value::Nil))
    }

    /// Sends a command to all nodes that have slots; gives their answers by address.
    pub(super) async fn send_to_all(&self, command: &Cmd, deadline: Instant) -> Result<Value, SendError> {
        match timeout_at(deadline, self.look()).await {
            Ok(looked) => looked.map_err(SendError::NoConnection)?,
            Err(_) => return Err(SendError::NotSent),
        }
        let answers = self.0.primaries().into_iter().map(|address| async move {
            let answer = self.send_to(&address, command, deadline).await?;
            Ok::<_, SendError>((Value::BulkString(address.as_bytes().to_vec()), answer))
        });
        Ok(Value::Map(try_join_all(answers).await?))
    }

    /// The clocks of the nodes that have slots, without those that do not answer.
    pub(super) async fn clocks(&self) -> Vec<ServerClock> {
        let _ = self.look().await;
        let looks = self.0.primaries().into_iter().map(|address| async move {
            let look = async {
                let link = self.link(&address).await.ok()?;
                link.node.check().await.then(|| link.node.clock())
            };
            timeout(LONGEST_TIME, look).await.ok().flatten()
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    /// Loads the scripts on all nodes that there is a connection to; others get them with the connection.
    pub(super) async fn load_scripts(&self) -> RedisResult<()> {
        let made: Vec<_> = self.0.links.lock().values().filter_map(|link| link.made()).collect();
        let loads = made.into_iter().map(|(_, link)| async move { link.node.load_scripts().await });
        join_all(loads).await.into_iter().collect()
    }

    /// Looks where the slots are.
    async fn look(&self) -> Result<(), ConnectError> {
        let cluster = self.clone();
        let (generation, ()) = self.0.look.get(|_| async move { cluster.look_now().await }.boxed()).await?;
        self.0.look.give_up(generation);
        Ok(())
    }

    /// Asks all nodes that are known; the first answer counts.
    async fn look_now(&self) -> Result<(), ConnectError> {
        let known: BTreeSet<_> = self.0.primaries().into_iter().chain(self.0.seeds.iter().cloned()).collect();
        let asks: Vec<_> = known.iter().map(|address| self.slots_known_to(address).boxed()).collect();
        let failed = |error: RedisError| ConnectError { address: self.0.seeds.join(", "), error };
        if asks.is_empty() {
            return Err(failed((ErrorKind::InvalidClientConfig, "no address is configured").into()));
        }
        let (slots, _) = match timeout(LONGEST_LOOK, select_ok(asks)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(failed(std::io::Error::from(std::io::ErrorKind::TimedOut).into())),
        };
        *self.0.slots.lock() = slots;
        // The connections to nodes that are gone.
        let is_good = |link: &SharedLink| link.made().is_none_or(|(_, link)| !link.is_lost());
        self.0.links.lock().retain(|address, link| known.contains(address) || is_good(link));
        Ok(())
    }

    async fn slots_known_to(&self, address: &str) -> Result<HashMap<Slot, Arc<str>>, ConnectError> {
        let link = self.link(address).await?;
        let answer = link.node.connection().req_packed_command(redis::cmd("CLUSTER").arg("SLOTS")).await;
        let slots = answer.and_then(Value::extract_error).and_then(|answer| {
            let (host, _) = address_parts(address).unwrap_or_default();
            let unexpected = (ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS returned an unexpected answer");
            read_slots(answer, host).ok_or(RedisError::from(unexpected))
        });
        slots.map_err(|error| ConnectError { address: address.to_owned(), error })
    }

    async fn link_in_time(&self, address: &str, deadline: Instant) -> Result<Link, SendError> {
        match timeout_at(deadline, self.link(address)).await {
            Ok(link) => link.map_err(SendError::NoConnection),
            Err(_) => Err(SendError::NotSent),
        }
    }

    /// The connection to a node; a new one if there is none or it is lost.
    async fn link(&self, address: &str) -> Result<Link, ConnectError> {
        let made = Arc::clone(self.0.links.lock().entry(Arc::from(address)).or_default());
        loop {
            let (generation, link) = made.get(|_| self.0.connect(address)).await?;
            if !link.is_lost() {
                return Ok(link);
            }
            made.give_up(generation);
        }
    }
}

impl Nodes {
    /// The address of the node that has a slot, or else of any node.
    fn address(&self, slot: Option<Slot>) -> Arc<str> {
        let slots = self.slots.lock();
        let of_slot = slot.and_then(|slot| slots.get(&slot));
        let any = || slots.values().chain(&self.seeds).choose(&mut rand::rng());
        of_slot.or_else(any).cloned().unwrap_or_default()
    }

    /// The addresses of all nodes that have slots.
    fn primaries(&self) -> BTreeSet<Arc<str>> {
        self.slots.lock().values().cloned().collect()
    }

    /// Connects to a node.
    fn connect(&self, address: &str) -> BoxFuture<'static, Result<Link, ConnectError>> {
        let (address, client) = (address.to_owned(), self.client(address));
        let (config, wait) = (self.config.clone(), self.wait);
        async move {
            let made = match client {
                Ok(client) => Link::make(&client, &config, wait, false).await,
                Err(error) => Err(error),
            };
            made.map_err(|error| ConnectError { address, error })
        }
        .boxed()
    }

    fn client(&self, address: &str) -> RedisResult<Client> {
        let parts = address_parts(address);
        let (host, port) =
            parts.ok_or((ErrorKind::Client, "CLUSTER SLOTS returned an unexpected address"))?;
        (self.client)(host, port)
    }
}

impl Referral {
    /// `None` if the error is none, or does not say where to.
    fn read(error: &SendError) -> Option<Self> {
        let SendError::Redis(error) = error else { return None };
        let (address, _) = error.redirect_node()?;
        address_parts(address)?;
        let is_ask = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
        Some(Self { address: address.into(), is_ask })
    }
}

/// Whether a command failed in a way that another node may have its slot by now.
fn is_of_moved_slots(error: &SendError) -> bool {
    match error {
        SendError::NotSent | SendError::TooFewReplicas { .. } => false,
        SendError::NoConnection(_) | SendError::OutOfTime => true,
        SendError::Redis(error) => match error.kind() {
            ErrorKind::Server(kind) => matches!(
                kind,
                ServerErrorKind::ClusterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::Moved
            ),
            kind => kind == ErrorKind::Io,
        },
    }
}

/// Reads which node has which slots: each range is its first and last slot, and the nodes that have it, the primary
/// first, each host and port and more. A node that does not know how it is reached is reached as before.
fn read_slots(answer: Value, asked_host: &str) -> Option<HashMap<Slot, Arc<str>>> {
    let ranges: Vec<Vec<Value>> = redis::from_redis_value(answer).ok()?;
    let mut slots = HashMap::new();
    for range in ranges {
        let mut range = range.into_iter();
        let first: u16 = redis::from_redis_value(range.next()?).ok()?;
        let last: u16 = redis::from_redis_value(range.next()?).ok()?;
        let primary: Vec<Value> = redis::from_redis_value(range.next()?).ok()?;
        let mut primary = primary.into_iter();
        let host: Option<String> = redis::from_redis_value(primary.next()?).ok()?;
        let port: u16 = redis::from_redis_value(primary.next()?).ok()?;
        let host = host.filter(|host| !host.is_empty() && host != "?").unwrap_or(asked_host.to_owned());
        let address: Arc<str> = format!("{host}:{port}").into();
        slots.extend((first..=last).filter_map(Slot::new).map(|slot| (slot, Arc::clone(&address))));
    }
    Some(slots)
}

/// Host and port of a node's address.
fn address_parts(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    if host.is_empty() || host == "?" {
        return None;
    }
    Some((host, port.parse().ok()?))
}

fn checked(answer: Value) -> Result<Value, SendError> {
    answer.extract_error().map_err(SendError::Redis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referral(line: &str) -> Option<(String, bool)> {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let referral = Referral::read(&SendError::Redis(value.extract_error().unwrap_err()))?;
        Some((referral.address.to_string(), referral.is_ask))
    }

    #[test]
    fn nodes_refer_by_ask_and_moved() {
        assert_eq!(referral("ASK 280 10.0.0.1:7002"), Some(("10.0.0.1:7002".into(), true)));
        assert_eq!(referral("MOVED 280 fe80::1:7002"), Some(("fe80::1:7002".into(), false)));
        assert_eq!(referral("MOVED 280 node-2.example:7002"), Some(("node-2.example:7002".into(), false)));
    }

    #[test]
    fn a_node_without_an_address_cannot_be_referred_to() {
        for line in
            ["MOVED 280 :7002", "ASK 280 ?:7002", "ASK 280", "TRYAGAIN Multiple keys", "ERR ASK 280 a:1"]
        {
            assert_eq!(referral(line), None, "{line}");
        }
    }

    #[test]
    fn slots_are_read_with_nodes_that_do_not_know_how_they_are_reached() {
        let answer = b"*2\r\n*3\r\n:0\r\n:1\r\n*2\r\n$8\r\n10.0.0.1\r\n:7001\r\n*3\r\n:2\r\n:2\r\n*2\r\n$-1\r\n:7002\r\n";
        let slots = read_slots(redis::parse_redis_value(answer).unwrap(), "asked").unwrap();
        let address = |slot| slots.get(&Slot::new(slot).unwrap()).map(|address| &**address);
        assert_eq!(
            [0, 1, 2, 3].map(address),
            [Some("10.0.0.1:7001"), Some("10.0.0.1:7001"), Some("asked:7002"), None]
        );
    }
}
