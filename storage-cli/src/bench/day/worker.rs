//! Makes the announces of a day, and measures them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use storage_core::{Result as StorageResult, Storage, Timestamp};

use super::Day;
use crate::arguments::Workload;
use crate::bench::clients::Announcer;
use crate::bench::cpu_time::CpuTime;
use crate::bench::report::{BenchReport, DayReport};
use crate::bench::runner::{BenchWorker, RunSettings, run_workers};
use crate::exit_code::CommandError;
use crate::interrupt::Interrupt;
use crate::output::note;

/// A run, whose workers share the announces.
#[derive(Debug)]
struct DayRun {
    day: Arc<Day>,
    next: AtomicU64,
    begun: Instant,
    /// The time of the first announce.
    start: Timestamp,
}

impl DayRun {
    /// When an announce is due, if the rate is limited.
    fn due(&self, index: u64) -> Option<Instant> {
        let speed = self.day.settings.speed?;
        self.begun.checked_add(self.day.after(index).div_f64(speed))
    }
}

/// Makes one announce after the other.
struct DayWorker {
    storage: Arc<dyn Storage>,
    run: Arc<DayRun>,
    /// The announce to make next.
    index: u64,
}

impl BenchWorker for DayWorker {
    fn due(&mut self) -> Option<Instant> {
        self.run.due(self.index)
    }

    async fn call(&mut self, now: Timestamp) -> StorageResult<()> {
        let index = std::mem::replace(&mut self.index, self.run.next.fetch_add(1, Ordering::Relaxed));
        let announced = self.run.start.after(self.run.day.after(index)).min(now);
        Announcer::announce(&mut self.storage, &self.run.day.announce(index, announced)).await
    }
}

/// Measures the announces of a day.
pub(in crate::bench) async fn measure(
    storage: &Arc<dyn Storage>,
    day: &Arc<Day>,
    settings: RunSettings,
    interrupt: &Interrupt,
) -> Result<BenchReport, CommandError> {
    let names = &day.settings.server_processes;
    let run = Arc::new(DayRun {
        day: Arc::clone(day),
        next: AtomicU64::new(0),
        begun: Instant::now(),
        start: Timestamp::now().before(day.lead),
    });
    let workers = (0..settings.concurrency).map(|_| DayWorker {
        storage: Arc::clone(storage),
        run: Arc::clone(&run),
        index: run.next.fetch_add(1, Ordering::Relaxed),
    });
    let warm = async {
        tokio::select! {
            () = tokio::time::sleep(settings.warmup) => {}
            () = interrupt.clone().wait() => {}
        }
        CpuTime::read(names)
    };
    let (ran, before) = tokio::join!(run_workers(Workload::Day, workers, settings, interrupt), warm);
    let cpu_time = CpuTime::read(names).since(before);
    let (result, _) = ran?;
    let announces = result.stats.operations + result.stats.errors.count();
    let ends = run.start.after(day.after(run.next.load(Ordering::Relaxed)));
    if day.settings.speed.is_none() && ends > Timestamp::now() {
        note(format_args!(
            "the announces of a whole day were made: the later ones have the current time; load more peers to avoid it"
        ));
    }
    let target_rate = day.settings.speed.map(|speed| speed * day.rate());
    let report = DayReport::new(announces, day.clients, target_rate, cpu_time, day.settings.clone());
    let name = storage.name();
    Ok(BenchReport::new(name, Workload::Day, settings.concurrency, result, None).of_day(report))
}
