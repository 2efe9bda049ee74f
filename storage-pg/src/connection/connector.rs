//! One connection to one of the hosts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};
use storage_core::{ServerClock, ServerTime, SharedObserver};
use tokio::sync::Semaphore;

use super::host::Host;
use super::pool::close_in_background;
use super::settings::{ConnectionSettings, TargetSession};
use super::tls::TlsMode;
use crate::error::{ConnectError, ConnectErrorKind, HostError, classify_connect, describe};
use crate::server::{ServerAnswer, ask_server};

/// How long a host that did not answer is tried after the others. Without this a caller that gives up
/// before `connect_timeout` would never get beyond a first host that is gone.
const LAST_IN_LINE: Duration = Duration::from_secs(30);

/// A caller that gives up sooner says nothing about the host.
const NO_ANSWER: Duration = Duration::from_millis(500);

/// How long a host that may be gone is tried before the others.
const DOUBTFUL_TIMEOUT: Duration = Duration::from_millis(500);

/// Settings by which the server notices that a session was given up; the operator's own count more. Within a
/// transaction we are idle for no longer than the way there and back.
const ENDS_OF_SESSIONS: &[(&str, &str)] = &[
    ("client_connection_check_interval", "SET client_connection_check_interval TO 2000"),
    ("idle_in_transaction_session_timeout", "SET idle_in_transaction_session_timeout TO 1000"),
];

/// How often hosts that would not do are asked again while another is waited for.
const ASKED_AGAIN: Duration = Duration::from_millis(250);

/// How many attempts are under way at once. Logging in costs both sides some work; all places of a
/// pool at once, after a restart, would make each other run into the timeout.
const AT_ONCE: usize = 4;

/// Makes connections to the first host that will do.
pub(super) struct Connector {
    settings: ConnectionSettings,
    hosts: Vec<Candidate>,
    turns: Semaphore,
    time: ServerTime,
    /// Why the last attempt failed; none if it went well.
    last_failure: Mutex<Option<ConnectError>>,
}

struct Candidate {
    options: PgConnectOptions,
    unanswered: Mutex<Option<Instant>>,
    /// A connection to it was lost or did not answer, and none was made since.
    is_doubtful: AtomicBool,
}

/// A connection, and what the server said of itself.
pub(super) struct Connected {
    pub(super) connection: PgConnection,
    /// Which of the hosts it leads to.
    pub(super) host: usize,
    pub(super) clock: ServerClock,
    /// Product and version.
    pub(super) server: String,
    /// Whether a pooler is in front of it.
    pub(super) is_pooled: bool,
}

impl Connector {
    pub(super) fn new(settings: ConnectionSettings, observer: SharedObserver) -> Self {
        let candidate = |host| Candidate {
            options: connect_options(&settings, host),
            unanswered: Mutex::new(None),
            is_doubtful: AtomicBool::new(false),
        };
        let hosts = settings.hosts.iter().map(candidate).collect();
        let time = ServerTime::new(crate::NAME, observer);
        Self { settings, hosts, turns: Semaphore::new(AT_ONCE), time, last_failure: Mutex::new(None) }
    }

    pub(super) fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// A connection to this host was lost, or does not answer: the others are not kept waiting for it.
    pub(super) fn doubt(&self, host: usize) {
        self.hosts[host].is_doubtful.store(true, Ordering::Relaxed);
    }

    /// Why there is no connection though none of them failed just now.
    pub(super) fn no_connection_in_time(&self) -> ConnectError {
        self.last_failure.lock().clone().unwrap_or(ConnectError::Exhausted)
    }

    /// Tries the hosts in order, each no longer than `connect_timeout`. A wrong password or database
    /// ends it: the other hosts would not have it either.
    pub(super) async fn connect(&self) -> Result<Connected, ConnectError> {
        let _turn = self.turns.acquire().await;
        let connected = self.try_hosts().await;
        *self.last_failure.lock() = connected.as_ref().err().cloned();
        connected
    }

