//! Lists of swarms for many readers. A page may cost the storage a read of all counts: so a page is read once for all
//! who ask for it, kept for a while, and few pages are read at once.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use storage_core::layer::with_time_left;
use storage_core::{Cursor, Storage, SwarmPage, TaskSpawner};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::error::{ApiError, ErrorCode};
use super::parameters::ListKey;

/// How long a page is kept at least before it is read again.
const FRESH: Duration = Duration::from_secs(5);

/// How long a page is kept at most. Between these it is ten times as long as it took to read.
const LONGEST_FRESH: Duration = Duration::from_secs(300);

/// How long a reader waits for a page.
const WAIT: Duration = Duration::from_secs(5);

/// The longest a page may take to read.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The age up to which a page is the answer to a reader whose wait is over.
const LONGEST_STALE: Duration = Duration::from_secs(600);

/// Pages that are read from the storage at once.
const READS: usize = 2;

/// Pages that are being read or wait for it.
const WAITING_READS: usize = 8;

/// Pages that are kept.
const CACHED: usize = 32;

/// Pages of lists of swarms, shared by all readers.
pub(in crate::serve::admin) struct SwarmLists {
    storage: Arc<dyn Storage>,
    /// Owns the reads.
    tasks: TaskSpawner,
    cache: Arc<Mutex<Cache>>,
    reads: Arc<Semaphore>,
}

type PageResult = Result<Arc<SwarmPage>, ApiError>;
type PendingPage = watch::Receiver<Option<PageResult>>;

/// What a reader finds.
enum ListLookup {
    Fresh(Arc<SwarmPage>),
    Reading { stale: Option<Arc<SwarmPage>>, read: PendingPage },
}

#[derive(Default)]
struct Cache(HashMap<ListKey, CachedList>);

#[derive(Default)]
struct CachedList {
    page: Option<CachedPage>,
    /// The read under way.
    read: Option<PendingPage>,
}

#[derive(Clone)]
struct CachedPage {
    page: Arc<SwarmPage>,
    read_at: Instant,
    took: Duration,
}

impl SwarmLists {
    pub(in crate::serve::admin) fn new(storage: Arc<dyn Storage>, tasks: TaskSpawner) -> Self {
        Self { storage, tasks, cache: Arc::default(), reads: Arc::new(Semaphore::new(READS)) }
    }

    /// The page, as it is kept, or as it is read now. An older page is the answer if that takes too long.
    pub(super) async fn page(&self, key: &ListKey) -> PageResult {
        let (stale, mut read) = match self.find(key)? {
            ListLookup::Fresh(page) => return Ok(page),
            ListLookup::Reading { stale, read } => (stale, read),
        };
        let outcome = match timeout(WAIT, read.wait_for(Option::is_some)).await {
            Ok(outcome) => outcome.ok().and_then(|outcome| outcome.clone()),
            Err(_) => stale.map(Ok).or_else(|| Some(Err(still_reading()))),
        };
        // A read that was dropped has no outcome.
        outcome.unwrap_or_else(|| Err(ApiError::new(ErrorCode::StorageUnavailable, "the tracker stops")))
    }

    /// Looks a page up, and starts to read it where nobody does and it is not fresh.
    fn find(&self, key: &ListKey) -> Result<ListLookup, ApiError> {
        let mut cache = self.cache.lock();
        let cached = cache.0.get(key);
        let page = cached.and_then(|cached| cached.page.as_ref());
        if let Some(fresh) = page.filter(|page| page.is_fresh()) {
            return Ok(ListLookup::Fresh(Arc::clone(&fresh.page)));
        }
        let stale =
            page.filter(|page| page.read_at.elapsed() < LONGEST_STALE).map(|page| Arc::clone(&page.page));
        if let Some(read) = cached.and_then(CachedList::read) {
            return Ok(ListLookup::Reading { stale, read: read.clone() });
        }
        if cache.0.values().filter_map(CachedList::read).count() >= WAITING_READS {
            return Err(ApiError::new(
                ErrorCode::Busy,
                format!("{WAITING_READS} lists are being read already"),
            ));
        }
        let (outcome, read) = watch::channel(None);
        cache.make_room(key);
        cache.0.entry(key.clone()).or_default().read = Some(read.clone());
        self.tasks.spawn_until_stopped(self.read(key.clone(), outcome));
        Ok(ListLookup::Reading { stale, read })
    }

