//! Callers that make one call after the other, timed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use storage_core::{Result, Timestamp};
use tokio::task::JoinSet;

use super::tally::CallTally;
use crate::arguments::Workload;
use crate::exit::CommandError;
use crate::interrupt::Interrupt;

/// Reading the clock takes as long as a call within the process: of fast calls one is timed in about
/// this time, and the others are counted.
const TIMED_ONCE_IN: Duration = Duration::from_micros(2);
/// The most calls for one that is timed.
const LONGEST_STRIDE: u64 = 64;
/// Calls after which a caller lets others run; calls within the process never wait.
const CALLS_A_TURN: u64 = 128;
/// What a caller waits for after a failure, so that a server that is away is not besieged.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// One that calls a storage again and again.
pub(super) trait TimedCaller: Send + 'static {
    /// Makes the next call.
    fn call(&mut self, announced: Timestamp) -> impl Future<Output = Result<()>> + Send;

    /// Whether there is nothing left to do.
    fn is_done(&self) -> bool {
        false
    }
}

/// How many callers, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallPace {
    /// Callers.
    pub(crate) concurrency: usize,
    /// How long they call before it counts.
    pub(crate) warmup: Duration,
    /// How long it counts.
    pub(crate) duration: Duration,
}

impl fmt::Display for CallPace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { concurrency, warmup, duration } = self;
        write!(f, "{concurrency} callers, {duration:?} each after {warmup:?} of warm-up")
    }
}

impl CallPace {
    /// How far a workload has come after this time, with so many calls.
    pub(super) fn describe(&self, workload: Workload, elapsed: Duration, done: &AtomicU64) -> String {
        let rate = done.load(Ordering::Relaxed) as f64 / elapsed.as_secs_f64().max(0.001);
        let (elapsed, all) = (elapsed.as_secs_f64(), (self.warmup + self.duration).as_secs_f64());
        format!("{}: {elapsed:.0} of {all:.0} s, {} a second", workload.name(), HumanCount(rate as u64))
    }
}

/// What callers did, and how long they took together.
#[derive(Debug)]
pub(super) struct Gauged {
    pub(super) tally: CallTally,
    pub(super) took: Duration,
}

/// Lets callers call until the time is over, they are done, or Ctrl-C; counts their calls in `done`, and
/// gives them back.
pub(super) async fn gauge<C: TimedCaller>(
    callers: impl IntoIterator<Item = C>,
    pace: CallPace,
    done: &Arc<AtomicU64>,
    interrupt: &Interrupt,
) -> Result<(Gauged, Vec<C>), CommandError> {
    let begin = Instant::now();
    let warm = begin + pace.warmup;
    let times = CallTimes { warm, end: warm + pace.duration };
    let mut tasks = JoinSet::new();
    for caller in callers {
        let (tally, done, interrupt) = (new_tally()?, Arc::clone(done), interrupt.clone());
        tasks.spawn(keep_calling(caller, times, tally, done, interrupt));
    }
    let mut all = Gauged { tally: new_tally()?, took: Duration::ZERO };
    let mut callers = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        let (gauged, caller) =
            ended.map_err(|error| CommandError::finding(format!("a caller broke off: {error}")))?;
        all.tally.add(gauged.tally);
        all.took = all.took.max(gauged.took);
        callers.push(caller);
    }
    Ok((all, callers))
}

#[derive(Debug, Clone, Copy)]
struct CallTimes {
    warm: Instant,
    end: Instant,
}

async fn keep_calling<C: TimedCaller>(
    mut caller: C,
    times: CallTimes,
    mut tally: CallTally,
    done: Arc<AtomicU64>,
    interrupt: Interrupt,
) -> (Gauged, C) {
    let mut from = None;
    let mut stride = 1;
    let mut turn = 0;
    loop {
        let announced = Timestamp::now();
        let begun = Instant::now();
        if from.is_none() && begun >= times.warm {
            from = Some(begun);
            stride = stride_for(&tally);
            tally.clear();
        }
        let result = caller.call(announced).await;
        let now = Instant::now();
        let mut failed = result.is_err();
        tally.count(result, Some(now - begun));
        for _ in 1..stride {
            let result = caller.call(announced).await;
            failed |= result.is_err();
            tally.count(result, None);
        }
        done.fetch_add(stride, Ordering::Relaxed);
        if now >= times.end || caller.is_done() || interrupt.has_happened() {
            let took = from.map_or(Duration::ZERO, |from| from.elapsed());
            return (Gauged { tally, took }, caller);
        }
        turn += stride;
        if failed {
            tokio::time::sleep(AFTER_FAILURE).await;
        } else if turn >= CALLS_A_TURN {
            turn = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// How many calls are made for one that is timed, by how long they took so far.
fn stride_for(tally: &CallTally) -> u64 {
    if tally.latencies.is_empty() {
        return 1;
    }
    let usual = tally.latencies.value_at_quantile(0.5).max(1);
    (TIMED_ONCE_IN.as_nanos() as u64 / usual).clamp(1, LONGEST_STRIDE)
}

fn new_tally() -> Result<CallTally, CommandError> {
    CallTally::new().map_err(|error| CommandError::finding(format!("cannot keep latencies: {error}")))
}
