//! A database of a test's own, among those of a server.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionInfo, RedisResult};
use storage_core::config::Value;

use super::{ask, connect};

/// The default of Redis, which it does not report.
const USUAL_NUMBER: u32 = 16;

/// The databases of a server that tests may use.
pub(super) struct Databases {
    server: ConnectionInfo,
    state: Mutex<DatabaseState>,
    returned: Condvar,
}

struct DatabaseState {
    free: BTreeSet<u32>,
    taken: BTreeSet<u32>,
}

impl Databases {
    pub(super) fn new(server: ConnectionInfo, numbers: impl IntoIterator<Item = u32>) -> Self {
        let state = DatabaseState { free: numbers.into_iter().collect(), taken: BTreeSet::new() };
        Self { server, state: Mutex::new(state), returned: Condvar::new() }
    }

    /// The databases without keys.
    pub(super) fn that_are_empty(server: ConnectionInfo) -> RedisResult<Self> {
        let settings = ask::<HashMap<String, u32>>(&server, redis::cmd("CONFIG").arg("GET").arg("databases"));
        let number = settings.ok().and_then(|settings| settings.into_values().next()).unwrap_or(USUAL_NUMBER);
        let mut empty = Vec::new();
        for number in 0..number {
            let keys: u64 = ask(&database(&server, number), &redis::cmd("DBSIZE"))?;
            empty.extend((keys == 0).then_some(number));
        }
        Ok(Self::new(server, empty))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().free.is_empty()
    }

    pub(super) fn take(self: &Arc<Self>) -> Database {
        let waited = self.returned.wait_while(self.state(), |state| state.free.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let number = state.free.pop_first().expect("one was waited for");
        state.taken.insert(number);
        Database { databases: Arc::clone(self), number }
    }

    /// Empties those that are taken.
    pub(super) fn empty_all(&self) -> RedisResult<()> {
        let taken = &self.state().taken;
        if taken.is_empty() {
            return Ok(());
        }
        let mut connection = connect(&self.server)?;
        let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut connection)?;
        let mut commands = redis::pipe();
        // Tests may be writing there still; by the time they have new connections, this process has ended.
        for client in clients.lines() {
            let field = |name| client.split(' ').find_map(|field| field.strip_prefix(name));
            if field("db=")
                .and_then(|number| number.parse().ok())
                .is_some_and(|number| taken.contains(&number))
            {
                commands.cmd("CLIENT").arg("KILL").arg("ID").arg(field("id="));
            }
        }
        for number in taken {
            commands.cmd("SELECT").arg(number).cmd("FLUSHDB");
        }
        commands.exec(&mut connection)
    }

    fn give_back(&self, number: u32) {
        let mut state = self.state();
        state.taken.remove(&number);
        state.free.insert(number);
        self.returned.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, DatabaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A database that a test has for itself.
pub struct Database {
    databases: Arc<Databases>,
    number: u32,
}

impl Database {
    /// The database's number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// A client of the database.
    pub fn client(&self) -> Client {
        Client::open(self.server()).expect("a server that was reached before")
    }

    /// A connection to the database.
    ///
    /// # Errors
    /// What the server or the network says.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        self.client().get_multiplexed_async_connection().await
    }

    /// The keys of a storage's configuration for the database.
    pub fn settings(&self) -> Vec<(String, Value)> {
        super::settings(&self.server())
    }

    /// Removes all keys.
    ///
    /// # Errors
    /// What the server or the network says.
    pub async fn empty(&self) -> RedisResult<()> {
        redis::cmd("FLUSHDB").exec_async(&mut self.connect().await?).await
    }

    /// Empties the database and lets others use it.
    ///
    /// # Errors
    /// What the server or the network says; it is tried again when the servers are stopped.
    pub async fn remove(self) -> RedisResult<()> {
        self.empty().await?;
        self.databases.give_back(self.number);
        Ok(())
    }

    fn server(&self) -> ConnectionInfo {
        database(&self.databases.server, self.number)
    }
}

fn database(server: &ConnectionInfo, number: u32) -> ConnectionInfo {
    let settings = server.redis_settings().clone().set_db(number.into());
    server.clone().set_redis_settings(settings)
}
