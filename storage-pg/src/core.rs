//! What the calls and the batches of a storage share: connections, statements, the observer.

use std::time::Duration;

use storage_core::{Error, ErrorKind, Event, Operation, Result, SharedObserver};

use crate::connection::{ConnectionSettings, Pool};
use crate::gate::Gate;
use crate::slot::Slot;
use crate::statement::Statement;

pub(crate) struct Core {
    pub(crate) pool: Pool,
    pub(crate) settings: ConnectionSettings,
    pub(crate) retry_timeout: Duration,
    pub(crate) gate: Gate,
    pub(crate) statements: Vec<Statement>,
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

    /// The statement of a place in the configuration, if one is written there.
    pub(crate) fn find(&self, slot: Slot) -> Option<&Statement> {
        self.statements.iter().find(|statement| statement.slot.key == slot.key)
    }

    /// The statement of a place; without one the call is unsupported.
    pub(crate) fn statement(&self, slot: Slot, operation: Operation) -> Result<&Statement> {
        self.find(slot).ok_or_else(|| {
            let capability = slot.capabilities().first();
            let kind =
                capability.map_or(ErrorKind::Rejected, |capability| ErrorKind::Unsupported(*capability));
            Error::new(crate::NAME, operation, kind).with_message(not_configured(slot))
        })
    }

    /// Tells of rows that could not be understood.
    pub(crate) fn skipped(&self, statement: &Statement, count: u64) {
        if count == 0 {
            return;
        }
        let key = statement.slot.key;
        tracing::warn!(backend = crate::NAME, key, count, "skipped rows that cannot be understood");
        self.observe(Event::Skipped { what: key, count });
    }
}

pub(crate) fn not_configured(slot: Slot) -> String {
    format!("no `{}` is configured", slot.key)
}
