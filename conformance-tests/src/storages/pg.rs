//! Storages on PostgreSQL: the recommended tables and queries, and others.

use storage_core::config::StorageConfig;
use storage_pg::recommended::{self, AddressColumn, Recommendation};

use super::{Fresh, TestTarget, UnderTest};
use crate::runtime::block_on;
use crate::servers::{Found, Missing, PgUrl, Schema, Servers};

/// Tables and the queries for them.
#[derive(Debug, Clone)]
pub struct Design {
    /// The script that makes the tables.
    pub tables: String,
    /// The configuration file.
    pub config: String,
}

/// Keys of a configuration, two underscores between levels, with other values.
pub(super) type Changes = &'static [(&'static str, &'static str)];

/// Every call uses the batch queries, also a single one.
const BATCHES_ALWAYS: Changes = &[("BATCH_WHEN_IDLE", "true")];

const NO_BATCHES: Changes = &[
    ("ANNOUNCE__BATCH_QUERY", ""),
    ("PEER__ADD_BATCH_QUERY", ""),
    ("PEER__DEL_BATCH_QUERY", ""),
    ("PEER__GRADUATE_BATCH_QUERY", ""),
    ("PEER__COUNT_BATCH_QUERY", ""),
    ("DATA__CONTAINS_BATCH_QUERY", ""),
    ("IMPORT__PEERS_BATCH_QUERY", ""),
    ("IMPORT__DOWNLOADS_BATCH_QUERY", ""),
    ("IMPORT__DATA_BATCH_QUERY", ""),
    ("BULK__ADD_QUERY", ""),
    ("BULK__TOUCH_QUERY", ""),
    ("BULK__DEL_QUERY", ""),
    ("BULK__GRADUATE_QUERY", ""),
    ("BULK__READ_QUERY", ""),
];

pub(super) const PATIENT: Changes = &[("OPERATION_TIMEOUT", "60s"), ("RETRY_TIMEOUT", "60s")];

macro_rules! design {
    ($name:literal) => {
        Design {
            tables: include_str!(concat!("../../data/", $name, ".sql")).to_owned(),
            config: include_str!(concat!("../../data/", $name, ".yaml")).to_owned(),
        }
    };
}

/// The cases for the three known flaws of MoChi's sample configuration.
const FLAWS_OF_THE_SEED: &[&str] = &[
    // `graduate_query` compares `peer_id=peer_id`.
    "P4 graduate leaves others at the same address alone",
    "S1 graduate touches only its peer",
    // `graduate_query` leaves `created` alone.
    "P4 graduate refreshes the last announce",
    // `data.add_query` does nothing on conflict.
    "D2 put overwrites",
    "D2 put of many overwrites",
];

pub(super) fn all() -> Vec<UnderTest> {
    let with_bytea = Recommendation { address: AddressColumn::Bytea, ..Recommendation::default() };
    vec![
        isolated("serializable"),
        isolated("repeatable%20read"),
        behind_pgbouncer("pg/pgbouncer"),
        under_test("pg/postgres-inet", Design::from(Recommendation::default())),
        under_test("pg/postgres-bytea", Design::from(with_bytea)),
        changed("pg/batches", BATCHES_ALWAYS),
        changed("pg/no-batches", NO_BATCHES),
        on_two_nodes("pg/two-nodes"),
        under_test("pg/partitioned", Design::partitioned()),
        under_test("pg/from-seed", from_the_seed()),
        under_test("pg/tables-1", Design::tables_1()),
        under_test("pg/tables-1-queries", queries_of_tables_1()),
        under_test("pg/timestamptz-int8", Design::plain()),
        under_test("pg/positional", design!("positional")),
        under_test("pg/other-names", design!("other-names")),
        UnderTest {
            flaws: FLAWS_OF_THE_SEED,
            has_random_sequences: false,
            ..under_test("pg/seed", design!("seed"))
        },
    ]
}

impl From<Recommendation> for Design {
    fn from(recommendation: Recommendation) -> Self {
        Self { tables: recommendation.schema(), config: recommendation.example_config() }
    }
}

impl Design {
    /// The seed's tables and queries without its flaws.
    pub fn plain() -> Self {
        design!("timestamptz-int8")
    }

    /// The tables and queries of MoChi's documentation.
    pub fn seed() -> Self {
        design!("seed")
    }

    /// The recommended tables of version 1, and their queries.
    pub fn tables_1() -> Self {
        design!("tables-1")
    }