    async fn try_hosts(&self) -> Result<Connected, ConnectError> {
        let timeout = self.settings.connect_timeout;
        let mut attempts: VecDeque<_> = self.in_order().into_iter().map(|host| (host, timeout)).collect();
        if attempts.len() > 1 {
            // One that may be gone is asked briefly, and asked again after the others.
            let is_doubtful = |(host, _): &(usize, Duration)| {
                self.hosts[*host].is_doubtful.load(Ordering::Relaxed).then_some((*host, timeout))
            };
            let later: Vec<_> = attempts.iter().filter_map(is_doubtful).collect();
            for (host, timeout) in &mut attempts {
                if later.iter().any(|(doubtful, _)| doubtful == host) {
                    *timeout = DOUBTFUL_TIMEOUT.min(*timeout);
                }
            }
            attempts.extend(later);
        }
        let mut failures: Vec<HostError> = Vec::new();
        let mut unfit = Vec::new();
        let mut second_choice = None;
        while let Some((host, timeout)) = attempts.pop_front() {
            let tried = tokio::select! {
                biased;
                tried = self.try_host(host, timeout) => tried,
                // A standby is promoted while its primary does not answer.
                connected = self.ask_again(&unfit), if !unfit.is_empty() => return Ok(self.chosen(connected)),
            };
            match tried {
                Ok((connected, Suitability::Suits)) => return Ok(self.chosen(connected)),
                Ok((connected, Suitability::SecondChoice)) => {
                    second_choice.get_or_insert(connected);
                }
                Ok((connected, Suitability::Unfit(reason))) => {
                    close_in_background(connected.connection);
                    failures.push(self.failure(host, ConnectErrorKind::NoSuitableServer, reason));
                    attempts.retain(|(other, _)| *other != host);
                    unfit.push(host);
                }
                Err(failure) => {
                    let is_final = is_same_everywhere(failure.kind) && second_choice.is_none();
                    // Of a host that is asked twice only the second answer is told.
                    failures.retain(|earlier| earlier.host != failure.host);
                    failures.push(failure);
                    if is_final {
                        return Err(ConnectError::decided_by_last(failures));
                    }
                }
            }
        }
        second_choice.map(|connected| self.chosen(connected)).ok_or_else(|| ConnectError::new(failures))
    }

    /// Waits until one of the hosts that would not do has become one that will.
    async fn ask_again(&self, unfit: &[usize]) -> Connected {
        loop {
            tokio::time::sleep(ASKED_AGAIN).await;
            for host in unfit {
                match self.try_host(*host, DOUBTFUL_TIMEOUT).await {
                    Ok((connected, Suitability::Suits)) => return connected,
                    Ok((connected, _)) => close_in_background(connected.connection),
                    Err(_) => {}
                }
            }
        }
    }

    /// Times are those of the server that is used.
    fn chosen(&self, connected: Connected) -> Connected {
        self.time.looked(&[connected.clock]);
        connected
    }

    /// The time of the server, whichever it is.
    pub(super) fn time(&self) -> &ServerTime {
        &self.time
    }

    /// Whether a connection still answers, and the server still will do. Looks at the server's clock again
    /// from time to time.
    pub(super) async fn verify(&self, connection: &mut PgConnection, clock: &mut ServerClock) -> bool {
        let asked = async {
            let fit = match self.settings.target {
                TargetSession::Any | TargetSession::PreferStandby => Suitability::Suits,
                target => judge_role(connection, target).await?,
            };
            *clock = ask_server(connection).await?.clock;
            if matches!(fit, Suitability::Suits) {
                self.time.looked(&[*clock]);
            }
            Ok::<_, sqlx::Error>(fit)
        };
        matches!(asked.await, Ok(Suitability::Suits))
    }

    fn in_order(&self) -> Vec<usize> {
        let is_last = |host: &usize| {
            let since = *self.hosts[*host].unanswered.lock();
            since.is_some_and(|since| since.elapsed() < LAST_IN_LINE)
        };
        let (last, mut order): (Vec<_>, Vec<_>) = (0..self.hosts.len()).partition(is_last);
        order.extend(last);
        order
    }

