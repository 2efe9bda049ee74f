//! The storage: opening it and what is common to its parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Executor;
use sqlx::postgres::PgConnection;
use storage_core::config::{ConfigDiagnostics, Problem, ProblemKind};
use storage_core::layer::time_left;
use storage_core::{
    Backend, Capability, ClockReading, Diagnostics, Error, ErrorKind, Event, InfoHash, MissingCapabilities,
    NoObserver, OpenError, Operation, QueryCheck, Result, Role, SharedObserver, Timestamp, Utilization,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::arguments;
use crate::batch::Batchers;
use crate::config::PgConfig;
use crate::connection::{ConnectionSettings, Lease, Pool};
use crate::contention_limiter::ContentionLimiter;
use crate::error::{ConnectError, QueryError};
use crate::parsed_query::{OpenedParts, ParsedQueries};
use crate::pg_type::Zone;
use crate::prepare::{StatementOptions, ask_types, prepare};
use crate::query_spec::{Query, TypedQuery, queries, responsible_for};
use crate::retry::{TxMode, with_retries};
use crate::row_counts::RowCounts;
use crate::server::Server;
use crate::statement::{QueryStatement, Statement, tell};

/// A storage on a server that speaks PostgreSQL's protocol, by the queries of its configuration.
/// Timeouts, limits and an orderly close are layers: [`storage_core::with_default_layers`].
pub struct PgStorage {
    pub(crate) core: Arc<Core>,
    pub(crate) batches: Batchers,
}

impl PgStorage {
    /// Connects, and asks the server about every query.
    ///
    /// # Errors
    /// [`OpenError::Configuration`] with every problem of the configuration;
    /// [`OpenError::Storage`] if there is no server to ask. Nothing has been changed then.
    pub async fn open(config: PgConfig) -> Result<Self, OpenError> {
        Self::open_observed(config, Arc::new(NoObserver)).await
    }

    /// Opens a storage that tells an observer what no result shows: retries, reconnections, batches.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_observed(config: PgConfig, observer: SharedObserver) -> Result<Self, OpenError> {
        Self::open_part(config, observer, OpenedParts::Everything).await
    }

    /// Opens the data part alone; only the queries of the section `data` are needed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_data(config: PgConfig) -> Result<Self, OpenError> {
        Self::open_data_observed(config, Arc::new(NoObserver)).await
    }

    /// Opens the data part alone, with an observer.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_data_observed(config: PgConfig, observer: SharedObserver) -> Result<Self, OpenError> {
        Self::open_part(config, observer, OpenedParts::DataAlone).await
    }

    /// What can be told of a configuration without a server.
    pub(crate) fn findings(config: &PgConfig, data_alone: bool) -> ConfigDiagnostics {
        let opened = if data_alone { OpenedParts::DataAlone } else { OpenedParts::Everything };
        let Offline { settings, problems, .. } = Offline::read(config, opened);
        let warnings = settings.map(|settings| settings.warnings).unwrap_or_default();
        let warnings = warnings.into_iter().map(|warning| problem("connection_string", warning)).collect();
        ConfigDiagnostics { problems, warnings, ..ConfigDiagnostics::default() }
    }

    async fn open_part(
        config: PgConfig,
        observer: SharedObserver,
        opened: OpenedParts,
    ) -> Result<Self, OpenError> {
        let Offline { queries, zone, settings, mut problems } = Offline::read(&config, opened);
        let Some(mut settings) = settings else { return Err(OpenError::Configuration(problems)) };
        for warning in &settings.warnings {
            tracing::warn!(backend = crate::NAME, "`connection_string`: {warning}");
        }
        // What is wrong already should not be told only after a long wait for the server.
        let patience = if problems.is_empty() { config.startup_timeout } else { Duration::ZERO };
        let (pool, mut lease) = match connect(&mut settings, patience, &observer).await {
            Ok(connected) => connected,
            Err(error) if problems.is_empty() => {
                return Err(not_opened(error, config.startup_timeout).into());
            }
            Err(error) => {
                let refused = problem("connection_string", error.to_string());
                problems.push(refused.of_kind(ProblemKind::Server));
                return Err(OpenError::Configuration(problems));
            }
        };
        let (pooler_mode, version) = (settings.pooler_mode, pool.server().unwrap_or_default());
        let prepared = match lease.connection() {
            Some(connection) => {
                let prepare = async {
                    if let Err(error) = check_transactions(connection).await {
                        return match error.as_database_error() {
                            Some(refusal) => Ok(Err(no_transactions(refusal.message()))),
                            None => Err(error),
                        };
                    }
                    let server = Server::ask(connection, &version).await?;
                    let options = StatementOptions { zone, server, pooler_mode, observer: observer.clone() };
                    let (statements, refused) = prepare_all(connection, queries, &options).await?;
                    Ok(Ok((statements, refused, options)))
                };
                timeout(config.startup_timeout, prepare).await
            }
            None => Ok(Err(sqlx::Error::PoolClosed)),
        };
        if matches!(prepared, Ok(Ok(Ok(_)))) && !pooler_mode {
            lease.release();
        } else {
            // Behind a pooler its cache has statements that the server connection has no more.
            lease.give_up();
        }
        let not_checked =
            |kind, message: &str| Error::new(crate::NAME, Operation::Open, kind).with_message(message);
        let failed = match prepared {
            Ok(Ok(Ok((statements, refused, options)))) => {
                problems.extend(refused);
                problems.dedup();
                if problems.is_empty() {
                    let retry_timeout = config.retry_timeout;
                    let contention = ContentionLimiter::new(settings.pool.max_connections);
                    let (refresher, row_counts) =
                        (StatementRefresher::new(options), RowCounts::of(&statements));
                    let core = Arc::new(Core {
                        pool,
                        settings,
                        retry_timeout,
                        contention,
                        statements,
                        refresher,
                        row_counts,
                        observer,
                    });
                    return Ok(Self { batches: Batchers::new(&core, &config), core });
                }
                OpenError::Configuration(problems)
            }
            Ok(Ok(Err(refused))) => {
                problems.push(refused);
                OpenError::Configuration(problems)
            }
            Ok(Err(error)) => {
                let message = "the connection was lost while the queries were checked";
                not_checked(ErrorKind::Unavailable, message).with_source(error).into()
            }
            Err(_) => {
                let message = "no answer within `startup_timeout` while the queries were checked";
                not_checked(ErrorKind::Timeout, message).into()
            }
        };
        pool.close().await;
        Err(failed)
    }
}

