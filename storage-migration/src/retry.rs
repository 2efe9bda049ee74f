//! Riding out short faults.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::Instant;

use super::{MigrationError, Side, Stop};
use storage_core::{Error, Result};

/// How long a storage may fail before it is given up.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls again and again while a fault may pass: also after a write whose outcome is unknown, for
/// everything that a migration writes may be written twice.
pub(super) async fn with_retries<T, C: Future<Output = Result<T>>>(
    side: Side,
    stop: &Stop,
    call: impl FnMut() -> C,
) -> Result<T, MigrationError> {
    let waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(3))
        .without_max_times()
        .with_jitter();
    let give_up = Instant::now() + RETRY_TIMEOUT;
    call.retry(waits)
        .when(|error| is_transient(error) && Instant::now() < give_up && !stop.is_stopped())
        .notify(|error, wait| tracing::warn!(?error, ?wait, "retrying after a failure"))
        .await
        .map_err(|error| MigrationError::Storage(side, error))
}

fn is_transient(error: &Error) -> bool {
    error.is_retryable()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use storage_core::{ErrorKind, Operation};

    async fn attempts(kind: ErrorKind, faults: u32) -> (u32, Result<(), MigrationError>) {
        let attempts = Cell::new(0);
        let call = async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() <= faults {
                return Err(Error::new("x", Operation::ImportPeers, kind));
            }
            Ok(())
        };
        let result = with_retries(Side::Target, &Stop::default(), call).await;
        (attempts.get(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn short_faults_are_ridden_out() {
        for kind in [ErrorKind::Unavailable, ErrorKind::Uncertain] {
            let (attempts, result) = attempts(kind, 4).await;
            assert!(result.is_ok());
            assert_eq!(attempts, 5);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_that_stays_ends_it_after_a_minute() {
        let begun = Instant::now();
        let (_, result) = attempts(ErrorKind::Unavailable, u32::MAX).await;
        assert!(matches!(result, Err(MigrationError::Storage(Side::Target, _))));
        assert!((50..80).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_refusal_ends_it_at_once() {
        assert_eq!(attempts(ErrorKind::Rejected, u32::MAX).await.0, 1);
    }
}
