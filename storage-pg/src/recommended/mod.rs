//! Tables and queries that pass every rule of the contract, for those who have no tables yet.
//!
//! What is unusual about them: a column `sample` holds a random number for each peer, so that an
//! announce can read any stretch of a swarm by an index, without sorting it; and on PostgreSQL no index has
//! the time of the last announce, so that a re-announce changes the row alone, and triggers keep the
//! counts of each swarm, so that nobody has to count.

mod example_config;
mod queries;
mod schema;
mod versions;

pub(crate) use versions::STAMP;
pub use versions::{TABLES_VERSION, from_seed, to_seed};

use crate::PgConfig;

/// What the tables and queries are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recommendation {
    /// The server.
    pub dialect: Dialect,
    /// The type of addresses.
    pub address: AddressColumn,
    /// Whether the table of peers is left out of the server's log: faster, and empty after a crash.
    pub unlogged: bool,
    /// Whether MoChi itself is to run the configuration: only its keys and arguments then.
    pub for_mochi: bool,
}

/// A server's way with SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL 12 or newer.
    #[default]
    Postgres,
    /// CockroachDB 21.1 or newer.
    Cockroachdb,
}

/// The type of a column of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AddressColumn {
    /// `inet`: shows as an address.
    #[default]
    Inet,
    /// `bytea`: 4 or 16 bytes.
    Bytea,
}

impl Recommendation {
    /// The tables, as SQL that may be run again.
    pub fn schema(&self) -> String {
        schema::schema(self)
    }

    /// The statements that take tables of the version before to this one, each with its lock and cost. They may be
    /// run again.
    pub fn upgrade(&self) -> String {
        versions::upgrade(self)
    }

    /// The statements that take tables of this version to the one before, each with its lock and cost.
    pub fn downgrade(&self) -> String {
        versions::downgrade(self)
    }

    /// A commented configuration file for these tables.
    pub fn example_config(&self) -> String {
        example_config::example_config(self)
    }

    /// The settings for these tables; the connection string is left for you to fill in.
    pub fn config(&self) -> PgConfig {
        queries::config(self)
    }
}
