//! Storages inside the configuration of another one.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};

use crate::config::{Problem, Section, Settings, StorageConfig, Value};
use crate::{Backends, DataStorage, Error, OpenError, Opener, Operation, SharedObserver, Storage};

/// Settings that a nested storage may have, as it would stand alone, but that only those of the outer one count.
const SETTINGS_OF_THE_OUTER: [&str; 7] = [
    "gc_interval",
    "peer_lifetime",
    "gc_grace",
    "gc_max_share",
    "prometheus_reporting_interval",
    "maintenance",
    "strict",
];

/// Opens a nested storage, or its data part alone.
pub type OpenNested<S> =
    fn(Arc<NestedStorage>, SharedObserver) -> BoxFuture<'static, Result<Arc<S>, OpenError>>;

/// A storage inside the configuration of another one, such as a side of a mirror: `name` and `config` at some key.
pub struct NestedStorage {
    outer: &'static str,
    key: &'static str,
    backends: Backends,
    config: StorageConfig,
}

impl NestedStorage {
    /// Reads the storage at `key` of the section of a storage named `outer`, which must not be nested in itself.
    /// Problems are noted in the section.
    pub fn read(
        section: &mut Section,
        outer: &'static str,
        key: &'static str,
        backends: &Backends,
    ) -> Option<Self> {
        section.within(key, |nested| {
            let name = nested.required_text("name");
            let value = nested.peek("config").cloned().unwrap_or(Value::Null);
            let driver = backends.driver(&name).ok().filter(|driver| driver.name() != outer);
            let Some(driver) = driver else {
                nested.take("config");
                if !name.trim().is_empty() {
                    nested.problem("name", not_nestable(&name, outer, backends));
                }
                return None;
            };
            let mut ignored = Vec::new();
            nested.within("config", |config| {
                ignored.extend(SETTINGS_OF_THE_OUTER.into_iter().filter(|setting| config.has(setting)));
                driver.configure(config);
                Settings::read(config);
            });
            if !ignored.is_empty() {
                let settings = ignored.join("`, `");
                nested
                    .warn("config", format!("`{settings}` have no effect here: those of the {outer} apply"));
            }
            let config = StorageConfig { name, config: value };
            Some(Self { outer, key, backends: backends.clone(), config })
        })
    }

    /// Whether both are the same storage.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let is_private = self.backends.driver(&self.config.name).is_ok_and(|driver| driver.is_private());
        !is_private
            && self.config.name.eq_ignore_ascii_case(&other.config.name)
            && self.config.config == other.config.config
    }

    /// Opens the storage, with the layers that all have and its own limits around it.
    pub fn open(
        self: Arc<Self>,
        observer: SharedObserver,
    ) -> BoxFuture<'static, Result<Arc<dyn Storage>, OpenError>> {
        async move {
            let (opener, settings) = self.configure()?;
            let opened = opener.open(observer).await.map_err(|error| self.name_in(error))?;
            Ok(self.backends.layered(opened, settings, Vec::new()).storage)
        }
        .boxed()
    }

    /// Opens its data part alone.
    pub fn open_data(
        self: Arc<Self>,
        observer: SharedObserver,
    ) -> BoxFuture<'static, Result<Arc<dyn DataStorage>, OpenError>> {
        async move {
            let (opener, settings) = self.configure()?;
            let opened = opener.open_data(observer).await.map_err(|error| self.name_in(error))?;
            Ok(self.backends.layered_data(opened, settings, Vec::new()).storage)
        }
        .boxed()
    }

    /// Warnings are not reported again: the first reading reported them.
    fn configure(&self) -> Result<(Box<dyn Opener>, Settings), OpenError> {
        let driver = self.backends.driver(&self.config.name).map_err(OpenError::UnknownBackend)?;
        let mut section = Section::new(self.config.config.clone());
        let opener = driver.configure(&mut section);
        Ok((opener, Settings::read(&mut section)))
    }

    /// Adds to an error where the storage is nested.
    fn name_in(&self, error: OpenError) -> OpenError {
        match error {
            OpenError::Configuration(problems) => {
                let named = problems.into_iter().map(|Problem { key, message, kind }| {
                    let within = format!("{}.config", self.key);
                    let key = if key.is_empty() { within } else { format!("{within}.{key}") };
                    Problem { key, message, kind }
                });
                OpenError::Configuration(named.collect())
            }
            OpenError::Storage(error) => {
                let named = Error::new(self.outer, Operation::Open, error.kind());
                OpenError::Storage(named.with_message(format!("in `{}`", self.key)).with_source(error))
            }
            unknown => unknown,
        }
    }
}

fn not_nestable(name: &str, outer: &str, backends: &Backends) -> String {
    if name.eq_ignore_ascii_case(outer) {
        return format!("a {outer} cannot be nested in a {outer}");
    }
    format!("there is no backend of this name; known backends: {}", backends.names().join(", "))
}
