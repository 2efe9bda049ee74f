//! Progress of work: a spinner on a terminal, otherwise a line every 5 s.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::output::note;

/// The time between two lines where there is no terminal.
pub(crate) const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// The time between two changes where there is one.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// Runs work and shows its progress; `describe` is given the time since the start.
pub(crate) async fn with_progress<T>(
    work: impl Future<Output = T>,
    describe: impl Fn(Duration) -> String,
) -> T {
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{spinner} {msg}");
        ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
    });
    let begun = Instant::now();
    let update = || {
        let text = describe(begun.elapsed());
        match &bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => note(text),
        }
    };
    let result = with_updates(work, bar.is_some(), update).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result
}

/// Runs work, and calls `update` until it ends: five times a second on a terminal, every [`LINE_INTERVAL`] elsewhere.
pub(crate) async fn with_updates<T>(
    work: impl Future<Output = T>,
    is_terminal: bool,
    mut update: impl FnMut(),
) -> T {
    let mut ticks = interval(if is_terminal { DRAW_INTERVAL } else { LINE_INTERVAL });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = ticks.tick() => update(),
        }
    }
}

/// A number for people.
pub(crate) fn counted(done: &AtomicU64) -> HumanCount {
    HumanCount(done.load(Ordering::Relaxed))
}
