use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::join_all;

use super::*;

const BOUNDS: Bounds =
    Bounds { size: 4, in_flight: 1, queue: 8, queue_when_idle: true, flush_when_full: false };

/// Doubles numbers, a second for each batch. Zero never ends, and 13 panics.
#[derive(Default)]
struct Double {
    batches: Mutex<Vec<usize>>,
    under_way: AtomicUsize,
}

struct RunningCalls<'a>(&'a AtomicUsize);

impl Drop for RunningCalls<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl BatchOp for Arc<Double> {
    type Request = u32;
    type Answer = Result<u32, Unanswered>;

    async fn run(&self, calls: Vec<BatchCall<u32>>) -> Vec<Self::Answer> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = RunningCalls(&self.under_way);
        self.batches.lock().push(calls.len());
        tokio::time::sleep(Duration::from_secs(1)).await;
        if calls.iter().any(|call| call.request == 0) {
            std::future::pending::<()>().await;
        }
        assert!(calls.iter().all(|call| call.request != 13));
        calls.iter().map(|call| Ok(call.request * 2)).collect()
    }

    fn unanswered(&self, reason: Unanswered) -> Self::Answer {
        Err(reason)
    }
}

fn batcher(bounds: Bounds) -> (Arc<Batcher<Arc<Double>>>, Arc<Double>) {
    let double = Arc::new(Double::default());
    (Arc::new(Batcher::new(Arc::clone(&double), bounds)), double)
}

async fn call(batcher: &Batcher<Arc<Double>>, request: u32, seconds: u64) -> Result<u32, Unanswered> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    batcher.call(request, deadline, |_| async { Ok(1) }.boxed()).await
}

