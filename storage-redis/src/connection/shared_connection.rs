//! A connection that is made once for all callers that wait for it, and made again after it was given up.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

type Making<T, E> = Shared<BoxFuture<'static, Result<T, E>>>;

/// A connection, or what stands for one, that callers share.
pub(super) struct SharedConnection<T, E> {
    state: Mutex<ConnectState<T, E>>,
}

struct ConnectState<T, E> {
    generation: u64,
    making: Option<Making<T, E>>,
    /// When that began.
    since: Instant,
}

impl<T, E> ConnectState<T, E> {
    fn clear(&mut self) {
        self.generation += 1;
        self.making = None;
    }
}

impl<T, E> Default for SharedConnection<T, E> {
    fn default() -> Self {
        Self { state: Mutex::new(ConnectState { generation: 0, making: None, since: Instant::now() }) }
    }
}

impl<T: Clone + Send + Sync, E: Clone + Send + Sync> SharedConnection<T, E> {
    fn state(&self) -> MutexGuard<'_, ConnectState<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value and its generation, counted from 0. If there is none, `make` is told the generation
    /// and makes it; a failure goes to all who wait, and the next caller tries again.
    pub(super) async fn get(
        &self,
        make: impl FnOnce(u64) -> BoxFuture<'static, Result<T, E>> + Send,
    ) -> Result<(u64, T), E> {
        let (generation, making) = {
            let mut state = self.state();
            let generation = state.generation;
            if state.making.is_none() {
                state.since = Instant::now();
            }
            (generation, state.making.get_or_insert_with(|| make(generation).shared()).clone())
        };
        let made = making.await;
        if made.is_err() {
            self.give_up(generation);
        }
        made.map(|value| (generation, value))
    }

    /// Lets go of the value of that generation; a newer one stays.
    pub(super) fn give_up(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            state.clear();
        }
    }

    /// The value and its generation, if there is one by now.
    pub(super) fn made(&self) -> Option<(u64, T)> {
        let state = self.state();
        let made = state.making.as_ref()?.peek()?;
        Some((state.generation, made.as_ref().ok()?.clone()))
    }

    /// Puts a value in the place of that of this generation.
    pub(super) fn replace(&self, generation: u64, value: T)
    where
        T: 'static,
        E: 'static,
    {
        let mut state = self.state();
        if state.generation == generation {
            state.generation += 1;
            let making = async { Ok(value) }.boxed().shared();
            // Polled once, so that it is seen to be made.
            let _ = making.clone().now_or_never();
            state.making = Some(making);
        }
    }

    /// Gives an attempt up that has been under way for so long.
    pub(super) fn give_up_attempt(&self, older_than: Duration) {
        let mut state = self.state();
        let is_under_way = state.making.as_ref().is_some_and(|making| making.peek().is_none());
        if is_under_way && state.since.elapsed() >= older_than {
            state.clear();
        }
    }

    /// Lets go of whatever value there is.
    pub(super) fn clear(&self) {
        self.state().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Makes numbers; the first attempt fails if it is told so.
    fn counting(
        attempts: &Arc<AtomicUsize>,
        fail_first: bool,
    ) -> impl FnOnce(u64) -> BoxFuture<'static, Result<usize, ()>> + Send {
        let attempts = Arc::clone(attempts);
        move |_| {
            async move {
                tokio::task::yield_now().await;
                let attempt = attempts.fetch_add(1, Ordering::SeqCst);
                if fail_first && attempt == 0 { Err(()) } else { Ok(attempt) }
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn all_who_wait_share_one_attempt_and_its_failure() {
        let (attempts, value) = (Arc::new(AtomicUsize::new(0)), SharedConnection::default());
        let first = value.get(counting(&attempts, true));
        let second = value.get(counting(&attempts, true));
        assert_eq!(futures::join!(first, second), (Err(()), Err(())));
        assert_eq!(value.get(counting(&attempts, true)).await, Ok((1, 1)));
        assert_eq!(value.get(counting(&attempts, true)).await, Ok((1, 1)));
    }

    #[tokio::test]
    async fn giving_up_an_old_value_leaves_the_new_one() {
        let (attempts, value) = (Arc::new(AtomicUsize::new(0)), SharedConnection::default());
        assert_eq!(value.get(counting(&attempts, false)).await, Ok((0, 0)));
        value.give_up(0);
        assert_eq!(value.get(counting(&attempts, false)).await, Ok((1, 1)));
        value.give_up(0);
        assert_eq!(value.get(counting(&attempts, false)).await, Ok((1, 1)));
    }
}
