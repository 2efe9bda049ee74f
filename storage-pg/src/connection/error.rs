//! Why there is no connection.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

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
    pub(super) fn is_transient(self) -> bool {
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
    pub(super) kind: ConnectErrorKind,
    pub(super) host: String,
    pub(super) reason: String,
    pub(super) source: Option<sqlx::Error>,
}

impl ConnectError {
    /// Of several failures one that may pass counts more: the server it belongs to may come back.
    pub(super) fn new(failures: Vec<HostError>) -> Self {
        let transient = failures.iter().find(|failure| failure.kind.is_transient());
        let decisive = transient.or(failures.first());
        let kind = decisive.map_or(ConnectErrorKind::Unreachable, |failure| failure.kind);
        Self::Failed { kind, failures: failures.into() }
    }

    /// The last failure is final, whatever the others are.
    pub(super) fn decided_by_last(failures: Vec<HostError>) -> Self {
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
                return f.write_str("all connections are in use, and none was given back in time");
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

/// Judges why a connection was not made.
pub(super) fn judge(error: &sqlx::Error) -> ConnectErrorKind {
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
        sqlx::Error::Database(error) => judge_answer(&error.code().unwrap_or_default(), error.message()),
        _ => ConnectErrorKind::UnsupportedParameter,
    }
}

fn judge_answer(code: &str, message: &str) -> ConnectErrorKind {
    match code {
        "08P01" => judge_pooler(message),
        "53300" => ConnectErrorKind::TooManyConnections,
        "3D000" => ConnectErrorKind::UnknownDatabase,
        "57P01" | "57P02" | "57P03" => ConnectErrorKind::NotReady,
        _ if code.starts_with("28") => ConnectErrorKind::Authentication,
        _ if code.starts_with("53") => ConnectErrorKind::NotReady,
        _ => ConnectErrorKind::UnsupportedParameter,
    }
}

/// PgBouncer has one code for everything.
fn judge_pooler(message: &str) -> ConnectErrorKind {
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
pub(super) fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        sqlx::Error::Protocol(text) if text.contains(HANGS_UP) => "it hangs up at once".into(),
        sqlx::Error::Protocol(text) if text.contains("SSLRequest") => {
            "what answers there is no PostgreSQL server".into()
        }
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
            assert_eq!(judge_answer(code, message), kind, "{code} {message}");
        }
    }
}
