//! The pool: connections that callers share, and single attempts to send something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use redis::Value;
use storage_core::{Event, SharedObserver};

use super::connector::{ConnectError, Connector, Live};
use super::fault::{Fault, Remedy};
use super::renewable::Renewable;
use super::request::{Request, load_scripts};
use crate::NAME;

/// A caller that gave up after waiting for so long leaves its connection under suspicion.
const SUSPICIOUS_WAIT: Duration = Duration::from_secs(1);

/// How many calls make a connection to a server crowded. With fewer, one connection is better than two:
/// more commands leave together.
const CROWD: usize = 512;

/// The place of a connection.
#[derive(Default)]
struct Slot {
    live: Renewable<Live, ConnectError>,
    calls: AtomicUsize,
}

/// Connections, made when they are first needed and anew when they are lost.
pub(super) struct Pool {
    connector: Arc<Connector>,
    slots: Box<[Slot]>,
    /// A cluster's connection that never repeats a command by itself.
    once: Slot,
    observer: SharedObserver,
}

impl Pool {
    pub(super) fn new(connector: Connector, size: usize, observer: SharedObserver) -> Self {
        Self {
            connector: Arc::new(connector),
            slots: (0..size.max(1)).map(|_| Slot::default()).collect(),
            once: Slot::default(),
            observer,
        }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Makes all connections.
    pub(super) async fn connect_all(&self) -> Result<(), Fault> {
        let connected = join_all(self.slots.iter().map(|slot| self.acquire(slot, true))).await;
        match connected.into_iter().find_map(Result::err) {
            Some(failed) => Err(Fault::connecting(&failed)),
            None => Ok(()),
        }
    }

    /// Lets go of all connections; calls under way keep theirs.
    pub(super) fn clear(&self) {
        for slot in self.slots.iter().chain([&self.once]) {
            slot.live.clear();
        }
    }

    /// Sends a request; `once` if it must not be sent again when its outcome is unknown. Does what the
    /// next attempt needs.
    pub(super) async fn attempt(&self, request: &Request, once: bool) -> Result<Vec<Value>, Fault> {
        let repeating = !(once && self.connector.is_cluster());
        let slot = if repeating { self.choose() } else { &self.once };
        let acquired = self.acquire(slot, repeating).await;
        let (generation, live) = acquired.map_err(|failed| Fault::connecting(&failed))?;
        let mut watch = Watch { pool: self, slot, generation, live: &live, begun: Some(Instant::now()) };
        slot.calls.fetch_add(1, Ordering::Relaxed);
        let answer = request.send(live.wire.clone()).await;
        watch.begun = None;
        drop(watch);
        let fault = match answer {
            Err(error) => Fault::answering(&error),
            Ok(values) => match first_remediable(&values) {
                Some(fault) => fault,
                None => return Ok(values),
            },
        };
        match fault.remedy {
            // To the nodes of a cluster redis-rs connects anew by itself.
            Remedy::Reconnect if !self.connector.is_cluster() => self.give_up(slot, generation, &live),
            Remedy::LoadScripts => self.load_scripts(&live).await?,
            _ => {}
        }
        Err(fault)
    }

    async fn load_scripts(&self, live: &Live) -> Result<(), Fault> {
        match load_scripts(live.wire.clone()).await {
            // On a cluster it may be another node that can't be reached.
            Err(error) if !self.connector.is_cluster() => {
                Err(Fault { may_have_run: false, ..Fault::answering(&error) })
            }
            _ => Ok(()),
        }
    }

    /// The first that is not crowded, or else the one with the fewest calls. Those to a cluster gather
    /// nothing.
    fn choose(&self) -> &Slot {
        let calls = |slot: &&Slot| slot.calls.load(Ordering::Relaxed);
        let crowd = if self.connector.is_cluster() { 1 } else { CROWD };
        let open = self.slots.iter().find(|slot| calls(slot) < crowd);
        open.or_else(|| self.slots.iter().min_by_key(calls)).unwrap_or(&self.once)
    }

    async fn acquire(&self, slot: &Slot, repeating: bool) -> Result<(u64, Live), ConnectError> {
        loop {
            let (generation, live) = slot.live.get(|generation| self.make(generation, repeating)).await?;
            if !live.is_lost() {
                return Ok((generation, live));
            }
            self.give_up(slot, generation, &live);
        }
    }

    fn make(&self, generation: u64, repeating: bool) -> BoxFuture<'static, Result<Live, ConnectError>> {
        let (connecting, observer) = (self.connector.connect(repeating), Arc::clone(&self.observer));
        async move {
            let live = connecting.await?;
            if generation > 0 {
                tracing::debug!(backend = NAME, "connected again");
                observer.observe(NAME, Event::Reconnected);
            }
            Ok(live)
        }
        .boxed()
    }

    fn give_up(&self, slot: &Slot, generation: u64, live: &Live) {
        slot.live.give_up(generation);
        self.connector.give_up(live);
    }
}

/// Counts a call, and notices a caller that gives up on an answer before the connection's own timeout: a
/// server that hangs would otherwise be waited for by call after call.
struct Watch<'a> {
    pool: &'a Pool,
    slot: &'a Slot,
    generation: u64,
    live: &'a Live,
    /// `None` when there is an answer, whatever it is.
    begun: Option<Instant>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.slot.calls.fetch_sub(1, Ordering::Relaxed);
        if self.begun.is_some_and(|begun| begun.elapsed() >= SUSPICIOUS_WAIT) {
            self.pool.give_up(self.slot, self.generation, self.live);
        }
    }
}

/// The first refusal among the answers to several commands after which all of them are worth another
/// attempt.
fn first_remediable(values: &[Value]) -> Option<Fault> {
    let mut faults = values.iter().filter_map(|value| match value {
        Value::ServerError(error) => Some(Fault::refused(error)),
        _ => None,
    });
    faults.find(|fault| fault.remedy != Remedy::Nothing)
}
