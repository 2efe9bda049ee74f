//! Statements that outlive changes of the tables they are about.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::connection::{ConnectError, Lease};
use crate::core::Core;
use crate::error::QueryError;
use crate::prepare::{StatementOptions, ask_types};

/// The time between two looks at the tables, if the first one finds nothing new: a query that is refused for
/// other reasons should not make every call ask about all of them.
const PAUSE: Duration = Duration::from_secs(1);

/// Which generation of the statements is the valid one.
pub(crate) struct StatementRefresher {
    options: StatementOptions,
    /// Counts the renewals.
    generation: AtomicU64,
    /// When a renewal found that nothing had changed.
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
    /// A connection without statements from before a renewal.
    pub(crate) async fn lease(&self, deadline: Instant, is_long: bool) -> Result<Lease, ConnectError> {
        loop {
            let mut lease = self.pool.lease(deadline, is_long).await?;
            let forgotten = lease.forget_statements(self.renewal.generation());
            match timeout_at(deadline, forgotten).await {
                Ok(Ok(())) => return Ok(lease),
                // Not there any more, or silent: the next one may do better while there is time.
                _ => lease.give_up(),
            }
        }
    }

    /// After the server refused a statement as outdated: asks it about all of them again, unless another call has
    /// done so since this connection prepared its own. Whether repeating the call may help.
    pub(crate) async fn renew(
        &self,
        lease: &mut Lease,
        refusal: &QueryError,
        deadline: Instant,
    ) -> Result<bool, QueryError> {
        match timeout_at(deadline, self.renew_once(lease, refusal)).await {
            Ok(renewed) => renewed.map_err(|error| QueryError::of("", error)),
            Err(_) => Err(QueryError::out_of_time()),
        }
    }

    async fn renew_once(&self, lease: &mut Lease, refusal: &QueryError) -> sqlx::Result<bool> {
        let StatementRefresher { options, generation, in_vain } = &self.renewal;
        let mut in_vain = in_vain.lock().await;
        if lease.statements() < self.renewal.generation() {
            return Ok(true);
        }
        let is_too_soon = in_vain.is_some_and(|since| since.elapsed() < PAUSE);
        if is_too_soon && refusal.may_be_lasting() {
            return Ok(false);
        }
        let next = self.renewal.generation() + 1;
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
        tracing::info!(backend = crate::NAME, is_news, "the queries were prepared again");
        Ok(true)
    }
}
