//! Spans and failures for `tracing`.

use tracing::Instrument;

use super::Layer;
use crate::{Operation, Result};

/// Puts each call into a span `storage` with `backend` and `operation`, at level debug, and tells of
/// its failure there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trace;

impl Layer for Trace {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let span = tracing::debug_span!("storage", backend, operation = operation.name());
        let result = call.instrument(span.clone()).await;
        if let Err(error) = &result
            && !error.is_not_found()
        {
            tracing::debug!(parent: &span, ?error, "failed");
        }
        result
    }
}
