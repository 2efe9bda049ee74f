//! Two layers as one.

use std::time::Duration;

use super::Layer;
use crate::{Collected, CountCheck, Operation, Result, Statistics, Utilization};

/// Two layers as one: the first is the outer one.
pub struct Stack<Outer, Inner>(pub Outer, pub Inner);

impl<Outer: Layer, Inner: Layer> Layer for Stack<Outer, Inner> {
    fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a {
        self.0.around(backend, operation, self.1.around(backend, operation, call))
    }

    fn close<'a>(
        &'a self,
        backend: &'static str,
        close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> impl Future<Output = Result<()>> + Send + 'a {
        self.0.close(backend, self.1.close(backend, close))
    }

    fn utilization(&self, inside: Utilization) -> Utilization {
        self.0.utilization(self.1.utilization(inside))
    }

    fn completed(&self, backend: &'static str, is_download: bool) {
        self.0.completed(backend, is_download);
        self.1.completed(backend, is_download);
    }

    fn counted(&self, backend: &'static str, statistics: &Statistics) {
        self.0.counted(backend, statistics);
        self.1.counted(backend, statistics);
    }

    fn counts_checked(&self, backend: &'static str, check: &CountCheck) {
        self.0.counts_checked(backend, check);
        self.1.counts_checked(backend, check);
    }

    fn collected(&self, backend: &'static str, collected: &Collected, took: Duration) {
        self.0.collected(backend, collected, took);
        self.1.collected(backend, collected, took);
    }
}
