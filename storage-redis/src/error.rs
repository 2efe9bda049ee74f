//! What a failed attempt means: what kind of failure it is, whether a write may have taken effect, and
//! what helps.

use redis::{Cmd, ErrorKind as RedisErrorKind, RedisError, ServerError, ServerErrorKind};
use storage_core::ErrorKind::{Corrupt, Rejected, Timeout, Unavailable};
use storage_core::{Error, ErrorKind, Operation};

use crate::NAME;
use crate::connection::{ConnectError, SendError, keys};
use crate::layout::key_text;

/// A failed attempt.
pub(crate) struct RequestError {
    pub(crate) kind: ErrorKind,
    /// In a word, for metrics.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Whether a command may have been carried out all the same.
    pub(crate) may_have_run: bool,
    pub(crate) advice: RetryAdvice,
}

/// What may make the next attempt go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryAdvice {
    /// Nothing soon.
    Nothing,
    /// A moment's wait.
    Wait,
    /// A new connection, after a moment.
    Reconnect,
    /// The scripts, which the server has forgotten.
    LoadScripts,
}

impl RequestError {
    /// No connection could be made, so nothing was sent.
    pub(crate) fn connecting(failed: &ConnectError) -> Self {
        let ConnectError { address, error } = failed;
        let error = match server_error(error) {
            Some(refusal) => Self::classify_refusal(&refusal),
            None => Self::without_connection(error),
        };
        Self { message: format!("{address}: {}", error.message), may_have_run: false, ..error }
    }

    fn without_connection(error: &RedisError) -> Self {
        let (kind, reason, advice) = match error.kind() {
            RedisErrorKind::AuthenticationFailed => (Rejected, "authentication", RetryAdvice::Nothing),
            // What redis-rs makes of a refused SELECT.
            RedisErrorKind::Server(ServerErrorKind::ResponseError) => {
                (Rejected, "rejected", RetryAdvice::Nothing)
            }
            RedisErrorKind::InvalidClientConfig
            | RedisErrorKind::RESP3NotSupported
            | RedisErrorKind::EmptySentinelList => (Rejected, "configuration", RetryAdvice::Nothing),
            RedisErrorKind::Io if is_tls_failure(error) => (Rejected, "tls", RetryAdvice::Nothing),
            RedisErrorKind::MasterNameNotFoundBySentinel => (Unavailable, "no_primary", RetryAdvice::Wait),
            _ => (Unavailable, "unreachable", RetryAdvice::Wait),
        };
        Self { kind, reason, message: describe(error), may_have_run: false, advice }
    }

    /// A request has no answer.
    pub(crate) fn sending(error: &SendError) -> Self {
        match error {
            SendError::Redis(error) => Self::classify(error),
            SendError::OutOfTime => {
                let error = Self::out_of_time("no answer in time");
                Self { may_have_run: true, advice: RetryAdvice::Reconnect, ..error }
            }
            SendError::TooFewReplicas { reached, wanted } => Self {
                kind: Unavailable,
                reason: "too_few_replicas",
                message: format!(
                    "the server has the write, but only {reached} of {wanted} replicas (`wait_replicas`) confirmed it within `wait_timeout`"
                ),
                may_have_run: true,
                advice: RetryAdvice::Nothing,
            },
            SendError::NotSent => Self::out_of_time("it could not be sent in time"),
            SendError::NoConnection(failed) => Self::connecting(failed),
        }
    }

    /// Time ran out before anything was sent.
    pub(crate) fn out_of_time(message: &str) -> Self {
        let (kind, reason, advice) = (Timeout, "timeout", RetryAdvice::Nothing);
        Self { kind, reason, message: message.into(), may_have_run: false, advice }
    }

    /// The answer is from a server that is the primary no more.
    pub(crate) fn superseded() -> Self {
        let message = "the sentinels have named another primary".into();
        let (reason, advice) = ("another_primary", RetryAdvice::Reconnect);
        Self { kind: Unavailable, reason, message, may_have_run: true, advice }
    }

