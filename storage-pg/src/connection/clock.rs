//! Asking the server for its time.

use sqlx::{PgConnection, Row};
use storage_core::{ServerClock, Timestamp};
use tokio::time::Instant;

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
        microseconds.parse().map_err(|_| sqlx::Error::Decode("the server's clock shows no time".into()))?;
    let time = Timestamp::from_microseconds(microseconds);
    Ok(ServerAnswer { time, clock: ServerClock::answered(asked, time), version: row.try_get(1)? })
}
