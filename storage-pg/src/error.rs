//! What goes wrong: with a statement, before it is known to which call it belongs, and with connecting. Errors of
//! sqlx are classified here and nowhere else.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use sqlx::postgres::PgDatabaseError;
use storage_core::{Error, ErrorKind, Operation};
use tokio::time::error::Elapsed;

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

impl From<sqlx::Error> for QueryError {
    /// Of a statement of our own.
    fn from(error: sqlx::Error) -> Self {
        Self::of("", error)
    }
}

impl From<Elapsed> for QueryError {
    fn from(_: Elapsed) -> Self {
        Self::out_of_time()
    }
}

impl QueryError {
    /// The server or the connection failed while the statement of this key ran.
    pub(crate) fn of(key: &'static str, error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(refusal) => classify(refusal.code().as_deref().unwrap_or_default()),
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
        Self {
            kind: QueryErrorKind::Gone,
            key,
            message: "the server's clock was changed".into(),
            source: None,
        }
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

const EXPIRED: &str = "the server received it after it had expired, and did not execute it";

/// By SQLSTATE (PostgreSQL, appendix A; CockroachDB, package `pgcode`).
fn classify(code: &str) -> QueryErrorKind {
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

/// Why there is no connection. The text holds no password.
#[derive(Clone)]
pub(crate) enum ConnectError {
    /// The pool has been closed.
    Closed,
    /// All connections were in use, and none was given back in time.
    Exhausted,
    /// None of the servers will do.
    Failed {
        /// What kind of failure it is.
        kind: ConnectErrorKind,
        /// What each server that was tried said.
        failures: Arc<[HostError]>,
    },
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectErrorKind {
    /// Nobody answers, or not in time.
    Unreachable,
    /// The server is starting up or shutting down, or a pooler has no server behind it.
    NotReady,
    /// The server has no connection left for us.
    TooManyConnections,
    /// Servers answer, and none is as `target_session_attrs` wants it.
    NoSuitableServer,
    /// Wrong password, unknown user, or no permission to log in from here.
    Authentication,
    /// There is no such database.
    UnknownDatabase,
    /// Encryption is not possible as configured, or the server's certificate is not trusted.
    Tls,
    /// The server refuses for another reason, a session setting that it does not know for one.
    UnsupportedParameter,
}

impl ConnectErrorKind {
    /// Whether it may pass by itself, so that trying again is worth it.
    pub(crate) fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::NotReady | Self::TooManyConnections | Self::NoSuitableServer)
    }

    fn way_out(self) -> &'static str {
        match self {
            Self::Unreachable | Self::NotReady => "",
            Self::TooManyConnections => "; lower `pool_max_conns` or raise the server's max_connections",
            Self::NoSuitableServer => "; see `target_session_attrs`",
            Self::Authentication => {
                "; check `user` and `password`, the password file, and the server's pg_hba.conf"
            }
            Self::UnknownDatabase => "; create it, or check `dbname`",
            Self::Tls => "; check `sslmode`, `sslrootcert`, `sslcert` and `sslkey`",
            Self::UnsupportedParameter => "; check `connection_string`",
        }
    }
}

/// What one server said.
pub(crate) struct HostError {
    pub(crate) kind: ConnectErrorKind,
    pub(crate) host: String,
    pub(crate) reason: String,
    pub(crate) source: Option<sqlx::Error>,
}

impl ConnectError {
    /// Of several failures one that may pass counts more: the server it belongs to may come back.
    pub(crate) fn new(failures: Vec<HostError>) -> Self {
        let transient = failures.iter().find(|failure| failure.kind.is_transient());
        let decisive = transient.or(failures.first());
        let kind = decisive.map_or(ConnectErrorKind::Unreachable, |failure| failure.kind);
        Self::Failed { kind, failures: failures.into() }
    }

    /// The last failure is final, whatever the others are.
    pub(crate) fn decided_by_last(failures: Vec<HostError>) -> Self {
        let kind = failures.last().map_or(ConnectErrorKind::UnsupportedParameter, |failure| failure.kind);
        Self::Failed { kind, failures: failures.into() }
    }

