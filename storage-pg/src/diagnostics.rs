//! What `check` shows: the server, the queries as it understood them, and what wants attention.

mod advice;
mod tables;
mod versions;

use std::time::Duration;

use sqlx::postgres::PgConnection;
use storage_core::{Diagnostics, Maintenance, Operation, Result, Timestamp};

use crate::arguments;
use crate::connection::{ServerAnswer, ask_server};
use crate::error::QueryError;
use crate::query_spec::queries;
use crate::retry::{TxMode, with_retries};
use crate::row_counts;
use crate::server;
use crate::statement::{QueryStatement, Statement};
use crate::storage::PgStorage;

/// How far two clocks may be apart before somebody should look at them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

struct ServerState {
    version: String,
    clock: Timestamp,
    newest: Option<Timestamp>,
}

impl PgStorage {
    pub(crate) async fn look(&self) -> Result<Diagnostics> {
        let newest = self.core.find(queries::NewestPeer);
        let answers =
            with_retries!(&self.core, Operation::Diagnostics, TxMode::Autocommit, |connection| ask(
                connection, newest
            )
            .await)?;
        let now = answers.clock;
        let (product, server) = server::recognize(&answers.version);
        let mut findings = vec![("connection".to_owned(), self.core.settings.masked())];
        if self.core.pooler_mode() {
            findings.push((
                "mode".to_owned(),
                "behind a connection pooler: every statement in a transaction".to_owned(),
            ));
        }
        let statements = self.core.statements();
        let details = statements
            .iter()
            .map(|statement| (statement.query.key().to_owned(), describe(statement)))
            .collect();

        let mut warnings = self.core.settings.warnings.clone();
        warnings.extend(self.core.pool.time().reading().and_then(|clock| clock.warning(CLOCK_TOLERANCE)));
        if let Some(newest) = answers.newest {
            findings.push(("newest announce".to_owned(), newest.to_string()));
            let ahead = newest.since(now);
            if ahead > CLOCK_TOLERANCE {
                warnings.push(format!(
                    "the newest announce is {} in the future: if the column holds local times, \
                     set `created_zone` to their zone",
                    in_words(ahead)
                ));
            }
        }
        if let Ok(Some(tables)) = versions::tables_version(&self.core, product).await {
            findings.push(("tables".to_owned(), tables.finding));
            warnings.extend(tables.warning);
        }
        match self.check_counts().await {
            Ok(Some(check)) => {
                findings.push(("checked counts".to_owned(), check.to_string()));
                warnings.extend(check.warning());
            }
            Ok(None) => {}
            Err(error) => warnings.push(format!("counts could not be checked: {error}")),
        }
        warnings.extend(row_counts::warnings(self.core.statements()));
        warnings.extend(self.advice(product).await);
        Ok(Diagnostics { server, findings, details, warnings })
    }
}

async fn ask(
    connection: &mut PgConnection,
    newest: Option<QueryStatement<'_, queries::NewestPeer>>,
) -> Result<ServerState, QueryError> {
    let ServerAnswer { time, version, .. } =
        ask_server(connection).await.map_err(|error| QueryError::of("", error))?;
    let newest = match newest {
        Some(newest) => {
            let row = newest.first(connection, arguments::Nothing {}).await?;
            row.and_then(|row| newest.read_time(&row, 0))
        }
        None => None,
    };
    Ok(ServerState { version, clock: time, newest })
}

/// A duration in the unit that suits it.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Arguments and types of a statement: `@info_hash bytea, @count int8`.
fn describe(statement: &Statement) -> String {
    use sqlx::TypeInfo;

    let types = statement.types();
    let parameters = types
        .parameters
        .iter()
        .map(|parameter| format!("{} {}", parameter.argument, parameter.type_info.name().to_lowercase()));
    let parameters: Vec<_> = parameters.collect();
    if parameters.is_empty() { "no arguments".into() } else { parameters.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_the_unit_that_suits_them() {
        for (seconds, words) in [
            (7.9, "7 seconds"),
            (119.0, "119 seconds"),
            (3_600.04, "60 minutes"),
            (7_200.0, "2 hours"),
            (7_427_758_076.88, "85969 days"),
        ] {
            assert_eq!(in_words(Duration::from_secs_f64(seconds)), words);
        }
    }
}
