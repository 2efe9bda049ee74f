//! PgBouncer in transaction mode gives each transaction another connection to the server: each caller must still
//! get its own answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libtest_mimic::{Completion, Failed, Trial};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use storage_core::{
    AddressFamily, Context, InfoHash, OpenError, Peer, PeerId, PeerSelection, PeerStorageExt, Role, Storage,
    SwarmCounts,
};
use storage_pg::recommended::Recommendation;
use tokio::task::JoinSet;

use super::{Counter, ensure, open};
use crate::harness::unless_missing;
use crate::runtime::block_on;
use crate::servers::{Found, Missing, PgBouncer, PgUrl, Servers, SqlDatabase};

/// More than the pooler has connections to the server.
const CALLERS: u8 = 32;
const TIME: Duration = Duration::from_secs(3);

pub(super) fn tests() -> Vec<Trial> {
    let mut tests =
        vec![Trial::ignorable_test("pg/scenarios/each caller behind a pooler gets its own answers", || {
            let database = match database() {
                Ok(database) => database,
                Err(missing) => return unless_missing("pg", missing),
            };
            let result = block_on(call_at_once(&database.url()));
            block_on(database.remove())?;
            result.map(|()| Completion::Completed)
        })];
    let on_its_own: [(_, _, PoolerScenario); 3] = [
        ("statements of other programs behind a pooler do not interfere", "transaction", |database| {
            block_on(others_prepare_statements(database))
        }),
        ("a pooler that is not configured is detected", "transaction", |database| {
            block_on(is_noticed(database))
        }),
        ("a pooler without transactions is rejected with the reason", "statement", |database| {
            block_on(pools_by_statement(database))
        }),
    ];
    tests.extend(on_its_own.map(|(name, pool_mode, scenario)| {
        Trial::ignorable_test(format!("pg/scenarios/{name}"), move || {
            let pooler = match PgBouncer::of_a_test(pool_mode) {
                Ok(pooler) => pooler,
                Err(missing) => return unless_missing("pg", missing),
            };
            let database = block_on(pooler.database(&Recommendation::default().schema()))?;
            let result = scenario(&database);
            block_on(database.remove())?;
            pooler.stop();
            result.map(|()| Completion::Completed)
        })
    }));
    tests
}

type PoolerScenario = fn(&SqlDatabase) -> Result<(), Failed>;

async fn others_prepare_statements(database: &SqlDatabase) -> Result<(), Failed> {
    // Another program that prepares statements by sqlx, and leaves them on the pooler's connection.
    let mut other = PgConnection::connect(&database.url().to_string()).await?;
    for number in 1..=3 {
        sqlx::query(AssertSqlSafe(format!("SELECT {number}"))).execute(&mut other).await?;
    }
    call_at_once(&database.url().with("default_query_exec_mode", "exec")).await
}

async fn is_noticed(database: &SqlDatabase) -> Result<(), Failed> {
    let storage = open(&database.url(), Arc::new(Counter::default())).await?;
    let warnings = storage.diagnostics().await?.warnings;
    storage.close().await?;
    let is_told = warnings.iter().any(|warning| {
        warning.contains("connection pooler") && warning.contains("`default_query_exec_mode=exec`")
    });
    ensure(is_told, || format!("{warnings:?}"))?;
    // A session setting would apply to sessions of other clients.
    let mut other = PgConnection::connect(&database.url().to_string()).await?;
    let row = sqlx::raw_sql("SHOW idle_in_transaction_session_timeout").fetch_one(&mut other).await?;
    let timeout: &str = row.try_get(0)?;
    ensure(timeout == "0", || format!("other sessions have a timeout of {timeout}"))?;
    other.close().await?;
    call_at_once(&database.url()).await
}

