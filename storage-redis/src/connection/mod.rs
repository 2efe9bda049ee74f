//! Connections: as many as configured, each carrying many calls at once, made anew when they are lost,
//! and the repetition of what failed for a short while.

mod clients;
mod clock;
mod cluster;
mod connector;
mod error;
mod greeting;
mod link;
mod node;
mod pool;
mod request;
mod sentinels;
mod shared_connection;
#[cfg_attr(not(feature = "_tls"), path = "without_tls.rs")]
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{StreamExt, TryStreamExt, stream};
use redis::{Cmd, FromRedisValue, Value};
use storage_core::layer::deadline;
use storage_core::{
    Error, ErrorKind, Event, OpenError, Operation, Result, ServerTime, SharedObserver, Tasks,
};
use tokio::time::Instant;

use self::connector::{ConnectionUse, Connector};
use self::error::{RequestError, RetryAdvice};
use self::pool::Pool;
pub(crate) use self::request::Node;
use self::request::Request;
use crate::NAME;
use crate::config::RedisConfig;
use crate::layout::key_text;

const SHORTEST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_millis(500);
/// Commands under way at once where a cluster takes them one by one.
pub(crate) const CLUSTER_WIDTH: usize = 64;
/// How often a call loads the scripts before it takes the server's word that they are not there.
const SCRIPT_LOADS: u32 = 3;

/// What a command is for, and whether it may be sent again when its outcome is unknown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    once: bool,
    written: WrittenOnce,
}

/// What a call may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WrittenOnce {
    /// What nobody misses.
    Nothing,
    /// Peers, which announce again.
    Peers,
    /// What is lost for good when it is lost.
    Lasting,
}

impl WrittenOnce {
    fn by(operation: Operation) -> Self {
        match operation {
            Operation::GraduatePeers
            | Operation::PutData
            | Operation::DeleteData
            | Operation::ForgetSwarm
            | Operation::ImportDownloads
            | Operation::ImportData => Self::Lasting,
            Operation::PutPeer
            | Operation::DeletePeer
            | Operation::RemovePeer
            | Operation::Announce
            | Operation::WritePeers
            | Operation::ImportPeers => Self::Peers,
            _ => Self::Nothing,
        }
    }
}

impl Call {
    /// A call that changes nothing when it is carried out a second time.
    pub(crate) fn repeatable(operation: Operation) -> Self {
        Self { operation, once: false, written: WrittenOnce::by(operation) }
    }

    /// A call that must not be carried out twice.
    pub(crate) fn once(operation: Operation) -> Self {
        Self { operation, once: true, written: WrittenOnce::by(operation) }
    }

    /// The same call, whether it may count a download or not.
    pub(crate) fn with_download(self, has_download: bool) -> Self {
        if has_download { Self { written: WrittenOnce::Lasting, ..self } } else { self }
    }

    /// The same call, which writes peers and nothing else.
    pub(crate) fn of_peers(self) -> Self {
        Self { written: WrittenOnce::Peers, ..self }
    }

    /// The same call, for what may be carried out a second time.
    pub(crate) fn as_repeatable(self) -> Self {
        Self { once: false, ..self }
    }

