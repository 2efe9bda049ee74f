//! Versions of the tables, and the ways from one to another.
//!
//! The version is in the comments of tables, functions and triggers. Version 1, from before release 0.1.0, has none.
//! Queries of one version run on the tables of the other: only `mo_merge_swarms()` is missing in version 1, so tables
//! are upgraded before the configuration, and downgraded after it.

use super::{Dialect, Recommendation};

/// The version of the recommended tables.
pub const TABLES_VERSION: u32 = 2;

/// Comments of tables, functions and triggers begin with this, and the version follows.
pub(crate) const STAMP: &str = "tracker-storage tables, version ";

/// Counts of swarms, for servers with triggers.
const SWARMS: &str = include_str!("swarms.sql");

/// Everything about counts is made at once, or not at all: triggers, functions and tables belong together.
const BEGIN: &str = "\
BEGIN ISOLATION LEVEL READ COMMITTED;
-- While this waits for a lock, calls wait behind it, so it gives up after 3 s. Then run all of it again.
SET LOCAL lock_timeout = '3s';
-- Without notices of triggers that are not there yet.
SET LOCAL client_min_messages = warning;
";

/// What has its version in a comment, on servers with triggers.
const STAMPED: &[&str] = &[
    "TABLE mo_peers",
    "TABLE mo_swarms",
    "FUNCTION mo_count_peers()",
    "FUNCTION mo_merge_swarms()",
    "FUNCTION mo_count_all_swarms()",
    "FUNCTION mo_refuse_counts()",
    "TRIGGER mo_peers_came ON mo_peers",
    "TRIGGER mo_peers_left ON mo_peers",
    "TRIGGER mo_peers_moved ON mo_peers",
    "TRIGGER mo_peers_emptied ON mo_peers",
    "TRIGGER mo_swarms_restored ON mo_swarms",
];

/// The counts of swarms, in a transaction of their own.
pub(super) fn counts() -> String {
    format!("{BEGIN}\n{SWARMS}\n{}COMMIT;\n", stamps(Dialect::Postgres))
}

/// The version, as comments.
pub(super) fn stamps(dialect: Dialect) -> String {
    let stamped = match dialect {
        Dialect::Postgres => STAMPED,
        Dialect::Cockroachdb => &STAMPED[..1],
    };
    let stamp = |object| format!("COMMENT ON {object} IS '{STAMP}{TABLES_VERSION}';\n");
    std::iter::once("-- The version of the tables, which `tracker-storage check` reads.\n".to_owned())
        .chain(stamped.iter().map(stamp))
        .collect()
}

pub(super) fn upgrade(recommendation: &Recommendation) -> String {
    match recommendation.dialect {
        Dialect::Postgres => format!(
            "\
-- Upgrades the tables of tracker-storage from version 1 (before release 0.1.0) to version {TABLES_VERSION}. Trackers keep
-- running, and counts remain correct. Running this again changes nothing. Then switch each node to the queries of
-- `tracker-storage example-config pg`; `gc_merge_query` is new.

-- Cheaper triggers for the counts of swarms, which write with the rights of the role that runs this.
-- Lock: ACCESS EXCLUSIVE on mo_peers and mo_swarms, all calls wait. Cost: rewrites mo_swarms, some seconds per million
-- swarms; the first run of `mo_merge_swarms()` writes it once more, while nobody waits.
{}",
            counts()
        ),
        Dialect::Cockroachdb => format!(
            "\
-- Upgrades the tables of tracker-storage from version 1 (before release 0.1.0) to version {TABLES_VERSION}, which are the
-- same on CockroachDB. Lock: none. Cost: none.
{}",
            stamps(Dialect::Cockroachdb)
        ),
    }
}

pub(super) fn downgrade(recommendation: &Recommendation) -> String {
    match recommendation.dialect {
        Dialect::Postgres => format!(
            "\
-- Downgrades the tables of tracker-storage from version {TABLES_VERSION} to version 1 (before release 0.1.0). Trackers keep
-- running, and counts remain correct. First remove `gc_merge_query` from the configuration of every node.

-- Lock: ACCESS EXCLUSIVE on mo_peers and mo_swarms, all calls wait. Cost: rewrites mo_swarms, some seconds per million
-- swarms.
{BEGIN}
{}
COMMENT ON TABLE mo_peers IS NULL;
COMMENT ON TABLE mo_swarms IS NULL;
COMMIT;
",
            include_str!("downgrade_2_to_1.sql")
        ),
        Dialect::Cockroachdb => "\
-- Downgrades the tables of tracker-storage from version 2 to version 1 (before release 0.1.0), which are the same on
-- CockroachDB. Lock: none. Cost: none.
COMMENT ON TABLE mo_peers IS NULL;
"
        .to_owned(),
    }
}

/// The statements that take the tables of MoChi's documentation, on PostgreSQL, to those of the default
/// [`Recommendation`], each with its lock and cost.
pub fn from_seed() -> String {
    format!(
        "{}{}\n-- For the planner. Lock: none that calls wait for.\nANALYZE mo_peers, mo_swarms;\n",
        include_str!("from_seed.sql"),
        counts()
    )
}

/// The statements that take the tables of [`from_seed`] back to those of MoChi's documentation.
pub fn to_seed() -> String {
    include_str!("downgrade_to_seed.sql").to_owned()
}