/// What a configuration means, as far as it can be told without a server.
struct Offline {
    queries: Vec<crate::parsed_query::ParsedQuery>,
    zone: Zone,
    /// `None` if the connection string cannot be read.
    settings: Option<ConnectionSettings>,
    problems: Vec<Problem>,
}

impl Offline {
    fn read(config: &PgConfig, opened: OpenedParts) -> Self {
        let ParsedQueries { queries, mut problems } = ParsedQueries::of(config, opened);
        let zone = Zone::named(&config.created_zone);
        if zone.is_none() {
            problems.push(problem(
                "created_zone",
                "expected a time zone: an IANA name such as Europe/Berlin, `local`, or UTC",
            ));
        }
        let settings = match &config.connection_string {
            Some(text) => ConnectionSettings::parse(text, &|name| std::env::var(name).ok()),
            None => Err(vec!["is missing".to_owned()]),
        };
        let mut settings = settings.map_err(|messages| {
            problems.extend(messages.into_iter().map(|message| problem("connection_string", message)));
        });
        if let Ok(settings) = &mut settings {
            settings.session.commit = config.peer.synchronous_commit;
        }
        Self { queries, zone: zone.unwrap_or_default(), settings: settings.ok(), problems }
    }
}

/// Connects for the first time. Behind a pooler of which the operator said nothing, it connects again, in the
/// mode that suits every pooler.
async fn connect(
    settings: &mut ConnectionSettings,
    patience: Duration,
    observer: &SharedObserver,
) -> Result<(Pool, Lease), ConnectError> {
    let pool = Pool::new(settings.clone(), observer.clone());
    let lease = pool.connect_at_start(patience).await?;
    if settings.names_query_mode || !pool.is_pooled() {
        return Ok((pool, lease));
    }
    lease.release();
    pool.close().await;
    tracing::warn!(backend = crate::NAME, "`connection_string`: {POOLER}");
    settings.warnings.push(POOLER.into());
    settings.pooler_mode = true;
    let pool = Pool::new(settings.clone(), observer.clone());
    let lease = pool.connect_at_start(patience).await?;
    Ok((pool, lease))
}

