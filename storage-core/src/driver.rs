//! Opening a storage by the name of its backend.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::{
    ConfigDiagnostics, Problem, ProblemKind, Section, Settings, StorageConfig, is_word, nearest,
};
use crate::layer::{DefaultLayers, Layered, Limits};
use crate::observer::Observers;
use crate::{Backend, DataStorage, Error, MaintenanceScheduler, Schedule, SharedObserver, Storage};

/// A backend that can be chosen by name. It is registered once, and opens any number of storages.
pub trait Driver: Send + Sync {
    /// The name that configurations use: `memory`, `pg`.
    fn name(&self) -> &'static str;

    /// Reads the backend's own settings out of a section; problems are noted there. Nothing is
    /// connected yet. The [settings that every backend has](Settings) are read afterwards; a backend that goes by some
    /// of them [peeks](Settings::peek).
    fn configure(&self, section: &mut Section) -> Box<dyn Opener>;

    /// Whether each opening gives an empty storage that nobody else sees.
    fn is_private(&self) -> bool {
        false
    }

    /// A commented configuration file to begin with, if the backend offers one.
    fn example_config(&self) -> Option<String> {
        None
    }

    /// The same for choices of the backend's own, such as the `dialect` of `pg`; problems are noted in the section,
    /// where choices that the backend does not have are left over.
    fn example_config_for(&self, _choices: &mut Section) -> Option<String> {
        self.example_config()
    }
}

/// A configured backend, ready to be opened. A failed opening changes nothing.
#[async_trait]
pub trait Opener: Send {
    /// Opens the storage.
    async fn open(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn Storage>, OpenError>;

    /// What can be told of the settings without connecting, beyond what reading the section told.
    fn findings(&self, _data_alone: bool) -> ConfigDiagnostics {
        ConfigDiagnostics::default()
    }

    /// Opens its data part alone; a configuration that has no peers in it will do.
    async fn open_data(self: Box<Self>, observer: SharedObserver) -> Result<Arc<dyn DataStorage>, OpenError>;
}

/// Why a storage was not opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// No backend has that name.
    UnknownBackend(UnknownBackend),
    /// The configuration is wrong, in each of these places.
    Configuration(Vec<Problem>),
    /// The server cannot be reached, or refuses.
    Storage(Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownBackend(unknown) => unknown.fmt(f),
            Self::Configuration(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => error.source(),
            _ => None,
        }
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

/// A name that no registered backend has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBackend {
    name: String,
    known: Vec<&'static str>,
}

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, known } = self;
        if !is_word(name) {
            return write!(f, "`name`: expected the name of a backend; known backends: {}", known.join(", "));
        }
        write!(f, "`name`: there is no backend `{name}`; ")?;
        match self.meant() {
            Some(meant) => write!(f, "did you mean `{meant}`? Known backends: {}", known.join(", "))?,
            None => write!(f, "known backends: {}", known.join(", "))?,
        }
        match name.to_ascii_lowercase().as_str() {
            "keydb" => f.write_str(
                "\n`keydb` is MoChi's storage on KeyDB, which keeps peers as sets with expiring members; \
                 that layout is not supported: use `redis` or `pg` and let the peers announce again",
            ),
            "lmdb" => f.write_str(
                "\n`lmdb` is MoChi's storage in a local LMDB file, which one process can have open; \
                 that layout is not supported: use `memory` or `pg` and let the peers announce again",
            ),
            _ => Ok(()),
        }
    }
}

/// Servers by the names that people know them by, and the backends for them.
const SERVERS: &[(&str, &str)] = &[
    ("cockroach", "pg"),
    ("cockroachdb", "pg"),
    ("inmemory", "memory"),
    ("in-memory", "memory"),
    ("pgsql", "pg"),
    ("postgres", "pg"),
    ("postgresql", "pg"),
    ("timescaledb", "pg"),
    ("valkey", "redis"),
    ("yugabytedb", "pg"),
];

impl UnknownBackend {
    /// The backend that is likely meant.
    fn meant(&self) -> Option<&str> {
        let of_server = SERVERS.iter().find(|(server, _)| server.eq_ignore_ascii_case(&self.name));
        let of_server = of_server.and_then(|(_, meant)| self.known.iter().find(|known| *known == meant));
        of_server.copied().or_else(|| nearest(&self.name, self.known.iter().copied()))
    }
}