    /// A command was sent, or may have been, and failed.
    pub(crate) fn classify(error: &RedisError) -> Self {
        if let Some(refusal) = server_error(error) {
            return Self::classify_refusal(&refusal);
        }
        let (kind, reason, may_have_run, advice) = match error.kind() {
            RedisErrorKind::ClusterConnectionNotFound => (Unavailable, "no_node", false, RetryAdvice::Wait),
            RedisErrorKind::Io if error.is_connection_refusal() => {
                (Unavailable, "unreachable", false, RetryAdvice::Reconnect)
            }
            RedisErrorKind::Io if error.is_timeout() => (Timeout, "timeout", true, RetryAdvice::Reconnect),
            RedisErrorKind::Io | RedisErrorKind::Parse => {
                (Unavailable, "connection_lost", true, RetryAdvice::Reconnect)
            }
            _ => (Rejected, "rejected", false, RetryAdvice::Nothing),
        };
        let message = match kind {
            Timeout => "`read_timeout` and `write_timeout` have passed".to_owned(),
            _ => describe(error),
        };
        Self { kind, reason, message, may_have_run, advice }
    }

    /// The server has answered that it won't.
    pub(crate) fn classify_refusal(error: &ServerError) -> Self {
        let code = code(error);
        let (kind, reason, advice) = match code {
            "NOSCRIPT" => (Unavailable, "script_missing", RetryAdvice::LoadScripts),
            "LOADING" => (Unavailable, "loading", RetryAdvice::Wait),
            "BUSY" | "UNKILLABLE" => (Unavailable, "busy", RetryAdvice::Wait),
            "READONLY" => (Unavailable, "read_only", RetryAdvice::Reconnect),
            "MASTERDOWN" => (Unavailable, "primary_down", RetryAdvice::Reconnect),
            "NOREPLICAS" => (Unavailable, "too_few_replicas", RetryAdvice::Wait),
            "MOVED" | "ASK" | "TRYAGAIN" => (Unavailable, "slot_moves", RetryAdvice::Wait),
            "CLUSTERDOWN" => (Unavailable, "cluster_down", RetryAdvice::Wait),
            "MISCONF" => (Unavailable, "cannot_save", RetryAdvice::Nothing),
            // A caller that hears of it in time has another idea of the server's clock.
            "EXPIRED" => (Timeout, "expired", RetryAdvice::Reconnect),
            "OOM" => (Rejected, "out_of_memory", RetryAdvice::Nothing),
            "WRONGTYPE" => (Corrupt, WRONG_TYPE, RetryAdvice::Nothing),
            "ERR" if error.details().is_some_and(|text| text.contains("max number of clients")) => {
                (Unavailable, "too_many_clients", RetryAdvice::Wait)
            }
            _ => (Rejected, "rejected", RetryAdvice::Nothing),
        };
        let message = match code {
            _ if reason == "too_many_clients" => {
                "the server has no connection left (`maxclients`): raise it there, or lower `pool_size`"
                    .to_owned()
            }
            "DENIED" => {
                "the server accepts only local connections (`protected-mode`): set a password on the server, or \
                         turn protected mode off"
                    .to_owned()
            }
            "WRONGTYPE" => wrong_type("a key"),
            "OOM" => "the server is out of memory (`maxmemory`)".to_owned(),
            "NOAUTH" => "a password is required: set `password`, or `master_password` for the data nodes behind \
                         Sentinel"
                .to_owned(),
            _ => server_text(error),
        };
        Self { kind, reason, message, may_have_run: false, advice }
    }

    /// Names the keys of the command, where one of them has the wrong type.
    pub(crate) fn about(self, command: &Cmd) -> Self {
        if self.reason != WRONG_TYPE {
            return self;
        }
        let ours = keys(command).filter(|key| key.starts_with(b"CHI_"));
        let keys: Vec<_> = ours.map(key_text).collect();
        let message = match keys.as_slice() {
            [] => return self,
            [key] => wrong_type(&format!("the key {key}")),
            keys => wrong_type(&format!("one of the keys {}", keys.join(", "))),
        };
        Self { message, ..self }
    }

