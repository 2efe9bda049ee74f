//! Opening the backend by name.

use std::sync::Arc;

use async_trait::async_trait;
use storage_core::config::{ConfigDiagnostics, Section};
use storage_core::{DataStorage, Driver, OpenError, Opener, SharedObserver, Storage};

use crate::recommended::Recommendation;
use crate::{PgConfig, PgStorage};

/// The driver of `pg`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PgDriver;

impl Driver for PgDriver {
    fn name(&self) -> &'static str {
        crate::NAME
    }

    fn configure(&self, section: &mut Section) -> Box<dyn Opener> {
        Box::new(PgOpener(PgConfig::read(section)))
    }

    fn example_config(&self) -> Option<String> {
        Some(Recommendation::default().example_config())
    }

    fn example_config_for(&self, choices: &mut Section) -> Option<String> {
        Some(Recommendation::read(choices).example_config())
    }
}

struct PgOpener(PgConfig);

#[async_trait]
impl Opener for PgOpener {
    fn findings(&self, data_alone: bool) -> ConfigDiagnostics {
        PgStorage::findings(&self.0, data_alone)
    }

    async fn open(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(Arc::new(PgStorage::open_observed(self.0, observer).await?))
    }

    async fn open_data(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn DataStorage>, OpenError> {
        Ok(Arc::new(PgStorage::open_data_observed(self.0, observer).await?))
    }
}