/// An open storage: the handle to use, to maintain and to close it.
///
/// It can be used like the storage itself. Dropping it without closing the storage ends maintenance once no other
/// handle of the storage is left.
pub struct Opened<S: ?Sized = dyn Storage> {
    /// The storage, with [`DefaultLayers`] around it.
    pub storage: Arc<S>,
    /// The schedule that the configuration asks for.
    pub schedule: Schedule,
    /// What was taken though not as written, unknown keys among it.
    pub warnings: Vec<Problem>,
    maintenance: MaintenanceScheduler,
    observer: SharedObserver,
}

impl Opened {
    /// Puts the [`DefaultLayers`] around a storage that was opened in code.
    pub fn new(storage: Arc<dyn Storage>, limits: Limits, schedule: Schedule) -> Self {
        Backends::new().layered(storage, Settings { limits, schedule, strict: false }, Vec::new())
    }

    /// Starts maintenance on the [schedule](Self::schedule): garbage collection, statistics, checks of counts. It
    /// ends when the storage is closed. Started again, it goes on as it is.
    pub fn start_maintenance(&self) {
        self.maintenance.run(&self.storage, self.schedule, Arc::clone(&self.observer));
    }
}

impl<S: Backend + ?Sized> Opened<S> {
    /// Ends maintenance, waits for the calls under way, and closes the storage, all in bounded time.
    ///
    /// # Errors
    /// As [`Backend::close`].
    pub async fn close(&self) -> crate::Result<()> {
        self.storage.close().await
    }
}

impl<S: ?Sized> Opened<S> {
    /// The same handle of another view of the storage.
    pub fn map<T: ?Sized>(self, view: impl FnOnce(Arc<S>) -> Arc<T>) -> Opened<T> {
        let Self { storage, schedule, warnings, maintenance, observer } = self;
        Opened { storage: view(storage), schedule, warnings, maintenance, observer }
    }
}

impl<S: ?Sized> Deref for Opened<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.storage
    }
}

/// What a configuration says before anything is connected.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Review {
    /// The schedule that it asks for.
    pub schedule: Schedule,
    /// What is wrong with it. Keys that nothing reads are among it.
    pub problems: Vec<Problem>,
    /// What is taken though not as written.
    pub warnings: Vec<Problem>,
}

/// The backends that a program knows.
///
/// ```
/// # use storage_core::{Backends, config::{StorageConfig, Value}};
/// # async fn open(backends: Backends) -> Result<(), Box<dyn std::error::Error>> {
/// let config = StorageConfig { name: "memory".into(), config: Value::Null };
/// let opened = backends.open(config).await?;
/// opened.storage.ping().await?;
/// # Ok(()) }
/// ```
#[derive(Default, Clone)]
pub struct Backends {
    drivers: Vec<Arc<dyn Driver>>,
    strict: bool,
    observers: Vec<SharedObserver>,
    #[cfg(feature = "prometheus")]
    metrics: Option<Arc<crate::layer::Metrics>>,
}

impl Backends {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a backend; one that is there by the same name gives way.
    #[must_use]
    pub fn with(mut self, driver: impl Driver + 'static) -> Self {
        self.drivers.retain(|known| known.name() != driver.name());
        self.drivers.push(Arc::new(driver));
        self
    }

    /// Makes unknown keys errors, whatever the configuration says.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Counts and times every call of the storages opened hereafter.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<crate::layer::Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Tells this observer of every call of the storages opened hereafter, and of what happens inside them.
    #[must_use]
    pub fn with_observer(mut self, observer: SharedObserver) -> Self {
        self.observers.push(observer);
        self
    }