    async fn try_host(&self, host: usize, timeout: Duration) -> Result<(Connected, Suitability), HostError> {
        let mut trial = ConnectAttempt::begin(&self.hosts[host]);
        let opened = tokio::time::timeout(timeout, self.open(host)).await;
        let result = opened.unwrap_or_else(|_| {
            let reason = format!("no answer within {timeout:?}");
            Err(self.failure(host, ConnectErrorKind::Unreachable, &reason))
        });
        let unanswered = [ConnectErrorKind::Unreachable, ConnectErrorKind::NotReady];
        trial.answered = Some(!result.as_ref().is_err_and(|failure| unanswered.contains(&failure.kind)));
        if result.is_ok() {
            self.hosts[host].is_doubtful.store(false, Ordering::Relaxed);
        }
        result
    }

    async fn open(&self, index: usize) -> Result<(Connected, Suitability), HostError> {
        let host = &self.settings.hosts[index];
        let mut first_reason: Option<String> = None;
        let mut modes = modes(self.settings.tls.mode, host).iter().peekable();
        while let Some(mode) = modes.next() {
            let options = self.hosts[index].options.clone().ssl_mode(*mode);
            let error = match self.begin(index, &options).await {
                Ok(begun) => return Ok(begun),
                Err(error) => error,
            };
            let said = describe(&error);
            let shown = self.settings.mask(&said);
            let is_masked = shown != said;
            let reason = match (first_reason.take(), shown.into_owned()) {
                (Some(first), second) if first != second => format!("{first}, and then {second}"),
                (_, only) => only,
            };
            if modes.peek().is_none() || !may_depend_on_encryption(&error) {
                let kind = classify_connect(&error);
                // The error itself would repeat what is masked.
                let source = (!is_masked).then_some(error);
                return Err(HostError { source, ..self.failure(index, kind, &reason) });
            }
            first_reason = Some(reason);
        }
        Err(self.failure(index, ConnectErrorKind::UnsupportedParameter, "`sslmode` leaves no way to connect"))
    }

