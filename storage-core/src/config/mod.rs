//! Configuration: from a file or the environment to typed settings, with every problem reported at
//! once and no value ever repeated in a message.
//!
//! A [`Value`] is what a file or a variable holds; a [`Section`] reads settings out of it and keeps
//! the problems; [`Settings`] are those that every backend has. With the feature `figment`,
//! [`StorageConfig::load`] reads YAML and TOML files and environment variables.

mod bytes;
mod duration;
#[cfg(feature = "figment")]
mod environment;
#[cfg(feature = "figment")]
mod load;
mod section;
mod settings;
mod value;
#[cfg(feature = "figment")]
mod yaml;

pub use bytes::{format_bytes, parse_bytes};
pub use duration::{format_duration, parse_duration};
#[cfg(feature = "figment")]
pub use environment::variables;
#[cfg(feature = "figment")]
pub use load::{ConfigFile, LoadError};
pub use section::{ConfigDiagnostics, Problem, ProblemKind, Section, deserialize, is_word, nearest};
pub use settings::Settings;
pub use value::Value;

/// A storage as a configuration describes it: the name of a backend and the settings for it.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// The backend's name: `memory`, `pg`.
    pub name: String,
    /// The backend's settings.
    pub config: Value,
}