    /// Whether it may pass by itself, so that trying again is worth it: not so for a wrong password.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Closed => false,
            Self::Exhausted => true,
            Self::Failed { kind, .. } => kind.is_transient(),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, failures) = match self {
            Self::Closed => return f.write_str("the connection pool is closed"),
            Self::Exhausted => {
                return f.write_str("all connections are in use, and none became free in time");
            }
            Self::Failed { kind, failures } => (kind, failures),
        };
        f.write_str("cannot connect: ")?;
        for (index, HostError { host, reason, .. }) in failures.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{host}: {reason}")?;
        }
        f.write_str(kind.way_out())
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Closed"),
            Self::Exhausted => f.write_str("Exhausted"),
            Self::Failed { kind, .. } => write!(f, "{kind:?}: {self}"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let Self::Failed { kind, failures } = self else { return None };
        let decisive = failures.iter().filter(|failure| failure.kind == *kind);
        let source = decisive.filter_map(|failure| failure.source.as_ref()).next_back();
        source.map(|source| source as &(dyn StdError + 'static))
    }
}

/// What sqlx reads from a proxy whose server is away.
const HANGS_UP: &str = "SSLRequest: 0x00";

/// Classifies why a connection was not made.
pub(crate) fn classify_connect(error: &sqlx::Error) -> ConnectErrorKind {
    use std::io::ErrorKind as Io;
    match error {
        sqlx::Error::Io(error) => match error.kind() {
            // So rustls reports a certificate that it does not trust.
            Io::InvalidData => ConnectErrorKind::Tls,
            Io::PermissionDenied => ConnectErrorKind::UnsupportedParameter,
            _ => ConnectErrorKind::Unreachable,
        },
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => ConnectErrorKind::Tls,
        sqlx::Error::Protocol(text) if text.contains(HANGS_UP) => ConnectErrorKind::Unreachable,
        sqlx::Error::Database(error) => classify_refusal(&error.code().unwrap_or_default(), error.message()),
        _ => ConnectErrorKind::UnsupportedParameter,
    }
}

fn classify_refusal(code: &str, message: &str) -> ConnectErrorKind {
    match code {
        "08P01" => classify_pooler(message),
        "53300" => ConnectErrorKind::TooManyConnections,
        "3D000" => ConnectErrorKind::UnknownDatabase,
        "57P01" | "57P02" | "57P03" => ConnectErrorKind::NotReady,
        _ if code.starts_with("28") => ConnectErrorKind::Authentication,
        _ if code.starts_with("53") => ConnectErrorKind::NotReady,
        _ => ConnectErrorKind::UnsupportedParameter,
    }
}

/// PgBouncer has one code for everything.
fn classify_pooler(message: &str) -> ConnectErrorKind {
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&["no such database", "does not exist"]) {
        ConnectErrorKind::UnknownDatabase
    } else if says(&["authentication failed", "no such user", "auth failed", "login rejected"]) {
        ConnectErrorKind::Authentication
    } else if says(&["no more connections allowed"]) {
        ConnectErrorKind::TooManyConnections
    } else if says(&["unsupported startup parameter", "SSL required"]) {
        ConnectErrorKind::UnsupportedParameter
    } else {
        ConnectErrorKind::NotReady
    }
}

/// What an error says to people.
pub(crate) fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        sqlx::Error::Protocol(text) if text.contains(HANGS_UP) => "it closed the connection at once".into(),
        sqlx::Error::Protocol(text) if text.contains("SSLRequest") => "it is not a PostgreSQL server".into(),
        sqlx::Error::Database(error) => {
            format!("{}{}", error.message(), way_out_of_pooler(error.message()))
        }
        error => error.to_string(),
    }
}