    /// The names of the backends.
    pub fn names(&self) -> Vec<&'static str> {
        self.drivers.iter().map(|driver| driver.name()).collect()
    }

    /// The backend of that name, in whatever case.
    ///
    /// # Errors
    /// [`UnknownBackend`] names those that there are.
    pub fn driver(&self, name: &str) -> Result<&dyn Driver, UnknownBackend> {
        let found = self.drivers.iter().find(|driver| driver.name().eq_ignore_ascii_case(name));
        found
            .map(|driver| &**driver)
            .ok_or_else(|| UnknownBackend { name: name.to_owned(), known: self.names() })
    }

    /// Reads a configuration and connects to nothing; unknown keys are problems.
    ///
    /// # Errors
    /// [`UnknownBackend`] if there is no backend of that name.
    pub fn review(&self, config: StorageConfig, data_alone: bool) -> Result<Review, UnknownBackend> {
        let driver = self.driver(&config.name)?;
        let mut section = Section::new(config.config);
        let opener = driver.configure(&mut section);
        let settings = Settings::read(&mut section);
        let ConfigDiagnostics { mut problems, probable_typos, unknown, mut warnings } = section.finish();
        let further = opener.findings(data_alone);
        // Of a setting that could not be read its default is no second problem.
        let is_told =
            |problem: &Problem| problems.iter().any(|told| !told.key.is_empty() && told.key == problem.key);
        let further_problems: Vec<_> =
            further.problems.into_iter().filter(|problem| !is_told(problem)).collect();
        problems.extend(further_problems.into_iter().chain(probable_typos).chain(unknown));
        warnings.extend(further.warnings);
        Ok(Review { schedule: settings.schedule, problems, warnings })
    }

    /// Opens a storage.
    ///
    /// # Errors
    /// [`OpenError`], with every problem of the configuration; nothing was changed anywhere.
    pub async fn open(&self, config: StorageConfig) -> Result<Opened, OpenError> {
        let ConfiguredDriver { opener, settings, unknown, warnings } = self.configure(config)?;
        let storage = all_or_problems(unknown, opener.open(self.observer())).await?;
        Ok(self.layered(storage, settings, warnings))
    }

    /// Opens the data part of a storage alone.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_data(&self, config: StorageConfig) -> Result<Opened<dyn DataStorage>, OpenError> {
        let ConfiguredDriver { opener, settings, unknown, warnings } = self.configure(config)?;
        let storage = all_or_problems(unknown, opener.open_data(self.observer())).await?;
        Ok(self.layered_data(storage, settings, warnings))
    }

    /// The storage with the layers that all storages opened by these have.
    pub(crate) fn layered(
        &self,
        storage: Arc<dyn Storage>,
        settings: Settings,
        warnings: Vec<Problem>,
    ) -> Opened {
        self.layered_as(storage, settings, warnings).map(|storage| storage as Arc<dyn Storage>)
    }

    /// The same for the data part alone.
    pub(crate) fn layered_data(
        &self,
        storage: Arc<dyn DataStorage>,
        settings: Settings,
        warnings: Vec<Problem>,
    ) -> Opened<dyn DataStorage> {
        self.layered_as(storage, settings, warnings).map(|storage| storage as Arc<dyn DataStorage>)
    }

    fn layered_as<S: Backend + ?Sized>(
        &self,
        storage: Arc<S>,
        settings: Settings,
        warnings: Vec<Problem>,
    ) -> Opened<Layered<S, DefaultLayers>> {
        #[cfg(feature = "prometheus")]
        if let Some(metrics) = &self.metrics {
            metrics.describe(&*storage);
        }
        let Settings { schedule, limits, .. } = settings;
        let observer = self.observer();
        let is_observed = !self.observers().is_empty();
        let layers = DefaultLayers::new(limits, is_observed.then(|| Arc::clone(&observer)));
        let maintenance = layers.maintenance().clone();
        let storage = Arc::new(Layered::new(storage, layers));
        Opened { storage, schedule, warnings, maintenance, observer }
    }

    fn configure(&self, config: StorageConfig) -> Result<ConfiguredDriver, OpenError> {
        let driver = self.driver(&config.name).map_err(OpenError::UnknownBackend)?;
        let mut section = Section::new(config.config);
        let opener = driver.configure(&mut section);
        let settings = Settings::read(&mut section);
        let ConfigDiagnostics { mut problems, mut probable_typos, mut unknown, mut warnings } =
            section.finish();
        if !self.strict && !settings.strict {
            problems.append(&mut probable_typos);
            warnings.append(&mut unknown);
        }
        unknown.append(&mut probable_typos);
        if !problems.is_empty() {
            problems.append(&mut unknown);
            return Err(OpenError::Configuration(problems));
        }
        for warning in &warnings {
            tracing::warn!(backend = driver.name(), "{warning}");
        }
        Ok(ConfiguredDriver { opener, settings, unknown, warnings })
    }

    /// Who observes a storage.
    fn observers(&self) -> Vec<SharedObserver> {
        let observers = self.observers.iter().cloned();
        #[cfg(feature = "prometheus")]
        let observers = observers.chain(self.metrics.iter().map(|metrics| metrics.meter()));
        observers.collect()
    }

    fn observer(&self) -> SharedObserver {
        Arc::new(Observers(self.observers()))
    }
}