    async fn begin(&self, host: usize, options: &PgConnectOptions) -> sqlx::Result<(Connected, Suitability)> {
        let mut connection = options.connect().await?;
        #[cfg(target_os = "linux")]
        self.set_socket_options(host).await;
        if let Some(zone) = &self.settings.session.time_zone {
            let statement = format!("SET TIME ZONE '{}'", zone.replace('\'', "''"));
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        let fit = judge_role(&mut connection, self.settings.target).await?;
        let ServerAnswer { clock, version: server, .. } = ask_server(&mut connection).await?;
        let is_pooled = self.settings.pooler_mode || self.is_pooled(&mut connection, &server).await?;
        // What is set for a session behind a pooler is set for others, too.
        if !is_pooled {
            if let Some(commit) = self.settings.session.commit {
                sqlx::raw_sql(AssertSqlSafe(commit.set())).execute(&mut connection).await?;
            }
            self.notice_our_end(&mut connection, &server).await?;
        }
        Ok((Connected { connection, host, clock, server, is_pooled }, fit))
    }

    /// Whether a pooler is in front of the server: it keeps a setting to itself with which sqlx begins every
    /// session.
    async fn is_pooled(&self, connection: &mut PgConnection, server: &str) -> sqlx::Result<bool> {
        const SETTING: &str = "extra_float_digits";
        const OF_SQLX: &str = "2";
        let is_ours = self.settings.session.settings.iter().any(|(name, _)| name == SETTING);
        if is_ours || !server.starts_with("PostgreSQL") {
            return Ok(false);
        }
        let row = sqlx::raw_sql("SHOW extra_float_digits").fetch_one(connection).await?;
        Ok(row.try_get::<&str, _>(0)? != OF_SQLX)
    }

    /// A connection without them serves as well, until its other end goes away without a word.
    #[cfg(target_os = "linux")]
    async fn set_socket_options(&self, host: usize) {
        let (settings, host) = (self.settings.socket, self.settings.hosts[host].clone());
        if host.is_socket() {
            return;
        }
        let set = tokio::task::spawn_blocking(move || {
            if let Err(error) = settings.set_on_sockets_to(&host) {
                tracing::warn!(%host, %error, "keepalives and tcp_user_timeout could not be set");
            }
        });
        // A panic would have been told already.
        let _ = set.await;
    }

    /// Makes the server end what we have given up and it does not know to be given up: a wait for a lock,
    /// which it would not leave before it has it, and a transaction whose connection is silent, which would
    /// hold its locks for hours.
    async fn notice_our_end(&self, connection: &mut PgConnection, server: &str) -> sqlx::Result<()> {
        if !server.starts_with("PostgreSQL") {
            return Ok(());
        }
        for (name, set) in ENDS_OF_SESSIONS {
            if self.settings.session.settings.iter().any(|(known, _)| known == name) {
                continue;
            }
            match sqlx::raw_sql(*set).execute(&mut *connection).await {
                // Not every version has it, and not every system can tell; they do without.
                Ok(_) | Err(sqlx::Error::Database(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn failure(&self, host: usize, kind: ConnectErrorKind, reason: &str) -> HostError {
        let host: &Host = &self.settings.hosts[host];
        HostError { kind, host: host.to_string(), reason: reason.to_owned(), source: None }
    }
}

/// Remembers whether a host answered, also when the caller gave up waiting for it.
struct ConnectAttempt<'a> {
    candidate: &'a Candidate,
    begun: Instant,
    answered: Option<bool>,
}

impl<'a> ConnectAttempt<'a> {
    fn begin(candidate: &'a Candidate) -> Self {
        Self { candidate, begun: Instant::now(), answered: None }
    }
}

impl Drop for ConnectAttempt<'_> {
    fn drop(&mut self) {
        let mut unanswered = self.candidate.unanswered.lock();
        match self.answered {
            Some(true) => *unanswered = None,
            Some(false) => *unanswered = Some(Instant::now()),
            None if self.begun.elapsed() >= NO_ANSWER => *unanswered = Some(Instant::now()),
            None => {}
        }
    }
}

fn is_same_everywhere(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::Authentication | ConnectErrorKind::UnknownDatabase)
}

/// Whether the server may have refused for the connection being encrypted, or not.
fn may_depend_on_encryption(error: &sqlx::Error) -> bool {
    const INVALID_PASSWORD: &str = "28P01";
    match classify_connect(error) {
        ConnectErrorKind::Tls => true,
        ConnectErrorKind::UnsupportedParameter => error.as_database_error().is_some(),
        ConnectErrorKind::Authentication => error
            .as_database_error()
            .and_then(|error| error.code())
            .is_none_or(|code| code != INVALID_PASSWORD),
        _ => false,
    }
}

/// The options for one host, but for the mode of encryption. sqlx fills options from the environment by itself, so
/// everything is set, that our reading alone decides.
pub(super) fn connect_options(settings: &ConnectionSettings, host: &Host) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(host.target())
        .port(host.port)
        .username(&settings.user)
        .password(host.password.as_ref().map_or("", |password| password.expose()))
        .database(&settings.database)
        .application_name(&settings.application_name)
        // Layers tell of calls; sqlx would log the text of every slow statement.
        .disable_statement_logging();
    options = match &settings.tls.root_certificates {
        Some(file) => options.ssl_root_cert(file),
        None => options.ssl_root_cert_from_pem(Vec::new()),
    };
    if let Some(client) = &settings.tls.client {
        options = options.ssl_client_cert(&client.certificate).ssl_client_key(&client.key);
    }
    if !settings.session.settings.is_empty() {
        options = options.options(settings.session.settings.iter().map(|(name, value)| (name, value)));
    }
    if settings.pooler_mode {
        options = options.extra_float_digits(None).statement_cache_capacity(0);
    }
    options
}

/// The modes of encryption to try on a host, one after the other. sqlx does not try again by itself.
pub(super) fn modes(mode: TlsMode, host: &Host) -> &'static [PgSslMode] {
    if host.is_socket() {
        return &[PgSslMode::Disable];
    }
    match mode {
        TlsMode::Disable => &[PgSslMode::Disable],
        TlsMode::Allow => &[PgSslMode::Disable, PgSslMode::Require],
        TlsMode::Prefer => &[PgSslMode::Prefer, PgSslMode::Disable],
        TlsMode::Require => &[PgSslMode::Require],
        TlsMode::VerifyAuthority => &[PgSslMode::VerifyCa],
        TlsMode::VerifyFull => &[PgSslMode::VerifyFull],
    }
}

/// Whether a server plays the part that `target_session_attrs` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suitability {
    Suits,
    /// It will, if there is no better one.
    SecondChoice,
    /// It won't; this is what it is.
    Unfit(&'static str),
}

/// Asks the server, unless any will do.
pub(super) async fn judge_role(
    connection: &mut PgConnection,
    target: TargetSession,
) -> sqlx::Result<Suitability> {
    let fit = match target {
        TargetSession::Any => Suitability::Suits,
        TargetSession::ReadWrite if is_read_only(connection).await? => Suitability::Unfit("it is read-only"),
        TargetSession::ReadOnly if !is_read_only(connection).await? => {
            Suitability::Unfit("it is not read-only")
        }
        TargetSession::Primary if is_standby(connection).await? => Suitability::Unfit("it is a standby"),
        TargetSession::Standby if !is_standby(connection).await? => Suitability::Unfit("it is not a standby"),
        TargetSession::PreferStandby if !is_standby(connection).await? => Suitability::SecondChoice,
        _ => Suitability::Suits,
    };
    Ok(fit)
}

async fn is_read_only(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await?;
    Ok(row.try_get::<&str, _>(0)? == "on")
}

async fn is_standby(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_one(connection).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use storage_core::NoObserver;

    fn connector(text: &str) -> Connector {
        Connector::new(ConnectionSettings::parse(text, &|_| None).unwrap(), Arc::new(NoObserver))
    }

    #[test]
    fn a_host_that_did_not_answer_is_tried_last() {
        let connector = connector("host=db1,db2,db3 user=me");
        let try_first = |answered| ConnectAttempt::begin(&connector.hosts[0]).answered = Some(answered);
        assert_eq!(connector.in_order(), [0, 1, 2]);
        try_first(false);
        assert_eq!(connector.in_order(), [1, 2, 0]);
        try_first(true);
        assert_eq!(connector.in_order(), [0, 1, 2]);
    }

    #[test]
    fn a_host_is_to_blame_only_if_the_caller_waited_for_a_while() {
        let connector = connector("host=db1,db2 user=me");
        let mut trial = ConnectAttempt::begin(&connector.hosts[0]);
        drop(ConnectAttempt::begin(&connector.hosts[0]));
        assert_eq!(connector.in_order(), [0, 1]);
        trial.begun -= NO_ANSWER;
        drop(trial);
        assert_eq!(connector.in_order(), [1, 0]);
    }

    #[tokio::test]
    async fn every_host_is_tried_and_named() {
        let connector = connector("host=127.0.0.1,::1 port=1 user=me");
        let error = connector.connect().await.err().unwrap();
        assert!(error.is_transient());
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:1: ") && text.contains("[::1]:1: "), "{text}");
    }

    #[tokio::test]
    async fn a_host_that_says_nothing_is_given_up_after_the_timeout() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let connector = connector(&format!("host=127.0.0.1 port={port} user=me connect_timeout=1"));
        let error = connector.connect().await.err().unwrap();
        assert!(error.to_string().ends_with("no answer within 1s"), "{error}");
    }

