//! Progress of work: a spinner on a terminal, otherwise a line every 5 s.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use crate::output::note;

/// The time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// The time between two changes where there is one.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// Runs work and shows its progress: a spinner on a terminal, elsewhere a line now and then, if there is news.
/// `describe` is given the time since the start.
pub(crate) async fn with_progress<T>(
    work: impl Future<Output = T>,
    mut describe: impl FnMut(Duration) -> String,
) -> T {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{spinner} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let _shown = ShownBar::new(&bar);
    let begun = Instant::now();
    let mut ticks = interval(if bar.is_hidden() { LINE_INTERVAL } else { DRAW_INTERVAL });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    tokio::pin!(work);
    let mut last = String::new();
    loop {
        tokio::select! {
            result = &mut work => {
                bar.finish_and_clear();
                return result;
            }
            _ = ticks.tick() => {}
        }
        let text = describe(begun.elapsed());
        if !bar.is_hidden() {
            bar.set_message(text);
            bar.tick();
        } else if text != last {
            note(&text);
            last = text;
        }
    }
}

/// The spinner that is shown, if there is one.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A spinner, for as long as it is shown.
struct ShownBar;

impl ShownBar {
    fn new(bar: &ProgressBar) -> Self {
        *SHOWN.lock() = Some(bar.clone());
        Self
    }
}

impl Drop for ShownBar {
    fn drop(&mut self) {
        *SHOWN.lock() = None;
    }
}

/// Writes to the terminal while no spinner is there, so that the text is not torn.
pub(crate) fn without_spinner<T>(write: impl FnOnce() -> T) -> T {
    let bar = SHOWN.lock().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// A number for people.
pub(crate) fn counted(done: &AtomicU64) -> HumanCount {
    HumanCount(done.load(Ordering::Relaxed))
}
