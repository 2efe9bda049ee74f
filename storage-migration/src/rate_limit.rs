//! So many records a second and no more.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Stop;

/// Lets one reader pass so many records a second. What was not used is not saved up.
pub(super) struct RateLimiter {
    per_second: Option<u64>,
    next: Instant,
}

impl RateLimiter {
    pub(super) fn new(per_second: Option<u64>) -> Self {
        Self { per_second: per_second.map(|rate| rate.max(1)), next: Instant::now() }
    }

    /// The most records to read at once: at a low rate, smaller steps.
    pub(super) fn page_size(&self, batch: usize) -> usize {
        let rate = self.per_second.and_then(|rate| usize::try_from(rate).ok()).unwrap_or(usize::MAX);
        batch.min(rate).max(1)
    }

    /// Waits for as long as these records take at the rate, or until the end is asked for.
    pub(super) async fn wait(&mut self, records: usize, stop: &Stop) {
        let Some(rate) = self.per_second else { return };
        let takes = Duration::from_secs_f64(records as f64 / rate as f64);
        self.next = self.next.max(Instant::now()) + takes;
        tokio::select! {
            () = sleep_until(self.next) => {}
            () = stop.stopped() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn records_take_their_time() {
        let begun = Instant::now();
        let mut rate_limit = RateLimiter::new(Some(100));
        for _ in 0..5 {
            rate_limit.wait(50, &Stop::default()).await;
        }
        let took = begun.elapsed();
        assert!((2_500..2_600).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait() {
        let stop = Stop::default();
        stop.stop();
        let begun = Instant::now();
        RateLimiter::new(Some(1)).wait(1_000, &stop).await;
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
