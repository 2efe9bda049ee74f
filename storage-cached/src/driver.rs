//! Opening the cache by name.

use std::sync::Arc;

use async_trait::async_trait;
use storage_core::config::Section;
use storage_core::{
    Backends, DataStorage, Driver, NestedStorage, OpenError, Opener, SharedObserver, Storage,
};

use crate::{CachedConfig, CachedStorage, EXAMPLE_CONFIG, NAME};

/// The driver of `cached`.
///
/// The storage inside is opened as the backends handed in open theirs, with limits, traces, and metrics if those have
/// some.
pub struct CachedDriver {
    backends: Backends,
}

impl CachedDriver {
    /// A driver whose storage inside is of these backends.
    pub fn new(backends: Backends) -> Self {
        Self { backends }
    }
}

impl Driver for CachedDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn configure(&self, section: &mut Section) -> Box<dyn Opener> {
        let config = CachedConfig::read(section);
        let inside = NestedStorage::read(section, NAME, "storage", &self.backends).map(Arc::new);
        Box::new(CachedOpener { config, inside })
    }

    fn example_config(&self) -> Option<String> {
        Some(EXAMPLE_CONFIG.to_owned())
    }
}

struct CachedOpener {
    config: CachedConfig,
    /// `None` if there are problems, with which nothing is opened.
    inside: Option<Arc<NestedStorage>>,
}

#[async_trait]
impl Opener for CachedOpener {
    async fn open(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn Storage>, OpenError> {
        let inside = self.inside.ok_or_else(|| OpenError::Configuration(Vec::new()))?;
        let inside = inside.open(observer.clone()).await?;
        Ok(Arc::new(CachedStorage::with_observer(inside, &self.config, observer)))
    }

    async fn open_data(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn DataStorage>, OpenError> {
        let inside = self.inside.ok_or_else(|| OpenError::Configuration(Vec::new()))?;
        let inside = inside.open_data(observer.clone()).await?;
        Ok(Arc::new(CachedStorage::of_data(inside, &self.config, observer)))
    }
}
