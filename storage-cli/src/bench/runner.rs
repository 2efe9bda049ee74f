//! Runs workers, each of which makes one call at a time, and times the calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use storage_core::{Result, Timestamp};
use tokio::task::JoinSet;

use super::call_stats::CallStats;
use crate::arguments::Workload;
use crate::error_code::ErrorCode;
use crate::exit_code::CommandError;
use crate::interrupt::Interrupt;
use crate::progress::with_progress;

/// Reading the clock takes as long as an in-process call: of fast calls about one in this interval is timed, and the
/// others are only counted.
const TIMING_INTERVAL: Duration = Duration::from_micros(2);
/// The most calls for each timed one.
const MAX_STRIDE: u64 = 64;
/// Calls between two yields: in-process calls never wait.
const CALLS_BEFORE_YIELD: u64 = 128;
/// The pause after a failure, to spare a server that is down.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// A worker, which makes one call at a time.
pub(super) trait BenchWorker: Send + 'static {
    /// When the next call is due, for workers that do not make it at once.
    fn due(&mut self) -> Option<Instant> {
        None
    }

    /// Makes the next call.
    fn call(&mut self, announced: Timestamp) -> impl Future<Output = Result<()>> + Send;

    /// Whether there is nothing left to do.
    fn is_done(&self) -> bool {
        false
    }
}

/// The number of workers and the durations of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunSettings {
    pub(crate) concurrency: usize,
    /// How long to call before measuring.
    pub(crate) warmup: Duration,
    /// How long to measure.
    pub(crate) duration: Duration,
}

impl fmt::Display for RunSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { concurrency, warmup, duration } = self;
        write!(f, "{concurrency} workers, {duration:?} each after {warmup:?} of warm-up")
    }
}

/// The statistics of all workers, and the time they took.
#[derive(Debug)]
pub(super) struct RunResult {
    pub(super) stats: CallStats,
    pub(super) took: Duration,
}

/// Runs workers until the time is over, they are done, or Ctrl-C; shows the progress, and returns the workers.
pub(super) async fn run_workers<C: BenchWorker>(
    workload: Workload,
    workers: impl IntoIterator<Item = C>,
    settings: RunSettings,
    interrupt: &Interrupt,
) -> Result<(RunResult, Vec<C>), CommandError> {
    let RunSettings { warmup, duration, .. } = settings;
    let begin = Instant::now();
    let times = RunTimes { warm: begin + warmup, end: begin + warmup + duration };
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(run_worker(worker, times, new_stats()?, Arc::clone(&done), interrupt.clone()));
    }
    let describe = |elapsed: Duration| {
        let (elapsed, all) = (elapsed.as_secs_f64(), (warmup + duration).as_secs_f64());
        let rate = HumanCount((done.load(Ordering::Relaxed) as f64 / elapsed.max(0.001)) as u64);
        format!("{}: {elapsed:.0} of {all:.0} s, {rate} per second", workload.name())
    };
    let mut all = RunResult { stats: new_stats()?, took: Duration::ZERO };
    let mut workers = Vec::with_capacity(tasks.len());
    let joined = async {
        while let Some(ended) = tasks.join_next().await {
            let (result, worker) = ended.map_err(|error| failed("a worker panicked", &error))?;
            all.stats.add(result.stats);
            all.took = all.took.max(result.took);
            workers.push(worker);
        }
        Ok::<_, CommandError>(())
    };
    with_progress(joined, describe).await?;
    Ok((all, workers))
}

#[derive(Debug, Clone, Copy)]
struct RunTimes {
    warm: Instant,
    end: Instant,
}

async fn run_worker<C: BenchWorker>(
    mut worker: C,
    times: RunTimes,
    mut stats: CallStats,
    done: Arc<AtomicU64>,
    interrupt: Interrupt,
) -> (RunResult, C) {
    let mut from = None;
    let mut stride = 1;
    let mut turn = 0;
    loop {
        let due = worker.due();
        if !wait_until(due, times.end, &interrupt).await {
            if from.is_none() {
                stats.clear();
            }
            let took = from.map_or(Duration::ZERO, |from: Instant| from.elapsed());
            return (RunResult { stats, took }, worker);
        }
        let announced = Timestamp::now();
        let begun = Instant::now();
        if from.is_none() && begun >= times.warm {
            from = Some(begun);
            // Each call of a worker with due times waits for its own.
            stride = if due.is_some() { 1 } else { stride_for(&stats) };
            stats.clear();
        }
        let result = worker.call(announced).await;
        let now = Instant::now();
        let mut failed = result.is_err();
        stats.count(result, Some(now - begun));
        for _ in 1..stride {
            let result = worker.call(announced).await;
            failed |= result.is_err();
            stats.count(result, None);
        }
        done.fetch_add(stride, Ordering::Relaxed);
        if now >= times.end || worker.is_done() || interrupt.is_set() {
            let took = from.map_or(Duration::ZERO, |from| from.elapsed());
            return (RunResult { stats, took }, worker);
        }
        turn += stride;
        if failed {
            tokio::time::sleep(FAILURE_PAUSE).await;
        } else if turn >= CALLS_BEFORE_YIELD {
            turn = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until a call is due. Gives whether it is due before the end and before Ctrl-C.
async fn wait_until(due: Option<Instant>, end: Instant, interrupt: &Interrupt) -> bool {
    let Some(due) = due else { return true };
    if due <= Instant::now() {
        return true;
    }
    tokio::select! {
        () = tokio::time::sleep_until(due.min(end).into()) => due < end,
        () = interrupt.clone().wait() => false,
    }
}

/// How many calls to make for each timed one, by the latency so far.
fn stride_for(stats: &CallStats) -> u64 {
    if stats.latencies.is_empty() {
        return 1;
    }
    let usual = stats.latencies.value_at_quantile(0.5).max(1);
    (TIMING_INTERVAL.as_nanos() as u64 / usual).clamp(1, MAX_STRIDE)
}

fn new_stats() -> Result<CallStats, CommandError> {
    CallStats::new().map_err(|error| failed("cannot record latencies", &error))
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> CommandError {
    CommandError::finding(ErrorCode::SystemFailure, format!("{what}: {error}"))
}
