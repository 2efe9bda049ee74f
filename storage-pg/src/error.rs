//! What goes wrong with a statement, before it is known to which call it belongs.

use sqlx::postgres::PgDatabaseError;
use storage_core::{Error, ErrorKind, Operation};

/// A failed statement: its configuration key, what kind of failure, and the cause.
#[derive(Debug)]
pub(crate) struct QueryError {
    kind: QueryErrorKind,
    key: &'static str,
    message: String,
    source: Option<sqlx::Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryErrorKind {
    /// Serialization failure or deadlock: nothing was done, and the whole transaction may be run again.
    Conflict,
    /// The connection was lost after something was sent, or the server itself does not know.
    Lost,
    /// The server refused and this connection is of no more use: it was ended while idle, or its server
    /// is a primary no more.
    Gone,
    /// The tables are not as they were when the statement was prepared, or another has its name.
    Outdated,
    /// The types of parameters do not fit, perhaps since a table changed.
    Mismatch,
    /// The statement ran, and its result is not as it was described.
    OtherColumns,
    /// The time for the call has passed before the answer came.
    OutOfTime,
    /// Anything else.
    Final(ErrorKind),
}

impl QueryError {
    /// The server or the connection failed while the statement of this key ran.
    pub(crate) fn of(key: &'static str, error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(refusal) => of_code(refusal.code().as_deref().unwrap_or_default()),
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => {
                QueryErrorKind::Final(ErrorKind::Rejected)
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                QueryErrorKind::Final(ErrorKind::Corrupt)
            }
            _ => QueryErrorKind::Lost,
        };
        let message = match &error {
            // The error's own text has the line in the server's source.
            sqlx::Error::Database(refusal) if is_of_names(refusal.code().as_deref()) => {
                format!("{}; {NAMES_MEET}", refusal.message())
            }
            sqlx::Error::Database(refusal) => refusal.message().to_owned(),
            other => other.to_string(),
        };
        Self { kind, key, message, source: Some(error) }
    }

    /// A value does not fit a parameter of this key's statement.
    pub(crate) fn misfit(key: &'static str, message: impl Into<String>) -> Self {
        Self { kind: QueryErrorKind::Final(ErrorKind::Rejected), key, message: message.into(), source: None }
    }

    /// The result of this key's statement has other columns than were described.
    pub(crate) fn other_columns(key: &'static str) -> Self {
        let message = "the columns of its result have changed".into();
        Self { kind: QueryErrorKind::OtherColumns, key, message, source: None }
    }

    /// The time for the call has passed before the answer came.
    pub(crate) fn out_of_time() -> Self {
        Self { kind: QueryErrorKind::OutOfTime, key: "", message: "no answer in time".into(), source: None }
    }

    /// The server came to a write of this key only after its expiry, and did not make it.
    pub(crate) fn expired(key: &'static str) -> Self {
        Self { kind: QueryErrorKind::Final(ErrorKind::Timeout), key, message: EXPIRED.into(), source: None }
    }

    /// The server's clock was set, so that what was sent by it means nothing.
    pub(crate) fn clock_was_set(key: &'static str) -> Self {
        Self { kind: QueryErrorKind::Gone, key, message: "the server's clock was set".into(), source: None }
    }

    /// The failure of a commit, which fails by a division by zero if it has expired.
    pub(crate) fn or_expired(self) -> Self {
        const DIVISION_BY_ZERO: &str = "22012";
        if self.code().as_deref() == Some(DIVISION_BY_ZERO) { Self::expired(self.key) } else { self }
    }