const POOLER: &str = "a connection pooler is in front of the server, so every statement runs in a transaction of its \
    own. Set `default_query_exec_mode=exec` to confirm this, or `cache_statement`, which is faster, if the pooler pools \
    by session or supports prepared statements (PgBouncer 1.21 or newer with `max_prepared_statements`)";

/// Makes sure that there are transactions: a pooler that pools by statement has none.
async fn check_transactions(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute("BEGIN").await?;
    connection.execute("ROLLBACK").await.map(drop)
}

/// The statements, and the problems of those that are none.
async fn prepare_all(
    connection: &mut PgConnection,
    queries: Vec<crate::parsed_query::ParsedQuery>,
    options: &StatementOptions,
) -> Result<(Vec<Statement>, Vec<Problem>), sqlx::Error> {
    let (mut statements, mut problems) = (Vec::new(), Vec::new());
    for query in queries {
        match prepare(connection, query, options).await? {
            Ok(statement) => statements.push(statement),
            Err(mut found) => {
                found.retain(|problem| !is_told(problem, &problems));
                problems.append(&mut found);
            }
        }
    }
    Ok((statements, problems))
}

/// Whether a problem is among those told. What is wrong with the query that counts all is wrong with it
/// before the clause for one swarm, too.
fn is_told(problem: &Problem, told: &[Problem]) -> bool {
    let of_the_clause = problem.key == Query::CountSwarm.key();
    told.iter().any(|known| {
        known == problem
            || of_the_clause && known.key == Query::CountPeers.key() && known.message == problem.message
    })
}

fn no_transactions(refusal: &str) -> Problem {
    let message = format!(
        "the server refuses transactions: {refusal}; with PgBouncer set `pool_mode` to transaction or session"
    );
    problem("connection_string", message).of_kind(ProblemKind::Server)
}

fn problem(key: &str, message: impl Into<String>) -> Problem {
    Problem::new(key, message)
}

fn not_opened(error: ConnectError, patience: Duration) -> Error {
    let given_up = if error.is_transient() {
        format!("; given up after {patience:?} (`startup_timeout`)")
    } else {
        String::new()
    };
    let message = format!("`connection_string`: {error}{given_up}");
    not_connected(Operation::Open, error).with_message(message)
}

/// As the failure of a call that had no connection yet.
pub(crate) fn not_connected(operation: Operation, error: ConnectError) -> Error {
    let kind = match &error {
        ConnectError::Closed => ErrorKind::Closed,
        ConnectError::Exhausted => ErrorKind::Timeout,
        error if error.is_transient() => ErrorKind::Unavailable,
        _ => ErrorKind::Rejected,
    };
    Error::new(crate::NAME, operation, kind).with_message(error.to_string()).with_source(error)
}

/// The longest that closing may take without a limit around the storage.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(9);

/// How much of that is kept for disconnecting.
const DISCONNECTING: Duration = Duration::from_millis(1_500);