    /// Reads a page into the cache, and gives it to those who wait for it.
    fn read(
        &self,
        key: ListKey,
        outcome: watch::Sender<Option<PageResult>>,
    ) -> impl Future<Output = ()> + use<> {
        let (storage, cache) = (Arc::clone(&self.storage), Arc::clone(&self.cache));
        let reads = Arc::clone(&self.reads);
        async move {
            // It is never closed.
            let Ok(_permit) = reads.acquire().await else { return };
            let begun = Instant::now();
            let cursor = key.cursor.clone().map(Cursor::new);
            let read = storage.list_swarms(key.order, cursor.as_ref(), key.limit);
            let result = match timeout(READ_TIMEOUT, with_time_left(Some(READ_TIMEOUT), read)).await {
                Ok(Ok(page)) => Ok(Arc::new(page)),
                Ok(Err(error)) => Err(ApiError::from(&error)),
                Err(_) => {
                    let message = format!("the list was not read within {READ_TIMEOUT:?}");
                    Err(ApiError::new(ErrorCode::Timeout, message))
                }
            };
            cache.lock().read_ended(&key, &result, begun.elapsed());
            outcome.send_replace(Some(result));
        }
    }
}

impl Cache {
    fn read_ended(&mut self, key: &ListKey, result: &PageResult, took: Duration) {
        let Some(cached) = self.0.get_mut(key) else { return };
        cached.read = None;
        if let Ok(page) = result {
            cached.page = Some(CachedPage { page: Arc::clone(page), read_at: Instant::now(), took });
        } else if cached.page.is_none() {
            self.0.remove(key);
        }
    }

    /// Drops the page that was read longest ago, if there are as many as may be and this is not one of them. Fewer
    /// are being read than are kept.
    fn make_room(&mut self, key: &ListKey) {
        if self.0.len() < CACHED || self.0.contains_key(key) {
            return;
        }
        let idle = self.0.iter().filter(|(_, cached)| cached.read().is_none());
        let oldest = idle.min_by_key(|(_, cached)| cached.page.as_ref().map(|page| page.read_at));
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            self.0.remove(&oldest);
        }
    }
}

impl CachedList {
    /// The read under way; one that was dropped has no sender any more.
    fn read(&self) -> Option<&PendingPage> {
        self.read.as_ref().filter(|read| read.has_changed().is_ok())
    }
}

impl CachedPage {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < self.took.saturating_mul(10).clamp(FRESH, LONGEST_FRESH)
    }
}

