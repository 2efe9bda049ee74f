//! A database for one test, where a schema does not suffice: a pooler loses the session's `search_path`, or schemas are
//! expensive.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use tokio::sync::RwLock;

use super::pg_url::PgUrl;

/// The tables of the recommended schema. They are few and small, and emptying small tables is quicker
/// by DELETE than by TRUNCATE, on CockroachDB by seconds.
const EMPTY: &str = "DELETE FROM mo_peers; DELETE FROM mo_downloads; DELETE FROM mo_kv";

/// The databases made on a server.
pub(super) struct SqlDatabases {
    /// Where databases are made.
    server: PgUrl,
    /// The way to the server that is tested.
    way: PgUrl,
    /// What follows `DROP DATABASE name`.
    drop_option: &'static str,
    names: Mutex<BTreeSet<String>>,
    /// Read while a database is made, so that a stop waits for it.
    stopped: RwLock<bool>,
}

impl SqlDatabases {
    pub(super) fn new(server: PgUrl, way: PgUrl, drop_option: &'static str) -> Self {
        Self { server, way, drop_option, names: Mutex::default(), stopped: RwLock::new(false) }
    }

    /// Makes a database and runs a script in it.
    pub(super) async fn create(self: &Arc<Self>, script: &str) -> sqlx::Result<SqlDatabase> {
        let name = format!("tracker_test_{:016x}", rand::random::<u64>());
        let stopped = self.stopped.read().await;
        if *stopped {
            return Err(sqlx::Error::Configuration("the tests are being stopped".into()));
        }
        self.names().insert(name.clone());
        run(&self.server, &format!("CREATE DATABASE {name}")).await?;
        let database = SqlDatabase { databases: Arc::clone(self), name };
        run(&self.server.clone().database(&database.name), script).await?;
        drop(stopped);
        Ok(database)
    }

    /// Removes what tests have left; none is made from now on.
    pub(super) fn stop(&self) {
        *crate::runtime::block_on(self.stopped.write()) = true;
        for name in std::mem::take(&mut *self.names()) {
            if let Err(error) = crate::runtime::block_on(self.remove(&name)) {
                eprintln!("could not remove the database {name}: {error}");
            }
        }
    }

    async fn remove(&self, name: &str) -> sqlx::Result<()> {
        run(&self.server, &format!("DROP DATABASE IF EXISTS {name} {}", self.drop_option)).await
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A database with tables in it.
pub struct SqlDatabase {
    databases: Arc<SqlDatabases>,
    name: String,
}

impl SqlDatabase {
    /// The URL by which the storage under test reaches it.
    pub fn url(&self) -> PgUrl {
        self.databases.way.clone().database(&self.name)
    }

    /// The URL of the server itself.
    pub fn direct_url(&self) -> PgUrl {
        self.databases.server.clone().database(&self.name)
    }

    /// Runs a script in it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn execute(&self, script: &str) -> sqlx::Result<()> {
        run(&self.direct_url(), script).await
    }

    /// Empties every table.
    ///
    /// # Errors
    /// What the server says.
    pub async fn empty(&self) -> sqlx::Result<()> {
        run(&self.databases.server.clone().database(&self.name), EMPTY).await
    }

    /// Removes the database with all that is in it.
    ///
    /// # Errors
    /// What the server says; it is tried again when the servers are stopped.
    pub async fn remove(self) -> sqlx::Result<()> {
        self.databases.remove(&self.name).await?;
        self.databases.names().remove(&self.name);
        Ok(())
    }
}

async fn run(url: &PgUrl, script: &str) -> sqlx::Result<()> {
    let options = PgConnectOptions::from_str(&url.to_string())?.disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(script.to_owned()))).await?;
    connection.close().await
}
