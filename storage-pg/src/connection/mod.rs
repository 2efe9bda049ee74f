//! Connections: what `connection_string` means, and the pool of connections made by it.
//!
//! sqlx reads URLs only, shows passwords in `Debug` of its options, logs what it does not know with
//! its value, and its pool knows one host. So the text is read here, as libpq and pgx read it, and
//! sqlx makes single connections.
//!
//! | file | what is there |
//! | --- | --- |
//! | [`connection_string`] | its two forms, a URL and keywords with values |
//! | [`parameters`] | names and values from the string, the service file and the environment |
//! | [`settings`] | what they mean |
//! | [`host`] | servers, passwords and the password file |
//! | [`tls`], [`session`], `socket` | encryption, settings of sessions, keepalives |
//! | [`connector`] | one connection to the first host that will do |
//! | [`pool`] | connections that are kept, and lent to calls |

mod connection_string;
mod connector;
mod host;
mod parameters;
mod pool;
mod session;
mod settings;
#[cfg(target_os = "linux")]
mod socket;
mod tls;

pub(crate) use pool::{Lease, Pool};
pub use session::SynchronousCommit;
pub(crate) use settings::ConnectionSettings;
