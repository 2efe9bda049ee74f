//! Connections: what `connection_string` means, and the pool of connections made by it.
//!
//! sqlx reads URLs only, shows passwords in `Debug` of its options, logs what it does not know with
//! its value, and its pool knows one host. So the text is read here, as libpq and pgx read it, and
//! sqlx makes single connections.
//!
//! - reading: [`parameters`] gathers names and values from the string ([`url`], [`keyword_value`]),
//!   the [`service_file`] and the environment, and refuses what looks like another form ([`names`]); [`settings`] gives them their meaning, with the help
//!   of [`host`], [`password_file`], [`tls`], [`session`] and [`unsupported`];
//! - connecting: [`attempt`] tries one host after the other, [`pool`] keeps what is connected.

mod clock;
mod closing;
mod commit;
mod connector;
mod error;
mod host;
mod keyword_value;
mod lease;
mod names;
mod options;
mod parameters;
mod password_file;
mod pool;
mod role;
mod secret;
mod service_file;
mod session;
mod settings;
#[cfg(target_os = "linux")]
mod socket;
mod tls;
mod unsupported;
mod url;

pub(crate) use clock::{ServerAnswer, ask_server};
pub(crate) use commit::Commit;
pub(crate) use error::ConnectError;
pub(crate) use lease::Lease;
pub(crate) use pool::Pool;
use secret::Secret;
pub(crate) use settings::ConnectionSettings;

/// The name under which the pool's events are observed.
const BACKEND: &str = "pg";