fn still_reading() -> ApiError {
    ApiError::new(ErrorCode::Timeout, "the list is still being read: ask again in a few seconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use storage_core::layer::{Layer, Layered};
    use storage_core::{Operation, Result as StorageResult, SwarmOrder, Tasks};
    use storage_memory::{MemoryConfig, MemoryStorage};
    use tokio::time::{advance, sleep};

    /// Makes lists slow, and counts them.
    struct SlowReads {
        takes: Duration,
        begun: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Layer for SlowReads {
        async fn around<'a, T: Send + 'a>(
            &'a self,
            _backend: &'static str,
            operation: Operation,
            call: impl Future<Output = StorageResult<T>> + Send + 'a,
        ) -> StorageResult<T> {
            assert_eq!(operation, Operation::ListSwarms);
            self.begun.fetch_add(1, Ordering::SeqCst);
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            sleep(self.takes).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            call.await
        }
    }

    struct Fixture {
        storage: Arc<Layered<MemoryStorage, SlowReads>>,
        lists: SwarmLists,
        tasks: Tasks,
    }

    fn lists_that_take(takes: Duration) -> Fixture {
        let memory = Arc::new(MemoryStorage::new(MemoryConfig::default()));
        let [begun, now, most] = [const { AtomicUsize::new(0) }; 3];
        let storage = Arc::new(Layered::new(memory, SlowReads { takes, begun, now, most }));
        let tasks = Tasks::default();
        let lists = SwarmLists::new(Arc::clone(&storage) as Arc<dyn Storage>, tasks.spawner().clone());
        Fixture { storage, lists, tasks }
    }

    impl Fixture {
        fn reads(&self) -> usize {
            self.storage.layer().begun.load(Ordering::SeqCst)
        }
    }

    fn key(limit: usize) -> ListKey {
        ListKey { order: SwarmOrder::Peers, limit, cursor: None }
    }

    fn code(outcome: PageResult) -> Option<ErrorCode> {
        outcome.err().map(|error| error.code())
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_share_one_read_and_it_is_kept_for_a_while() {
        let fixture = lists_that_take(Duration::from_millis(100));
        let key = key(10);
        let outcomes = join_all((0..50).map(|_| fixture.lists.page(&key))).await;
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(fixture.reads(), 1);
        advance(FRESH - Duration::from_millis(1)).await;
        fixture.lists.page(&key).await.unwrap();
        assert_eq!(fixture.reads(), 1);
        advance(Duration::from_millis(1)).await;
        fixture.lists.page(&key).await.unwrap();
        assert_eq!(fixture.reads(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_slow_to_read_is_kept_longer() {
        let fixture = lists_that_take(Duration::from_secs(4));
        fixture.lists.page(&key(1)).await.unwrap();
        advance(Duration::from_secs(39)).await;
        fixture.lists.page(&key(1)).await.unwrap();
        assert_eq!(fixture.reads(), 1);
        advance(Duration::from_secs(1)).await;
        fixture.lists.page(&key(1)).await.unwrap();
        assert_eq!(fixture.reads(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_five_seconds_and_the_read_goes_on() {
        let fixture = lists_that_take(Duration::from_secs(20));
        let begun = Instant::now();
        assert_eq!(code(fixture.lists.page(&key(1)).await), Some(ErrorCode::Timeout));
        assert_eq!(begun.elapsed(), WAIT);
        sleep(Duration::from_secs(16)).await;
        fixture.lists.page(&key(1)).await.unwrap();
        assert_eq!((fixture.reads(), begun.elapsed()), (1, Duration::from_secs(21)));

        // Once it is old, it is the answer while it is read again.
        advance(LONGEST_FRESH).await;
        fixture.lists.page(&key(1)).await.unwrap();
        assert_eq!(fixture.reads(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_ends_and_others_follow() {
        let fixture = lists_that_take(Duration::from_secs(3_600));
        assert_eq!(code(fixture.lists.page(&key(1)).await), Some(ErrorCode::Timeout));
        sleep(READ_TIMEOUT).await;
        assert_eq!(code(fixture.lists.page(&key(1)).await), Some(ErrorCode::Timeout));
        assert_eq!(fixture.reads(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn few_lists_are_read_at_once_and_few_wait() {
        let fixture = lists_that_take(Duration::from_secs(1));
        let keys: Vec<_> = (1..=WAITING_READS + 4).map(key).collect();
        let outcomes = join_all(keys.iter().map(|key| fixture.lists.page(key))).await;
        let refused = outcomes.into_iter().filter_map(code).collect::<Vec<_>>();
        assert_eq!(refused, [ErrorCode::Busy; 4]);
        assert_eq!(fixture.storage.layer().most.load(Ordering::SeqCst), READS);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_pages_are_kept_than_may_be() {
        let fixture = lists_that_take(Duration::ZERO);
        for limit in 1..=2 * CACHED {
            fixture.lists.page(&key(limit)).await.unwrap();
        }
        assert_eq!(fixture.lists.cache.lock().0.len(), CACHED);
        fixture.lists.page(&key(2 * CACHED)).await.unwrap();
        assert_eq!(fixture.reads(), 2 * CACHED, "the last is among them");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_after_the_stop() {
        let fixture = lists_that_take(Duration::from_secs(20));
        let key = key(1);
        let (outcome, stopped) = tokio::join!(fixture.lists.page(&key), async {
            sleep(Duration::from_secs(1)).await;
            fixture.tasks.stop(Duration::from_secs(1)).await
        });
        assert_eq!((code(outcome), stopped), (Some(ErrorCode::StorageUnavailable), true));
    }
}
