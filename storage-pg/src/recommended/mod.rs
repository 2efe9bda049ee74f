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

use storage_core::config::Section;

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
    /// Reads the choices `dialect` (`postgres`, `cockroachdb`), `address` (`inet`, `bytea`; what suits the server),
    /// `unlogged`, and `for` (`mochi`), each of which may be left out.
    pub fn read(choices: &mut Section) -> Self {
        let dialect = choice(
            choices,
            "dialect",
            &[("postgres", Dialect::Postgres), ("cockroachdb", Dialect::Cockroachdb)],
        );
        let address =
            choice(choices, "address", &[("inet", AddressColumn::Inet), ("bytea", AddressColumn::Bytea)]);
        let program = choice(choices, "for", &[("mochi", true)]);
        let unlogged = choices.boolean("unlogged").unwrap_or(false);
        let dialect = dialect.unwrap_or_default();
        if unlogged && dialect == Dialect::Cockroachdb {
            choices.problem("unlogged", "CockroachDB has no unlogged tables");
        }
        let suited = match dialect {
            Dialect::Postgres => AddressColumn::Inet,
            Dialect::Cockroachdb => AddressColumn::Bytea,
        };
        let (address, for_mochi) = (address.unwrap_or(suited), program.unwrap_or(false));
        Self { dialect, address, unlogged, for_mochi }
    }

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

fn choice<T: Copy>(choices: &mut Section, key: &str, known: &[(&str, T)]) -> Option<T> {
    let given = choices.text(key)?;
    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(given.trim()));
    if found.is_none() {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        choices.problem(key, format!("expected {}", names.join(" or ")));
    }
    found.map(|(_, choice)| *choice)
}
