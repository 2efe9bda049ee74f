//! The layers that every storage opened by its name has.

use std::time::Duration;

use super::{Layer, Limit, Limits, Observe, Trace};
use crate::{
    Collected, CountCheck, MaintenanceScheduler, Operation, Result, SharedObserver, Statistics, Utilization,
};

/// What [`Backends::open`](crate::Backends::open) puts around every storage, from the inside out: [`Trace`],
/// [`Limit`], [`Observe`] where somebody observes, and [`MaintenanceScheduler`], which runs once it is started.
pub struct DefaultLayers {
    maintenance: MaintenanceScheduler,
    observe: Option<Observe>,
    limit: Limit,
}

impl DefaultLayers {
    /// Layers with these limits.
    pub fn new(limits: Limits, observer: Option<SharedObserver>) -> Self {
        let observe = observer.map(Observe);
        Self { maintenance: MaintenanceScheduler::new(), observe, limit: Limit::new(limits) }
    }

    /// What runs maintenance.
    pub(crate) fn maintenance(&self) -> &MaintenanceScheduler {
        &self.maintenance
    }
}

impl Layer for DefaultLayers {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let watch = self.maintenance.watch(operation);
        let call = self.limit.around(backend, operation, Trace.around(backend, operation, call));
        let result = match &self.observe {
            Some(observe) => observe.around(backend, operation, call).await,
            None => call.await,
        };
        watch.ended(&result);
        result
    }

    async fn close<'a>(
        &'a self,
        backend: &'static str,
        close: impl Future<Output = Result<()>> + Send + 'a,
    ) -> Result<()> {
        self.maintenance.stop().await;
        let close = self.limit.close(backend, Trace.close(backend, close));
        match &self.observe {
            Some(observe) => observe.close(backend, close).await,
            None => close.await,
        }
    }

    fn utilization(&self, inside: Utilization) -> Utilization {
        self.limit.utilization(inside)
    }

    fn completed(&self, backend: &'static str, is_download: bool) {
        self.observe.iter().for_each(|observe| observe.completed(backend, is_download));
    }

    fn counted(&self, backend: &'static str, statistics: &Statistics) {
        self.observe.iter().for_each(|observe| observe.counted(backend, statistics));
    }

    fn counts_checked(&self, backend: &'static str, check: &CountCheck) {
        self.observe.iter().for_each(|observe| observe.counts_checked(backend, check));
    }

    fn collected(&self, backend: &'static str, collected: &Collected, took: Duration) {
        self.observe.iter().for_each(|observe| observe.collected(backend, collected, took));
    }
}
