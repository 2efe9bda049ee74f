//! The backend `redis`, as configurations choose it.

use std::sync::Arc;

use async_trait::async_trait;
use storage_core::config::Section;
use storage_core::{DataStorage, Driver, OpenError, Opener, SharedObserver, Storage};

use crate::NAME;
use crate::config::RedisConfig;
use crate::storage::RedisStorage;

/// The backend `redis`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RedisDriver;

impl Driver for RedisDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn configure(&self, section: &mut Section) -> Box<dyn Opener> {
        Box::new(RedisOpener(RedisConfig::read(section)))
    }

    fn example_config(&self) -> Option<String> {
        Some(crate::EXAMPLE_CONFIG.to_owned())
    }
}

struct RedisOpener(RedisConfig);

#[async_trait]
impl Opener for RedisOpener {
    async fn open(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(Arc::new(RedisStorage::open_observed(self.0, observer).await?))
    }

    async fn open_data(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn DataStorage>, OpenError> {
        Ok(Arc::new(RedisStorage::open_observed(self.0, observer).await?))
    }
}
