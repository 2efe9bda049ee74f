//! Opening the backend by name.

use std::sync::Arc;

use async_trait::async_trait;
use storage_core::config::Section;
use storage_core::{DataStorage, Driver, OpenError, Opener, SharedObserver, Storage};

use crate::{MemoryConfig, MemoryStorage};

/// The driver of `memory`.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryDriver;

impl Driver for MemoryDriver {
    fn name(&self) -> &'static str {
        MemoryStorage::NAME
    }

    fn configure(&self, section: &mut Section) -> Box<dyn Opener> {
        Box::new(MemoryOpener(MemoryConfig::read(section)))
    }

    fn is_private(&self) -> bool {
        true
    }

    fn example_config(&self) -> Option<String> {
        Some(crate::EXAMPLE_CONFIG.to_owned())
    }
}

struct MemoryOpener(MemoryConfig);

#[async_trait]
impl Opener for MemoryOpener {
    async fn open(self: Box<Self>, _observer: SharedObserver) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(Arc::new(MemoryStorage::new(self.0)))
    }

    async fn open_data(
        self: Box<Self>,
        _observer: SharedObserver,
    ) -> Result<Arc<dyn DataStorage>, OpenError> {
        Ok(Arc::new(MemoryStorage::new(self.0)))
    }
}