#[async_trait]
impl Backend for PgStorage {
    fn name(&self) -> &'static str {
        crate::NAME
    }

    fn durable(&self) -> bool {
        true
    }

    fn missing_capabilities(&self) -> MissingCapabilities {
        let uncounted = self.core.row_counts.missing().map_or(MissingCapabilities::none(), |query| {
            let reason = format!("`{}` does not say how many rows it touched", query.key());
            MissingCapabilities::none().with(Capability::ExactDownloads, reason)
        });
        let absent = Query::ALL.iter().filter(|query| !self.core.has(**query));
        absent.fold(uncounted, |lacking, query| {
            let capabilities = query.spec().capabilities.iter();
            capabilities
                .fold(lacking, |lacking, capability| lacking.with(*capability, not_configured(*query)))
        })
    }

    fn configuration_key(&self, operation: Operation) -> Option<&'static str> {
        responsible_for(operation).map(Query::key)
    }

    async fn ping(&self) -> Result<()> {
        let Some(ping) = self.core.find(queries::Ping) else { return Ok(()) };
        with_retries!(&self.core, Operation::Ping, TxMode::Autocommit, |connection| {
            ping.execute(connection, arguments::Nothing {}).await.map(drop)
        })
    }

    fn now(&self) -> Timestamp {
        self.core.pool.time().now()
    }

    fn clock(&self) -> Option<ClockReading> {
        self.core.pool.time().reading()
    }

    fn utilization(&self) -> Utilization {
        Utilization::of_pool(self.core.pool.utilization())
    }

    fn server(&self) -> Option<String> {
        self.core.pool.server().map(|version| crate::server::recognize(&version).1)
    }

    /// Puts a peer of its own into a swarm of its own, and takes it back before the transaction ends.
    async fn probe(&self) -> Result<()> {
        let put = self.core.statement(queries::PutPeer, Operation::Probe)?;
        with_retries!(&self.core, Operation::Probe, TxMode::Transaction, |connection| {
            let (info_hash, peer) = (InfoHash::V1(rand::random()), crate::query_scope::probe_peer(1, 1));
            let leecher = arguments::PutPeer {
                info_hash: &info_hash,
                peer: &peer,
                role: Role::Leecher,
                announced: Timestamp::now(),
                expires: None,
            };
            tell(connection, "SAVEPOINT probe").await?;
            put.execute(connection, leecher).await?;
            tell(connection, "ROLLBACK TO SAVEPOINT probe").await
        })
    }

    async fn diagnostics(&self) -> Result<Diagnostics> {
        self.look().await
    }

    async fn check_queries(&self) -> Result<QueryCheck> {
        self.run_each_query().await
    }

    async fn close(&self) -> Result<()> {
        let left = time_left().unwrap_or(CLOSE_TIMEOUT);
        self.batches.close(left.saturating_sub(DISCONNECTING)).await;
        self.core.pool.close().await;
        Ok(())
    }
}

/// What the calls and the batches of a storage share: connections, statements, the observer.
pub(crate) struct Core {
    pub(crate) pool: Pool,
    pub(crate) settings: ConnectionSettings,
    pub(crate) retry_timeout: Duration,
    pub(crate) contention: ContentionLimiter,
    pub(crate) statements: Vec<Statement>,
    pub(crate) refresher: StatementRefresher,
    pub(crate) row_counts: RowCounts,
    pub(crate) observer: SharedObserver,
}

impl Core {
    pub(crate) fn pooler_mode(&self) -> bool {
        self.settings.pooler_mode
    }

    pub(crate) fn observe(&self, event: Event) {
        self.observer.observe(crate::NAME, event);
    }

    pub(crate) fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Whether a query is configured.
    pub(crate) fn has(&self, query: Query) -> bool {
        self.statements.iter().any(|statement| statement.query == query)
    }