#[tokio::test(start_paused = true)]
async fn calls_go_together_and_each_has_its_own_answer() {
    let (batcher, double) = batcher(BOUNDS);
    let answers = join_all((1..=9).map(|number| call(&batcher, number, 60))).await;
    assert_eq!(answers, (1..=9).map(|number| Ok(number * 2)).collect::<Vec<_>>());
    let sizes = double.batches.lock().clone();
    assert_eq!(sizes.iter().sum::<usize>(), 9);
    assert!(sizes.iter().all(|size| *size <= 4), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_company_goes_alone() {
    let (batcher, double) = batcher(Bounds { queue_when_idle: false, ..BOUNDS });
    assert_eq!(call(&batcher, 5, 60).await, Ok(1));
    assert!(double.batches.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_never_ends_is_dropped_at_its_last_deadline_and_others_follow() {
    let (batcher, double) = batcher(BOUNDS);
    let begun = Instant::now();
    let (hanging, patient, next) = tokio::join!(biased;
    call(&batcher, 0, 5), call(&batcher, 1, 8), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        call(&batcher, 2, 60).await
    });
    // The batch is one: the first caller hears at its own deadline, the second at the later one.
    assert_eq!((hanging, patient, next), (Err(Unanswered::Sent), Err(Unanswered::Sent), Ok(4)));
    assert_eq!(begun.elapsed().as_secs(), 9);
    assert_eq!(double.under_way.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_impatient_caller_takes_no_time_from_the_others() {
    let (batcher, _) = batcher(BOUNDS);
    let begun = Instant::now();
    let impatient = Instant::now() + Duration::from_millis(300);
    let (short, long) = tokio::join!(
        async {
            let answer = batcher.call(1_u32, impatient, |_| async { Ok(1) }.boxed()).await;
            (answer, begun.elapsed())
        },
        call(&batcher, 2, 60)
    );
    assert_eq!(short, (Err(Unanswered::Sent), Duration::from_millis(300)));
    assert_eq!(long, Ok(4));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_passes_in_the_queue_was_not_sent() {
    let (batcher, double) = batcher(BOUNDS);
    let (first, late) = tokio::join!(biased; call(&batcher, 0, 10), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        call(&batcher, 7, 2).await
    });
    assert_eq!((first, late), (Err(Unanswered::Sent), Err(Unanswered::NotSent)));
    assert_eq!(*double.batches.lock(), [1]);
}

#[tokio::test(start_paused = true)]
async fn callers_that_give_up_leave_room_and_send_nothing() {
    let (batcher, double) = batcher(BOUNDS);
    let hanging = tokio::spawn({
        let batcher = Arc::clone(&batcher);
        async move { call(&batcher, 0, 10).await }
    });
    yield_now().await;
    for _ in 0..1_000 {
        assert!(call(&batcher, 3, 60).now_or_never().is_none());
    }
    let answers = join_all((1..=8).map(|number| call(&batcher, number, 60))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(hanging.await.unwrap(), Err(Unanswered::Sent));
    assert_eq!(double.batches.lock().iter().sum::<usize>(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_callers_wait_for_room_until_their_deadline() {
    let (batcher, _) = batcher(BOUNDS);
    let mut answers = join_all((0..20).map(|number| call(&batcher, number, 3))).await;
    let hanging = answers.remove(0);
    assert_eq!(hanging, Err(Unanswered::Sent));
    let kinds: HashSet<_> = answers.iter().map(|answer| format!("{answer:?}")).collect();
    assert!(kinds.contains("Err(NotSent)"), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_batch_fails_its_callers_and_no_others() {
    let (batcher, _) = batcher(Bounds { in_flight: 2, size: 1, ..BOUNDS });
    let (bad, good) = tokio::join!(call(&batcher, 13, 60), call(&batcher, 1, 60));
    assert_eq!((bad, good), (Err(Unanswered::Sent), Ok(2)));
    assert_eq!(call(&batcher, 2, 60).await, Ok(4));
}

#[tokio::test(start_paused = true)]
async fn a_panic_with_nobody_else_in_flight_answers_those_who_wait() {
    let (batcher, _) = batcher(Bounds { size: 1, ..BOUNDS });
    let (bad, waiting) = tokio::join!(call(&batcher, 13, 60), call(&batcher, 1, 60));
    assert_eq!((bad, waiting), (Err(Unanswered::Sent), Err(Unanswered::Closed)));
    assert_eq!(call(&batcher, 2, 60).await, Ok(4));
}

#[tokio::test(start_paused = true)]
async fn closing_answers_what_was_asked_and_takes_no_more() {
    let (batcher, _) = batcher(BOUNDS);
    let calls = join_all((1..=6).map(|number| call(&batcher, number, 60)));
    let closing = async {
        yield_now().await;
        batcher.close(Duration::from_secs(10)).await
    };
    let (answers, closed) = tokio::join!(calls, closing);
    assert!(closed && answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(call(&batcher, 1, 60).await, Err(Unanswered::Closed));
}

#[tokio::test(start_paused = true)]
async fn closing_waits_no_longer_than_it_may() {
    let (batcher, double) = batcher(BOUNDS);
    let closing = async {
        yield_now().await;
        batcher.close(Duration::from_secs(2)).await
    };
    let (hanging, waiting, closed) = tokio::join!(biased; call(&batcher, 0, 600), async {
            tokio::time::sleep(Duration::from_nanos(1)).await;
            call(&batcher, 1, 600).await
        }, closing);
    assert_eq!((hanging, waiting, closed), (Err(Unanswered::Sent), Err(Unanswered::Closed), false));
    assert_eq!(double.under_way.load(Ordering::SeqCst), 0);
}

/// A permit that started another one while its runtime shut down would do so until the stack overflows.
#[test]
fn a_runtime_that_shuts_down_ends_batches_and_calls() {
    let (batcher, double) = batcher(Bounds { in_flight: 2, size: 1, ..BOUNDS });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for _ in 0..64 {
        let batcher = Arc::clone(&batcher);
        runtime.spawn(async move { call(&batcher, 0, 600).await });
    }
    let alone = Batcher::new(Arc::new(Double::default()), Bounds { queue_when_idle: false, ..BOUNDS });
    let alone = Arc::new(alone);
    for _ in 0..64 {
        let alone = Arc::clone(&alone);
        runtime.spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(600);
            alone.call(1_u32, deadline, |_| std::future::pending().boxed()).await
        });
    }
    while double.under_way.load(Ordering::SeqCst) < 2 {
        std::thread::yield_now();
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
    assert_eq!(double.under_way.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batcher_that_is_dropped_stops_its_tasks() {
    let (batcher, double) = batcher(BOUNDS);
    {
        let mut call = std::pin::pin!(call(&batcher, 0, 600));
        assert_eq!(futures::poll!(&mut call), std::task::Poll::Pending);
        yield_now().await;
    }
    assert_eq!(double.under_way.load(Ordering::SeqCst), 1);
    drop(batcher);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(double.under_way.load(Ordering::SeqCst), 0);
}
