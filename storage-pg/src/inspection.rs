//! What `check` shows: the server, the queries as it understood them, and what wants attention.

mod advice;
mod server;
mod tables;

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Row, ValueRef};
use storage_core::{Inspection, Operation, Result, Timestamp};

use crate::attempt::{Together, attempt};
use crate::failure::Failure;
use crate::kind::{Kind, decode_integer};
use crate::slot;
use crate::statement::{Inputs, Statement};
use crate::storage::PgStorage;
use crate::zone::Zone;

/// How far two clocks may be apart before somebody should look at them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

struct Answers {
    version: String,
    clock: Timestamp,
    newest: Option<Timestamp>,
}

/// Product and version of a server, by the answer to `version()`.
pub(crate) fn product_and_version(version: &str) -> String {
    server::recognize(version).1
}

impl PgStorage {
    pub(crate) async fn look(&self) -> Result<Inspection> {
        let newest = self.core.find(slot::NEWEST_PEER);
        let answers =
            attempt!(&self.core, Operation::Inspect, Together::No, |connection| ask(connection, newest)
                .await)?;
        let now = Timestamp::now();
        let (product, server) = server::recognize(&answers.version);
        let mut findings = vec![("connection".to_owned(), self.core.settings.masked())];
        if self.core.pooler_mode() {
            findings.push((
                "mode".to_owned(),
                "behind a connection pooler: every statement in a transaction".to_owned(),
            ));
        }
        findings.extend(
            self.core
                .statements()
                .iter()
                .map(|statement| (statement.slot.key.to_owned(), describe(statement))),
        );

        let mut warnings = self.core.settings.warnings.clone();
        let apart = now.since(answers.clock).max(answers.clock.since(now));
        if apart > CLOCK_TOLERANCE {
            warnings.push(format!("the server's clock and ours are {apart:?} apart"));
        }
        if let Some(newest) = answers.newest {
            findings.push(("newest announce".to_owned(), newest.to_string()));
            let ahead = newest.since(now);
            if ahead > CLOCK_TOLERANCE {
                warnings.push(format!(
                    "the newest announce is {ahead:?} in the future: if the column holds local times, \
                     set `created_zone` to their zone"
                ));
            }
        }
        warnings.extend(self.advice(product).await);
        Ok(Inspection { server, findings, warnings })
    }
}

async fn ask(connection: &mut PgConnection, newest: Option<&Statement>) -> Result<Answers, Failure> {
    let failed = |error| Failure::of("", error);
    let row = sqlx::query("SELECT version(), now()")
        .persistent(false)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let version: String = row.try_get(0).map_err(failed)?;
    let clock = row.try_get_raw(1).map_err(failed)?;
    let microseconds = if clock.is_null() { None } else { clock.as_bytes().ok().and_then(decode_integer) };
    let clock = microseconds.ok_or_else(|| Failure::corrupt("", "`now()` is no time"))?;
    let newest = match newest {
        Some(newest) => {
            newest.first(connection, Inputs::default()).await?.and_then(|row| newest.read_time(&row, 0))
        }
        None => None,
    };
    Ok(Answers { version, clock: Zone::default().decode(clock, Kind::TimestampTz), newest })
}

/// Arguments and types of a statement: `@info_hash bytea, @count int8`.
fn describe(statement: &Statement) -> String {
    use sqlx::TypeInfo;

    let parameters = statement
        .parameters
        .iter()
        .map(|parameter| format!("{} {}", parameter.argument, parameter.type_info.name().to_lowercase()));
    let parameters: Vec<_> = parameters.collect();
    if parameters.is_empty() { "no arguments".into() } else { parameters.join(", ") }
}