    /// The recommended tables, with the peers table partitioned.
    ///
    /// # Panics
    /// If the recommended script has changed.
    pub fn partitioned() -> Self {
        let recommended = Self::from(Recommendation::default());
        let (before, rest) =
            recommended.tables.split_once("CREATE TABLE IF NOT EXISTS mo_peers (").expect("peers");
        let (columns, rest) = rest.split_once("\n)").expect("the end of the columns");
        let (_, after) = rest.split_once(';').expect("the end of the statement");
        let tables = format!(
            "{before}CREATE TABLE IF NOT EXISTS mo_peers ({columns}\n) PARTITION BY HASH (info_hash);
             CREATE TABLE IF NOT EXISTS mo_peers_0 PARTITION OF mo_peers
               FOR VALUES WITH (MODULUS 3, REMAINDER 0) WITH (fillfactor = 85);
             CREATE TABLE IF NOT EXISTS mo_peers_1 PARTITION OF mo_peers
               FOR VALUES WITH (MODULUS 3, REMAINDER 1) WITH (fillfactor = 85);
             CREATE TABLE IF NOT EXISTS mo_peers_2 PARTITION OF mo_peers
               FOR VALUES WITH (MODULUS 3, REMAINDER 2) WITH (fillfactor = 85);{after}"
        );
        Self { tables, ..recommended }
    }

    /// Makes the tables in a schema of their own.
    ///
    /// # Errors
    /// [`Missing`] if there is no server, or it does not take the script.
    pub fn schema(&self) -> Found<Schema> {
        let server = Servers::shared().postgres()?;
        block_on(Schema::create(server, &self.tables)).map_err(|error| Missing::Failed(error.to_string()))
    }

    /// The configuration for the tables in that schema.
    pub fn config_for(&self, schema: &Schema) -> StorageConfig {
        self.config_at(schema.connection_string())
    }

    /// The configuration for the tables that are found by this connection string.
    pub fn config_at(&self, connection_string: String) -> StorageConfig {
        self.changed_config_at(connection_string, &[])
    }

    /// The same with other values for some keys, two underscores between levels.
    pub fn changed_config_at(&self, connection_string: String, changes: &[(&str, &str)]) -> StorageConfig {
        let connection = ("CONNECTION_STRING", connection_string.as_str());
        let changes = changes.iter().copied().chain([connection]);
        let variables = changes.map(|(key, value)| (format!("TRACKER_STORAGE__CONFIG__{key}"), value.into()));
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a temporary file");
        std::fs::write(file.path(), &self.config).expect("a temporary file that can be written");
        StorageConfig::load(file.path(), StorageConfig::DEFAULT_PATH, variables)
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

fn under_test(name: &str, design: Design) -> UnderTest {
    UnderTest::new(name, move || {
        let schema = design.schema()?;
        let config = design.config_for(&schema);
        Ok(Fresh::new(config, TestTarget::Schema(schema)))
    })
}

/// The recommended tables at an isolation level where concurrent transactions fail. On a busy machine they do so for
/// longer than a call may take by default.
fn isolated(isolation: &'static str) -> UnderTest {
    let design = Design::from(Recommendation::default());
    UnderTest::new(&format!("pg/{}", isolation.replace("%20", "-")), move || {
        let schema = design.schema()?;
        let url = PgUrl::parse(&schema.connection_string()).with("default_transaction_isolation", isolation);
        let config = design.changed_config_at(url.to_string(), PATIENT);
        Ok(Fresh::new(config, TestTarget::Schema(schema)))
    })
}

/// The seed's tables, upgraded to the recommended ones.
fn from_the_seed() -> Design {
    // In one request they are a transaction, in which this keyword is not allowed.
    let changes = recommended::from_seed().replace("CONCURRENTLY", "");
    let Design { tables, .. } = Design::seed();
    Design { tables: tables + &changes, ..Design::from(Recommendation::default()) }
}

/// Tables that were upgraded from version 1, on a node that still has the queries of version 1.
fn queries_of_tables_1() -> Design {
    let Design { tables, config } = Design::tables_1();
    Design { tables: tables + &Recommendation::default().upgrade(), config }
}

/// The recommended tables, with other values for some keys.
fn changed(name: &str, changes: Changes) -> UnderTest {
    let design = Design::from(Recommendation::default());
    UnderTest::new(name, move || {
        let schema = design.schema()?;
        let config = design.changed_config_at(schema.connection_string(), changes);
        Ok(Fresh::new(config, TestTarget::Schema(schema)))
    })
}

/// The recommended tables, on two nodes.
fn on_two_nodes(name: &str) -> UnderTest {
    let design = Design::from(Recommendation::default());
    UnderTest::new(name, move || {
        let schema = design.schema()?;
        let config = design.config_for(&schema);
        Ok(Fresh::new(config, TestTarget::Schema(schema)).on_two_nodes())
    })
}

/// Through PgBouncer in transaction mode, with fewer connections to the server than to the pooler.
fn behind_pgbouncer(name: &str) -> UnderTest {
    let design = Design::from(Recommendation::default());
    UnderTest::new(name, move || {
        let pooler = Servers::shared().pgbouncer()?;
        let database = block_on(pooler.database(&design.tables)).map_err(Missing::failed)?;
        let config = design.config_at(database.url().to_string());
        Ok(Fresh::new(config, TestTarget::SqlDatabase(database)))
    })
}
