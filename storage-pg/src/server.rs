//! Which server it is, by what it says of itself.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

/// A server that speaks PostgreSQL's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    Postgres,
    Cockroach,
    Yugabyte,
    Other,
}

/// The server of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) product: Product,
    /// Product and version: `PostgreSQL 15.18`.
    pub(crate) name: String,
    /// Whether transactions cannot write: a standby, or by a setting.
    pub(crate) is_read_only: bool,
}

impl Server {
    /// Asks the server.
    pub(crate) async fn ask(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let (product, name) = recognize(&ask(connection, "SELECT version()").await?);
        let is_read_only = ask(connection, "SHOW transaction_read_only").await? == "on";
        Ok(Self { product, name, is_read_only })
    }
}

/// The first column of the first row; nothing where the server refuses.
async fn ask(connection: &mut PgConnection, question: &'static str) -> sqlx::Result<String> {
    match sqlx::raw_sql(AssertSqlSafe(question)).fetch_one(connection).await {
        Ok(row) => row.try_get(0),
        Err(sqlx::Error::Database(_)) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// The product and its version, by the answer to `version()`: without the compiler and machine that
/// follow.
pub(crate) fn recognize(version: &str) -> (Product, String) {
    let end = [" on ", " ("].iter().filter_map(|mark| version.find(mark)).min().unwrap_or(version.len());
    let name = &version[..end];
    if let Some((postgres, yugabyte)) = name.split_once("-YB-") {
        return (Product::Yugabyte, format!("YugabyteDB {yugabyte} ({postgres})"));
    }
    let product = match name.split_whitespace().next() {
        Some("PostgreSQL") => Product::Postgres,
        Some("CockroachDB") => Product::Cockroach,
        _ => Product::Other,
    };
    (product, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_version() {
        for (version, product, name) in [
            (
                "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc",
                Product::Postgres,
                "PostgreSQL 15.18",
            ),
            (
                "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27)",
                Product::Cockroach,
                "CockroachDB CCL v23.1.11",
            ),
            (
                "PostgreSQL 11.2-YB-2.20.1.0-b0 on x86_64-pc-linux-gnu, compiled by clang",
                Product::Yugabyte,
                "YugabyteDB 2.20.1.0-b0 (PostgreSQL 11.2)",
            ),
            ("Materialize v0.1", Product::Other, "Materialize v0.1"),
            ("", Product::Other, ""),
        ] {
            assert_eq!(recognize(version), (product, name.to_owned()));
        }
    }
}
