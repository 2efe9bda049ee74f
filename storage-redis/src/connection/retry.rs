//! Which requests are sent again when they fail, and for how long.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use redis::Value;
use storage_core::layer::deadline;
use storage_core::{Error, ErrorKind, Event, Operation, Result};
use tokio::time::Instant;

use super::Connections;
use super::request::Request;
use crate::NAME;
use crate::error::RetryAdvice;

const SHORTEST_DELAY: Duration = Duration::from_millis(5);
pub(super) const LONGEST_DELAY: Duration = Duration::from_millis(500);
/// How often a call loads the scripts before it takes the server's word that they are not there.
const SCRIPT_LOADS: u32 = 3;

/// What a command is for, and whether it may be sent again when its outcome is unknown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    once: bool,
    written: WriteKind,
}

/// What a call may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteKind {
    /// What nobody misses.
    Nothing,
    /// Peers, which announce again.
    Peers,
    /// What is lost for good when it is lost.
    Lasting,
}

impl WriteKind {
    fn by(operation: Operation) -> Self {
        match operation {
            Operation::GraduatePeers
            | Operation::PutData
            | Operation::DeleteData
            | Operation::ForgetSwarm
            | Operation::ImportDownloads
            | Operation::ImportData => Self::Lasting,
            Operation::PutPeer
            | Operation::DeletePeer
            | Operation::RemovePeer
            | Operation::Announce
            | Operation::WritePeers
            | Operation::ImportPeers => Self::Peers,
            _ => Self::Nothing,
        }
    }
}

impl Call {
    /// A call that changes nothing when it is carried out a second time.
    pub(crate) fn repeatable(operation: Operation) -> Self {
        Self { operation, once: false, written: WriteKind::by(operation) }
    }

    /// A call that must not be carried out twice.
    pub(crate) fn once(operation: Operation) -> Self {
        Self { operation, once: true, written: WriteKind::by(operation) }
    }

    /// The same call, whether it may count a download or not.
    pub(crate) fn with_download(self, has_download: bool) -> Self {
        if has_download { Self { written: WriteKind::Lasting, ..self } } else { self }
    }

    /// The same call, which writes peers and nothing else.
    pub(crate) fn of_peers(self) -> Self {
        Self { written: WriteKind::Peers, ..self }
    }

    /// The same call, for what may be carried out a second time.
    pub(crate) fn as_repeatable(self) -> Self {
        Self { once: false, ..self }
    }

    /// An error of this call.
    pub(crate) fn error(self, kind: ErrorKind) -> Error {
        Error::new(NAME, self.operation, kind)
    }
}

impl Connections {
    /// Sends a request, again and again for as long as that may help; also gives whether an attempt before the
    /// last one may have taken effect.
    pub(super) async fn send_with_retries(
        &self,
        call: Call,
        request: &Request,
    ) -> Result<(Vec<Value>, bool)> {
        let (now, deadline) = (Instant::now(), deadline(call.operation));
        let give_up = deadline.min(now + self.retry_timeout);
        let waits_for_replicas = self.waits_for_replicas(call);
        let mut delays = delays();
        let (mut may_have_run, mut script_loads) = (false, 0);
        loop {
            self.check_open(call.operation)?;
            let error = match self.pool.shared.send_once(request, waits_for_replicas, deadline).await {
                Ok(values) => return Ok((values, may_have_run)),
                Err(error) => error,
            };
            may_have_run |= error.may_have_run;
            if error.advice == RetryAdvice::LoadScripts && script_loads < SCRIPT_LOADS {
                script_loads += 1;
                continue;
            }
            let delay = delays.next().unwrap_or(LONGEST_DELAY);
            let hopeless = error.advice == RetryAdvice::Nothing
                || (may_have_run && call.once)
                || Instant::now() + delay > give_up;
            if hopeless {
                let uncertain = may_have_run && call.operation.is_write();
                let error = match request.commands().next() {
                    Some(command) => error.about(command),
                    None => error,
                };
                return Err(error.into_error(call.operation, uncertain));
            }
            self.observer.observe(NAME, Event::Retried { reason: error.reason });
            tokio::time::sleep(delay).await;
        }
    }

    fn waits_for_replicas(&self, call: Call) -> bool {
        let waits = match call.written {
            WriteKind::Lasting => true,
            WriteKind::Peers => self.wait_for_peers,
            WriteKind::Nothing => false,
        };
        waits && self.connector().wait().is_some()
    }
}

/// Growing delays between attempts, jittered.
pub(super) fn delays() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(SHORTEST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .without_max_times()
        .with_jitter()
        .build()
}
