//! Gathering: commands of many callers leave in one write, and their answers are read together.
//!
//! Nothing waits for a timer: what comes while enough is under way leaves when an answer comes. So batches
//! grow with the load.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// The most commands that leave together. As many leave without waiting for anything.
const LARGEST: usize = 64;
/// How many smaller batches are under way: the server is at work on one while the next is made.
const IN_FLIGHT: usize = 2;

/// A connection to a server that gathers commands.
#[derive(Clone)]
pub(super) struct Gathering {
    connection: MultiplexedConnection,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    under_way: usize,
    waiting: Vec<Waiting>,
}

struct Waiting {
    command: Cmd,
    answer: oneshot::Sender<RedisResult<Value>>,
}

impl Gathering {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, state: Arc::default() }
    }

    /// The connection itself, for what does not go together with others.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Sends a command and waits for its answer. A caller that gives up costs nothing if its command has
    /// not left yet.
    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        match self.enter(command) {
            Entered::Alone(_place) => self.connection().req_packed_command(command).await,
            Entered::Waits(answered) => answered.await.unwrap_or_else(|_| Err(unanswered())),
        }
    }

    fn enter(&self, command: &Cmd) -> Entered {
        let mut state = self.state();
        if state.waiting.is_empty() && state.under_way < IN_FLIGHT {
            state.under_way += 1;
            return Entered::Alone(Place(self.clone()));
        }
        let (answer, answered) = oneshot::channel();
        state.waiting.push(Waiting { command: command.clone(), answer });
        if state.waiting.len() >= LARGEST {
            state.under_way += 1;
            drop(state);
            Place(self.clone()).serve(&Handle::current());
        }
        Entered::Waits(answered)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Waiting> {
        let mut state = self.state();
        let count = state.waiting.len().min(LARGEST);
        let rest = state.waiting.split_off(count);
        std::mem::replace(&mut state.waiting, rest)
    }

    async fn send_together(&mut self, waiting: Vec<Waiting>) {
        let mut pipeline = Pipeline::with_capacity(waiting.len());
        let mut answers = Vec::with_capacity(waiting.len());
        for Waiting { command, answer } in waiting {
            if !answer.is_closed() {
                pipeline.add_command(command);
                answers.push(answer);
            }
        }
        if answers.is_empty() {
            return;
        }
        // Who has given up needs no answer.
        match self.connection.req_packed_commands(&pipeline, 0, answers.len()).await {
            Ok(values) => {
                for (answer, value) in answers.into_iter().zip(values) {
                    let _ = answer.send(Ok(value));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

enum Entered {
    /// Little is under way.
    Alone(Place),
    Waits(oneshot::Receiver<RedisResult<Value>>),
}

/// A place among those under way. When it is left, and commands wait, the next batch has it.
struct Place(Gathering);

impl Place {
    fn serve(mut self, runtime: &Handle) {
        runtime.spawn(async move {
            let waiting = self.0.take();
            self.0.send_together(waiting).await;
            // Those who go on calling at once shall be in the next batch, and not one of them alone.
            yield_now().await;
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if !state.waiting.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(state);
            Place(self.0.clone()).serve(&runtime);
            return;
        }
        state.under_way -= 1;
    }
}

/// The runtime ended before the answer came.
fn unanswered() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()
}
