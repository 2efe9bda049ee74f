//! The state of a batcher: who waits, and how many batches are in flight. Without a runtime, without time.

use std::collections::VecDeque;

/// How much goes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most calls in a batch.
    pub size: usize,
    /// The most batches and calls without a batch in flight; with `flush_when_full`, full batches may exceed it.
    pub in_flight: usize,
    /// The most calls that wait for a batch; further ones wait for room among them.
    pub queue: usize,
    /// Whether a call goes by the queue even when nothing is in flight.
    pub queue_when_idle: bool,
    /// Whether a full batch leaves at once, however many are in flight.
    pub flush_when_full: bool,
}

/// Identifies a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What becomes of a call that comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<C> {
    /// It goes alone, for which a permit in flight was taken.
    Alone(C),
    /// It waits. With `start`, a permit in flight was taken for it: somebody must serve the queue.
    Waits { ticket: Ticket, start: bool },
    /// There is no room for it at this time.
    Full(C),
    /// The queue takes no more calls for good.
    Closed,
}

/// Calls that wait for a batch, in their order, and the number of permits that are taken by calls and
/// batches in flight.
///
/// Whoever takes a permit gives it up by [`release`](Self::release), or by [`abandon`](Self::abandon) if it was
/// stopped in the middle. As long as calls wait, a permit is taken.
#[derive(Debug)]
pub(super) struct Queue<T> {
    bounds: Bounds,
    /// Calls by ascending ticket; those that were cancelled are `None`.
    waiting: VecDeque<(Ticket, Option<T>)>,
    /// How many of them are not cancelled.
    live: usize,
    next: u64,
    in_flight: usize,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: VecDeque::new(), live: 0, next: 0, in_flight: 0, is_closed: false }
    }

    /// Lets a call go alone while few are in flight and none waits, or else puts it at the end of the queue.
    /// Only what waits is turned into what the queue holds.
    pub(super) fn admit<C>(&mut self, call: C, into: impl FnOnce(C) -> T) -> Admission<C> {
        if self.is_closed {
            return Admission::Closed;
        }
        let has_permit = self.in_flight < self.bounds.in_flight;
        if has_permit && self.live == 0 && !self.bounds.queue_when_idle {
            self.in_flight += 1;
            return Admission::Alone(call);
        }
        if self.live >= self.bounds.queue {
            return Admission::Full(call);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push_back((ticket, Some(into(call))));
        self.live += 1;
        let start = has_permit || self.bounds.flush_when_full && self.live >= self.bounds.size;
        self.in_flight += usize::from(start);
        Admission::Waits { ticket, start }
    }

    /// Takes a call out that still waits; `None` if a batch has it.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        let index = self.waiting.binary_search_by_key(&ticket.0, |(ticket, _)| ticket.0).ok()?;
        let call = self.waiting[index].1.take();
        self.live -= usize::from(call.is_some());
        while self.waiting.front().is_some_and(|(_, call)| call.is_none()) {
            self.waiting.pop_front();
        }
        call
    }

    /// The next batch, for who holds a permit.
    pub(super) fn take(&mut self) -> Vec<T> {
        let mut batch = Vec::with_capacity(self.live.min(self.bounds.size));
        while batch.len() < self.bounds.size
            && let Some((_, call)) = self.waiting.pop_front()
        {
            batch.extend(call);
        }
        self.live -= batch.len();
        batch
    }

    /// Gives a permit up, unless calls wait: then it is kept, for the next batch. Whether it is kept.
    pub(super) fn release(&mut self) -> bool {
        // More permits than usual were taken for full batches.
        if self.live > 0 && self.in_flight <= self.bounds.in_flight {
            return true;
        }
        self.in_flight -= 1;
        false
    }

    /// Gives a permit up in whatever state. The calls that nobody would serve any more.
    pub(super) fn abandon(&mut self) -> Vec<T> {
        self.in_flight -= 1;
        if self.in_flight > 0 {
            return Vec::new();
        }
        self.clear()
    }

    /// Takes no further calls. Those that wait are served.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Takes all calls out that wait.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.live = 0;
        self.waiting.drain(..).filter_map(|(_, call)| call).collect()
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.live == 0
    }

    /// How many calls wait.
    pub(super) fn len(&self) -> usize {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { size: 3, in_flight: 2, queue: 8, queue_when_idle: false, flush_when_full: false };

    fn admit(queue: &mut Queue<u32>, call: u32) -> (Ticket, bool) {
        match queue.admit(call, |call| call) {
            Admission::Waits { ticket, start } => (ticket, start),
            other => panic!("it does not wait: {other:?}"),
        }
    }

    fn goes_alone(queue: &mut Queue<u32>) -> bool {
        queue.admit(0, |call| call) == Admission::Alone(0)
    }

    #[test]
    fn few_calls_go_alone_and_further_ones_together() {
        let mut queue = Queue::new(BOUNDS);
        assert!(goes_alone(&mut queue) && goes_alone(&mut queue));
        for call in 1..=4 {
            assert!(!admit(&mut queue, call).1);
        }
        // The permit of a call that has ended serves the queue.
        assert!(queue.release());
        assert_eq!(queue.take(), [1, 2, 3]);
        assert!(queue.release());
        assert_eq!(queue.take(), [4]);
        assert!(!queue.release() && !queue.release() && queue.is_idle());
    }

    #[test]
    fn a_cancelled_call_is_in_no_batch_and_one_in_a_batch_cannot_be_cancelled() {
        let mut queue = Queue::new(Bounds { queue_when_idle: true, ..BOUNDS });
        let (first, start) = admit(&mut queue, 1);
        assert!(start);
        let (second, _) = admit(&mut queue, 2);
        assert_eq!(queue.cancel(first), Some(1));
        assert_eq!(queue.cancel(first), None);
        assert_eq!(queue.take(), [2]);
        assert_eq!(queue.cancel(second), None);
    }

    #[test]
    fn a_full_batch_leaves_at_once_where_it_may() {
        let mut queue = Queue::new(Bounds { flush_when_full: true, in_flight: 1, ..BOUNDS });
        assert!(goes_alone(&mut queue));
        assert_eq!([1, 2, 3].map(|call| admit(&mut queue, call).1), [false, false, true]);
        assert_eq!(queue.take(), [1, 2, 3]);
        // That permit is given back even while calls wait.
        assert!(!admit(&mut queue, 4).1);
        assert!(!queue.release() && queue.release());
        assert_eq!(queue.take(), [4]);
    }

    #[test]
    fn a_permit_that_is_abandoned_leaves_calls_to_the_others_while_there_are_some() {
        let mut queue = Queue::new(BOUNDS);
        assert!(goes_alone(&mut queue) && goes_alone(&mut queue));
        admit(&mut queue, 1);
        assert_eq!(queue.abandon(), [0; 0]);
        assert_eq!(queue.abandon(), [1]);
        assert!(queue.is_idle());
    }

    #[test]
    fn a_full_queue_takes_calls_again_when_there_is_room() {
        let mut queue = Queue::new(Bounds { queue_when_idle: true, queue: 2, ..BOUNDS });
        let (ticket, _) = admit(&mut queue, 1);
        admit(&mut queue, 2);
        assert_eq!(queue.admit(3, |call| call), Admission::Full(3));
        assert_eq!(queue.cancel(ticket), Some(1));
        admit(&mut queue, 3);
        assert_eq!(queue.take(), [2, 3]);
    }

    #[test]
    fn a_closed_queue_serves_what_waits_and_takes_no_more() {
        let mut queue = Queue::new(Bounds { queue_when_idle: true, ..BOUNDS });
        admit(&mut queue, 1);
        queue.close();
        assert_eq!(queue.admit(2, |call| call), Admission::Closed);
        assert_eq!(queue.take(), [1]);
    }

    #[derive(Debug, Clone)]
    enum QueueStep {
        Come,
        Cancel(usize),
        /// A permit goes on: takes a batch and is released.
        Go,
        Abandon,
    }

    fn steps() -> impl Strategy<Value = Vec<QueueStep>> {
        let step = prop_oneof![
            4 => Just(QueueStep::Come),
            1 => (0..8_usize).prop_map(QueueStep::Cancel),
            3 => Just(QueueStep::Go),
            1 => Just(QueueStep::Abandon),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Every call is served, cancelled or given back, once; no batch is too large; nothing waits while
        /// nobody serves.
        #[test]
        fn no_call_is_lost_or_served_twice(steps in steps(), queue_when_idle: bool, flush_when_full: bool) {
            let mut queue = Queue::new(Bounds { queue_when_idle, flush_when_full, ..BOUNDS });
            let (mut came, mut ended, mut tickets, mut permits) = (0_u32, Vec::new(), Vec::new(), 0_usize);
            for step in steps {
                match step {
                    QueueStep::Come => match queue.admit(came, |call| call) {
                        Admission::Alone(_) => permits += 1,
                        Admission::Waits { ticket, start } => {
                            tickets.push(ticket);
                            permits += usize::from(start);
                            came += 1;
                        }
                        Admission::Full(_) => prop_assert_eq!(queue.len(), BOUNDS.queue),
                        Admission::Closed => prop_assert!(false),
                    },
                    QueueStep::Cancel(index) => {
                        let ticket = tickets.get(index % tickets.len().max(1));
                        ended.extend(ticket.and_then(|ticket| queue.cancel(*ticket)));
                    }
                    QueueStep::Go if permits > 0 => {
                        let batch = queue.take();
                        prop_assert!(batch.len() <= BOUNDS.size);
                        ended.extend(batch);
                        permits -= usize::from(!queue.release());
                    }
                    QueueStep::Abandon if permits > 0 => {
                        ended.extend(queue.abandon());
                        permits -= 1;
                    }
                    QueueStep::Go | QueueStep::Abandon => {}
                }
                prop_assert!(queue.len() == 0 || permits > 0);
            }
            while permits > 0 {
                ended.extend(queue.take());
                permits -= usize::from(!queue.release());
            }
            prop_assert!(queue.is_idle());
            ended.sort_unstable();
            prop_assert_eq!(ended, (0..came).collect::<Vec<_>>());
        }
    }

    /// Callers and workers in every interleaving: each call is answered once, and nothing waits at the end.
    #[test]
    fn every_interleaving_serves_every_call() {
        use loom::sync::atomic::{AtomicUsize, Ordering};
        use loom::sync::{Arc, Mutex};

        type Shared = (Mutex<Queue<u32>>, AtomicUsize);

        fn serve(shared: &Shared) {
            loop {
                let batch = shared.0.lock().unwrap().take();
                shared.1.fetch_add(batch.len(), Ordering::SeqCst);
                if !shared.0.lock().unwrap().release() {
                    return;
                }
            }
        }

        loom::model(|| {
            let bounds = Bounds { size: 1, in_flight: 1, ..BOUNDS };
            let shared: Arc<Shared> = Arc::new((Mutex::new(Queue::new(bounds)), AtomicUsize::new(0)));
            let callers = [0, 1].map(|call| {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || {
                    let admitted = shared.0.lock().unwrap().admit(call, |call| call);
                    match admitted {
                        Admission::Alone(_) => {
                            shared.1.fetch_add(1, Ordering::SeqCst);
                            // Its permit serves those who came meanwhile.
                            if shared.0.lock().unwrap().release() {
                                serve(&shared);
                            }
                        }
                        Admission::Waits { start: true, .. } => serve(&shared),
                        Admission::Waits { ticket, .. } if call == 1 => {
                            let cancelled = shared.0.lock().unwrap().cancel(ticket);
                            shared.1.fetch_add(usize::from(cancelled.is_some()), Ordering::SeqCst);
                        }
                        _ => {}
                    }
                })
            });
            for caller in callers {
                caller.join().unwrap();
            }
            assert!(shared.0.lock().unwrap().is_idle());
            assert_eq!(shared.1.load(Ordering::SeqCst), 2);
        });
    }
}