/// A configuration that has been read.
struct ConfiguredDriver {
    opener: Box<dyn Opener>,
    settings: Settings,
    /// Unknown keys that are problems.
    unknown: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// How long a server is asked about the rest of a configuration with unknown keys: its address may be what was
/// misspelt.
const SERVER_BESIDE_UNKNOWN: Duration = Duration::from_secs(3);

/// What is opened, unless there are unknown keys: they are told together with what only the server
/// can tell.
async fn all_or_problems<S: Backend + ?Sized>(
    mut unknown: Vec<Problem>,
    opening: impl Future<Output = Result<Arc<S>, OpenError>>,
) -> Result<Arc<S>, OpenError> {
    if unknown.is_empty() {
        return opening.await;
    }
    let Ok(opened) = tokio::time::timeout(SERVER_BESIDE_UNKNOWN, opening).await else {
        return Err(OpenError::Configuration(unknown));
    };
    match opened {
        Ok(storage) => {
            if let Err(error) = storage.close().await {
                tracing::warn!(backend = storage.name(), %error, "cannot close the storage");
            }
        }
        Err(OpenError::Configuration(problems)) => unknown.extend(problems),
        // A server that is not the one meant need not be there.
        Err(OpenError::Storage(error)) if error.is_retryable() => {}
        Err(other) => unknown.push(Problem::new("", other.to_string()).of_kind(ProblemKind::Server)),
    }
    Err(OpenError::Configuration(unknown))
}

/// Puts the [`DefaultLayers`] around a storage that was opened in code, without an observer and without maintenance;
/// for that use [`Opened::new`].
pub fn with_default_layers<S: ?Sized>(storage: Arc<S>, limits: Limits) -> Arc<Layered<S, DefaultLayers>> {
    Arc::new(Layered::new(storage, DefaultLayers::new(limits, None)))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{Diagnostics, Error, ErrorKind, MissingCapabilities, Operation, Result};

    /// Cannot be closed.
    struct Stuck;

    #[async_trait]
    impl Backend for Stuck {
        fn name(&self) -> &'static str {
            "stuck"
        }

        fn durable(&self) -> bool {
            false
        }

        fn missing_capabilities(&self) -> MissingCapabilities {
            MissingCapabilities::none()
        }

        async fn ping(&self) -> Result<()> {
            Ok(())
        }

        async fn diagnostics(&self) -> Result<Diagnostics> {
            Ok(Diagnostics::default())
        }

        async fn close(&self) -> Result<()> {
            Err(Error::new("stuck", Operation::Close, ErrorKind::Timeout))
        }
    }

    #[test]
    fn a_backend_is_found_by_the_name_of_its_server_and_no_value_is_repeated() {
        let told = |name: &str| {
            UnknownBackend { name: name.into(), known: vec!["memory", "redis", "pg"] }.to_string()
        };
        for (name, meant) in [
            ("postgres", Some("pg")),
            ("PostgreSQL", Some("pg")),
            ("cockroachdb", Some("pg")),
            ("valkey", Some("redis")),
            ("rediss", Some("redis")),
            ("memroy", Some("memory")),
            ("sqlite", None),
        ] {
            let hint = meant.map(|meant| format!("did you mean `{meant}`?"));
            let told = told(name);
            assert!(hint.is_none_or(|hint| told.contains(&hint)), "{told}");
            assert_eq!(told.contains("did you mean"), meant.is_some(), "{told}");
        }
        for name in ["postgres://me:hunter2@db1/tracker", "Host=db1;Password=hunter2"] {
            assert!(!told(name).contains("hunter2"), "{}", told(name));
        }
    }

    #[tokio::test]
    async fn a_failure_to_close_hides_no_problem() {
        let unknown = vec![Problem::new("gc_querry", "unknown key")];
        match all_or_problems(unknown.clone(), async { Ok(Arc::new(Stuck)) }).await {
            Err(OpenError::Configuration(problems)) => assert_eq!(problems, unknown),
            other => panic!("{:?}", other.map(drop)),
        }
    }
}
