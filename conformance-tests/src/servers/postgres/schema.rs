//! A schema for one test, with its own tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::Postgres;

/// A schema with tables in it.
pub struct Schema {
    server: Arc<Postgres>,
    name: String,
}

impl Schema {
    /// Makes a schema and runs a script in it.
    ///
    /// # Errors
    /// What the server says about the script.
    pub async fn create(server: Arc<Postgres>, script: &str) -> sqlx::Result<Self> {
        let name = format!("tracker_test_{:016x}", rand::random::<u64>());
        let create = format!("CREATE SCHEMA {name}; SET search_path TO {name}; {script}");
        let stopped = server.stopped.read().await;
        if *stopped {
            return Err(sqlx::Error::Configuration("the tests are being stopped".into()));
        }
        let mut connection = server.connect().await?;
        server.schemas().insert(name.clone());
        connection.execute(sqlx::raw_sql(AssertSqlSafe(create))).await?;
        connection.close().await?;
        drop(stopped);
        Ok(Self { server, name })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection URL in which unqualified names mean this schema.
    pub fn connection_string(&self) -> String {
        let url = self.server.url();
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}search_path={}", self.name)
    }

    /// Runs a script in it.
    ///
    /// # Errors
    /// What the server says about the script.
    pub async fn execute(&self, script: &str) -> sqlx::Result<()> {
        let script = format!("SET search_path TO {}; {script}", self.name);
        let mut connection = self.server.connect().await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(script))).await?;
        connection.close().await
    }

    /// The texts that a query returns there.
    ///
    /// # Errors
    /// What the server says.
    pub async fn texts(&self, query: &str) -> sqlx::Result<Vec<String>> {
        let mut connection = self.server.connect().await?;
        let path = format!("SET search_path TO {}", self.name);
        connection.execute(sqlx::raw_sql(AssertSqlSafe(path))).await?;
        let texts = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(texts)
    }

    /// Every row of every table, as text and sorted.
    ///
    /// # Errors
    /// What the server says.
    pub async fn rows(&self) -> sqlx::Result<BTreeMap<String, Vec<String>>> {
        let mut connection = self.server.connect().await?;
        let mut rows = BTreeMap::new();
        for table in self.tables(&mut connection).await? {
            let select = format!("SELECT row::text FROM {table} row ORDER BY 1");
            let found = sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&mut connection).await?;
            rows.insert(table, found);
        }
        Ok(rows)
    }

    /// [`rows`](Self::rows), with the recommended counts of swarms as what they add up to: changes at the same
    /// time leave several rows of a swarm.
    ///
    /// # Errors
    /// What the server says.
    pub async fn content(&self) -> sqlx::Result<BTreeMap<String, Vec<String>>> {
        let mut content = self.rows().await?;
        let counts = content.iter_mut().find(|(table, _)| table.ends_with(".mo_swarms"));
        if let Some((table, rows)) = counts {
            let sums = format!(
                "SELECT ROW(info_hash, SUM(seeders), SUM(leechers))::text FROM {table} GROUP BY info_hash
                 HAVING SUM(seeders) <> 0 OR SUM(leechers) <> 0 ORDER BY 1"
            );
            let mut connection = self.server.connect().await?;
            *rows = sqlx::query_scalar(AssertSqlSafe(sums)).fetch_all(&mut connection).await?;
        }
        Ok(content)
    }

    /// Empties every table.
    ///
    /// # Errors
    /// What the server says.
    pub async fn empty(&self) -> sqlx::Result<()> {
        let mut connection = self.server.connect().await?;
        let tables = self.tables(&mut connection).await?.join(", ");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("TRUNCATE {tables}")))).await?;
        connection.close().await
    }

    /// The qualified, quoted names of the tables.
    async fn tables(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
        let names = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1";
        sqlx::query_scalar(names).bind(&self.name).fetch_all(connection).await
    }

    /// Removes the schema with all that is in it.
    ///
    /// # Errors
    /// What the server says; it is tried again when the servers are stopped.
    pub async fn remove(self) -> sqlx::Result<()> {
        drop_all(&self.server, &BTreeSet::from([self.name.clone()])).await?;
        self.server.schemas().remove(&self.name);
        Ok(())
    }
}

pub(super) async fn drop_all(server: &Postgres, names: &BTreeSet<String>) -> sqlx::Result<()> {
    let mut connection = server.connect().await?;
    for name in names {
        let drop = format!("DROP SCHEMA IF EXISTS {name} CASCADE");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await?;
    }
    connection.close().await
}