    /// Whether the statement may have taken effect.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.kind, QueryErrorKind::Lost | QueryErrorKind::OutOfTime | QueryErrorKind::OtherColumns)
    }

    /// Whether the statement is to be prepared again, by what the tables are now.
    pub(crate) fn is_outdated(&self) -> bool {
        matches!(
            self.kind,
            QueryErrorKind::Outdated | QueryErrorKind::Mismatch | QueryErrorKind::OtherColumns
        )
    }

    /// Whether it may be no change of the tables but the query itself that is wrong.
    pub(crate) fn may_be_lasting(&self) -> bool {
        self.kind == QueryErrorKind::Mismatch
    }

    /// Whether the result of the statement was not as described.
    pub(crate) fn is_of_other_columns(&self) -> bool {
        self.kind == QueryErrorKind::OtherColumns
    }

    /// Whether the connection is of no more use.
    pub(crate) fn leaves_no_connection(&self) -> bool {
        matches!(self.kind, QueryErrorKind::Lost | QueryErrorKind::OutOfTime | QueryErrorKind::Gone)
    }

    /// Whether the whole transaction may be run again.
    pub(crate) fn is_conflict(&self) -> bool {
        self.kind == QueryErrorKind::Conflict
    }

    /// Whether the connection was lost, so that the outcome is not known.
    pub(crate) fn is_lost(&self) -> bool {
        self.kind == QueryErrorKind::Lost
    }

    /// Whether the server refused, and another connection may reach one that does not.
    pub(crate) fn is_gone(&self) -> bool {
        self.kind == QueryErrorKind::Gone
    }

    /// The SQLSTATE, if the server refused.
    pub(crate) fn code(&self) -> Option<String> {
        match &self.source {
            Some(sqlx::Error::Database(refusal)) => refusal.code().map(Into::into),
            _ => None,
        }
    }

    /// What the server said, if it refused.
    pub(crate) fn refusal(&self) -> Option<&PgDatabaseError> {
        match &self.source {
            Some(sqlx::Error::Database(refusal)) => refusal.try_downcast_ref(),
            _ => None,
        }
    }

    /// What happened, in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// As the failure of a call; a write is uncertain unless it is certain that nothing was changed.
    pub(crate) fn into_error(self, operation: Operation, certain: bool) -> Error {
        let kind = match self.kind {
            _ if operation.is_write() && !certain => ErrorKind::Uncertain,
            QueryErrorKind::Conflict => ErrorKind::Conflict,
            QueryErrorKind::Lost | QueryErrorKind::Gone => ErrorKind::Unavailable,
            QueryErrorKind::OutOfTime => ErrorKind::Timeout,
            QueryErrorKind::Outdated | QueryErrorKind::Mismatch | QueryErrorKind::OtherColumns => {
                ErrorKind::Rejected
            }
            QueryErrorKind::Final(kind) => kind,
        };
        let message =
            if self.key.is_empty() { self.message } else { format!("`{}`: {}", self.key, self.message) };
        let error = Error::new(crate::NAME, operation, kind).with_message(message);
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

const NAMES_MEET: &str = "if a connection pooler is in front of the server, set `default_query_exec_mode` in \
    `connection_string` to exec";

/// invalid_sql_statement_name, duplicate_prepared_statement: what a pooler that knows nothing of prepared
/// statements brings about.
fn is_of_names(code: Option<&str>) -> bool {
    matches!(code, Some("26000" | "42P05"))
}

const EXPIRED: &str = "the server came to it too late, and did not make it";

/// By SQLSTATE (PostgreSQL, appendix A; CockroachDB, package `pgcode`).
fn of_code(code: &str) -> QueryErrorKind {
    match code {
        // serialization_failure (CockroachDB's and YugabyteDB's "restart" too), deadlock_detected
        "40001" | "40P01" => QueryErrorKind::Conflict,
        // statement_completion_unknown (CockroachDB's "result is ambiguous"), and its commit of which a
        // part failed
        "40003" | "XXA00" => QueryErrorKind::Lost,
        // CockroachDB: one node has lost another in the middle of it; data that no node can reach
        "58C01" => QueryErrorKind::Lost,
        "58C00" => QueryErrorKind::Final(ErrorKind::Unavailable),
        // admin_shutdown, crash_shutdown: they may come between a commit and its answer
        "57P01" | "57P02" => QueryErrorKind::Lost,
        // query_canceled, lock_not_available
        "57014" | "55P03" => QueryErrorKind::Final(ErrorKind::Timeout),
        // cannot_connect_now, idle_session_timeout; idle_in_transaction_session_timeout: a COMMIT that comes
        // later is not read; read_only_sql_transaction: a standby, or a primary no more
        "57P03" | "57P05" | "25P03" | "25006" => QueryErrorKind::Gone,
        // feature_not_supported, so also of a kept plan whose result would have other types;
        // invalid_sql_statement_name, duplicate_prepared_statement
        "0A000" | "26000" | "42P05" => QueryErrorKind::Outdated,
        // datatype_mismatch, undefined_function, ambiguous_function, cannot_coerce, indeterminate_datatype,
        // invalid_binary_representation: the types of parameters may be those of former columns
        "42804" | "42883" | "42725" | "42846" | "42P18" | "22P03" => QueryErrorKind::Mismatch,
        // A pooler says so of a server that it lost.
        _ if code.starts_with("08") => QueryErrorKind::Lost,
        _ if code.starts_with("53") => QueryErrorKind::Final(ErrorKind::Unavailable),
        _ => QueryErrorKind::Final(ErrorKind::Rejected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_by_its_code_whether_to_try_again() {
        for code in ["40001", "40P01"] {
            assert_eq!(of_code(code), QueryErrorKind::Conflict, "{code}");
        }
        for code in ["40003", "XXA00", "58C01", "57P01", "57P02", "08006", "08P01"] {
            assert_eq!(of_code(code), QueryErrorKind::Lost, "{code}");
        }
        for code in ["57P03", "57P05", "25P03", "25006"] {
            assert_eq!(of_code(code), QueryErrorKind::Gone, "{code}");
        }
        for code in ["0A000", "26000", "42P05"] {
            assert_eq!(of_code(code), QueryErrorKind::Outdated, "{code}");
        }
        assert_eq!(of_code("42804"), QueryErrorKind::Mismatch);
        assert_eq!(of_code("53300"), QueryErrorKind::Final(ErrorKind::Unavailable));
        assert_eq!(of_code("58C00"), QueryErrorKind::Final(ErrorKind::Unavailable));
        assert_eq!(of_code("57014"), QueryErrorKind::Final(ErrorKind::Timeout));
        assert_eq!(of_code("23505"), QueryErrorKind::Final(ErrorKind::Rejected));
    }

    #[test]
    fn a_lost_connection_makes_a_write_uncertain_and_a_read_unavailable() {
        let lost = || QueryError::of("", sqlx::Error::from(std::io::Error::other("reset")));
        let kind = |operation, certain| lost().into_error(operation, certain).kind();
        assert_eq!(kind(Operation::GraduatePeers, false), ErrorKind::Uncertain);
        assert_eq!(kind(Operation::GraduatePeers, true), ErrorKind::Unavailable);
        assert_eq!(kind(Operation::ScrapeSwarm, false), ErrorKind::Unavailable);
    }
}