fn way_out_of_pooler(message: &str) -> &'static str {
    match message.strip_prefix("unsupported startup parameter: ") {
        None => "",
        Some("options") => {
            " (PgBouncer before 1.20 takes no session settings; give them to the user by ALTER ROLE … SET)"
        }
        Some(_) => " (with PgBouncer set `default_query_exec_mode` to exec)",
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_server_says_by_its_code_whether_to_try_again() {
        for code in ["40001", "40P01"] {
            assert_eq!(classify(code), QueryErrorKind::Conflict, "{code}");
        }
        for code in ["40003", "XXA00", "58C01", "57P01", "57P02", "08006", "08P01"] {
            assert_eq!(classify(code), QueryErrorKind::Lost, "{code}");
        }
        for code in ["57P03", "57P05", "25P03", "25006"] {
            assert_eq!(classify(code), QueryErrorKind::Gone, "{code}");
        }
        for code in ["0A000", "26000", "42P05"] {
            assert_eq!(classify(code), QueryErrorKind::Outdated, "{code}");
        }
        assert_eq!(classify("42804"), QueryErrorKind::Mismatch);
        assert_eq!(classify("53300"), QueryErrorKind::Final(ErrorKind::Unavailable));
        assert_eq!(classify("58C00"), QueryErrorKind::Final(ErrorKind::Unavailable));
        assert_eq!(classify("57014"), QueryErrorKind::Final(ErrorKind::Timeout));
        assert_eq!(classify("23505"), QueryErrorKind::Final(ErrorKind::Rejected));
    }

    #[test]
    fn a_lost_connection_makes_a_write_uncertain_and_a_read_unavailable() {
        let lost = || QueryError::of("", sqlx::Error::from(std::io::Error::other("reset")));
        let kind = |operation, certain| lost().into_error(operation, certain).kind();
        assert_eq!(kind(Operation::GraduatePeers, false), ErrorKind::Uncertain);
        assert_eq!(kind(Operation::GraduatePeers, true), ErrorKind::Unavailable);
        assert_eq!(kind(Operation::ScrapeSwarm, false), ErrorKind::Unavailable);
    }

    fn failure(kind: ConnectErrorKind, host: &str, reason: &str) -> HostError {
        HostError { kind, host: host.into(), reason: reason.into(), source: Some(sqlx::Error::RowNotFound) }
    }

    #[test]
    fn every_server_that_was_tried_is_named() {
        let error = ConnectError::new(vec![
            failure(ConnectErrorKind::Tls, "db1:5432", "no TLS"),
            failure(ConnectErrorKind::Unreachable, "db2:5433", "connection refused"),
        ]);
        assert!(error.is_transient());
        assert_eq!(error.to_string(), "cannot connect: db1:5432: no TLS; db2:5433: connection refused");
        assert!(error.source().is_some());
    }

    #[test]
    fn a_wrong_password_is_final() {
        let error = ConnectError::decided_by_last(vec![
            failure(ConnectErrorKind::Unreachable, "db1:5432", "connection refused"),
            failure(ConnectErrorKind::Authentication, "db2:5433", "password authentication failed"),
        ]);
        assert!(!error.is_transient());
        assert!(error.to_string().ends_with("pg_hba.conf"));
    }

    #[test]
    fn answers_of_servers_and_poolers_are_told_apart() {
        use ConnectErrorKind::*;
        for (code, message, kind) in [
            ("28P01", "password authentication failed for user \"me\"", Authentication),
            ("28000", "role \"me\" does not exist", Authentication),
            ("3D000", "database \"x\" does not exist", UnknownDatabase),
            ("57P03", "the database system is starting up", NotReady),
            ("53300", "sorry, too many clients already", TooManyConnections),
            ("42704", "unrecognized configuration parameter \"x\"", UnsupportedParameter),
            ("08P01", "no such database: x", UnknownDatabase),
            ("08P01", "unsupported startup parameter: extra_float_digits", UnsupportedParameter),
            ("08P01", "server login has been failing, try again later", NotReady),
        ] {
            assert_eq!(classify_refusal(code, message), kind, "{code} {message}");
        }
    }
}