    /// The error for the caller; `uncertain` if a write may have taken effect.
    pub(crate) fn into_error(self, operation: Operation, uncertain: bool) -> Error {
        let kind = if uncertain { ErrorKind::Uncertain } else { self.kind };
        Error::new(NAME, operation, kind).with_message(self.message)
    }
}

/// What metrics call a key of another type.
const WRONG_TYPE: &str = "wrong_type";

fn wrong_type(key: &str) -> String {
    format!(
        "{key} holds another type than MoChi's `redis` storage uses (MoChi's `keydb` storage, for one, keeps sets \
         under the keys of swarms)"
    )
}

/// The server's refusal in an error, the first of several.
fn server_error(error: &RedisError) -> Option<ServerError> {
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.clone())
}

/// The code of a refusal. Up to Redis 6 that of a command in a script is within the text.
fn code(error: &ServerError) -> &str {
    const WITHIN_SCRIPTS: [&str; 5] = ["WRONGTYPE", "READONLY", "OOM", "MISCONF", "NOREPLICAS"];
    let details = error.details().unwrap_or_default();
    if error.kind() != Some(ServerErrorKind::ResponseError) || !details.starts_with("Error running script") {
        return error.code();
    }
    WITHIN_SCRIPTS.into_iter().find(|code| details.contains(code)).unwrap_or("ERR")
}

/// What the server says, without the arguments of commands and the name of the user that it repeats.
fn server_text(error: &ServerError) -> String {
    let details = error.details().unwrap_or_default();
    let details = details.split(", with args beginning with").next().unwrap_or_default();
    let details = details.split(" script: ").next().unwrap_or_default();
    let right = details.strip_prefix("User ").and_then(|user| user.split_once(" has no permissions"));
    let details = match right {
        Some((_, right)) => format!("the user has no permissions{right}"),
        None => details.to_owned(),
    };
    format!("{} {details}", error.code()).trim_end().to_owned()
}

/// An error in words, without anything that may be a stored value.
pub(crate) fn describe(error: &RedisError) -> String {
    if let Some(refusal) = server_error(error) {
        return server_text(&refusal);
    }
    match error.kind() {
        RedisErrorKind::Io if is_tls_failure(error) => format!("the TLS handshake failed: {error}"),
        // What the system says; never a stored value.
        RedisErrorKind::Io => error.to_string(),
        RedisErrorKind::MasterNameNotFoundBySentinel => {
            "the sentinels know no primary of the name `sentinel_master`, or it is down".into()
        }
        RedisErrorKind::RESP3NotSupported => "the server is too old: Redis 6.2 or later is needed".into(),
        RedisErrorKind::Parse | RedisErrorKind::UnexpectedReturnType => {
            "the server returned an unexpected answer".into()
        }
        _ => match error.detail() {
            Some(detail) => format!("{}: {detail}", error.category()),
            None => error.category().into(),
        },
    }
}