    /// The statement of a query, if it is configured.
    pub(crate) fn find<Q: TypedQuery>(&self, query: Q) -> Option<QueryStatement<'_, Q>> {
        self.statements.iter().find_map(|statement| statement.of(query))
    }

    /// The statement of a query; without it the call is unsupported.
    pub(crate) fn statement<Q: TypedQuery>(
        &self,
        query: Q,
        operation: Operation,
    ) -> Result<QueryStatement<'_, Q>> {
        self.find(query).ok_or_else(|| {
            let capability = Q::QUERY.spec().capabilities.first();
            let kind =
                capability.map_or(ErrorKind::Rejected, |capability| ErrorKind::Unsupported(*capability));
            Error::new(crate::NAME, operation, kind).with_message(not_configured(Q::QUERY))
        })
    }

    /// Tells of rows that could not be understood.
    pub(crate) fn skipped(&self, statement: &Statement, count: u64) {
        if count == 0 {
            return;
        }
        let key = statement.query.key();
        tracing::warn!(backend = crate::NAME, key, count, "skipped unreadable rows");
        self.observe(Event::Skipped { what: key, count });
    }
}

pub(crate) fn not_configured(query: Query) -> String {
    format!("no `{}` is configured", query.key())
}

/// The time between two looks at the tables, if the first one finds nothing new: a query that is refused for
/// other reasons should not make every call ask about all of them.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Which generation of the statements is the valid one.
pub(crate) struct StatementRefresher {
    options: StatementOptions,
    /// Counts the refreshes.
    generation: AtomicU64,
    /// When a refresh found that nothing had changed.
    in_vain: Mutex<Option<Instant>>,
}

impl StatementRefresher {
    pub(crate) fn new(options: StatementOptions) -> Self {
        Self { options, generation: AtomicU64::new(0), in_vain: Mutex::new(None) }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

impl Core {
    /// A connection without statements from before a refresh.
    pub(crate) async fn lease(&self, deadline: Instant, is_long: bool) -> Result<Lease, ConnectError> {
        loop {
            let mut lease = self.pool.lease(deadline, is_long).await?;
            let forgotten = lease.forget_statements(self.refresher.generation());
            match timeout_at(deadline, forgotten).await {
                Ok(Ok(())) => return Ok(lease),
                // Not there any more, or silent: the next one may do better while there is time.
                _ => lease.give_up(),
            }
        }
    }

    /// After the server refused a statement as outdated: asks it about all of them again, unless another call has
    /// done so since this connection prepared its own. Whether repeating the call may help.
    pub(crate) async fn refresh_statements(
        &self,
        lease: &mut Lease,
        refusal: &QueryError,
        deadline: Instant,
    ) -> Result<bool, QueryError> {
        Ok(timeout_at(deadline, self.refresh_once(lease, refusal)).await??)
    }

    async fn refresh_once(&self, lease: &mut Lease, refusal: &QueryError) -> sqlx::Result<bool> {
        let StatementRefresher { options, generation, in_vain } = &self.refresher;
        let mut in_vain = in_vain.lock().await;
        if lease.statements() < self.refresher.generation() {
            return Ok(true);
        }
        let is_too_soon = in_vain.is_some_and(|since| since.elapsed() < REFRESH_INTERVAL);
        if is_too_soon && refusal.may_be_lasting() {
            return Ok(false);
        }
        let next = self.refresher.generation() + 1;
        lease.forget_statements(next).await?;
        if is_too_soon && !refusal.is_of_other_columns() {
            generation.store(next, Ordering::Release);
            return Ok(true);
        }
        let Some(connection) = lease.connection() else { return Ok(false) };
        let mut is_news = false;
        for statement in &self.statements {
            match ask_types(connection, &statement.parsed, options).await? {
                Ok(types) => is_news |= statement.set_types(types),
                Err(problems) => problems.iter().for_each(|problem| {
                    tracing::warn!(backend = crate::NAME, key = %problem.key, "{}", problem.message);
                }),
            }
        }
        generation.store(next, Ordering::Release);
        *in_vain = (!is_news).then(Instant::now);
        tracing::debug!(backend = crate::NAME, is_news, "the queries were prepared again");
        Ok(true)
    }
}