    fn options(text: &str) -> PgConnectOptions {
        let settings = ConnectionSettings::parse(text, &|_| None).unwrap();
        connect_options(&settings, &settings.hosts[0])
    }

    #[test]
    fn our_reading_decides() {
        let options = options("postgres://me@db1:5433/tracker?search_path=a,%20b&geqo=off");
        assert_eq!((options.get_host(), options.get_port()), ("db1", 5433));
        assert_eq!((options.get_username(), options.get_database()), ("me", Some("tracker")));
        assert_eq!(options.get_application_name(), Some("tracker-storage"));
        assert_eq!(options.get_options(), Some(r"-c geqo=off -c search_path=a,\ b"));
    }

    #[test]
    fn a_pooler_gets_no_parameter_it_may_refuse() {
        assert_eq!(options("host=db1 user=me default_query_exec_mode=exec").get_options(), None);
    }

    #[test]
    fn a_socket_is_never_encrypted() {
        let settings = ConnectionSettings::parse("host=/tmp,db1 user=me sslmode=require", &|_| None).unwrap();
        let modes: Vec<_> = settings.hosts.iter().map(|host| modes(settings.tls.mode, host)).collect();
        assert!(matches!(modes[..], [[PgSslMode::Disable], [PgSslMode::Require]]));
    }
}
