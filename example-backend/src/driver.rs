//! Opening the backend by name.

use std::sync::Arc;

use async_trait::async_trait;
use storage_core::config::Section;
use storage_core::{DataStorage, Driver, OpenError, Opener, SharedObserver, Storage};

use crate::{ExampleConfig, ExampleStorage};

/// The driver of `example`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExampleDriver;

impl Driver for ExampleDriver {
    fn name(&self) -> &'static str {
        ExampleStorage::NAME
    }

    fn configure(&self, section: &mut Section) -> Box<dyn Opener> {
        Box::new(ExampleOpener(ExampleConfig::read(section)))
    }

    fn is_private(&self) -> bool {
        true
    }

    fn example_config(&self) -> Option<String> {
        Some(include_str!("example_config.yaml").into())
    }
}

struct ExampleOpener(ExampleConfig);

#[async_trait]
impl Opener for ExampleOpener {
    async fn open(self: Box<Self>, _observer: SharedObserver) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(Arc::new(ExampleStorage::new(self.0)))
    }

    async fn open_data(
        self: Box<Self>,
        _observer: SharedObserver,
    ) -> Result<Arc<dyn DataStorage>, OpenError> {
        Ok(Arc::new(ExampleStorage::new(self.0)))
    }
}
