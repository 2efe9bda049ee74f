//! One of the two storages, as the configuration describes it.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};

use super::NAME;
use crate::config::{Problem, Section, Settings, StorageConfig, Value};
use crate::layer::Limits;
use crate::{DataStorage, Error, OpenError, Opener, Operation, Registry, SharedObserver, Storage};

/// Settings that a side may have, as it would stand alone, but that only the mirror's count.
const OF_THE_MIRROR: [&str; 7] = [
    "gc_interval",
    "peer_lifetime",
    "gc_grace",
    "gc_max_share",
    "prometheus_reporting_interval",
    "maintenance",
    "strict",
];

/// Opens a side, or its data part alone.
pub(super) type OpenSide<S> =
    fn(Arc<MirrorSide>, SharedObserver) -> BoxFuture<'static, Result<Arc<S>, OpenError>>;

/// A side that has been read without a problem.
pub(super) struct MirrorSide {
    key: &'static str,
    registry: Registry,
    config: StorageConfig,
}

impl MirrorSide {
    /// Reads the side at this key; problems are noted in the section.
    pub(super) fn read(section: &mut Section, key: &'static str, registry: &Registry) -> Option<Self> {
        section.within(key, |side| {
            let name = side.required_text("name");
            let value = side.peek("config").cloned().unwrap_or(Value::Null);
            let driver = registry.driver(&name).ok().filter(|driver| driver.name() != NAME);
            let Some(driver) = driver else {
                side.take("config");
                if !name.trim().is_empty() {
                    side.problem("name", not_mirrored(&name, registry));
                }
                return None;
            };
            side.within("config", |config| {
                for setting in OF_THE_MIRROR {
                    if config.has(setting) {
                        config.warn(setting, "has no effect in a side of a mirror: the mirror's own counts");
                    }
                }
                Settings::read(config);
                driver.configure(config);
            });
            Some(Self { key, registry: registry.clone(), config: StorageConfig { name, config: value } })
        })
    }

    /// Whether both are one storage, which must not be mirrored to itself.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let is_private = self.registry.driver(&self.config.name).is_ok_and(|driver| driver.is_private());
        !is_private
            && self.config.name.eq_ignore_ascii_case(&other.config.name)
            && self.config.config == other.config.config
    }

    /// Opens the storage, with its own limits around it.
    pub(super) fn open(
        self: Arc<Self>,
        observer: SharedObserver,
    ) -> BoxFuture<'static, Result<Arc<dyn Storage>, OpenError>> {
        async move {
            let (opener, limits) = self.configure()?;
            let opened = opener.open(observer).await.map_err(|error| self.name_in(error))?;
            Ok(self.registry.layered(opened, limits))
        }
        .boxed()
    }

    /// Opens its data part alone.
    pub(super) fn open_data(
        self: Arc<Self>,
        observer: SharedObserver,
    ) -> BoxFuture<'static, Result<Arc<dyn DataStorage>, OpenError>> {
        async move {
            let (opener, limits) = self.configure()?;
            let opened = opener.open_data(observer).await.map_err(|error| self.name_in(error))?;
            Ok(self.registry.layered_data(opened, limits))
        }
        .boxed()
    }

    /// What was found when it was read is not told again.
    fn configure(&self) -> Result<(Box<dyn Opener>, Limits), OpenError> {
        let driver = self.registry.driver(&self.config.name).map_err(OpenError::UnknownBackend)?;
        let mut section = Section::new(self.config.config.clone());
        let limits = Settings::read(&mut section).limits;
        Ok((driver.configure(&mut section), limits))
    }

    /// Says in which side it went wrong.
    fn name_in(&self, error: OpenError) -> OpenError {
        match error {
            OpenError::Configuration(problems) => {
                let named = problems.into_iter().map(|Problem { key, message }| {
                    let within = format!("{}.config", self.key);
                    let key = if key.is_empty() { within } else { format!("{within}.{key}") };
                    Problem { key, message }
                });
                OpenError::Configuration(named.collect())
            }
            OpenError::Storage(error) => {
                let named = Error::new(NAME, Operation::Open, error.kind());
                OpenError::Storage(named.with_message(format!("in `{}`", self.key)).with_source(error))
            }
            unknown => unknown,
        }
    }
}

fn not_mirrored(name: &str, registry: &Registry) -> String {
    if name.eq_ignore_ascii_case(NAME) {
        return "a mirror holds two storages that are no mirrors themselves".into();
    }
    format!("there is no backend of that name; known are {}", registry.names().join(", "))
}
