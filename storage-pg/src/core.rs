//! What the calls and the batches of a storage share: connections, statements, the observer.

use std::time::Duration;

use storage_core::{Error, ErrorKind, Event, Operation, Result, SharedObserver};

use crate::connection::{ConnectionSettings, Pool};
use crate::contention_limiter::ContentionLimiter;
use crate::query_spec::{Query, TypedQuery};
use crate::row_counts::RowCounts;
use crate::statement::{QueryStatement, Statement};
use crate::statement_refresh::StatementRefresher;

pub(crate) struct Core {
    pub(crate) pool: Pool,
    pub(crate) settings: ConnectionSettings,
    pub(crate) retry_timeout: Duration,
    pub(crate) contention: ContentionLimiter,
    pub(crate) statements: Vec<Statement>,
    pub(crate) renewal: StatementRefresher,
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
        tracing::warn!(backend = crate::NAME, key, count, "skipped rows that cannot be understood");
        self.observe(Event::Skipped { what: key, count });
    }
}

pub(crate) fn not_configured(query: Query) -> String {
    format!("no `{}` is configured", query.key())
}