/// Whether the handshake failed in a way that trying again won't change.
fn is_tls_failure(error: &RedisError) -> bool {
    let source = std::error::Error::source(error);
    let io = source
        .and_then(|source| source.downcast_ref::<std::sync::Arc<dyn std::error::Error + Send + Sync>>());
    let io = io.and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> RequestError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        RequestError::classify(&value.extract_error().unwrap_err())
    }

    #[test]
    fn refusals_say_whether_trying_again_may_help() {
        let cases = [
            ("LOADING Redis is loading the dataset in memory", ErrorKind::Unavailable, RetryAdvice::Wait),
            ("BUSY Redis is busy running a script.", ErrorKind::Unavailable, RetryAdvice::Wait),
            (
                "READONLY You can't write against a read only replica.",
                ErrorKind::Unavailable,
                RetryAdvice::Reconnect,
            ),
            ("CLUSTERDOWN Hash slot not served", ErrorKind::Unavailable, RetryAdvice::Wait),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                ErrorKind::Rejected,
                RetryAdvice::Nothing,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                ErrorKind::Unavailable,
                RetryAdvice::Nothing,
            ),
            ("NOPERM this user has no permissions", ErrorKind::Rejected, RetryAdvice::Nothing),
            ("NOSCRIPT No matching script.", ErrorKind::Unavailable, RetryAdvice::LoadScripts),
            ("ERR max number of clients reached", ErrorKind::Unavailable, RetryAdvice::Wait),
            ("DENIED Redis is running in protected mode because", ErrorKind::Rejected, RetryAdvice::Nothing),
        ];
        for (line, kind, advice) in cases {
            let error = refusal(line);
            assert_eq!((error.kind, error.advice, error.may_have_run), (kind, advice, false), "{line}");
        }
    }

    #[test]
    fn a_refusal_within_a_script_of_redis_6_is_found() {
        let line = "ERR Error running script (call to f_1): @user_script:5: -OOM command not allowed";
        assert_eq!(refusal(line).reason, "out_of_memory");
    }

    #[test]
    fn a_key_of_the_wrong_type_may_be_keydbs() {
        let error = refusal("WRONGTYPE Operation against a key holding the wrong kind of value");
        assert_eq!(error.kind, ErrorKind::Corrupt);
        let error = error.into_error(Operation::PutPeer, false);
        assert!(error.to_string().contains("`keydb`"), "{error}");
    }

    #[test]
    fn a_key_of_the_wrong_type_is_named() {
        let about = |command: &redis::Cmd| {
            let error = refusal("WRONGTYPE Operation against a key holding the wrong kind of value");
            error.about(command).message
        };
        let mut read = redis::cmd("HGET");
        read.arg(b"CHI_S4_\x01\x02").arg("secret");
        assert!(about(&read).starts_with("the key CHI_S4_0102 holds another type"), "{}", about(&read));
        let mut script = redis::cmd("EVALSHA");
        script.arg("f00").arg(2).arg("CHI_I").arg("CHI_D").arg("secret");
        assert!(
            about(&script).starts_with("one of the keys CHI_I, CHI_D holds another type"),
            "{}",
            about(&script)
        );
    }

    #[test]
    fn arguments_that_the_server_repeats_are_left_out() {
        let line = "ERR unknown command 'HRANDFIELD', with args beginning with: 'secret' ";
        let error = refusal(line).into_error(Operation::AnnouncePeers, false);
        assert_eq!(error.message(), "ERR unknown command 'HRANDFIELD'");
    }

    #[test]
    fn the_name_of_the_user_that_the_server_repeats_is_left_out() {
        let line = "NOPERM User secret has no permissions to run the 'hset' command";
        let error = refusal(line).into_error(Operation::PutPeer, false);
        assert_eq!(error.message(), "NOPERM the user has no permissions to run the 'hset' command");
        let of_redis_7_0 = "NOPERM this user has no permissions to run the 'hset' command";
        assert_eq!(refusal(of_redis_7_0).message, of_redis_7_0);
    }

    #[test]
    fn a_connection_lost_under_way_leaves_the_outcome_open() {
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let error = RequestError::classify(&lost);
        assert!(error.may_have_run);
        assert_eq!(error.into_error(Operation::GraduatePeers, true).kind(), ErrorKind::Uncertain);
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert!(!RequestError::classify(&refused).may_have_run);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_not_tried_again() {
        let tls = std::io::Error::new(std::io::ErrorKind::InvalidData, "invalid peer certificate");
        let failed = ConnectError { address: "a:1".into(), error: tls.into() };
        assert_eq!(RequestError::connecting(&failed).advice, RetryAdvice::Nothing);
    }
}