    /// An error of this call.
    pub(crate) fn error(self, kind: ErrorKind) -> Error {
        Error::new(NAME, self.operation, kind)
    }
}

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
            let Err(fault) = self.pool.connect_all().await else {
                self.pool.keep_verifying();
                return Ok(());
            };
            let delay = delays.next().unwrap_or(LONGEST_DELAY);
            if fault.remedy == RetryAdvice::Nothing || begun.elapsed() + delay > timeout {
                return Err(fault.into_error(Operation::Open, false));
            }
            if !told {
                tracing::warn!(
                    backend = NAME,
                    reason = fault.reason,
                    ?timeout,
                    "can't connect; trying again"
                );
                told = true;
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// The time of the servers.
    pub(crate) fn time(&self) -> &ServerTime {
        self.pool.connector().time()
    }

    /// Whether the keys of a swarm are on different nodes.
    pub(crate) fn is_cluster(&self) -> bool {
        self.pool.connector().is_cluster()
    }

    /// Whether the primary is the one that sentinels name.
    pub(crate) fn is_sentinel(&self) -> bool {
        self.pool.connector().is_sentinel()
    }

    /// How many replicas are waited for, and whether for peers too.
    pub(crate) fn waits_for(&self) -> (u32, bool) {
        (self.pool.connector().wait().map_or(0, |wait| wait.replicas), self.wait_for_peers)
    }

    /// The sentinels that do not answer, and why.
    pub(crate) fn silent_sentinels(&self) -> Vec<(String, String)> {
        self.pool.connector().silent_sentinels()
    }

    /// Where commands go at this time, for people to read.
    pub(crate) async fn target(&self) -> String {
        self.pool.connector().target().await
    }

    /// Tells that keys have another type than they should and are left alone, and which the first are.
    pub(crate) fn note_wrong_type(&self, first: &[Vec<u8>], count: u64) {
        if count > 0 {
            let first = first.iter().map(|key| key_text(key)).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                backend = NAME,
                first,
                count,
                "keys hold another type than MoChi's `redis` storage uses, perhaps that of its `keydb` storage: they \
                 are left alone"
            );
        }
    }

    /// Tells the observer that entries could not be understood.
    pub(crate) fn note_unreadable(&self, what: &'static str, count: u64) {
        if count > 0 {
            tracing::warn!(backend = NAME, what, count, "entries that can't be understood are passed over");
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
        let (values, after_loss) = self.attempts(call, &Request::Write(command)).await?;
        Ok((read(call, values.into_iter().next().unwrap_or(Value::Nil))?, after_loss))
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
        Ok(vec![(self.target().await, self.query(call, command).await?)])
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
        self.attempts(call, request).await.map(|(values, _)| values)
    }

    fn purpose(&self, call: Call) -> ConnectionUse {
        let waits = match call.written {
            WrittenOnce::Lasting => true,
            WrittenOnce::Peers => self.wait_for_peers,
            WrittenOnce::Nothing => false,
        };
        if waits && self.pool.connector().wait().is_some() {
            ConnectionUse::Replicated
        } else {
            ConnectionUse::Shared
        }
    }

    /// Sends a request, again and again for as long as that may help; also gives whether an attempt before the
    /// last one may have taken effect.
    async fn attempts(&self, call: Call, request: &Request) -> Result<(Vec<Value>, bool)> {
        let (now, deadline) = (Instant::now(), deadline(call.operation));
        let give_up = deadline.min(now + self.retry_timeout);
        let purpose = self.purpose(call);
        let mut delays = delays();
        let (mut may_have_run, mut script_loads) = (false, 0);
        loop {
            self.check_open(call.operation)?;
            let fault = match self.pool.attempt(request, purpose, deadline).await {
                Ok(values) => return Ok((values, may_have_run)),
                Err(fault) => fault,
            };
            may_have_run |= fault.may_have_run;
            if fault.remedy == RetryAdvice::LoadScripts && script_loads < SCRIPT_LOADS {
                script_loads += 1;
                continue;
            }
            let delay = delays.next().unwrap_or(LONGEST_DELAY);
            let hopeless = fault.remedy == RetryAdvice::Nothing
                || (may_have_run && call.once)
                || Instant::now() + delay > give_up;
            if hopeless {
                let uncertain = may_have_run && call.operation.is_write();
                let fault = match request.commands().next() {
                    Some(command) => fault.about(command),
                    None => fault,
                };
                return Err(fault.into_error(call.operation, uncertain));
            }
            self.observer.observe(NAME, Event::Retried { reason: fault.reason });
            tokio::time::sleep(delay).await;
        }
    }
}

/// Growing delays between attempts, jittered.
fn delays() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(SHORTEST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .without_max_times()
        .with_jitter()
        .build()
}

/// One answer of several.
fn item(call: Call, value: Value, command: &Cmd) -> Result<Result<Value>> {
    let Value::ServerError(error) = value else { return Ok(Ok(value)) };
    let error = RequestError::refused(&error).about(command).into_error(call.operation, false);
    if error.kind() == ErrorKind::Corrupt { Ok(Err(error)) } else { Err(error) }
}

/// Reads an answer.
pub(crate) fn read<T: FromRedisValue>(call: Call, value: Value) -> Result<T> {
    if let Value::ServerError(error) = &value {
        return Err(RequestError::refused(error).into_error(call.operation, false));
    }
    // What redis-rs says of it may repeat stored values.
    redis::from_redis_value(value)
        .map_err(|_| call.error(ErrorKind::Corrupt).with_message("the answer has an unexpected form"))
}

/// A command on a key; arguments are added to it.
pub(crate) fn command(name: &str, key: &[u8]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}
