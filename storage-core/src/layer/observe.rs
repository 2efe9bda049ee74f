//! Tells an observer of every call.

use std::time::{Duration, Instant};

use super::Layer;
use crate::{Collected, CountCheck, EndedCall, Operation, Result, SharedObserver, Statistics};

/// Tells an [`Observer`](crate::Observer) of every call and of what it gave.
pub struct Observe(pub SharedObserver);

impl Layer for Observe {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let begun = Instant::now();
        let result = call.await;
        let (error, took) = (result.as_ref().err(), begun.elapsed());
        self.0.call_ended(&EndedCall { backend, operation, error, took });
        result
    }

    fn completed(&self, backend: &'static str, is_download: bool) {
        self.0.completed(backend, is_download);
    }

    fn counted(&self, backend: &'static str, statistics: &Statistics) {
        self.0.counted(backend, statistics);
    }

    fn counts_checked(&self, backend: &'static str, check: &CountCheck) {
        self.0.counts_checked(backend, check);
    }

    fn collected(&self, backend: &'static str, collected: &Collected, took: Duration) {
        self.0.collected(backend, collected, took);
    }
}
