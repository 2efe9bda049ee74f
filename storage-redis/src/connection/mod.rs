//! Connections: as many as configured, each carrying many calls at once, made anew when they are lost,
//! and the repetition of what failed for a short while.

mod clients;
mod cluster;
mod connector;
mod node;
mod pool;
mod request;
mod retry;
mod sentinels;
mod shared_connection;
#[cfg_attr(not(feature = "_tls"), path = "without_tls.rs")]
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use redis::{Cmd, FromRedisValue, Value};
use storage_core::{
    Error, ErrorKind, Event, OpenError, Operation, PoolUtilization, Result, SharedObserver, Tasks,
};
use tokio::time::Instant;

pub(crate) use self::connector::{ConnectError, Connector};
use self::pool::Pool;
use self::request::Request;
pub(crate) use self::request::{Node, SendError, keys};
pub(crate) use self::retry::Call;
use self::retry::{LONGEST_DELAY, delays};
use crate::NAME;
use crate::config::RedisConfig;
use crate::error::{RequestError, RetryAdvice};
use crate::layout::key_text;

/// Commands under way at once where a cluster takes them one by one.
pub(crate) const CLUSTER_WIDTH: usize = 64;
/// The connections of one storage.
pub(crate) struct Connections {
    pool: Pool,
    closed: AtomicBool,
    retry_timeout: Duration,
    wait_for_peers: bool,
    observer: SharedObserver,
}