async fn pools_by_statement(database: &SqlDatabase) -> Result<(), Failed> {
    for url in [database.url(), database.url().with("default_query_exec_mode", "exec")] {
        let opened = open(&url, Arc::new(Counter::default())).await;
        let Err(OpenError::Configuration(problems)) = opened else {
            return Err(format!("{:?}", opened.map(drop)).into());
        };
        let is_told = problems.len() == 1 && {
            let message = &problems[0].message;
            problems[0].key == "connection_string"
                && message.contains("statement pooling mode")
                && message.contains("`pool_mode`")
        };
        ensure(is_told, || format!("{problems:?}"))?;
    }
    Ok(())
}

fn database() -> Found<SqlDatabase> {
    let pooler = Servers::shared().pgbouncer()?;
    block_on(pooler.database(&Recommendation::default().schema())).map_err(Missing::failed)
}

async fn call_at_once(url: &PgUrl) -> Result<(), Failed> {
    let url = url.clone().with("pool_max_conns", CALLERS);
    let storage = open(&url, Arc::new(Counter::default())).await?;
    let end = Instant::now() + TIME;
    let mut callers = JoinSet::new();
    for number in 1..=CALLERS {
        let caller = PoolerCaller { number, storage: Arc::clone(&storage) };
        callers.spawn(async move {
            caller.prepare().await?;
            while Instant::now() < end {
                caller.ask().await?;
            }
            Ok::<_, Failed>(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(storage.close().await?)
}

/// A caller that has as many peers and downloads as its number, so that no two callers have the same answers.
struct PoolerCaller {
    number: u8,
    storage: Arc<dyn Storage>,
}

impl PoolerCaller {
    async fn prepare(&self) -> Result<(), Failed> {
        for index in 0..self.number {
            self.storage.put_leecher(&self.swarm(), &self.peer(index)).await?;
            self.storage.graduate_leecher(&self.swarm(), &self.peer(index)).await?;
        }
        let entries = [(self.key(), self.value())];
        Ok(self.storage.put_data(&self.context()?, &entries).await?)
    }

    /// Asks one thing after the other. Statements with one argument: the counts and the downloads of a
    /// swarm; with two: a value; with three: data put; with four and more: peers.
    async fn ask(&self) -> Result<(), Failed> {
        let (swarm, number) = (self.swarm(), u64::from(self.number));
        let counts = self.storage.scrape_swarm(&swarm).await?;
        let expected = SwarmCounts { seeders: number, leechers: 0, downloads: number };
        ensure(counts == expected, || format!("expected {expected:?}, found {counts:?}"))?;

        let value = self.storage.load_data(&self.context()?, &self.key()).await?;
        ensure(value == Some(self.value()), || format!("caller {number} found the value {value:?}"))?;
        let entries = [(self.key(), self.value())];
        self.storage.put_data(&self.context()?, &entries).await?;

        let selection = PeerSelection { family: AddressFamily::V4, ..PeerSelection::new(swarm, 200) };
        let mut peers = self.storage.announce_peers(&selection).await?;
        peers.sort();
        let mut expected: Vec<_> = (0..self.number).map(|index| self.peer(index)).collect();
        expected.sort();
        ensure(peers == expected, || format!("caller {number} found the peers {peers:?}"))?;

        let absent = self.storage.delete_peer(&swarm, &self.peer(0), Role::Leecher).await;
        ensure(absent.as_ref().is_err_and(storage_core::Error::is_not_found), || {
            format!("caller {number} deleted an absent leecher: {absent:?}")
        })
    }

    fn swarm(&self) -> InfoHash {
        InfoHash::V1([self.number; 20])
    }

    fn peer(&self, index: u8) -> Peer {
        let mut id = [self.number; 20];
        id[19] = index;
        Peer::new(PeerId(id), IpAddr::from([10, 0, self.number, index]), 6881)
    }

    fn context(&self) -> Result<Context, Failed> {
        Ok(Context::new(format!("caller {}", self.number))?)
    }

    fn key(&self) -> Bytes {
        Bytes::copy_from_slice(&[self.number; 20])
    }

    fn value(&self) -> Bytes {
        Bytes::from(vec![self.number; self.number.into()])
    }
}
