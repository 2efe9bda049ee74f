//! Opening the mirror by name.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::replication_stats::ReplicationStats;
use super::secondary::{Reopen, Secondary};
use super::{EXAMPLE_CONFIG, MirrorConfig, MirrorStorage, NAME};
use storage_core::config::Section;
use storage_core::{
    Backend, Backends, DataStorage, Driver, Error, ErrorKind, NestedStorage, OpenError, OpenNested, Opener,
    Operation, SharedObserver, Storage,
};

/// How long the start waits for a secondary; later it is opened in the background.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The driver of `mirror`.
///
/// Its sides are opened as the backends handed in open theirs, with limits, traces, and metrics
/// if those have some.
pub struct MirrorDriver {
    backends: Backends,
}

impl MirrorDriver {
    /// A driver whose two storages are of these backends.
    pub fn new(backends: Backends) -> Self {
        Self { backends }
    }
}

impl Driver for MirrorDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn configure(&self, section: &mut Section) -> Box<dyn Opener> {
        let config = MirrorConfig::read(section);
        let primary = NestedStorage::read(section, NAME, "primary", &self.backends);
        let secondary = NestedStorage::read(section, NAME, "secondary", &self.backends);
        let sides = primary.zip(secondary);
        if sides.as_ref().is_some_and(|(primary, secondary)| primary.is_same_as(secondary)) {
            section.problem("secondary", "is the same storage as `primary`; expected another one");
        }
        let sides = sides.map(|(primary, secondary)| (Arc::new(primary), Arc::new(secondary)));
        Box::new(MirrorOpener { config, sides })
    }

    fn example_config(&self) -> Option<String> {
        Some(EXAMPLE_CONFIG.to_owned())
    }
}

struct MirrorOpener {
    config: MirrorConfig,
    /// `None` if there are problems, with which nothing is opened.
    sides: Option<(Arc<NestedStorage>, Arc<NestedStorage>)>,
}

#[async_trait]
impl Opener for MirrorOpener {
    async fn open(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(Arc::new(self.open_sides(observer, NestedStorage::open).await?))
    }

    async fn open_data(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn DataStorage>, OpenError> {
        Ok(Arc::new(self.open_sides(observer, NestedStorage::open_data).await?))
    }
}

impl MirrorOpener {
    async fn open_sides<S: Backend + ?Sized + 'static>(
        self,
        observer: SharedObserver,
        open: OpenNested<S>,
    ) -> Result<MirrorStorage<S>, OpenError> {
        let Self { config, sides } = self;
        let (primary, secondary) = sides.ok_or_else(|| OpenError::Configuration(Vec::new()))?;
        let opening = tokio::time::timeout(OPEN_TIMEOUT, open(Arc::clone(&secondary), observer.clone()));
        let (opened_primary, opened) = tokio::join!(open(primary, observer.clone()), opening);
        let opened = opened.unwrap_or_else(|_| Err(too_late()));

        let stats = ReplicationStats::new(observer.clone());
        let reopen: Reopen<S> = Box::new(move || open(Arc::clone(&secondary), observer.clone()));
        match (opened_primary, opened) {
            (Ok(primary), Ok(secondary)) => {
                Ok(MirrorStorage::of(primary, Secondary::open(secondary, &config, stats), config))
            }
            (Ok(primary), Err(reason)) if is_out_of_reach(&reason) => {
                let secondary = Secondary::out_of_reach(&reason, reopen, &config, stats);
                Ok(MirrorStorage::of(primary, secondary, config))
            }
            (Ok(left_open), Err(error)) | (Err(error), Ok(left_open)) => {
                // Why the other was not opened is what matters.
                drop(left_open.close().await);
                Err(error)
            }
            (Err(OpenError::Configuration(mut problems)), Err(OpenError::Configuration(further))) => {
                problems.extend(further);
                Err(OpenError::Configuration(problems))
            }
            (Err(error), Err(_)) => Err(error),
        }
    }
}

fn too_late() -> OpenError {
    let error = Error::new(NAME, Operation::Open, ErrorKind::Timeout);
    OpenError::Storage(error.with_message(format!("`secondary` could not be opened within {OPEN_TIMEOUT:?}")))
}

/// Whether trying again later may open it, as opposed to a configuration that is wrong.
fn is_out_of_reach(error: &OpenError) -> bool {
    matches!(error, OpenError::Storage(error) if error.is_retryable())
}