impl Connections {
    /// Connects; an unreachable server is tried again for as long as configured.
    pub(crate) async fn open(config: &RedisConfig, observer: SharedObserver) -> Result<Self, OpenError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(OpenError::Configuration(problems));
        }
        let tasks = Tasks::default();
        let connector = Connector::new(config, Arc::clone(&observer), tasks.spawner())
            .map_err(|problem| OpenError::Configuration(vec![problem]))?;
        let connections = Self {
            pool: Pool::new(connector, config.pool_size, Arc::clone(&observer), tasks),
            closed: AtomicBool::new(false),
            retry_timeout: config.retry_timeout,
            wait_for_peers: config.wait_for_peers,
            observer,
        };
        connections.connect_at_start(config.startup_timeout).await?;
        Ok(connections)
    }

    async fn connect_at_start(&self, timeout: Duration) -> Result<()> {
        let (begun, mut delays, mut told) = (Instant::now(), delays(), false);
        loop {
            let Err(error) = self.pool.connect_all().await else {
                self.pool.keep_verifying();
                return Ok(());
            };
            let delay = delays.next().unwrap_or(LONGEST_DELAY);
            if error.advice == RetryAdvice::Nothing || begun.elapsed() + delay > timeout {
                return Err(error.into_error(Operation::Open, false));
            }
            if !told {
                tracing::warn!(backend = NAME, reason = error.reason, ?timeout, "cannot connect; retrying");
                told = true;
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// What makes the connections, and knows the servers.
    pub(crate) fn connector(&self) -> &Connector {
        self.pool.connector()
    }

    /// The connections and those of them that carry calls.
    pub(crate) fn utilization(&self) -> PoolUtilization {
        self.pool.utilization()
    }

    /// Whether the keys of a swarm are on different nodes.
    pub(crate) fn is_cluster(&self) -> bool {
        self.connector().is_cluster()
    }

    /// How many replicas are waited for, and whether for peers too.
    pub(crate) fn waits_for(&self) -> (u32, bool) {
        (self.connector().wait().map_or(0, |wait| wait.replicas), self.wait_for_peers)
    }

    /// Tells that keys have another type than they should and are left alone, and which the first are.
    pub(crate) fn note_wrong_type(&self, first: &[Vec<u8>], count: u64) {
        if count > 0 {
            let first = first.iter().map(|key| key_text(key)).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                backend = NAME,
                first,
                count,
                "ignored keys of another type than MoChi's `redis` storage uses, perhaps those of its `keydb` storage"
            );
        }
    }

    /// Tells the observer that entries could not be understood.
    pub(crate) fn note_unreadable(&self, what: &'static str, count: u64) {
        if count > 0 {
            tracing::warn!(backend = NAME, what, count, "skipped unreadable entries");
            self.observer.observe(NAME, Event::Skipped { what, count });
        }
    }

    /// Lets go of the connections; every later call is `Closed`. Calls under way go on.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.pool.close().await;
    }

    /// Fails if the storage has been closed.
    pub(crate) fn check_open(&self, operation: Operation) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(NAME, operation, ErrorKind::Closed));
        }
        Ok(())
    }

    /// Sends a command.
    pub(crate) async fn query<T: FromRedisValue>(&self, call: Call, command: Cmd) -> Result<T> {
        self.one(call, &Request::Command(command)).await
    }

    /// Calls a script that takes an expiry as its last argument, which is added here: a write that has been
    /// given up does not take effect later. On a cluster it never expires.
    pub(crate) async fn write<T: FromRedisValue>(&self, call: Call, command: Cmd) -> Result<T> {
        self.one(call, &Request::Write(command)).await
    }

    /// The same; also whether an earlier attempt may have taken effect, whose answer was lost.
    pub(crate) async fn write_again<T: FromRedisValue>(&self, call: Call, command: Cmd) -> Result<(T, bool)> {
        let (values, may_have_committed) = self.send_with_retries(call, &Request::Write(command)).await?;
        Ok((read(call, values.into_iter().next().unwrap_or(Value::Nil))?, may_have_committed))
    }

    /// Sends a command to a node of its own choice.
    pub(crate) async fn query_on<T: FromRedisValue>(
        &self,
        call: Call,
        node: &Node,
        command: Cmd,
    ) -> Result<T> {
        match node {
            Node::Only => self.query(call, command).await,
            Node::At(address) => self.one(call, &Request::On(address.clone(), command)).await,
        }
    }

    /// The nodes that hold data of their own.
    pub(crate) async fn nodes(&self, call: Call) -> Result<Vec<Node>> {
        if !self.is_cluster() {
            return Ok(vec![Node::Only]);
        }
        let answers: Vec<(String, Value)> = self.one(call, &Request::OnPrimaries(redis::cmd("PING"))).await?;
        Ok(answers.into_iter().map(|(address, _)| Node::At(address)).collect())
    }

    /// Sends a command to all nodes that hold data of their own, and gives their answers by address.
    pub(crate) async fn query_primaries<T: FromRedisValue>(
        &self,
        call: Call,
        command: Cmd,
    ) -> Result<Vec<(String, T)>> {
        if self.is_cluster() {
            return self.one(call, &Request::OnPrimaries(command)).await;
        }
        Ok(vec![(self.connector().target().await, self.query(call, command).await?)])
    }

    /// Sends commands as one transaction, not to a cluster, and gives the answer of each, as [`many`](Self::many)
    /// does.
    pub(crate) async fn transaction(&self, call: Call, commands: Vec<Cmd>) -> Result<Vec<Result<Value>>> {
        self.items(call, &Request::transaction(commands)).await
    }

    /// Sends commands together and gives the answer of each; `Corrupt` where a key has the wrong type.
    /// All of them must be repeatable.
    pub(crate) async fn many(&self, call: Call, commands: Vec<Cmd>) -> Result<Vec<Result<Value>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        if !self.is_cluster() {
            return self.items(call, &Request::pipeline(commands)).await;
        }
        let answers = stream::iter(commands).map(|command| async move {
            match self.query::<Value>(call, command).await {
                Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
                answer => Ok(answer),
            }
        });
        answers.buffered(CLUSTER_WIDTH).try_collect().await
    }

    async fn items(&self, call: Call, request: &Request) -> Result<Vec<Result<Value>>> {
        let values = self.run(call, request).await?;
        values
            .into_iter()
            .zip(request.commands())
            .map(|(value, command)| item(call, value, command))
            .collect()
    }

    async fn one<T: FromRedisValue>(&self, call: Call, request: &Request) -> Result<T> {
        let value = self.run(call, request).await?.into_iter().next().unwrap_or(Value::Nil);
        read(call, value)
    }

    async fn run(&self, call: Call, request: &Request) -> Result<Vec<Value>> {
        self.send_with_retries(call, request).await.map(|(values, _)| values)
    }
}

/// One answer of several.
fn item(call: Call, value: Value, command: &Cmd) -> Result<Result<Value>> {
    let Value::ServerError(error) = value else { return Ok(Ok(value)) };
    let error = RequestError::classify_refusal(&error).about(command).into_error(call.operation, false);
    if error.kind() == ErrorKind::Corrupt { Ok(Err(error)) } else { Err(error) }
}

/// Reads an answer.
pub(crate) fn read<T: FromRedisValue>(call: Call, value: Value) -> Result<T> {
    if let Value::ServerError(error) = &value {
        return Err(RequestError::classify_refusal(error).into_error(call.operation, false));
    }
    // What redis-rs says of it may repeat stored values.
    redis::from_redis_value(value)
        .map_err(|_| call.error(ErrorKind::Corrupt).with_message("the server returned an unexpected answer"))
}

/// A command on a key; arguments are added to it.
pub(crate) fn command(name: &str, key: &[u8]) -> Cmd {
    redis::cmd(name).arg(key).take()
}
