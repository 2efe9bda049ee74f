//! What a server says of itself: which one it is, and its time.

use sqlx::{PgConnection, Row};
use storage_core::{ServerClock, Timestamp};
use tokio::time::Instant;

/// A server that speaks PostgreSQL's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    Postgres,
    Cockroach,
    Yugabyte,
    Other,
}

/// The server of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    pub(crate) product: Product,
    /// Whether transactions cannot write: a standby, or by a setting.
    pub(crate) is_read_only: bool,
}

impl Server {
    /// The server of this version, at the other end of a connection.
    pub(crate) async fn ask(connection: &mut PgConnection, version: &str) -> sqlx::Result<Self> {
        let product = recognize(version).0;
        let is_read_only = match sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await {
            Ok(row) => row.try_get::<&str, _>(0)? == "on",
            // It does not know the setting.
            Err(sqlx::Error::Database(_)) => false,
            Err(error) => return Err(error),
        };
        Ok(Self { product, is_read_only })
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

const ASK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8::text, version()";

/// The server's time, and what it says of itself.
pub(crate) struct ServerAnswer {
    pub(crate) time: Timestamp,
    /// The same, carried on.
    pub(crate) clock: ServerClock,
    /// The answer to `version()`.
    pub(crate) version: String,
}

/// Asks the server.
pub(crate) async fn ask_server(connection: &mut PgConnection) -> sqlx::Result<ServerAnswer> {
    let asked = Instant::now();
    // In one message: behind a pooler the next one may reach another session.
    let row = sqlx::raw_sql(ASK).fetch_one(connection).await?;
    let microseconds: String = row.try_get(0)?;
    let microseconds =
        microseconds.parse().map_err(|_| sqlx::Error::Decode("the server returned no time".into()))?;
    let time = Timestamp::from_microseconds(microseconds);
    Ok(ServerAnswer { time, clock: ServerClock::answered(asked, time), version: row.try_get(1)? })
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
