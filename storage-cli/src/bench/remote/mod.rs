//! Measures any tracker: whole announces over HTTP or UDP.

mod http;
mod remote_run;
mod udp;
mod url;

use std::error::Error as StdError;
use std::time::Duration;

use storage_core::{Error, ErrorKind, Operation, Result};
use tokio::time::timeout;

pub(crate) use remote_run::RemoteRun;
pub(crate) use url::AnnounceUrl;

use crate::serve::TrackerProtocol;
use url::TrackerUrl;

/// How long to wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a tracker did not answer.
type BoxError = Box<dyn StdError + Send + Sync>;

/// A failed announce.
fn failed(protocol: TrackerProtocol, kind: ErrorKind) -> Error {
    Error::new(protocol.name(), Operation::Announce, kind)
}

/// Waits for an answer up to the timeout.
async fn with_timeout<T>(protocol: TrackerProtocol, answer: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| Err(failed(protocol, ErrorKind::Timeout)))
}

#[cfg(test)]
mod tests;
